"""The one interface between a strategy and the harness.

A strategy is a function `apply(model, context) -> Applied`. After it ran, what trains is exactly what has
`requires_grad`; optimizer, delta and memory tracker need to know nothing else about it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from strategies.errors import StrategyError
from strategies.naming import NO_ARGUMENT, Argument

Batch = Mapping[str, Tensor]


class Apply(Protocol):
    """What every strategy module offers under the name `apply`; `argument` is what follows the stem of its name."""

    def __call__(self, model: nn.Module, context: "Context", argument: Argument = NO_ARGUMENT) -> "Applied": ...


def no_batches() -> Iterator[Batch]:
    """The default of `Context.batches`: a strategy that asks for data where there is none gets nothing."""
    return iter(())


def no_loss(logits: Tensor, batch: Batch) -> Tensor:  # noqa: ARG001
    """The default of `Context.loss`. Raises StrategyError: there is no task here to have one."""
    raise StrategyError("it looks at gradients of the task's loss, and there is no task here")


@dataclass(frozen=True)
class Context:
    """What a strategy may look at besides the model.

    generator     its own source of randomness, seeded from the cell's mask seed
    head_prefix   parameters whose name begins so belong to the head and train under every strategy
    total_steps   optimizer steps of the whole training, for schedules
    batches       training batches without end, made when asked for; never selection or evaluation data
    loss          the task's mean loss of logits on a batch
    budget        encoder values to train, for strategies whose size can be chosen; None leaves it to them
    most          encoder values beyond which a strategy of a chosen size is refused before anything is allocated;
                  None without a bound. For names and budgets that somebody else wrote, as in a delta
    """

    generator: np.random.Generator
    head_prefix: str = "head."
    total_steps: int = 0
    batches: Callable[[], Iterator[Batch]] = no_batches
    loss: Callable[[Tensor, Batch], Tensor] = no_loss
    budget: int | None = None
    most: int | None = None


@dataclass(frozen=True)
class Expected:
    """What a strategy will train, computed from the architecture and never read back from `requires_grad`.

    trainable   encoder leaf name -> number of trainable values, under the names the model has after `apply`
    changes     name of each tensor of the base encoder that may differ from the base after `finalize`
                -> flat indices of the coordinates that may (int64, unique), or None for all of them
    kept        encoder values that differ in the end, where these are fewer than train meanwhile; None where not
    budget      trainable encoder values in all, where `trainable` comes from a draw: computed without it, so
                that a draw of the wrong size is found; None where `trainable` is itself from the architecture
    """

    trainable: Mapping[str, int]
    changes: Mapping[str, Tensor | None]
    budget: int | None = None
    kept: int | None = None

    @property
    def count(self) -> int:
        """Trainable encoder values in all."""
        return sum(self.trainable.values())

    @property
    def size(self) -> int:
        """Encoder values by which strategies of equal size are matched: those that are left in the end."""
        return self.count if self.kept is None else self.kept


def no_penalty() -> Tensor:
    """A penalty of zero."""
    return torch.zeros(())


def no_hook(step: int) -> None:
    """Do nothing before the optimizer's step."""


def no_finalize() -> None:
    """Do nothing after training, and declare nothing new."""


def no_merge() -> None:
    """Merge nothing, where nothing was inserted."""


@dataclass(frozen=True)
class Applied:
    """A model with a strategy applied, and what the harness needs to run and audit it.

    start         how step-0 logits in eval mode relate to those of the base model: 'exact', 'near' (largest
                  absolute difference at most `start_bound`), or 'changed'
    penalty       added to the task loss of every step
    before_step   called with the 0-based step after backward and before clipping
    finalize      called once after training, by way of `finished`: takes out of the model what only training needs,
                  so that its delta is enough to rebuild it. Returns the changes where they are known only now
    merge         called on a finished model: folds what was inserted into the base's own tensors and takes it out, so
                  that a plain model of the base's architecture computes the same; nothing to do by default, and None
                  where the mathematics does not allow it
    ready_after   steps after which the weights are those of a model that could be finished: an epoch that ends before
                  is no candidate for the best checkpoint; at most the steps of the whole training
    draws         whether the strategy inserts randomness into the forward pass of training
    moved         base tensor -> its name in the model now, of those that have another one; what `finalize` puts back
                  under its old name leaves this table
    virtual_tokens  how many tokens it puts in front of every text, which take positions from it
    converted     base tensor that does not train -> what became of its values before training, and holds ever after
    base_names    names of the tensors in the model's state before `apply`; `strategies.resolve` fills it in, and
                  the delta tells by it what was inserted
    """

    model: nn.Module
    expected: Expected
    start: Literal["exact", "near", "changed"] = "exact"
    start_bound: float = 0.0
    penalty: Callable[[], Tensor] = field(default=no_penalty)
    before_step: Callable[[int], None] = field(default=no_hook)
    finalize: Callable[[], Mapping[str, Tensor | None] | None] = field(default=no_finalize)
    merge: Callable[[], None] | None = field(default=no_merge)
    ready_after: int = 0
    draws: bool = False
    virtual_tokens: int = 0
    moved: Mapping[str, str] = field(default_factory=dict)
    converted: Mapping[str, Callable[[Tensor], Tensor]] = field(default_factory=dict)
    base_names: frozenset[str] | None = None

    def finished(self) -> "Applied":
        """The same after training: finalised, with changes and names as they turned out. To be called once."""
        changes = self.finalize()
        expected = self.expected if changes is None else replace(self.expected, changes=changes)
        names = self.model.state_dict().keys()
        moved = {name: now for name, now in self.moved.items() if now in names}
        return replace(self, expected=expected, moved=moved)
