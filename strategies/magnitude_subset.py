"""A control of BitFit's size that is chosen, not drawn: the weights that are largest before training."""

from torch import nn

from strategies.interface import Applied, Context
from strategies.largest import largest
from strategies.naming import NO_ARGUMENT, Argument
from strategies.subset import train_subset


def apply(model: nn.Module, context: Context, argument: Argument = NO_ARGUMENT) -> Applied:  # noqa: ARG001
    """Let the weights of `model` that are largest in magnitude over all matrices of the layers train.

    They are a budget of them, by default as many as there are biases. Raises StrategyError where the model has no
    biases to count, too few weights, or an architecture that is not known.
    """
    return train_subset(
        model,
        context,
        lambda matrices, count: largest(((n, m.weight.detach().abs()) for n, m in matrices.items()), count),
    )
