"""The delta: one safetensors file that holds exactly what fine-tuning changed, the head included.

It holds three sorts of tensors: those of the base that changed as a whole, and what was inserted, each under its own
name; and of a tensor of the base that changed in part the new values and their flat indices, as `<name>.values` and
`<name>.indices`. `strategies.loading` puts it onto a base.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from strategies.errors import StrategyError
from strategies.interface import Applied, Context

FORMAT = "bitfit-bench delta 2"
VALUES, INDICES = ".values", ".indices"

Count = Annotated[int, Field(ge=1, lt=2**31)]
"""A number of outputs or tokens, in a file that anybody may have written."""
SHOWN = 200
"""Characters of a file's own words that a message repeats."""


@dataclass(frozen=True)
class Use:
    """How the model of a delta is built and fed, so that the file and its base are enough to predict with.

    model         the encoder as cells name it: one the program knows, or the name of a folder
    kind          what the head predicts
    pooling       what the head reads
    outputs       width of the head
    max_length    tokens at which texts are cut
    pair          whether an example is two texts
    unanswerable  whether a question may have no answer
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    model: str
    kind: Literal["classification", "regression", "tagging", "span"]
    pooling: Literal["cls", "mean", "last"]
    outputs: Count
    max_length: Count
    pair: bool = False
    unanswerable: bool = False


@dataclass(frozen=True)
class DeltaInfo:
    """What a delta says about itself, kept in the file's metadata beside the version of its format.

    base_fingerprint  identifies the encoder it belongs to
    labels            names of the classes by index; empty for regression
    budget            the `Context.budget` of its strategy
    use               None where whoever wrote it did not say
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    strategy: str
    mask_seed: Annotated[int, Field(ge=0)]
    base_fingerprint: str
    task: str
    labels: tuple[str, ...] = ()
    budget: Annotated[int, Field(ge=1, lt=2**63)] | None = None
    use: Use | None = None


_INFO = TypeAdapter(DeltaInfo)


@dataclass(frozen=True)
class DeltaSize:
    """Bytes of a delta: its tensors, encoder and head apart, and the whole file with its header."""

    encoder: int
    head: int
    file: int


@dataclass(frozen=True)
class Change:
    """New values of one tensor: all of them in its own shape, or those at flat `indices`."""

    values: Tensor
    indices: Tensor | None = None


def save(path: Path, applied: Applied, info: DeltaInfo, head_prefix: str = Context.head_prefix) -> DeltaSize:
    """Write the delta of a finished model. Raises StrategyError where `path` cannot be written."""
    content = tensors(applied, head_prefix)
    metadata = {"format": FORMAT, "delta": json.dumps(asdict(info))}
    try:
        save_file(content, path, metadata)
    except (OSError, SafetensorError) as error:
        raise StrategyError(f"cannot write the delta {path}: {error}") from None
    head = sum(tensor.nbytes for name, tensor in content.items() if name.startswith(head_prefix))
    return DeltaSize(sum(tensor.nbytes for tensor in content.values()) - head, head, path.stat().st_size)


def tensors(applied: Applied, head_prefix: str = Context.head_prefix) -> dict[str, Tensor]:
    """Name -> tensor, on the CPU, of what a delta of `applied`, which is finished, holds.

    A declared change that the model cannot have, which an audit reports, is left out.
    """
    if applied.base_names is None:
        raise ValueError("the names of the base are not known: apply the strategy through strategies.resolve")
    state, moved = applied.model.state_dict(), applied.moved
    of_base = {moved.get(name, name) for name in applied.base_names}
    held = {name: tensor for name, tensor in state.items() if name not in of_base or name.startswith(head_prefix)}
    for name, indices in applied.expected.changes.items():
        tensor = state.get(moved.get(name, name))
        if tensor is None:
            continue
        if indices is None:
            held[name] = tensor
        else:
            inside = indices[(indices >= 0) & (indices < tensor.numel())]
            held[name + VALUES] = tensor.flatten()[inside.to(tensor.device)]
            held[name + INDICES] = inside.to(torch.int32 if tensor.numel() < 2**31 else torch.int64)
    return {name: held[name].detach().cpu().contiguous() for name in sorted(held)}


def info(path: Path) -> DeltaInfo:
    """What a delta says about itself; its tensors are not read. Raises StrategyError as `read` does."""
    return _load(path, tensors=False)[0]


def read(path: Path) -> tuple[DeltaInfo, dict[str, Change]]:
    """What a delta says about itself, and the change of each tensor.

    Raises StrategyError where it is none of this format.
    """
    said, content = _load(path, tensors=True)
    return said, _changes(content, path)


def _load(path: Path, *, tensors: bool) -> tuple[DeltaInfo, dict[str, Tensor]]:
    """What the file says and, where asked for, what it holds."""
    if path.is_dir():
        raise StrategyError(f"{path} is a folder; name the delta in it, a file such as {path / 'x.safetensors'}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            content = {name: file.get_tensor(name) for name in file.keys() if tensors}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise StrategyError(f"{path} is not a readable safetensors file: {error}") from None
    if metadata.get("format") != FORMAT:
        raise StrategyError(
            f"{path} is not a delta this program reads: format {metadata.get('format')!r}, not {FORMAT!r}"
        )
    try:
        return _INFO.validate_json(metadata["delta"], strict=True), content
    except KeyError:
        raise StrategyError(f"{path} is a damaged delta: its metadata says nothing of it") from None
    except ValidationError as error:
        raise StrategyError(f"{path} is a damaged delta: its metadata cannot be read{_where(error)}") from None


def _where(error: ValidationError) -> str:
    """The first field that was wrong, and how; nothing where it is not one of the known fields."""
    first = error.errors(include_input=False, include_url=False)[0]
    place = ".".join(map(str, first["loc"]))
    return f" ({shown(place)}: {shown(first['msg'])})" if place else ""


def shown(text: str) -> str:
    """`text` out of a file as part of one line: quoted and escaped where it is not plain, and cut where it is long."""
    plain = text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
    return plain if plain.isascii() and plain.isprintable() and plain else repr(plain)


def _changes(content: Mapping[str, Tensor], path: Path) -> dict[str, Change]:
    """The change of each tensor, from what the file holds; values and indices of one tensor go together.

    Raises StrategyError where a tensor is there as a whole too.
    """
    partial = {name.removesuffix(INDICES) for name in content if name.endswith(INDICES)}
    partial = {name for name in partial if name + VALUES in content}
    both = sorted(partial & content.keys())
    if both:
        raise StrategyError(f"{path} is a damaged delta: it holds {shown(both[0])} both as a whole and in part")
    apart = {name + end for name in partial for end in (VALUES, INDICES)}
    return {name: Change(tensor) for name, tensor in content.items() if name not in apart} | {
        name: Change(content[name + VALUES], content[name + INDICES]) for name in partial
    }
