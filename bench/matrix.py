"""The matrix of a suite: its sections as cells, each setting and each learning rate resolved."""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

import strategies
from bench import encoders
from bench.cell import CostCell, Planned, QualityCell, Search
from bench.errors import InputError
from bench.search import budget
from bench.settings import ALL, ALTERNATIVES, RATES, Cost, Quality, Training
from bench.validation import explain

Folders = Mapping[str, Path] | None
"""The models that are folders, by name."""
REFERENCE = "full"
BUDGET = frozenset({"budget", "match"})


def cost_cells(section: Cost, folders: Folders) -> list[Planned]:
    """The cells of one cost section; full fine-tuning is always among them, twice."""
    fields = section.model_dump(exclude={"when", "models", "strategies", "shapes"}, exclude_none=True)
    names = [REFERENCE, *(strategies.canonical(name) for name in section.strategies if name != REFERENCE)]
    cells: list[Planned] = []
    for model in section.models:
        pooling = encoders.find(model, folders).pooling
        for batch_size, length in section.shapes:
            shape = {"model": model, "batch_size": batch_size, "length": length, "pooling": pooling, **fields}
            cells += [CostCell(strategy=name, **_for_strategy(shape, name)) for name in names]
            cells.append(CostCell(strategy=REFERENCE, replicate=1, **_for_strategy(shape, REFERENCE)))
    return cells


def check_sizes(cells: list[CostCell]) -> None:
    """Of a model and shape each strategy is measured at one size: what is compared are strategies, told by name."""
    known: dict[str, str] = {}
    for cell in cells:
        place = cell.model_copy(update={"budget": None, "match": None}).key
        if known.setdefault(place, cell.key) != cell.key:
            raise InputError(
                f"strategy {cell.strategy!r} is measured at two budgets in one shape; give sizes in its name instead"
            )


def quality_cells(section: Quality, where: str, folders: Folders) -> list[QualityCell]:
    """The cells of the quality section of `where`, seed by seed, the sizes of a task one after the other.

    Raises InputError where the strategies of a task would not be searched with the same budget.
    """
    pooling = {model: encoders.find(model, folders).pooling for model in section.models}
    names = [strategies.canonical(name) for name in section.strategies]
    cells: list[QualityCell] = []
    for seed, model, task in itertools.product(section.seeds, section.models, section.tasks):
        layers = [section, *filter(None, (section.model.get(model), section.task.get(task)))]
        for sized in _at_sizes({"pooling": pooling[model]} | _settings(layers, where)):
            settings = sized | {"model": model, "task": task, "seed": seed}
            for name, rate in _rates(section, layers, names, where).items():
                cells += [_quality_cell(settings | drawn, name, rate) for drawn in _draws(section, name, seed)]
    _check_budgets(cells)
    return cells


def _draws(section: Quality, strategy: str, seed: int) -> list[dict[str, Any]]:
    """The mask seeds of a strategy at a seed, as settings: its own, or each that the section names."""
    if not strategies.is_random(strategy):
        return [{}]
    return [{"mask_seed": mask} for mask in section.mask_seeds or [seed]]


def _settings(layers: list[Training], where: str) -> dict[str, Any]:
    """Settings of a model on a task, rates apart: the section's, overridden by the model's, then by the task's.

    Raises InputError that names all of what is needed and set by none.
    """
    settings: dict[str, Any] = {}
    for layer in layers:
        own = layer.model_dump(include=set(Training.model_fields) - RATES, exclude_none=True)
        for name in own.keys() & ALTERNATIVES.keys():
            settings.pop(ALTERNATIVES[name], None)
        settings |= own
    needed = {"epochs or steps": "--epochs or --steps", "batch_size": "--batch-size"}
    missing = [name for name in needed if not settings.keys() & {*name.split(" or ")}]
    if missing:
        options = " and ".join(needed[name] for name in missing)
        raise InputError(f"{where} sets no {' and no '.join(missing)}; set in [quality] what is missing, or {options}")
    return {"epochs": None} | settings


