"""A control of BitFit's size that the task chooses: the weights whose squared gradients are largest before training.

Summed over training batches, squared gradients of the loss estimate the diagonal of the Fisher information, as in
FISH Mask (Sung, Nair, Raffel, NeurIPS 2021, arXiv 2111.09839); theirs are of single examples, these of the mean loss
of a batch.
"""

from collections.abc import Callable, Mapping
from itertools import chain, islice

import torch
from torch import Tensor, nn

from strategies.draw import Drawn
from strategies.errors import StrategyError
from strategies.interface import Applied, Context
from strategies.largest import largest
from strategies.naming import NO_ARGUMENT, Argument
from strategies.subset import Matrices, train_subset

BATCHES = 16
"""Training batches to take gradients on."""


def apply(model: nn.Module, context: Context, argument: Argument = NO_ARGUMENT) -> Applied:  # noqa: ARG001
    """Let the weights of `model` with the largest squared gradients over all matrices of the layers train.

    As many as the budget says, by default as there are biases. Raises StrategyError where there is no task to have
    gradients of, and where the model has no biases to count, too few weights, or an architecture that is not known.
    """

    def choose(matrices: Matrices, count: int) -> dict[str, Drawn]:
        weights = {name: matrix.weight for name, matrix in matrices.items()}
        # A model that is shapes alone has no gradients, and any scores will do.
        known = not any(weight.is_meta for weight in weights.values())
        return largest((squared_gradients(model, context, weights) if known else weights).items(), count)

    return train_subset(model, context, choose)


def squared_gradients(model: nn.Module, context: Context, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The squared gradients of the task's loss for each of `weights`, summed over the first training batches.

    In eval mode, so that no dropout draws anything. Only one dense gradient exists at a time beside the sums, and
    modes, flags and gradients of `model` are left as they were. Raises StrategyError where there is no task.
    """
    batches = islice(context.batches(), BATCHES)
    first = next(batches, None)
    if first is None:
        raise StrategyError("it looks at gradients on training batches, and there are none here")
    sums = {name: torch.zeros_like(weight, requires_grad=False) for name, weight in weights.items()}
    modes = {module: module.training for module in model.modules()}
    flags = {parameter: parameter.requires_grad for parameter in model.parameters()}
    model.eval().requires_grad_(False)
    hooks = []
    for name, weight in weights.items():
        weight.requires_grad_(True)
        hooks.append(weight.register_post_accumulate_grad_hook(_square_into(sums[name])))  # type: ignore[no-untyped-call]
    try:
        for batch in chain([first], batches):
            logits = model(**{name: value for name, value in batch.items() if name != "labels"})
            torch.autograd.backward(context.loss(logits, batch))
    finally:
        for hook in hooks:
            hook.remove()
        for parameter, flag in flags.items():
            parameter.requires_grad_(flag)
        for module, training in modes.items():
            module.training = training
    return sums


def _square_into(total: Tensor) -> Callable[[Tensor], None]:
    """A hook that adds the square of a gradient to `total` and lets go of it."""

    def hook(parameter: Tensor) -> None:
        gradient, parameter.grad = parameter.grad, None
        if gradient is not None:
            total.addcmul_(gradient, gradient)

    return hook
