"""How far training moved each bias of the encoder, by layer and role."""

import math

from torch import nn

from bench.models import TaskModel
from bench.results import BiasChange
from strategies.base import Base
from strategies.interface import Applied
from strategies.roles import bias_roles


def bias_change(applied: Applied, base: TaskModel) -> list[BiasChange] | None:
    """The mean absolute change of every bias that the strategy declares to change as a whole.

    `base` is the model before the strategy, `applied` the trained one finished. None where no such bias
    exists, or where the roles of the architecture are not known. Raises FloatingPointError where one is not finite.
    """
    known = bias_roles(Base("encoder.", base.encoder, base.encoder.config)) or {}
    changes = applied.expected.changes
    # A tensor that is gone from the trained model is the audit's to report.
    trained = dict(applied.model.named_parameters())
    now = {name: trained.get(applied.moved.get(name, name)) for name in known if changes.get(name, ()) is None}
    return [
        _change(*known[name], base.get_parameter(name), after) for name, after in now.items() if after is not None
    ] or None


def _change(layer: int | None, role: str, before: nn.Parameter, after: nn.Parameter) -> BiasChange:
    mean = float((after.detach().cpu().double() - before.detach().cpu().double()).abs().mean())
    if not math.isfinite(mean):
        raise FloatingPointError(f"a bias is not finite after training (layer {layer}, role {role})")
    return BiasChange(layer=layer, role=role, values=before.numel(), mean_absolute_change=mean)
