"""What a strategy should train, worked out without looking at what it selected.

For known architectures names and sizes are enumerated from the configuration: layer count and widths. For
others they are read from names and shapes in the model's state. `strategies.roles` walks the modules
instead; an audit that holds the two together finds a wrong selection.
"""

from collections.abc import Mapping, Sequence
from math import prod

import torch
from torch import Tensor

from strategies import ROLES
from strategies.draw import Drawn
from strategies.interface import Expected
from strategies.layouts import FUSED, LAYOUTS
from strategies.roles import Base, is_bias


def expected_biases(base: Base, roles: Sequence[str] = ROLES) -> dict[str, int]:
    """Name -> size of the biases of `roles`, by default of every bias the encoder has."""
    if base.config.model_type in LAYOUTS:
        modules = _modules(base)
        return {f"{path}.bias": size for role in roles for path, size in modules[role].items()}
    return {name: prod(shape) for name, shape in _shapes(base).items() if is_bias(name.rpartition(".")[2])}


def expected_norms(base: Base) -> dict[str, int]:
    """Name -> size of gain and bias of every norm.

    Of an architecture that is not known, the norms are the modules whose weight is a vector.
    """
    if base.config.model_type in LAYOUTS:
        modules = _modules(base)
        paths = {path: size for role in ROLES if role.endswith("_norm") for path, size in modules[role].items()}
        return {f"{path}.{own}": size for path, size in paths.items() for own in ("weight", "bias")}
    shapes = _shapes(base)
    norms = [name.rpartition(".")[0] for name, shape in shapes.items() if name.endswith(".weight") and len(shape) == 1]
    wanted = [f"{path}.{own}" for path in norms for own in ("weight", "bias")]
    return {name: prod(shapes[name]) for name in wanted if name in shapes}


def expected_matrices(base: Base) -> list[str]:
    """Paths of the modules that hold the weight matrices of the encoder layers, from the configuration."""
    return [path for role in base.layout.linears for path in _paths(base, role)]


def expected_embeddings(base: Base) -> list[str]:
    """Paths of the embeddings of words, positions and types, those there are."""
    return [f"{base.prefix}{path}" for path in base.layout.embeddings if base.has(path)]


def expected_parameters(base: Base) -> dict[str, int]:
    """Name -> size of every parameter of the encoder, from the model's state."""
    return {name: prod(shape) for name, shape in _shapes(base).items()}


def whole(trainable: Mapping[str, int]) -> Expected:
    """The expectation of a strategy that trains whole tensors under their own names."""
    changes: dict[str, Tensor | None] = dict.fromkeys(trainable)
    return Expected(trainable, changes)


def drawn_subset(
    base: Base, drawn: Mapping[str, Drawn], leaf: str, budget: int | None = None, *, with_embeddings: bool = False
) -> Expected:
    """The expectation of a subset of the weight matrices, trained as the tensors named `leaf` beside them.

    The matrices are those the configuration names, and without a `budget` it is BitFit's count by the configuration:
    a subset of another tensor or of another size does not meet it.
    """
    matrices = [*expected_matrices(base), *(expected_embeddings(base) if with_embeddings else ())]
    inside = {path: drawn[path] for path in matrices if path in drawn}
    return Expected(
        trainable={f"{path}.{leaf}": coordinates.indices.size for path, coordinates in inside.items()},
        changes={f"{path}.weight": torch.from_numpy(coordinates.indices) for path, coordinates in inside.items()},
        budget=sum(expected_biases(base).values()) if budget is None else budget,
    )


def _modules(base: Base) -> dict[str, dict[str, int]]:
    """Role -> module path -> width, from the configuration."""
    layout, config = base.layout, base.config
    hidden: int = config.hidden_size
    widths = {
        "intermediate": getattr(config, layout.intermediate_size) or 4 * hidden,
        "embedding_norm": getattr(config, layout.embedding_size),
        **{fused: len(parts) * hidden for fused, parts in FUSED.items()},
    }
    return {role: dict.fromkeys(_paths(base, role), widths.get(role, hidden)) for role in ROLES}


def _paths(base: Base, role: str) -> list[str]:
    """The module paths of a role, from the configuration; what the architecture may lack, only where loaded."""
    layout = base.layout
    if role in layout.outside:
        paths = [f"{base.prefix}{layout.outside[role]}"]
    else:
        inside = {**layout.linears, **layout.norms}
        paths = [f"{layer}{inside[role]}" for layer in _layers(base)] if role in inside else []
    if role in layout.outside or role in layout.optional:
        paths = [path for path in paths if base.has(path.removeprefix(base.prefix))]
    return paths


def _layers(base: Base) -> list[str]:
    """The path of every layer, from the lengths the configuration gives; a dot at its end."""
    layers = [base.prefix]
    for path, length in base.layout.layers:
        layers = [f"{outer}{path}.{index}." for outer in layers for index in range(getattr(base.config, length))]
    return layers


def _shapes(base: Base) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every parameter of the encoder."""
    return {f"{base.prefix}{name}": tuple(p.shape) for name, p in base.module.named_parameters()}
