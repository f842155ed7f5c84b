"""What a strategy should train, worked out without looking at what it selected.

For known architectures names and sizes are enumerated from the configuration: layer count and widths. For
others they are read from names and shapes in the model's state. `strategies.roles` walks the modules
instead; an audit that holds the two together finds a wrong selection.
"""

from collections.abc import Mapping, Sequence
from math import prod

import torch
from torch import Tensor

from strategies import GROUPS, ROLES
from strategies.base import Base
from strategies.draw import Drawn
from strategies.interface import Expected
from strategies.layouts import FUSED, LAYOUTS
from strategies.roles import is_bias


def expected_biases(base: Base, roles: Sequence[str] = ROLES, layers: tuple[int, int] | None = None) -> dict[str, int]:
    """Name -> size of the biases of `roles`, by default of all there are; inside a range of layers, or anywhere.

    Of an architecture that is not known, every bias whatever the roles.
    """
    if base.config.model_type in LAYOUTS:
        modules = _modules(base, layers)
        return _had(base, {f"{path}.bias": size for role in roles for path, size in modules[role].items()})
    return {name: prod(shape) for name, shape in _shapes(base).items() if is_bias(name.rpartition(".")[2])}


def expected_bitfit(base: Base, words: Sequence[str] = (), layers: tuple[int, int] | None = None) -> Expected:
    """The expectation of BitFit on the roles that `words` stand for, by default on all biases.

    Of a bias that holds a role and others in equal parts those coordinates train, as the leaf `bias_values`.
    """
    if not words:
        return whole(expected_biases(base, layers=layers))
    roles = {role for word in words for role in GROUPS.get(word, (word,))}
    expected = whole(expected_biases(base, [role for role in ROLES if role in roles], layers))
    for fused, parts in FUSED.items():
        if fused not in base.layout.linears:
            continue
        chosen = [index for index, part in enumerate(parts) if part in roles]
        sizes = expected_biases(base, [fused], layers)
        if len(chosen) == len(parts):
            expected = _both(expected, whole(sizes))
        elif chosen:
            expected = _both(expected, _parts(sizes, len(parts), chosen))
    return expected


def expected_norms(
    base: Base, parts: Sequence[str] = ("gain", "bias"), layers: tuple[int, int] | None = None
) -> dict[str, int]:
    """Name -> size of gain and bias, or one of them, of every norm; inside a range of layers, or anywhere.

    Of an architecture that is not known, the norms are the modules whose weight is a vector.
    """
    own = [{"gain": "weight", "bias": "bias"}[part] for part in parts]
    if base.config.model_type in LAYOUTS:
        modules = _modules(base, layers)
        paths = {path: size for role in ROLES if role.endswith("_norm") for path, size in modules[role].items()}
        return _had(base, {f"{path}.{name}": size for path, size in paths.items() for name in own})
    shapes = _shapes(base)
    norms = [name.rpartition(".")[0] for name, shape in shapes.items() if name.endswith(".weight") and len(shape) == 1]
    wanted = [f"{path}.{name}" for path in norms for name in own]
    return {name: prod(shapes[name]) for name in wanted if name in shapes}


def expected_last_layers(base: Base) -> list[dict[str, int]]:
    """Name -> size of every parameter of each layer, the last one first."""
    shapes = _shapes(base)
    return [
        {name: prod(shape) for name, shape in shapes.items() if name.startswith(layer)}
        for layer in reversed(_layers(base))
    ]


def expected_matrices(base: Base) -> list[str]:
    """Paths of the modules that hold the weight matrices of the encoder layers, from the configuration."""
    return [path for role in base.layout.linears for path in _paths(base, role)]


def expected_linears(base: Base, roles: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Path -> (in, out) of the linear layers of `roles` in the encoder layers, from the configuration.

    Raises StrategyError where the architecture is not known.
    """
    modules, hidden = _modules(base), base.config.hidden_size
    inputs = {"output": _intermediate(base)}
    return {path: (inputs.get(role, hidden), out) for role in roles for path, out in modules[role].items()}


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


def _parts(sizes: Mapping[str, int], count: int, chosen: Sequence[int]) -> Expected:
    """The expectation for those `chosen` of the `count` equal parts of each bias."""
    changes: dict[str, Tensor | None] = {
        name: torch.cat([torch.arange(index * (size // count), (index + 1) * (size // count)) for index in chosen])
        for name, size in sizes.items()
    }
    return Expected({f"{name}_values": len(chosen) * size // count for name, size in sizes.items()}, changes)


def _both(one: Expected, other: Expected) -> Expected:
    """Two expectations that have no tensor in common, as one."""
    return Expected({**one.trainable, **other.trainable}, {**one.changes, **other.changes})


def _had(base: Base, sizes: dict[str, int]) -> dict[str, int]:
    """`sizes`, or where the architecture may lack such parameters those of them that are loaded."""
    if not base.layout.bare:
        return sizes
    loaded = _shapes(base)
    return {name: size for name, size in sizes.items() if name in loaded}


def _modules(base: Base, layers: tuple[int, int] | None = None) -> dict[str, dict[str, int]]:
    """Role -> module path -> width, from the configuration; of roles inside a range of layers, or of all."""
    layout, config = base.layout, base.config
    hidden: int = config.hidden_size
    widths = {
        "intermediate": (1 + layout.gated) * _intermediate(base),
        "embedding_norm": getattr(config, layout.embedding_size),
        **{fused: len(parts) * hidden for fused, parts in FUSED.items()},
    }
    return {role: dict.fromkeys(_paths(base, role, layers), widths.get(role, hidden)) for role in ROLES}


def _intermediate(base: Base) -> int:
    """Width of the first feed-forward layers, from the configuration."""
    width: int = getattr(base.config, base.layout.intermediate_size) or 4 * base.config.hidden_size
    return width


def _paths(base: Base, role: str, layers: tuple[int, int] | None = None) -> list[str]:
    """The module paths of a role, from the configuration; what the architecture may lack, only where loaded."""
    layout = base.layout
    if role in layout.outside:
        paths = [] if layers else [f"{base.prefix}{layout.outside[role]}"]
    else:
        inside = {**layout.linears, **layout.norms}
        first, last = layers or (0, -1)
        paths = [f"{layer}{inside[role]}" for layer in _layers(base)[first : last + 1 or None] if role in inside]
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
