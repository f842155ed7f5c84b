"""Several strategies on one model: what trains is what any of them trains."""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
import torch
from torch import Tensor, nn

from strategies.errors import StrategyError
from strategies.interface import Applied, Context, Expected
from strategies.naming import Part, written
from strategies.table import STORES

STARTS = ("exact", "near", "changed")

Changes = Mapping[str, Tensor | None]

ApplyPart = Callable[[Part, nn.Module, Context], Applied]
"""Applies one part."""


def combine(parts: Sequence[Part], model: nn.Module, context: Context, apply: ApplyPart) -> Applied:
    """Apply each of `parts`, those that select before those that insert, and join what they declare.

    A budget is that of all of them together: the part whose size it sets gets what the others leave. Raises
    StrategyError where it would set the sizes of several, and where the others leave nothing.
    """
    base_names = frozenset(model.state_dict())
    ordered = sorted(parts, key=lambda part: (part.entry.order, part.entry.sized))
    filling = _filling(ordered, context)
    left = None if filling is None else _left(ordered, filling, model, context, apply)
    joined = _Joined((), {})
    for part in ordered:
        try:
            applied = apply(part, model, replace(context, budget=left if part is filling else None))
        except StrategyError as error:
            if part is not filling:
                raise
            raise StrategyError(
                f"{error} (of a budget of {context.budget} values the other parts leave it {left})"
            ) from None
        model = applied.model
        trained = frozenset(name for name, p in model.named_parameters() if p.requires_grad)
        joined = joined.with_part(_Applied(applied, trained), base_names)
        # What the parts so far train, all of it: a part that stores what is frozen goes by that.
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(any(name in one.trained for one in joined.parts))
    return joined.applied(model)


def _filling(parts: Sequence[Part], context: Context) -> Part | None:
    """The part whose size a budget sets, if there is a budget."""
    unsized = [part for part in parts if part.entry.sized and part.argument.number is None]
    if context.budget is None or not unsized:
        return None
    if len(unsized) > 1:
        stems = " and of ".join(part.stem for part in unsized)
        examples = [f"{part.stem}:{written(part.entry.size.default)}" for part in unsized if part.entry.size]
        raise StrategyError(f"a budget sets one size, not those of {stems}; name the others, as in {examples[-1]}")
    return unsized[0]


def _left(parts: Sequence[Part], filling: Part, model: nn.Module, context: Context, apply: ApplyPart) -> int:
    """What the other parts leave of a budget.

    They are counted on a copy of `model` without storage, since some of them are applied after `filling`, and with a
    generator of their own, so that nothing is drawn for it.
    """
    others = tuple(part for part in parts if part is not filling and part.entry.order != STORES)
    meta = {id(one): _without_storage(one) for one in (*model.parameters(), *model.buffers())}
    counting = Context(np.random.default_rng(0), head_prefix=context.head_prefix)
    spent = combine(others, copy.deepcopy(model, meta), counting, apply).expected.count if others else 0
    left = (context.budget or 0) - spent
    if left < 1:
        raise StrategyError(
            f"a budget of {context.budget} values leaves none for {filling.stem}: the other parts train {spent}"
        )
    return left


def _without_storage(tensor: Tensor) -> Tensor:
    empty = torch.empty_like(tensor, device="meta")
    return nn.Parameter(empty, requires_grad=tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty


@dataclass(frozen=True)
class _Applied:
    """A part as applied: what it declares, under the names of now, and the names of what trains."""

    applied: Applied
    trained: frozenset[str]

    def renamed(self, moved: Mapping[str, str]) -> "_Applied":
        """The same after tensors moved to other names."""
        expected = self.applied.expected
        trainable = {moved.get(name, name): count for name, count in expected.trainable.items()}
        applied = replace(self.applied, expected=replace(expected, trainable=trainable))
        return _Applied(applied, frozenset(moved.get(name, name) for name in self.trained))


@dataclass(frozen=True)
class _Joined:
    """The parts so far, and where the base's tensors are now."""

    parts: tuple[_Applied, ...]
    moved: Mapping[str, str]

    def with_part(self, new: _Applied, base_names: frozenset[str]) -> "_Joined":
        """These and one more, applied to a model on which these were."""
        before = {name: self.moved.get(name, name) for name in base_names}
        of_base = {now: name for name, now in before.items()}
        expected = new.applied.expected
        # Of what an earlier part inserted, a later one changes nothing that the base has.
        changes = {of_base[name]: value for name, value in expected.changes.items() if name in of_base}
        converted = {of_base[name]: value for name, value in new.applied.converted.items() if name in of_base}

        def finalize() -> Changes | None:
            final = new.applied.finalize()
            return final and {name: indices for name, indices in final.items() if name in base_names}

        declared = replace(
            new.applied, expected=replace(expected, changes=changes), converted=converted, finalize=finalize
        )
        step = new.applied.moved
        moved = {name: step.get(now, now) for name, now in before.items() if step.get(now, now) != name}
        return _Joined((*(part.renamed(step) for part in self.parts), replace(new, applied=declared)), moved)

    def applied(self, model: nn.Module) -> Applied:
        """All parts as one."""
        every = [part.applied for part in self.parts]

        def before_step(step: int) -> None:
            for one in every:
                one.before_step(step)

        def finalize() -> Changes:
            found = [(one.finalize(), one.expected.changes) for one in reversed(every)]
            return _union(changes if final is None else final for final, changes in found)

        merges = [one.merge for one in every if one.merge is not None]

        def merge() -> None:
            for one in reversed(merges):
                one()

        changes = _union(one.expected.changes for one in every)
        return Applied(
            model,
            Expected(_trainable(self.parts), changes, self._budget(), self._kept()),
            start=max((one.start for one in every), key=STARTS.index),
            start_bound=sum(one.start_bound for one in every),
            penalty=lambda: sum((one.penalty() for one in every), torch.zeros(())),
            before_step=before_step,
            finalize=finalize,
            merge=merge if len(merges) == len(every) else None,
            ready_after=max(one.ready_after for one in every),
            draws=any(one.draws for one in every),
            virtual_tokens=sum(one.virtual_tokens for one in every),
            moved=self.moved,
            converted={name: convert for one in every for name, convert in one.converted.items()},
        )

    def _budget(self) -> int | None:
        """What the parts with a budget of their own should come to, and the others beside them; None without any.

        What several of the others train counts once.
        """
        budgets = [one.budget for one in self._expected() if one.budget is not None]
        if not budgets:
            return None
        others = [part for part in self.parts if part.applied.expected.budget is None]
        return sum(budgets) + sum(_trainable(others).values())

    def _kept(self) -> int | None:
        """Values that differ in the end, where a part leaves fewer than it trains; None without such a part."""
        if all(one.kept is None for one in self._expected()):
            return None
        return sum(one.size for one in self._expected())

    def _expected(self) -> list[Expected]:
        return [part.applied.expected for part in self.parts]


def _trainable(parts: Iterable[_Applied]) -> dict[str, int]:
    """Leaf -> number of values that any of `parts` trains."""
    return reduce(lambda joined, part: joined | dict(part.applied.expected.trainable), parts, {})


def _union(changes: Iterable[Changes]) -> dict[str, Tensor | None]:
    """What any of several may change: a whole tensor where one of them may change the whole."""
    joined: dict[str, Tensor | None] = {}
    for one in changes:
        for name, indices in one.items():
            other = joined.get(name, indices)
            if indices is None or other is None:
                joined[name] = None
            else:
                joined[name] = torch.unique(torch.cat([other, indices]))
    return joined
