"""The encoder inside a task model, and what strategies do to it: let parameters train, and put modules in places."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

from torch import nn

from strategies.errors import StrategyError
from strategies.interface import Context
from strategies.layouts import LAYOUTS, Layout


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
                f"the {self} is of an architecture whose layers and roles are not known ({', '.join(LAYOUTS)} are); "
                "use a strategy that needs neither: full, bitfit, layernorm or frozen"
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


class StandIn(Protocol):
    """A module that trains a part of another one in its place."""

    @property
    def replaced(self) -> nn.Module:
        """The module in whose place it stands."""

    def write(self) -> object:
        """Put what was trained into the parameters of the module in whose place it stands."""


def stand_in(model: nn.Module, modules: Mapping[str, StandIn]) -> Callable[[], None]:
    """Put each of `modules` in the place of the one at its path; the function returned writes and puts these back."""
    for path, module in modules.items():
        put_module(model, path, cast(nn.Module, module))

    def restore() -> None:
        for path, module in modules.items():
            module.write()
            put_module(model, path, module.replaced)

    return restore
