"""VeRA: two vectors a weight, around random matrices that all share (Kopiczko et al. 2024, arXiv 2310.11454)."""

import warnings

import torch
from peft import VeraConfig, VeraModel
from torch import Tensor, nn

from strategies.base import base_of
from strategies.expectation import expected_linears
from strategies.injection import ADAPTER, inject, targets_of
from strategies.interface import Applied, Context
from strategies.naming import NO_ARGUMENT, Argument
from strategies.roles import held_in
from strategies.sizing import chosen_size

ROLES = ("query", "value")


def apply(model: nn.Module, context: Context, argument: Argument = NO_ARGUMENT) -> Applied:
    """Query and value, or query, key and value in one where they are fused; the outer vector begins at zero.

    The random matrices do not train, are no part of the model's state, and are drawn again from the same seed.
    """
    base = base_of(model, context)
    sizes = expected_linears(base, held_in(base, ROLES))
    rank = chosen_size("vera", context, argument, each=len(sizes), fixed=sum(out for _, out in sizes.values()))
    targets = targets_of(model, context, ROLES)
    with warnings.catch_warnings():
        # That the matrices are not saved is what is wanted.
        warnings.simplefilter("ignore")
        config = VeraConfig(
            r=rank,
            target_modules=targets.modules,
            fan_in_fan_out=targets.transposed,
            projection_prng_key=int(context.generator.integers(2**63)),
            save_projection=False,
        )
    trainable = {
        f"{path}.vera_lambda_{vector}.{ADAPTER}": width
        for path, (_, out) in sizes.items()
        for vector, width in (("b", out), ("d", rank))
    }
    applied = inject(model, context, targets, VeraModel, config, trainable)
    for path in targets.linears:
        model.get_submodule(path).register_forward_hook(_in_autocast_type)
    return applied


def _in_autocast_type(layer: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> Tensor:  # noqa: ARG001
    """What any linear layer gives under autocast; peft's answers in its input's type, which DeBERTa trips over."""
    device = output.device.type
    return output.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else output
