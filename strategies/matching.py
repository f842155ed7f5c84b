"""Whether what a delta holds fits the tensors of a model: names, shapes, types and coordinates."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from strategies.delta import Change, shown


@dataclass(frozen=True)
class Needed:
    """What a delta must hold.

    in_part    names of the tensors it must hold -> whether in part
    no_others  whether it may hold no others
    """

    in_part: Mapping[str, bool]
    no_others: bool


def mismatch(changes: Mapping[str, Change], state: Mapping[str, Tensor], needed: Needed) -> str | None:
    """The first way in which the changes of a delta do not fit a model's tensors."""
    for name in sorted(changes.keys() | needed.in_part.keys()):
        if name not in changes:
            return f"it lacks {name}"
        if name not in state:
            return f"it holds {shown(name)}, which neither this encoder nor this strategy has"
        if needed.no_others and name not in needed.in_part:
            return f"it holds {name}, which this strategy leaves as it is"
        in_part = changes[name].indices is not None
        if in_part != needed.in_part.get(name, in_part):
            return f"it holds {name} {'in part, not as a whole' if in_part else 'as a whole, not in part'}"
        if problem := _misfit(changes[name], state[name]):
            return f"{name} {problem}"
    return None


def _misfit(change: Change, tensor: Tensor) -> str | None:
    """What is wrong with a change of `tensor`."""
    values, indices = change.values, change.indices
    if indices is not None and not _fits(indices, tensor.numel()):
        return f"has coordinates that are not those of {tensor.numel()} values, in order and each once"
    shape = tensor.shape if indices is None else indices.shape
    if (values.shape, values.dtype) != (shape, tensor.dtype):
        return f"is {_kind(values.dtype, values.shape)} there and {_kind(tensor.dtype, shape)} here"
    return None


def _fits(indices: Tensor, count: int) -> bool:
    """Whether flat coordinates are a row of int32 or int64, sorted and unique, inside `count` values."""
    if indices.dim() != 1 or indices.dtype not in (torch.int32, torch.int64):
        return False
    if not indices.numel():
        return True
    return bool(indices[0] >= 0) and bool(indices[-1] < count) and bool((indices[1:] > indices[:-1]).all())


def _kind(dtype: torch.dtype, shape: torch.Size) -> str:
    return f"{str(dtype).removeprefix('torch.')} {tuple(shape)}"
