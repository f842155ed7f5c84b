"""What changes: one module a strategy, one line a strategy in `strategies.table`.

This file imports no torch, so that names can be listed and checked at once.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from strategies.errors import StrategyError
from strategies.naming import (
    Part,
    canonical,
    check,
    decays,
    family,
    is_random,
    is_sized,
    parse,
    selection,
    sentence,
)
from strategies.table import GROUPS, ROLES, TABLE

if TYPE_CHECKING:
    from torch import nn

    from strategies.interface import Applied, Apply, Context

__all__ = [
    "GROUPS",
    "ROLES",
    "TABLE",
    "StrategyError",
    "canonical",
    "check",
    "decays",
    "family",
    "is_random",
    "is_sized",
    "parse",
    "resolve",
    "selection",
    "sentence",
]


def resolve(name: str) -> Callable[[nn.Module, Context], Applied]:
    """The strategy `name` as a function of model and context, its arguments bound; imports torch.

    Raises StrategyError where the name is unknown. The function raises it where the model lacks what the
    strategy trains; the model is then unchanged, but for what earlier parts of a combination did to it.
    """
    parts = parse(name)

    def bound(model: nn.Module, context: Context) -> Applied:
        """Apply the strategy and note the names that the base has."""
        from strategies.combination import combine

        names = frozenset(model.state_dict())
        try:
            applied = _apply(parts[0], model, context) if len(parts) == 1 else combine(parts, model, context, _apply)
        except StrategyError as error:
            raise StrategyError(f"strategy {name!r}: {error}") from None
        return replace(applied, base_names=names)

    return bound


def _apply(part: Part, model: nn.Module, context: Context) -> Applied:
    """Apply one strategy. Raises StrategyError where the extra it needs is not installed."""
    try:
        module = importlib.import_module(part.entry.module)
    except ModuleNotFoundError as error:
        if not part.entry.extra:
            raise
        raise StrategyError(f"it needs {error.name}: pip install 'bitfit-bench[{part.entry.extra}]'") from None
    apply: Apply = module.apply
    return apply(model, context, part.argument)
