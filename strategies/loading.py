"""Deltas onto a base and off again: what a load overwrites is kept, so that removing it restores every bit."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import strategies
from strategies import delta
from strategies.delta import Change, DeltaInfo
from strategies.errors import StrategyError
from strategies.interface import Context


@dataclass(frozen=True)
class Loaded:
    """A base with a delta on it.

    model   what the base turned into; the base itself, changed in place, where nothing was inserted
    remove  takes the delta off again: every tensor, module and flag of the base is as it was, the head's too
    """

    model: nn.Module
    info: DeltaInfo
    remove: Callable[[], None]


def load(path: Path, base: nn.Module, base_fingerprint: str, head_prefix: str = Context.head_prefix) -> Loaded:
    """Put the delta at `path` onto `base`: an untouched encoder with a head of the right shape, trained or not.

    Raises StrategyError where the file is no delta of this format, belongs to another encoder, or does not hold
    what its strategy needs; the base is then as it was.
    """
    info, changes = delta.read(path)
    if info.base_fingerprint != base_fingerprint:
        raise StrategyError(
            f"the delta {path} belongs to another encoder: it was trained on {info.base_fingerprint[:12]}, "
            f"this is {base_fingerprint[:12]}"
        )
    of_base = base.state_dict().keys()
    restore = _remember(base)
    model: nn.Module = base
    moved: Mapping[str, str] = {}
    try:
        if changes.keys() - of_base:
            context = Context(np.random.default_rng(info.mask_seed), head_prefix, budget=info.budget)
            applied = strategies.resolve(info.strategy)(base, context)
            model, moved = applied.model, applied.moved
        state = model.state_dict()
        placed = {moved.get(name, name): change for name, change in changes.items()}
        needed = {n for n in state if n.startswith(head_prefix)} | (state.keys() - {moved.get(n, n) for n in of_base})
        problem = _mismatch(placed, state, needed)
        if problem:
            raise StrategyError(f"the delta {path} does not fit {info.strategy!r} on this encoder: {problem}")
    except StrategyError:
        restore()
        raise
    before = {name: put(state[name], change) for name, change in placed.items()}

    def remove() -> None:
        for name, change in before.items():
            put(state[name], change)
        restore()

    return Loaded(model, info, remove)


@torch.no_grad()
def put(tensor: Tensor, change: Change) -> Change:
    """Write `change` into `tensor` in place; returns the change that undoes it."""
    if change.indices is None:
        before = tensor.clone()
        tensor.copy_(change.values)
        return Change(before)
    indices = change.indices.to(tensor.device, torch.int64)
    flat = tensor.view(-1)
    before = flat[indices]
    flat[indices] = change.values.to(tensor.device)
    return Change(before, indices)


def _remember(model: nn.Module) -> Callable[[], None]:
    """Remember the modules of `model` and what trains; the function returned puts them back."""
    held = [
        (own, dict(own))
        for m in model.modules()
        for own in (m._modules, m._parameters, m._buffers, m._forward_hooks, m._forward_pre_hooks)
    ]
    flags = {parameter: parameter.requires_grad for parameter in model.parameters()}

    def restore() -> None:
        for now, before in held:
            now.clear()
            now.update(before)  # type: ignore[arg-type]
        for parameter, flag in flags.items():
            parameter.requires_grad_(flag)

    return restore


def _mismatch(changes: Mapping[str, Change], state: Mapping[str, Tensor], needed: set[str]) -> str | None:
    """The first way in which the changes of a delta do not fit a model's tensors."""
    for name in sorted(changes.keys() | needed):
        if name not in changes:
            return f"it lacks {name}"
        if name not in state:
            return f"it holds {name}, which neither this encoder nor this strategy has"
        change, tensor = changes[name], state[name]
        values, indices = change.values, change.indices
        shape = tensor.shape if indices is None else indices.flatten().shape
        if (values.shape, values.dtype) != (shape, tensor.dtype):
            return f"{name} is {_kind(values.dtype, values.shape)} there and {_kind(tensor.dtype, shape)} here"
        if indices is not None and not _fits(indices, tensor.numel()):
            return f"{name} has coordinates that are not those of {tensor.numel()} values, in order and each once"
    return None


def _fits(indices: Tensor, count: int) -> bool:
    """Whether flat coordinates are whole numbers, sorted and unique, inside `count` values."""
    if indices.is_floating_point() or not indices.numel():
        return not indices.is_floating_point()
    return bool(indices[0] >= 0) and bool(indices[-1] < count) and bool((indices[1:] > indices[:-1]).all())


def _kind(dtype: torch.dtype, shape: torch.Size) -> str:
    return f"{str(dtype).removeprefix('torch.')} {tuple(shape)}"
