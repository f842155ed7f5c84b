"""The parameters a strategy selects, found in the real module structure.

Every match is by exact module path (`strategies.layouts`) or by module type, never by substring.
`strategies.expectation` works out the same names and counts from the configuration alone, so that an audit
can hold one against the other.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn
from transformers.pytorch_utils import Conv1D

from strategies import ROLES
from strategies.errors import StrategyError
from strategies.interface import Context
from strategies.layouts import FUSED, LAYOUTS, Layout


@dataclass(frozen=True)
class Base:
    """The encoder inside a task model: its name prefix there, the module, and its configuration."""

    prefix: str
    module: nn.Module
    config: Any

    def __str__(self) -> str:
        name = getattr(self.config, "name_or_path", "")
        return f"{self.config.model_type} model" + (f" {name!r}" if name else "")

    @property
    def layout(self) -> Layout:
        """Its architecture's paths. Raises StrategyError where the architecture is not known."""
        if self.config.model_type not in LAYOUTS:
            raise StrategyError(
                f"the {self} is of an architecture whose roles are not known ({', '.join(LAYOUTS)} are); "
                "use a strategy that needs no roles: full, bitfit, layernorm or frozen"
            )
        return LAYOUTS[self.config.model_type]

    def has(self, path: str) -> bool:
        """Whether the encoder holds a module at `path`."""
        try:
            self.module.get_submodule(path)
        except AttributeError:
            return False
        return True


def base_of(model: nn.Module, context: Context) -> Base:
    """The encoder of `model`: its one child that is not the head."""
    ((name, module),) = [(n, m) for n, m in model.named_children() if f"{n}." != context.head_prefix]
    return Base(f"{name}.", module, module.config)


def train_only(model: nn.Module, context: Context, names: Collection[str]) -> None:
    """Let the parameters in `names` and the whole head train, and nothing else."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in names or name.startswith(context.head_prefix))


def put_module(model: nn.Module, path: str, module: nn.Module) -> None:
    """Put `module` in the place of the one at `path`."""
    parent, _, own = path.rpartition(".")
    setattr(model.get_submodule(parent), own, module)


def is_bias(name: str) -> bool:
    """Whether a parameter's own name, without its module's path, is that of a bias."""
    return name == "bias" or name.endswith("_bias")


def bias_names(base: Base) -> list[str]:
    """Every bias of the encoder, whatever its architecture. Raises StrategyError where there is none."""
    names = _bias_names(base)
    if not names:
        raise StrategyError(
            f"the {base} has no biases, which is what this strategy trains; use full, layernorm or frozen, "
            "or a model with biases"
        )
    return names


def bias_count(base: Base) -> int:
    """The number of values BitFit trains on this model. Raises StrategyError where it has no biases."""
    names = _bias_names(base)
    if not names:
        raise StrategyError(f"the {base} has no biases whose count this strategy could copy; give it a budget")
    return sum(base.module.get_parameter(name.removeprefix(base.prefix)).numel() for name in names)


def role_bias_names(base: Base, roles: Sequence[str]) -> list[str]:
    """The biases of `roles`, in the order of the roles.

    Raises StrategyError where the architecture is not known or the model lacks one of them.
    """
    bias_names(base)
    names = []
    for role in roles:
        found = [path for _, path in _places(base, role) if base.has(path)]
        if not found:
            raise StrategyError(f"the {base} has no {role}; {_instead(base, role)}")
        for path in found:
            if getattr(base.module.get_submodule(path), "bias", None) is None:
                raise StrategyError(f"the {base} has no bias at {path} (role {role})")
            names.append(f"{base.prefix}{path}.bias")
    return names


def bias_roles(base: Base) -> dict[str, tuple[int | None, str]] | None:
    """Name -> (layer, role) of every bias the encoder has; the layer is None for those outside the layers.

    None where the architecture is not known: nobody can say then which bias plays which role.
    """
    if base.config.model_type not in LAYOUTS:
        return None
    return {
        f"{base.prefix}{path}.bias": (layer, role)
        for role in ROLES
        for layer, path in _places(base, role)
        if base.has(path) and getattr(base.module.get_submodule(path), "bias", None) is not None
    }


def norm_names(base: Base) -> list[str]:
    """Gain and, where there is one, bias of every LayerNorm or RMSNorm of the encoder, found by module type.

    Raises StrategyError where there is none with parameters.
    """
    names = [
        f"{base.prefix}{path}.{own}"
        for path, module in base.module.named_modules()
        if _is_norm(module)
        for own, _ in module.named_parameters(recurse=False)
    ]
    if not names:
        raise StrategyError(f"the {base} has no LayerNorm or RMSNorm with parameters")
    return names


def layer_linears(base: Base) -> dict[str, nn.Linear | Conv1D]:
    """Every linear layer inside the encoder's layers by its name in the task model; no embeddings, no pooler.

    GPT-2's `Conv1D` is one whose weight is stored transposed, (in, out).

    Raises StrategyError where the architecture is not known.
    """
    layers, _ = base.layout.layers[0]
    return {
        f"{base.prefix}{layers}.{path}": module
        for path, module in base.module.get_submodule(layers).named_modules()
        if isinstance(module, nn.Linear | Conv1D)
    }


def embeddings(base: Base) -> dict[str, nn.Embedding]:
    """The embeddings of words, positions and types, those there are, by their names in the task model.

    Raises StrategyError where the architecture is not known.
    """
    found = {path: base.module.get_submodule(path) for path in base.layout.embeddings if base.has(path)}
    return {f"{base.prefix}{path}": module for path, module in found.items() if isinstance(module, nn.Embedding)}


def weight_shapes(modules: Mapping[str, nn.Linear | Conv1D | nn.Embedding]) -> dict[str, tuple[int, int]]:
    """Name -> (rows, columns) of each module's weight as it is stored."""
    return {name: (module.weight.shape[0], module.weight.shape[1]) for name, module in modules.items()}


def _bias_names(base: Base) -> list[str]:
    return [
        f"{base.prefix}{path}.{own}"
        for path, module in base.module.named_modules()
        for own, _ in module.named_parameters(recurse=False)
        if is_bias(own)
    ]


def _is_norm(module: nn.Module) -> bool:
    """By type. Models bring norms of their own, which share no class with torch's but end their name alike."""
    return isinstance(module, nn.LayerNorm | nn.RMSNorm) or type(module).__name__.endswith(("LayerNorm", "RMSNorm"))


def _layers(base: Base) -> list[str]:
    """The path of every layer in the encoder, a dot at its end."""
    layers = [""]
    for path, _ in base.layout.layers:
        layers = [
            f"{outer}{path}.{name}."
            for outer in layers
            for name, _ in base.module.get_submodule(outer + path).named_children()
        ]
    return layers


def _places(base: Base, role: str) -> Iterator[tuple[int | None, str]]:
    """(layer, path) of a role in the encoder: one a layer for roles inside layers, else one without a layer."""
    layout = base.layout
    inside = {**layout.linears, **layout.norms}
    if role in inside:
        yield from ((index, layer + inside[role]) for index, layer in enumerate(_layers(base)))
    elif role in layout.outside:
        yield None, layout.outside[role]


def _instead(base: Base, role: str) -> str:
    """What to name instead of a role this model lacks: the one it is fused into, or those it has."""
    for fused, parts in FUSED.items():
        if role in parts and fused in base.layout.linears:
            return f"{base.layout.linears[fused]}.bias holds {', '.join(parts)} in one, as the role {fused}"
    return f"it has {', '.join(r for r in ROLES if any(base.has(path) for _, path in _places(base, r)))}"
