"""Frozen matrices kept in fewer bytes: what trains stays in float32, and so does all arithmetic.

A matrix that nothing trains is stored narrow and widened whenever it is used. Autograd would keep each widened one for
the backward pass, and with them all that was saved; so what it keeps is a reference to the narrow one, widened again.
"""

import functools
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol, cast

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.utils import parametrize

from strategies.base import base_of
from strategies.delta import Change
from strategies.errors import StrategyError
from strategies.expectation import whole
from strategies.interface import Applied, Context
from strategies.naming import parse
from strategies.table import STORES


class Format(Protocol):
    """A way to store a matrix of float32."""

    def narrow(self, wide: Tensor) -> tuple[Tensor, Tensor | None]:
        """The narrow matrix, and a factor for each of its rows, (rows, 1), where the format has them."""

    def widen(self, narrow: Tensor, scale: Tensor | None) -> Tensor:
        """The float32 matrix that a narrow one stands for, or any rows of it (..., columns)."""


def round_trip(form: Format, wide: Tensor) -> Tensor:
    """What is left of a matrix once it was stored narrow."""
    return form.widen(*form.narrow(wide))


def converted(
    strategy: str, base: nn.Module, changed: Mapping[str, Change], head_prefix: str = Context.head_prefix
) -> dict[str, Tensor]:
    """Name -> what is left of each matrix of `base` that the strategy of a delta stores narrow; empty without one.

    `changed` is what the delta holds: what changes as a whole trains, and was not stored narrow.
    """
    forms = [import_module(part.entry.module).FORM for part in parse(strategy) if part.entry.order == STORES]
    whole_changes = {name for name, change in changed.items() if change.indices is None}
    return {
        name: round_trip(form, parameter.detach())
        for form in forms
        for name, parameter in base.named_parameters()
        if _is_matrix(parameter) and name not in whole_changes and not name.startswith(head_prefix)
    }


def _is_matrix(parameter: nn.Parameter) -> bool:
    """Whether a parameter is of the sort that is stored narrow: a matrix of float32."""
    return parameter.dim() == 2 and parameter.dtype == torch.float32


def store_narrow(model: nn.Module, context: Context, form: Format, bound: float) -> Applied:
    """Store the frozen matrices of the encoder of `model` narrow, until it is finished.

    `bound` is how far this may move step-0 logits. Raises StrategyError where nothing is frozen.
    """
    base = base_of(model, context)
    owners: dict[nn.Parameter, list[tuple[nn.Module, str]]] = {}
    for module, own, parameter in _parameters(base.module):
        if _is_matrix(parameter) and not parameter.requires_grad:
            owners.setdefault(parameter, []).append((module, own))
    if not owners:
        raise StrategyError("no matrix of the encoder is frozen, so there is none to store in fewer bytes")
    names = [f"{base.prefix}{name}" for name, parameter in base.module.named_parameters() if parameter in owners]
    stored = [_Stored(parameter, form, places) for parameter, places in owners.items()]
    handles = _save_narrow(base.module)

    def finalize() -> None:
        for handle in handles:
            handle.remove()
        for one in stored:
            one.restore()

    def convert(wide: Tensor) -> Tensor:
        return round_trip(form, wide)

    return Applied(
        model,
        whole({}),
        start="near",
        start_bound=bound,
        finalize=finalize,
        converted=dict.fromkeys(names, convert),
    )


class _Widened(nn.Module):
    """The parametrization of a narrow matrix: gives the wide one, marked so that autograd keeps the narrow one."""

    scale: Tensor | None

    def __init__(self, form: Format, scale: Tensor | None) -> None:
        super().__init__()
        self.form = form
        self.register_buffer("scale", scale, persistent=False)

    def forward(self, narrow: Tensor) -> Tensor:
        """The wide matrix of `narrow`, or itself where autocast computes in its type."""
        device = narrow.device.type
        if torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == narrow.dtype:
            return narrow
        wide = self.form.widen(narrow, self.scale)
        wide.kept_as = (self, narrow)  # type: ignore[attr-defined]
        return wide


class _Stored:
    """A frozen parameter stored narrow, and the modules that own it. The parameter stays the same object."""

    def __init__(self, parameter: nn.Parameter, form: Format, owners: list[tuple[nn.Module, str]]) -> None:
        self._parameter, self._form, self._owners = parameter, form, owners
        narrow, self._scale = form.narrow(parameter.data)
        parameter.data = narrow
        for module, own in owners:
            looks_up = type(module) is nn.Embedding and module.max_norm is None
            parametrize.register_parametrization(module, own, _Widened(form, self._scale), unsafe=True)
            if looks_up:
                # Widened as a whole, a vocabulary would be the largest tensor of a step.
                module.forward = functools.partial(_look_up, module.get_submodule(f"parametrizations.{own}"))

    def restore(self) -> None:
        """Make it a plain float32 parameter again, with the values that it had while narrow."""
        for module, own in self._owners:
            vars(module).pop("forward", None)
            parametrize.remove_parametrizations(module, own, leave_parametrized=False)
        self._parameter.data = self._form.widen(self._parameter.data, self._scale)


def _look_up(stored: nn.Module, ids: Tensor) -> Tensor:
    """The rows of a narrow matrix at `ids`, widened: what an embedding gives."""
    narrow, widened = stored.get_parameter("original"), cast(_Widened, stored.get_submodule("0"))
    rows = F.embedding(ids, narrow)
    return widened.form.widen(rows, None if widened.scale is None else F.embedding(ids, widened.scale))


@dataclass(frozen=True)
class _Reference:
    """A view of a wide matrix, as the narrow one it can be had from again."""

    widened: _Widened
    narrow: Tensor
    size: torch.Size
    stride: tuple[int, ...]
    offset: int


def _pack(tensor: Tensor) -> Tensor | _Reference:
    """What autograd keeps of a tensor it wants to see again in the backward pass."""
    wide = tensor if tensor._base is None else tensor._base
    if not hasattr(wide, "kept_as"):
        return tensor
    widened, narrow = wide.kept_as
    return _Reference(widened, narrow, tensor.size(), tensor.stride(), int(tensor.storage_offset()))


def _unpack(kept: Tensor | _Reference) -> Tensor:
    if isinstance(kept, Tensor):
        return kept
    wide = kept.widened.form.widen(kept.narrow, kept.widened.scale)
    return wide.as_strided(kept.size, kept.stride, kept.offset)


_unpack.repeatable = True  # type: ignore[attr-defined]  # for `strategies.recompute`


def _save_narrow(encoder: nn.Module) -> list[torch.utils.hooks.RemovableHandle]:
    """Have autograd keep narrow matrices in every forward pass of `encoder`."""
    active: list[AbstractContextManager[Any]] = []

    def enter(*_: object) -> None:
        active.append(saved_tensors_hooks(_pack, _unpack))
        active[-1].__enter__()

    def leave(*_: object) -> None:
        active.pop().__exit__(None, None, None)

    return [encoder.register_forward_pre_hook(enter), encoder.register_forward_hook(leave, always_call=True)]


def _parameters(encoder: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Parameter]]:
    """Every module with each of its own parameters; one that several modules own comes several times."""
    for module in encoder.modules():
        for own, parameter in list(module._parameters.items()):
            if parameter is not None:
                yield module, own, parameter
