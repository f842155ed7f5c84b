"""Full fine-tuning: every parameter of the encoder trains."""

from torch import nn

from strategies.base import base_of
from strategies.expectation import expected_parameters, whole
from strategies.interface import Applied, Context
from strategies.naming import NO_ARGUMENT, Argument


def apply(model: nn.Module, context: Context, argument: Argument = NO_ARGUMENT) -> Applied:  # noqa: ARG001
    """Let every parameter of `model` train."""
    model.requires_grad_(True)
    return Applied(model, whole(expected_parameters(base_of(model, context))))