def _at_sizes(settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The settings once for every training-set size they name; "all" is no limit."""
    plain = {name: value for name, value in settings.items() if name != "train_sizes"}
    if "train_sizes" not in settings:
        return [plain]
    return [plain | {"train_examples": None if size == ALL else size} for size in settings["train_sizes"]]


def _quality_cell(settings: Mapping[str, Any], strategy: str, rate: float | Search) -> QualityCell:
    if settings.get("weight_decay") and not strategies.decays(strategy):
        raise InputError(f"strategy {strategy!r} needs weight_decay = 0: it would move weights that do not train")
    if isinstance(rate, Search) and settings["seed"] in rate.seeds:
        raise InputError(
            f"seed {settings['seed']} is one of search_seeds too: a rate must not be chosen at its own seed"
        )
    named = {"strategy": strategy, "learning_rate": rate}
    try:
        return QualityCell.model_validate({**_for_strategy(settings, strategy), **named})
    except ValidationError as error:
        raise InputError(f"task {settings['task']!r}, strategy {strategy!r}: {explain(error, [Training])}") from None


def _for_strategy(settings: Mapping[str, Any], strategy: str) -> dict[str, Any]:
    """The settings that mean something to a strategy: a budget is none of one whose size cannot be chosen."""
    # The cell of such a strategy keeps the key, and so the records, that it has where nothing is matched.
    return {k: v for k, v in settings.items() if k not in BUDGET or strategies.is_sized(strategy)}


def _check_budgets(cells: list[QualityCell]) -> None:
    """Of a task either no strategy is searched, or all are and with the same budget; a given rate counts as none."""
    budgets: dict[tuple[str, str], dict[str, str]] = {}
    for cell in cells:
        spent = f"{budget(cell):g} {cell.length_unit} of trials"
        budgets.setdefault((cell.model, cell.task), {})[cell.strategy] = spent
    for (_, task), found in budgets.items():
        if len(set(found.values())) > 1:
            listed = ", ".join(f"{strategy} {spent}" for strategy, spent in found.items())
            raise InputError(
                f"every strategy needs the same search budget, but on {task!r} they differ: {listed}; "
                "give rates to all of them or searches to all"
            )


def _rates(section: Quality, layers: list[Training], names: list[str], where: str) -> dict[str, float | Search]:
    """The learning rate of each strategy, or the search for it. Raises InputError that names all that have neither."""
    found = {name: rate for name in names if (rate := _rate(section, layers, name)) is not None}
    lacking = [name for name in names if name not in found]
    if not lacking:
        return found
    missing = (
        f"no learning rate for {'strategy' if len(lacking) == 1 else 'strategies'} {', '.join(map(repr, lacking))}"
    )
    if any(layer.search for layer in layers):
        lines = ", ".join(f"{name!r} = [1e-3, 3e-3, 1e-2]" for name in lacking)
        raise InputError(f"{missing}; {where} searches the rates of others, so add to its search: {lines}")
    raise InputError(f"{missing}; set {' '.join(f'--learning-rate {name}=1e-3' for name in lacking)}")


def rated_as(strategy: str) -> tuple[str, ...]:
    """The names under which a rate of a strategy is looked for, in this order."""
    plain = strategies.unstored(strategy)
    return strategy, strategies.family(strategy), plain, strategies.family(plain)


def _rate(section: Quality, layers: list[Training], strategy: str) -> float | Search | None:
    """The learning rate of a strategy, or the search for it: what the last layer that names the strategy says.

    None where there is neither a rate nor a search.
    """
    for name in rated_as(strategy):
        for layer in reversed(layers):
            fixed = {strategies.canonical(key): rate for key, rate in layer.learning_rate.items()}
            searched = {strategies.canonical(key): rates for key, rates in layer.search.items()}
            if name in fixed:
                return fixed[name]
            if name in searched:
                rates = tuple(sorted(searched[name]))
                return Search(method=section.search_method, rates=rates, seeds=tuple(section.search_seeds))
    return None
