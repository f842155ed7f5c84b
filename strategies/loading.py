"""Deltas onto a base and off again, on for good, and in turns.

A delta is read and checked once. From then on tensors that changed as a whole trade places with those of the base:
nothing is copied, and trading back restores every bit.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import strategies
from strategies import delta
from strategies.delta import Change, DeltaInfo, shown
from strategies.errors import StrategyError
from strategies.interface import Applied, Context, Expected
from strategies.matching import Needed, mismatch
from strategies.naming import Part
from strategies.narrow import converted
from strategies.table import SELECTS, STORES, Entry

Registry = dict[str, Any]
Parts = tuple[Part, ...]


class Delta:
    """A delta read and checked for one base, to be put on and taken off any number of times.

    model  what the base is with it: the base itself, changed in place, where nothing is inserted
    info   what the delta says about itself
    merge  with the delta on, folds what it inserted into the base's own tensors; None where that cannot be

    Of the deltas on one encoder at most one may be on; `Switch` sees to that.
    """

    def __init__(
        self,
        model: nn.Module,
        info: DeltaInfo,
        traded: list["_Traded"],
        surgery: list["_Surgery"],
        merge: Callable[[], None] | None,
    ) -> None:
        self.model = model
        self.info = info
        self.merge = merge
        self._traded = traded
        self._surgery = surgery
        self._on = False

    @property
    def is_finite(self) -> bool:
        """Whether all it trades places with is finite numbers: its own values, or while it is on the base's."""
        return all(bool(one.values.isfinite().all()) for one in self._traded)

    def apply(self) -> nn.Module:
        """Put it on; returns `model`. Raises ValueError where it is on."""
        self._turn(on=True)
        for one in self._surgery:
            _set(one.registry, one.after)
        for tensor in self._traded:
            tensor.trade()
        return self.model

    def remove(self) -> None:
        """Take it off: every tensor and module of the base, its head's too, is as it was.

        Raises ValueError where it is off.
        """
        self._turn(on=False)
        for tensor in reversed(self._traded):
            tensor.trade()
        for one in self._surgery:
            _set(one.registry, one.before)

    def _turn(self, *, on: bool) -> None:
        if self._on == on:
            raise ValueError(f"the delta of {self.info.task!r} is {'on' if on else 'off'} already")
        self._on = on


class Switch:
    """Deltas by name, of which one at most is on.

    Each is prepared for a base of its own head, and all of these share one encoder.
    """

    def __init__(self, deltas: Mapping[str, Delta]) -> None:
        self._deltas = deltas
        self._on: Delta | None = None

    def to(self, name: str) -> nn.Module:
        """Take off what is on, put on the delta called `name`, and return its model. Raises KeyError for no name."""
        wanted = self._deltas[name]
        if wanted is not self._on:
            self.off()
            wanted.apply()
            self._on = wanted
        return wanted.model

    def off(self) -> None:
        """Take off what is on."""
        if self._on is not None:
            self._on.remove()
        self._on = None


def load(path: Path, base: nn.Module, base_fingerprint: str, head_prefix: str = Context.head_prefix) -> Delta:
    """The delta at `path`, put onto `base`; takes and raises what `prepare` does."""
    prepared = prepare(path, base, base_fingerprint, head_prefix)
    prepared.apply()
    return prepared


def merge(
    path: Path, base: nn.Module, base_fingerprint: str, head_prefix: str = Context.head_prefix
) -> tuple[nn.Module, DeltaInfo]:
    """Put the delta at `path` onto `base` for good: a model of the base's own architecture, and what the delta is.

    Raises StrategyError as `prepare` does, and where what the strategy inserts cannot be folded into the base.
    """
    prepared = prepare(path, base, base_fingerprint, head_prefix)
    if prepared.merge is None:
        raise StrategyError(
            f"the delta {path} cannot be merged: what {prepared.info.strategy!r} inserts has no equal among the "
            "encoder's own tensors; use it as a delta"
        )
    if not prepared.is_finite:
        raise StrategyError(f"the delta {path} cannot be merged: it holds values that are no finite numbers")
    model = prepared.apply()
    prepared.merge()
    return model, prepared.info


