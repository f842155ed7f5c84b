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
from strategies.roles import LAYOUTS, Base, is_bias


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


def expected_matrices(base: Base) -> dict[str, tuple[int, int]]:
    """Path -> (rows, columns) of the weight matrices of the encoder layers, from the configuration."""
    layout, config = base.layout, base.config
    hidden, inner = config.hidden_size, getattr(config, layout.intermediate_size)
    shapes = {"intermediate": (inner, hidden), "output": (hidden, inner)}
    return {
        f"{base.prefix}{layout.layers}.{index}.{path}": shapes.get(role, (hidden, hidden))
        for index in range(config.num_hidden_layers)
        for role, path in layout.linears.items()
    }


def expected_parameters(base: Base) -> dict[str, int]:
    """Name -> size of every parameter of the encoder, from the model's state."""
    return {name: prod(shape) for name, shape in _shapes(base).items()}


def whole(trainable: Mapping[str, int]) -> Expected:
    """The expectation of a strategy that trains whole tensors under their own names."""
    changes: dict[str, Tensor | None] = dict.fromkeys(trainable)
    return Expected(trainable, changes)


def drawn_subset(base: Base, drawn: Mapping[str, Drawn], leaf: str) -> Expected:
    """The expectation of a random subset of the weight matrices, trained as the tensors named `leaf` beside them.

    The matrices are those the configuration names, and the budget is BitFit's count by the configuration: a draw
    from another tensor or of another size does not meet it.
    """
    inside = {path: drawn[path] for path in expected_matrices(base) if path in drawn}
    return Expected(
        trainable={f"{path}.{leaf}": coordinates.indices.size for path, coordinates in inside.items()},
        changes={f"{path}.weight": torch.from_numpy(coordinates.indices) for path, coordinates in inside.items()},
        budget=sum(expected_biases(base).values()),
    )


def _modules(base: Base) -> dict[str, dict[str, int]]:
    """Role -> module path -> width, from the configuration; modules outside the layers only where loaded."""
    layout, config = base.layout, base.config
    widths = {
        "intermediate": getattr(config, layout.intermediate_size),
        "embedding_norm": getattr(config, layout.embedding_size),
    }
    modules: dict[str, dict[str, int]] = {role: {} for role in ROLES}
    for role, path in {**layout.linears, **layout.norms}.items():
        for index in range(config.num_hidden_layers):
            modules[role][f"{base.prefix}{layout.layers}.{index}.{path}"] = widths.get(role, config.hidden_size)
    for role, path in layout.outside.items():
        if base.has(path):
            modules[role][f"{base.prefix}{path}"] = widths.get(role, config.hidden_size)
    return modules


def _shapes(base: Base) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every parameter of the encoder."""
    return {f"{base.prefix}{name}": tuple(p.shape) for name, p in base.module.named_parameters()}
