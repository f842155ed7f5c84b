"""LayerNorm tuning: gain and bias of every LayerNorm or RMSNorm of the encoder train."""

from torch import nn

from strategies.expectation import expected_norms, whole
from strategies.interface import Applied, Context
from strategies.naming import NO_ARGUMENT, Argument
from strategies.roles import base_of, norm_names, train_only


def apply(model: nn.Module, context: Context, argument: Argument = NO_ARGUMENT) -> Applied:  # noqa: ARG001
    """Let the norms of `model` train. Raises StrategyError where it has none."""
    base = base_of(model, context)
    train_only(model, context, frozenset(norm_names(base)))
    return Applied(model, whole(expected_norms(base)))
