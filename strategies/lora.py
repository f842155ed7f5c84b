"""LoRA: a low-rank matrix beside the weights of the query and value projections (Hu et al. 2021, arXiv 2106.09685)."""

from peft import LoraConfig, LoraModel
from torch import nn

from strategies.base import base_of
from strategies.expectation import expected_linears
from strategies.injection import ADAPTER, inject, targets_of
from strategies.interface import Applied, Context
from strategies.naming import NO_ARGUMENT, Argument
from strategies.roles import held_in
from strategies.sizing import chosen_size

ROLES = ("query", "value")
ALPHA_PER_RANK = 2
"""The product of the two factors is scaled by alpha / rank, which is 2 here at every rank."""


def apply(model: nn.Module, context: Context, argument: Argument = NO_ARGUMENT) -> Applied:
    """Query and value, or query, key and value in one where they are fused; the second factor begins at zero."""
    base = base_of(model, context)
    sizes = expected_linears(base, held_in(base, ROLES))
    rank = chosen_size("lora", context, argument, each=sum(map(sum, sizes.values())))
    targets = targets_of(model, context, ROLES)
    config = LoraConfig(
        r=rank,
        lora_alpha=ALPHA_PER_RANK * rank,
        target_modules=targets.modules,
        fan_in_fan_out=targets.transposed,
    )
    trainable = {
        f"{path}.lora_{factor}.{ADAPTER}.weight": rank * width
        for path, widths in sizes.items()
        for factor, width in zip("AB", widths, strict=True)
    }
    return inject(model, context, targets, LoraModel, config, trainable)
