"""(IA)^3: a factor on each key, value and inner feed-forward activation (Liu et al. 2022, arXiv 2205.05638)."""

from peft import IA3Config, IA3Model
from torch import nn

from strategies.base import base_of
from strategies.expectation import expected_linears
from strategies.injection import ADAPTER, inject, targets_of
from strategies.interface import Applied, Context
from strategies.naming import NO_ARGUMENT, Argument
from strategies.roles import held_in

SCALED_OUTPUTS = ("key", "value")
SCALED_INPUTS = ("output",)


def apply(model: nn.Module, context: Context, argument: Argument = NO_ARGUMENT) -> Applied:  # noqa: ARG001
    """Factors of 1 on what comes out of key and value and on what goes into the second feed-forward layer."""
    base = base_of(model, context)
    targets = targets_of(model, context, (*SCALED_OUTPUTS, *SCALED_INPUTS))
    config = IA3Config(
        target_modules=targets.modules,
        feedforward_modules=targets_of(model, context, SCALED_INPUTS).modules,
        fan_in_fan_out=targets.transposed,
    )
    outputs = expected_linears(base, held_in(base, SCALED_OUTPUTS))
    inputs = expected_linears(base, SCALED_INPUTS)
    scaled = {path: out for path, (_, out) in outputs.items()} | {path: width for path, (width, _) in inputs.items()}
    trainable = {f"{path}.ia3_l.{ADAPTER}": width for path, width in scaled.items()}
    return inject(model, context, targets, IA3Model, config, trainable)