def prepare(path: Path, base: nn.Module, base_fingerprint: str, head_prefix: str = Context.head_prefix) -> Delta:
    """Read the delta at `path` and check it against `base`, which stays as it is.

    `base` is an encoder with no delta on and a head of the right shape, trained or not. Raises StrategyError where
    the file is no delta of this format, belongs to another encoder, or does not hold what its strategy needs.
    """
    info, changes = delta.read(path)
    if info.base_fingerprint != base_fingerprint:
        raise StrategyError(
            f"the delta {path} belongs to another encoder: it was trained on {shown(info.base_fingerprint[:12])}, "
            f"this is {base_fingerprint[:12]}"
        )
    parts = _parts(path, info)
    untouched, flags = _registries(base), {parameter: parameter.requires_grad for parameter in base.parameters()}
    names = base.state_dict().keys()
    try:
        applied = _applied(path, parts, base, info, _count(changes), head_prefix)
        model, moved = applied.model, applied.moved
        state = model.state_dict(keep_vars=True)
        placed = {moved.get(name, name): change for name, change in changes.items()}
        problem = mismatch(placed, state, _needed(parts, applied, names, state, head_prefix))
        if problem:
            raise StrategyError(f"the delta {path} does not fit {info.strategy!r} on this encoder: {problem}")
        surgery = [_Surgery(own, before, dict(own)) for own, before in untouched if _differ(own, before)]
    finally:
        for own, before in untouched:
            _set(own, before)
        for parameter, flag in flags.items():
            parameter.requires_grad_(flag)
    rounded = {name: Change(values) for name, values in converted(info.strategy, base, changes).items()}
    # In this order: a tensor that is rounded may then change in part.
    both = [*((moved.get(name, name), change) for name, change in rounded.items()), *placed.items()]
    traded = [_Traded.of(state[name], change) for name, change in both]
    return Delta(model, info, traded, surgery, applied.merge)


def _parts(path: Path, info: DeltaInfo) -> Parts:
    """The parts of a delta's strategy but what stores the base narrow. Raises StrategyError where it is unknown."""
    try:
        return tuple(part for part in strategies.parse(info.strategy) if part.entry.order != STORES)
    except StrategyError as error:
        raise StrategyError(f"the delta {path} cannot be loaded: {error}") from None


def _applied(path: Path, parts: Parts, base: nn.Module, info: DeltaInfo, most: int, head_prefix: str) -> Applied:
    """The strategy of a delta of `most` values on `base`, finished; of one that only chooses freely, the base alone.

    What only training needs is no part of a delta, nor what stores the base narrow: that would write to the base.
    """
    if not _fixes_names(parts) and all(part.entry.order == SELECTS for part in parts):
        return Applied(base, Expected({}, {}))
    context = Context(np.random.default_rng(info.mask_seed), head_prefix, budget=info.budget, most=most)
    name = "+".join(str(replace(part, stem=part.entry.loads_as or part.stem)) for part in parts)
    try:
        return strategies.resolve(name)(base, context).finished()
    except StrategyError as error:
        raise StrategyError(f"the delta {path} cannot be loaded: {error}") from None


def _fixes_names(parts: Parts) -> bool:
    """Whether the architecture says which tensors change, and no draw and no training does."""
    return all(part.entry.order != SELECTS or _is_fixed(part.entry) for part in parts)


def _is_fixed(entry: Entry) -> bool:
    """Whether a strategy that selects takes whole roles or layers; others choose single values."""
    return not entry.random and (not entry.sized or (entry.size is not None and entry.size.whole))


def _needed(
    parts: Parts, applied: Applied, names: Collection[str], state: Collection[str], head_prefix: str
) -> Needed:
    """The head, what was inserted, and of the base's `names` those that the strategy changes by its nature."""
    moved, fixed = applied.moved, _fixes_names(parts)
    of_base = {moved.get(name, name) for name in names}
    whole = {name for name in state if name.startswith(head_prefix) or name not in of_base}
    changes = {moved.get(name, name): indices for name, indices in applied.expected.changes.items() if fixed}
    declared = {name: indices is not None for name, indices in changes.items() if name in state}
    return Needed(declared | dict.fromkeys(whole, False), no_others=fixed)


def _count(changes: Mapping[str, Change]) -> int:
    """Values that a delta holds."""
    return sum(change.values.numel() for change in changes.values())


@dataclass
class _Traded:
    """A tensor of the model and the values it does not hold at present: all of them, or those at flat `indices`."""

    tensor: Tensor
    values: Tensor
    indices: Tensor | None

    @classmethod
    def of(cls, tensor: Tensor, change: Change) -> "_Traded":
        """The tensor, and its change on the same device."""
        indices = None if change.indices is None else change.indices.to(tensor.device, torch.int64)
        return cls(tensor, change.values.to(tensor.device), indices)

    def trade(self) -> None:
        """Swap what the tensor holds and what it does not."""
        if self.indices is None:
            self.tensor.data, self.values = self.values, self.tensor.data
        else:
            flat = self.tensor.data.view(-1)
            flat[self.indices], self.values = self.values, flat[self.indices]


@dataclass(frozen=True)
class _Surgery:
    """What one registry of a module holds without the delta and with it."""

    registry: Registry
    before: Registry
    after: Registry


def _registries(model: nn.Module) -> list[tuple[Registry, Registry]]:
    """Where each module keeps its modules, parameters, buffers and hooks, with a copy of each."""
    found = [own for module in model.modules() for own in vars(module).values() if isinstance(own, dict)]
    return [(own, dict(own)) for own in found]


def _differ(one: Registry, other: Registry) -> bool:
    """Whether two registries hold other things, or the same in another order."""
    return list(one) != list(other) or any(one[name] is not other[name] for name in one)


def _set(registry: Registry, content: Registry) -> None:
    """Make `content` what the registry holds, in its order."""
    registry.clear()
    registry.update(content)
