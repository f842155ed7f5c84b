"""Frozen matrices in 8-bit integers, a factor for each row: a quarter of the bytes. Quantised by `torchao`."""

import logging

import torch
from torch import Tensor, nn

from strategies.interface import Applied, Context
from strategies.naming import NO_ARGUMENT, Argument
from strategies.narrow import store_narrow

# At import it warns of kernels for hardware that is not there; none of them is used here.
for _noisy in ("torchao", "torch.utils._pytree"):
    logging.getLogger(_noisy).setLevel(logging.ERROR)
from torchao.quantization import Int8Tensor, PerRow  # noqa: E402

# How far rounding every frozen matrix may move a logit.
BOUND = 1.0


class Int8:
    """A matrix in integers from -128 to 127, each row with its own factor."""

    def narrow(self, wide: Tensor) -> tuple[Tensor, Tensor]:
        quantized = Int8Tensor.from_hp(wide, granularity=PerRow())
        return quantized.qdata, quantized.scale

    def widen(self, narrow: Tensor, scale: Tensor | None) -> Tensor:
        if scale is None:
            raise ValueError("int8 values without their factors stand for nothing")
        return narrow.to(torch.float32).mul_(scale)


FORM = Int8()


def apply(model: nn.Module, context: Context, argument: Argument = NO_ARGUMENT) -> Applied:  # noqa: ARG001
    """Store what is frozen of the encoder in int8. Raises StrategyError where nothing is."""
    return store_narrow(model, context, FORM, BOUND)
