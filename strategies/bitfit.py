"""BitFit: the biases of the encoder train (Ben Zaken, Ravfogel, Goldberg, ACL 2022, arXiv 2106.10199)."""

from torch import nn

from strategies.base import base_of, stand_in, train_only
from strategies.expectation import expected_bitfit
from strategies.interface import Applied, Context
from strategies.naming import NO_ARGUMENT, Argument
from strategies.partial_bias import PartialBias
from strategies.roles import bias_names, layer_linears, role_biases


def apply(model: nn.Module, context: Context, argument: Argument = NO_ARGUMENT) -> Applied:
    """Let the biases of `model` train: all of them, or those of the roles and inside the layers in `argument`.

    Where a tensor fuses a role with others, a layer that trains this part of it alone takes its place until the end.

    Raises StrategyError where the model has no biases, or lacks those of a role or the layers asked for.
    """
    base = base_of(model, context)
    words, layers = argument.words, argument.layers
    selected = role_biases(base, words, layers) if words else dict.fromkeys(bias_names(base, layers))
    expected = expected_bitfit(base, words, layers)
    train_only(model, context, [name for name, coordinates in selected.items() if coordinates is None])
    parts = {name.removesuffix(".bias"): found for name, found in selected.items() if found is not None}
    linears = layer_linears(base) if parts else {}
    partial = {path: PartialBias(linears[path], coordinates) for path, coordinates in parts.items()}
    return Applied(model, expected, finalize=stand_in(model, partial))
