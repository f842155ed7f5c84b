"""The delta: one safetensors file that holds exactly what fine-tuning changed, the head included.

It holds every trainable leaf and every tensor the strategy inserted. Of a tensor that trained in part it holds
the selected values and their flat indices, as `<name>.values` and `<name>.indices`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

import strategies
from strategies.errors import StrategyError
from strategies.interface import Applied, Context

FORMAT = "bitfit-bench delta 1"


@dataclass(frozen=True)
class DeltaInfo:
    """What a delta says about itself, kept in the file's metadata.

    base_fingerprint  identifies the encoder it belongs to
    labels            names of the classes by index; empty for regression
    """

    strategy: str
    mask_seed: int
    base_fingerprint: str
    task: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class DeltaSize:
    """Bytes of a delta: its tensors, encoder and head apart, and the whole file with its header."""

    encoder: int
    head: int
    file: int


def save(path: Path, applied: Applied, info: DeltaInfo, head_prefix: str = Context.head_prefix) -> DeltaSize:
    """Write the delta of a trained model. Raises StrategyError where `path` cannot be written."""
    content = tensors(applied)
    metadata = {"format": FORMAT, "delta": json.dumps(vars(info))}
    try:
        save_file(content, path, metadata)
    except (OSError, SafetensorError) as error:
        raise StrategyError(f"cannot write the delta {path}: {error}") from None
    head = sum(tensor.nbytes for name, tensor in content.items() if name.startswith(head_prefix))
    return DeltaSize(sum(tensor.nbytes for tensor in content.values()) - head, head, path.stat().st_size)


def load(path: Path, base: nn.Module, base_fingerprint: str) -> nn.Module:
    """Apply a delta to `base`, in place: an untouched encoder with a head of the right shape, trained or not.

    Returns the model it turns into. Raises StrategyError where the file is no delta of this format, belongs to
    another encoder, or does not hold just the tensors its strategy needs.
    """
    info, content = read(path)
    if info.base_fingerprint != base_fingerprint:
        raise StrategyError(
            f"the delta {path} belongs to another encoder: it was trained on {info.base_fingerprint[:12]}, "
            f"this is {base_fingerprint[:12]}"
        )
    applied = strategies.resolve(info.strategy)(base, Context(np.random.default_rng(info.mask_seed)))
    wanted = tensors(applied)
    problem = _mismatch(wanted, content)
    if problem:
        raise StrategyError(f"the delta {path} does not fit {info.strategy!r} on this encoder: {problem}")
    _put(applied, content)
    return applied.model


def read(path: Path) -> tuple[DeltaInfo, dict[str, Tensor]]:
    """What a delta says about itself, and its tensors. Raises StrategyError where it is none of this format."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            content = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise StrategyError(f"{path} is not a readable safetensors file: {error}") from None
    if metadata.get("format") != FORMAT:
        raise StrategyError(
            f"{path} is not a delta this program reads: format {metadata.get('format')!r}, not {FORMAT!r}"
        )
    try:
        fields = json.loads(metadata["delta"])
        return DeltaInfo(**{**fields, "labels": tuple(fields["labels"])}), content
    except (KeyError, TypeError, ValueError):
        raise StrategyError(f"{path} is a damaged delta: its metadata cannot be read") from None


def tensors(applied: Applied) -> dict[str, Tensor]:
    """Name -> tensor, on the CPU, of what a delta of `applied` holds."""
    if applied.base_names is None:
        raise ValueError("the names of the base are not known: apply the strategy through strategies.resolve")
    state = applied.model.state_dict()
    trained = {name for name, parameter in applied.model.named_parameters() if parameter.requires_grad}
    held: dict[str, Tensor] = {}
    for name in sorted(trained | (state.keys() - applied.base_names)):
        indices = applied.expected.changes.get(name)
        if indices is None:
            held[name] = state[name]
        else:
            held[f"{name}.values"] = state[name].flatten()[indices.to(state[name].device)]
            held[f"{name}.indices"] = indices.to(torch.int32)
    return {name: tensor.detach().cpu().contiguous() for name, tensor in held.items()}


def _mismatch(wanted: Mapping[str, Tensor], content: Mapping[str, Tensor]) -> str | None:
    """The first way in which a file's tensors are not those a freshly applied strategy would save."""
    for name in sorted(wanted.keys() | content.keys()):
        if name not in content:
            return f"it lacks {name}"
        if name not in wanted:
            return f"it holds {name}, which this strategy does not train"
        ours, theirs = wanted[name], content[name]
        if (ours.shape, ours.dtype) != (theirs.shape, theirs.dtype):
            return f"{name} is {_kind(theirs)} there and {_kind(ours)} here"
        # Integers are drawn coordinates. A generator that draws others would set the values in the wrong places.
        if not ours.is_floating_point() and not torch.equal(ours, theirs):
            return f"{name} holds other coordinates than mask seed and numpy {np.__version__} draw here"
    return None


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"


def _put(applied: Applied, content: Mapping[str, Tensor]) -> None:
    """Write a delta's tensors into a model of the same strategy."""
    for name, tensor in applied.model.state_dict().items():
        if name in content:
            tensor.copy_(content[name])
        elif f"{name}.values" in content:
            indices = content[f"{name}.indices"].to(tensor.device, torch.int64)
            tensor.view(-1)[indices] = content[f"{name}.values"].to(tensor.device)
