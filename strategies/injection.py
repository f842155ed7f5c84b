"""Layers of `peft` in the place of linear layers of the encoder, inside the same model object."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from peft import PeftConfig
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer
from torch import nn
from transformers.pytorch_utils import Conv1D

from strategies.base import base_of, put_module, train_only
from strategies.errors import StrategyError
from strategies.interface import Applied, Context, Expected
from strategies.roles import held_in, role_linears

ADAPTER = "default"
"""The name `peft` gives to what it inserts, and so the end or the middle of its tensors' names."""


@dataclass(frozen=True)
class Targets:
    """The linear layers `peft` shall wrap, by their names in the task model; all of one kind."""

    linears: Mapping[str, nn.Linear | Conv1D]
    prefix: str

    @property
    def modules(self) -> list[str]:
        """Their names in the encoder, for `target_modules`."""
        return [path.removeprefix(self.prefix) for path in self.linears]

    @property
    def transposed(self) -> bool:
        """Whether their weights are stored as (in, out), for `fan_in_fan_out`."""
        return any(isinstance(linear, Conv1D) for linear in self.linears.values())


def targets_of(model: nn.Module, context: Context, roles: Sequence[str]) -> Targets:
    """The layers of `roles`, or where those are fused the one that holds them.

    Raises StrategyError where the architecture is not known or another strategy stands in their place.
    """
    base = base_of(model, context)
    return Targets(role_linears(base, held_in(base, roles)), base.prefix)


def inject(
    model: nn.Module,
    context: Context,
    targets: Targets,
    tuner: type[BaseTuner],
    config: PeftConfig,
    trainable: Mapping[str, int],
) -> Applied:
    """Let `peft` wrap `targets` in `model`; what it inserts trains, and the head.

    `trainable` is what the strategy expects to train. First values come from the context's generator. Raises
    StrategyError where `peft` wrapped other layers than those named.
    """
    encoder = base_of(model, context).module
    of_base = {f"{path}.{own}" for path, linear in targets.linears.items() for own, _ in linear.named_parameters()}
    before = {name for name, _ in model.named_parameters()}
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # First values are drawn on the CPU, whatever the model's device.
        torch.default_generator.manual_seed(int(context.generator.integers(2**63)))
        tuner(encoder, config, ADAPTER)
    # Left behind for peft's own model classes; a second strategy, or a second load, would trip over it.
    vars(encoder).pop("peft_config", None)
    wrapped = {name: module for name, module in model.named_modules() if isinstance(module, BaseTunerLayer)}
    if wrapped.keys() != targets.linears.keys():
        other = sorted(wrapped.keys() ^ targets.linears.keys())
        raise StrategyError(f"peft wrapped other layers than those named, {other[0]} among them")
    moved = {name: "{}.base_layer.{}".format(*name.rpartition(".")[::2]) for name in of_base}
    known = {moved.get(name, name) for name in before}
    train_only(model, context, {name for name, _ in model.named_parameters()} - known)
    return Applied(model, Expected(trainable, {}), merge=partial(unwrap, model, targets), moved=moved)


@torch.no_grad()
def unwrap(model: nn.Module, targets: Targets) -> None:
    """Fold what `peft` inserted into the weights of `targets`, and put the plain layers back.

    A weight that does not change keeps every bit: 0 added to -0 would be +0.
    """
    for path in targets.linears:
        layer = model.get_submodule(path)
        if not isinstance(layer, BaseTunerLayer):
            raise TypeError(f"{path} is no layer of peft")
        plain = layer.get_base_layer()
        weight = plain.get_parameter("weight")
        before = weight.clone()
        layer.merge()
        weight.copy_(torch.where(weight == before, before, weight))
        put_module(model, path, plain)
