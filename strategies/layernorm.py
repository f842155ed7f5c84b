"""LayerNorm tuning: gain and bias of every LayerNorm or RMSNorm of the encoder train."""

from torch import nn

from strategies.base import base_of, train_only
from strategies.expectation import expected_norms, whole
from strategies.interface import Applied, Context
from strategies.naming import NO_ARGUMENT, Argument
from strategies.roles import norm_names


def apply(model: nn.Module, context: Context, argument: Argument = NO_ARGUMENT) -> Applied:
    """Let the norms of `model` train: all of them, or their gains or biases alone, or those inside some layers.

    Raises StrategyError where it has none of these, or no such layers.
    """
    base = base_of(model, context)
    parts, layers = argument.words or ("gain", "bias"), argument.layers
    train_only(model, context, norm_names(base, parts, layers))
    return Applied(model, whole(expected_norms(base, parts, layers)))
