"""The frozen baseline: the head alone trains."""

from torch import nn

from strategies.base import train_only
from strategies.expectation import whole
from strategies.interface import Applied, Context
from strategies.naming import NO_ARGUMENT, Argument


def apply(model: nn.Module, context: Context, argument: Argument = NO_ARGUMENT) -> Applied:  # noqa: ARG001
    """Freeze the whole encoder of `model`."""
    train_only(model, context, ())
    return Applied(model, whole({}))
