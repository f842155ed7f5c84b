"""Where each architecture keeps what: the parameters a strategy selects, found in the real module structure.

Every match is by exact module path or by module type, never by substring. `strategies.expectation` works
out the same names and counts from the configuration alone, so that an audit can hold one against the other.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from strategies import ROLES
from strategies.errors import StrategyError
from strategies.interface import Context


@dataclass(frozen=True)
class Layout:
    """The module paths of one architecture.

    layers             path of the list of layers
    linears, norms     role -> path inside a layer
    outside            role -> path in the encoder; these may be absent (a pooler not loaded)
    intermediate_size  configuration field with the width of the first feed-forward layer
    embedding_size     configuration field with the width of the embeddings
    """

    layers: str
    linears: Mapping[str, str]
    norms: Mapping[str, str]
    outside: Mapping[str, str]
    intermediate_size: str = "intermediate_size"
    embedding_size: str = "hidden_size"


_BERT_LINEARS = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attention_output": "attention.output.dense",
    "intermediate": "intermediate.dense",
    "output": "output.dense",
}
_BERT_NORMS = {"attention_norm": "attention.output.LayerNorm", "output_norm": "output.LayerNorm"}
_BERT_OUTSIDE = {"embedding_norm": "embeddings.LayerNorm", "pooler": "pooler.dense"}

_BERT = Layout("encoder.layer", _BERT_LINEARS, _BERT_NORMS, _BERT_OUTSIDE)
_ELECTRA = Layout(
    "encoder.layer",
    _BERT_LINEARS,
    _BERT_NORMS,
    {"embedding_norm": "embeddings.LayerNorm", "embedding_projection": "embeddings_project"},
    embedding_size="embedding_size",
)
_DISTILBERT = Layout(
    "transformer.layer",
    {
        "query": "attention.q_lin",
        "key": "attention.k_lin",
        "value": "attention.v_lin",
        "attention_output": "attention.out_lin",
        "intermediate": "ffn.lin1",
        "output": "ffn.lin2",
    },
    {"attention_norm": "sa_layer_norm", "output_norm": "output_layer_norm"},
    {"embedding_norm": "embeddings.LayerNorm"},
    intermediate_size="hidden_dim",
)

LAYOUTS: dict[str, Layout] = {
    "bert": _BERT,
    "roberta": _BERT,
    "xlm-roberta": _BERT,
    "electra": _ELECTRA,
    "distilbert": _DISTILBERT,
}
"""Known architectures by the `model_type` of their configuration."""


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


def is_bias(name: str) -> bool:
    """Whether a parameter's own name, without its module's path, is that of a bias."""
    return name == "bias" or name.endswith("_bias")


def bias_names(base: Base) -> list[str]:
    """Every bias of the encoder, whatever its architecture. Raises StrategyError where there is none."""
    names = [
        f"{base.prefix}{path}.{own}"
        for path, module in base.module.named_modules()
        for own, _ in module.named_parameters(recurse=False)
        if is_bias(own)
    ]
    if not names:
        raise StrategyError(
            f"the {base} has no biases, and this strategy trains biases or copies their count; "
            "use full, layernorm or frozen, or a model with biases"
        )
    return names


def bias_count(base: Base) -> int:
    """The number of values BitFit trains on this model. Raises StrategyError where it has no biases."""
    return sum(base.module.get_parameter(name.removeprefix(base.prefix)).numel() for name in bias_names(base))


def role_bias_names(base: Base, roles: Sequence[str]) -> list[str]:
    """The biases of `roles`, in the order of the roles.

    Raises StrategyError where the architecture is not known or the model lacks one of them.
    """
    bias_names(base)
    names = []
    for role in roles:
        found = [path for path in _paths(base, role) if base.has(path)]
        if not found:
            raise StrategyError(f"the {base} has no {role}; it has {', '.join(_present(base))}")
        for path in found:
            if getattr(base.module.get_submodule(path), "bias", None) is None:
                raise StrategyError(f"the {base} has no bias at {path} (role {role})")
            names.append(f"{base.prefix}{path}.bias")
    return names


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


def layer_linears(base: Base) -> dict[str, nn.Linear]:
    """Every linear layer inside the encoder's layers by its name in the task model; no embeddings, no pooler.

    Raises StrategyError where the architecture is not known.
    """
    layers = base.layout.layers
    return {
        f"{base.prefix}{layers}.{path}": module
        for path, module in base.module.get_submodule(layers).named_modules()
        if isinstance(module, nn.Linear)
    }


def _is_norm(module: nn.Module) -> bool:
    """By type. Models bring norms of their own, which share no class with torch's but end their name alike."""
    return isinstance(module, nn.LayerNorm | nn.RMSNorm) or type(module).__name__.endswith(("LayerNorm", "RMSNorm"))


def _paths(base: Base, role: str) -> Iterator[str]:
    """The paths of a role in the encoder, one a layer for roles inside layers."""
    layout = base.layout
    inside = {**layout.linears, **layout.norms}
    if role in inside:
        for name, _ in base.module.get_submodule(layout.layers).named_children():
            yield f"{layout.layers}.{name}.{inside[role]}"
    elif role in layout.outside:
        yield layout.outside[role]


def _present(base: Base) -> list[str]:
    """The roles this model has."""
    return [role for role in ROLES if any(base.has(path) for path in _paths(base, role))]
