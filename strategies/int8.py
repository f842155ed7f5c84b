"""Frozen matrices in 8-bit integers, a factor for each row: a quarter of the bytes."""

import torch
from torch import Tensor, nn

from strategies.interface import Applied, Context
from strategies.naming import NO_ARGUMENT, Argument
from strategies.narrow import store_narrow

LARGEST = 127
# How far rounding every frozen matrix may move a logit.
BOUND = 1.0


class Int8:
    """A matrix in integers from -127 to 127, the largest of each row being one of the two."""

    def narrow(self, wide: Tensor) -> tuple[Tensor, Tensor]:
        # A row of zeros has any factor but 0.
        scale = wide.abs().amax(1, keepdim=True).div_(LARGEST).clamp_(min=torch.finfo(wide.dtype).tiny)
        return (wide / scale).round_().to(torch.int8), scale

    def widen(self, narrow: Tensor, scale: Tensor | None) -> Tensor:
        if scale is None:
            raise ValueError("int8 values without their factors stand for nothing")
        return narrow.to(torch.float32).mul_(scale)


FORM = Int8()


def apply(model: nn.Module, context: Context, argument: Argument = NO_ARGUMENT) -> Applied:  # noqa: ARG001
    """Store what is frozen of the encoder in int8. Raises StrategyError where nothing is."""
    return store_narrow(model, context, FORM, BOUND)
