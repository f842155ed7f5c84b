"""The parameters a strategy selects, found in the real module structure.

Every match is by exact module path (`strategies.layouts`) or by module type, never by substring.
`strategies.expectation` works out the same names and counts from the configuration alone, so that an audit
can hold one against the other.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from strategies import GROUPS, ROLES
from strategies.base import Base
from strategies.errors import StrategyError
from strategies.layouts import FUSED, LAYOUTS
from strategies.partial_bias import PartialBias


def is_bias(name: str) -> bool:
    """Whether a parameter's own name, without its module's path, is that of a bias."""
    return name == "bias" or name.endswith("_bias")


def bias_names(base: Base, layers: tuple[int, int] | None = None) -> list[str]:
    """Every bias of the encoder, whatever its architecture, or every one inside a range of its layers.

    Raises StrategyError where there is none, or no such range.
    """
    names = _bias_names(base)
    if not names:
        raise StrategyError(
            f"the {base} has no biases, which is what this strategy trains; give it some with bitfit+add, or "
            "use full, layernorm or frozen, or a model with biases"
        )
    return within(base, names, layers)


def bias_count(base: Base) -> int:
    """The number of values BitFit trains on this model. Raises StrategyError where it has no biases."""
    names = _bias_names(base)
    if not names:
        raise StrategyError(f"the {base} has no biases whose count this strategy could copy; give it a budget")
    return sum(base.module.get_parameter(name.removeprefix(base.prefix)).numel() for name in names)


def role_biases(
    base: Base, words: Sequence[str], layers: tuple[int, int] | None = None
) -> dict[str, torch.Tensor | None]:
    """Name -> None for each bias of the roles and groups of roles in `words`, inside a range of layers or anywhere.

    Where a model fuses a role with others, the coordinates of its biases instead, unless those of all are asked for.

    Raises StrategyError where the architecture is not known, the model has no such layers, lacks one of the roles,
    or all of a group.
    """
    bias_names(base)
    roles: dict[str, None] = {}
    for word in words:
        found = [role for role in GROUPS.get(word, (word,)) if _has_bias(base, role, layers)]
        if not found:
            raise StrategyError(_lacking(base, word, layers))
        roles |= dict.fromkeys(found)
    selected: dict[str, torch.Tensor | None] = {}
    for role in roles:
        parts = FUSED.get(_fused(base, role), (role,))
        chosen = [index for index, part in enumerate(parts) if part in roles]
        for path in _held(base, role, layers):
            bias = _bias_at(base, path)
            if bias is None:
                raise StrategyError(f"the {base} has no bias at {path} (role {role})")
            coordinates = torch.arange(bias.numel()).view(len(parts), -1)[chosen].flatten()
            selected[f"{base.prefix}{path}.bias"] = None if len(chosen) == len(parts) else coordinates
    return selected


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
        if base.has(path) and _bias_at(base, path) is not None
    }


def norm_names(base: Base, parts: Collection[str] = (), layers: tuple[int, int] | None = None) -> list[str]:
    """Gain and, where there is one, bias of every LayerNorm or RMSNorm of the encoder, found by module type.

    Of the two only what `parts` names, and only inside a range of layers, where these are given. Raises StrategyError
    where nothing is left, or there is no such range.
    """
    names = _parameter_names(base, ((path, m) for path, m in base.module.named_modules() if _is_norm(m)))
    wanted = [name for name in names if not parts or ("bias" if is_bias(name.rpartition(".")[2]) else "gain") in parts]
    if not wanted:
        raise StrategyError(f"the {base} has no LayerNorm or RMSNorm with a {' or '.join(parts) or 'parameter'}")
    return within(base, wanted, layers)


def layer_paths(base: Base, layers: tuple[int, int] | None = None) -> list[str]:
    """The name prefix, a dot at its end, of every layer the encoder holds, or of those from a first to a last.

    Layers that share their weights are one. Raises StrategyError where the architecture is not known, or the model
    has fewer layers.
    """
    paths = [f"{base.prefix}{path}" for path in _layers(base)]
    if layers is None:
        return paths
    first, last = layers
    if last >= len(paths):
        raise StrategyError(f"{depth(base)}, counted from 0, and no layer {last}; name a range inside them")
    return paths[first : last + 1]


def depth(base: Base) -> str:
    """How many layers the model holds, in words. Raises StrategyError where the architecture is not known."""
    held, used = len(_layers(base)), base.config.num_hidden_layers
    text = f"the {base} holds {held} layer{'s' if held > 1 else ''}"
    return text if used == held else f"{text} of its own, which share their weights among {used}"


def within(base: Base, names: list[str], layers: tuple[int, int] | None) -> list[str]:
    """Those of `names` that lie inside a range of layers; all of them without one.

    Raises StrategyError where none does, or there is no such range.
    """
    if layers is None:
        return names
    inside = tuple(layer_paths(base, layers))
    kept = [name for name in names if name.startswith(inside)]
    if not kept:
        raise StrategyError(
            f"the {base} has nothing of what this strategy trains in layers {layers[0]} to {layers[1]}"
        )
    return kept


def layer_linears(base: Base) -> dict[str, nn.Linear | Conv1D]:
    """Every linear layer inside the encoder's layers by its name in the task model; no embeddings, no pooler.

    GPT-2's `Conv1D` is one whose weight is stored transposed, (in, out).

    Raises StrategyError where the architecture is not known.
    """
    layers, _ = base.layout.layers[0]
    modules = {
        f"{base.prefix}{layers}.{path}": module for path, module in base.module.get_submodule(layers).named_modules()
    }
    taken = next((name for name, module in modules.items() if isinstance(module, PartialBias)), None)
    if taken is not None:
        raise StrategyError(
            f"{taken} already trains a part of its bias, and a strategy that works on linear layers cannot follow; "
            "name all the roles it fuses, as in bitfit:query_key_value"
        )
    return {name: module for name, module in modules.items() if isinstance(module, nn.Linear | Conv1D)}


def refuse_shared(matrices: Mapping[str, nn.Module]) -> None:
    """Raises StrategyError where two of `matrices`, modules by name, hold one weight: each would train it apart."""
    owners: dict[nn.Parameter, str] = {}
    for path, module in matrices.items():
        other = owners.setdefault(module.get_parameter("weight"), path)
        if other != path:
            raise StrategyError(f"{other} and {path} are two layers with one weight, of which no subset can train")


def role_linears(base: Base, roles: Sequence[str]) -> dict[str, nn.Linear | Conv1D]:
    """The linear layers of `roles` in every layer, by their names in the task model, in the order of the roles.

    Raises StrategyError where the architecture is not known, the model lacks one of the roles, or another strategy
    has already put something in the place of one.
    """
    linears: dict[str, nn.Linear | Conv1D] = {}
    for role in roles:
        found = [path for _, path in _places(base, role) if base.has(path)]
        if not found:
            raise StrategyError(f"the {base} has no {role} layer of its own")
        for path in found:
            module = base.module.get_submodule(path)
            if not isinstance(module, nn.Linear | Conv1D):
                raise StrategyError(
                    f"{base.prefix}{path} is no plain linear layer but a {type(module).__module__}."
                    f"{type(module).__name__}, perhaps from another strategy; leave one of the two out"
                )
            linears[f"{base.prefix}{path}"] = module
    return linears


def held_in(base: Base, roles: Sequence[str]) -> list[str]:
    """`roles` with the one they are fused into in their place, where this architecture fuses them; each once."""
    return list(dict.fromkeys(_fused(base, role) for role in roles))


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
    return [name for name in _parameter_names(base, base.module.named_modules()) if is_bias(name.rpartition(".")[2])]


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


def _fused(base: Base, role: str) -> str:
    """The role that holds `role` and others in one tensor on this model, or `role` itself."""
    return next((whole for whole, parts in FUSED.items() if role in parts and whole in base.layout.linears), role)


def _held(base: Base, role: str, layers: tuple[int, int] | None = None) -> list[str]:
    """Paths of the modules that play a role, or several with it, inside a range of layers or anywhere."""
    inside = tuple(layer_paths(base, layers)) if layers else ("",)
    return [
        path
        for _, path in _places(base, _fused(base, role))
        if f"{base.prefix}{path}".startswith(inside)
        and base.has(path)
        and not isinstance(base.module.get_submodule(path), nn.Identity)
    ]


def _bias_at(base: Base, path: str) -> torch.Tensor | None:
    """The bias of the module at `path`, if it has one."""
    return getattr(base.module.get_submodule(path), "bias", None)


def _has_bias(base: Base, role: str, layers: tuple[int, int] | None = None) -> bool:
    """Whether any module that plays a role has a bias."""
    return any(_bias_at(base, path) is not None for path in _held(base, role, layers))


def _lacking(base: Base, word: str, layers: tuple[int, int] | None) -> str:
    """What to say where no module has a bias that `word` stands for."""
    roles = GROUPS.get(word, (word,))
    if layers is not None and any(_has_bias(base, role) for role in roles):
        return f"{word} lies outside the layers of the {base}; leave out the range of layers, or {word}"
    lacking = f"bias in {word}" if any(_held(base, role) for role in roles) else word
    return f"the {base} has no {lacking}; it has {', '.join(role for role in ROLES if _has_bias(base, role))}"


def _parameter_names(base: Base, modules: Iterable[tuple[str, nn.Module]]) -> list[str]:
    """Names in the task model of the parameters that modules of the encoder hold themselves."""
    return [f"{base.prefix}{path}.{own}" for path, m in modules for own, _ in m.named_parameters(recurse=False)]
