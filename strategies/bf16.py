"""Frozen matrices in bfloat16: half the bytes, and 8 of float32's 24 bits of precision."""

import torch
from torch import Tensor, nn

from strategies.interface import Applied, Context
from strategies.naming import NO_ARGUMENT, Argument
from strategies.narrow import store_narrow

# How far rounding every frozen matrix may move a logit.
BOUND = 0.25


class BFloat16:
    """A matrix rounded to bfloat16."""

    def narrow(self, wide: Tensor) -> tuple[Tensor, None]:
        return wide.to(torch.bfloat16), None

    def widen(self, narrow: Tensor, scale: Tensor | None) -> Tensor:  # noqa: ARG002
        return narrow.to(torch.float32)


FORM = BFloat16()


def apply(model: nn.Module, context: Context, argument: Argument = NO_ARGUMENT) -> Applied:  # noqa: ARG001
    """Store what is frozen of the encoder in bfloat16. Raises StrategyError where nothing is."""
    return store_narrow(model, context, FORM, BOUND)
