"""Suites: named lists of cells written in TOML, strictly validated, and what the command line may override."""

import difflib
import itertools
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, InstanceOf, ValidationError

import strategies
from bench import encoders, tasks
from bench.cell import CostCell, Planned, QualityCell, Search
from bench.errors import InputError
from bench.search import budget
from bench.settings import ALL, ALTERNATIVES, Cost, Quality, Section, Training
from bench.store import suite_hash
from bench.tasks import own
from bench.validation import explain, parse_toml, read_text

Folders = Mapping[str, Path] | None
REFERENCE = "full"
RATES = frozenset({"learning_rate", "search"})
BUDGET = frozenset({"budget", "match"})


class Suite(Section):
    """A suite as written. `timeout_minutes` bounds the training of each quality cell and is no part of any key.

    Tasks named by the file that describes them go by their own name once the suite is validated; `own_tasks`, which
    no file can set, holds the descriptions by that name.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    description: str
    timeout_minutes: Annotated[float, Field(gt=0.0)] | None = None
    quality: Quality | None = None
    cost: list[Cost] = Field(default=[])
    own_tasks: dict[str, InstanceOf[own.OwnTask]] = Field(default={}, exclude=True)

    def cells(self, *, accelerator: bool, folders: Folders = None) -> list[Planned]:
        """Every cell, resolved: cost cells first, then quality cells seed by seed, so each strategy is seen early.

        `folders` holds the models that are folders, by name. Raises InputError for a strategy without a learning
        rate, for a model that is not known, and where there is no cell at all.
        """
        resolved: list[Planned] = []
        for section in self.cost:
            if section.when == "always" or accelerator:
                resolved += _cost_cells(section, folders)
        if self.quality is not None:
            resolved += _quality_cells(self.quality, f"suite {self.name}", folders)
        if not resolved:
            raise InputError(f"suite {self.name} has no cells to run here; give it a quality or a cost section")
        unique = {cell.key: cell for cell in resolved}
        _check_sizes([cell for cell in unique.values() if isinstance(cell, CostCell)])
        return list(unique.values())


SECTIONS = (Suite, Quality, Cost, Training)


def identity(cells: list[Planned]) -> str:
    """What makes two suites the same: the hash of their sorted keys."""
    return suite_hash([cell.key for cell in cells])


def available() -> list[str]:
    """Names of the suites that come with the program."""
    return sorted(path.name.removesuffix(".toml") for path in _folder().iterdir() if path.name.endswith(".toml"))


def load(name: str) -> Suite:
    """A suite of the program by name, or any by the path of its TOML file.

    Raises InputError that names the file, the field and what is wrong with it.
    """
    if name.endswith(".toml"):
        path = Path(name)
        return parse(read_text(path, "suite"), str(path), path.parent)
    if name not in available():
        near = difflib.get_close_matches(name, available(), n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(available())}."
        file = Path(f"{name}.toml")
        more = f"Or is it the file ./{file}?" if file.is_file() else "A file works too: ./my-suite.toml"
        raise InputError(f"unknown suite {name!r}; {hint} {more}")
    return parse((_folder() / f"{name}.toml").read_text(encoding="utf-8"), f"suite {name}")


def parse(text: str, where: str, folder: Path = Path()) -> Suite:
    """A suite from TOML text; `where` names it in errors, paths in it are relative to `folder`. Names are checked."""
    return validate(parse_toml(text, where), where, folder)


def validate(data: Mapping[str, Any], where: str, folder: Path = Path()) -> Suite:
    """A suite from plain data, its fields and every strategy and task name checked; task files are read."""
    if data.keys() >= own.KEYS:
        raise InputError(f"{where} describes a task, not a suite; run it with --tasks {where}")
    try:
        suite = Suite.model_validate(data)
    except ValidationError as error:
        raise InputError(f"{where}: {explain(error, SECTIONS)}") from None
    named = [section.strategies for section in suite.cost] + ([suite.quality.strategies] if suite.quality else [])
    for names in named:
        _check_strategies(names, where)
    layers = [suite.quality, *suite.quality.model.values(), *suite.quality.task.values()] if suite.quality else []
    for match in (*(section.match for section in suite.cost), *(layer.match for layer in layers)):
        if match is not None:
            strategies.check(match)
    if suite.quality is None:
        return suite
    names, described = own.resolve(suite.quality.tasks, folder, suite.own_tasks)
    for task in (*names, *suite.quality.task):
        if task not in described:
            tasks.check(task)
    for model in suite.quality.model:
        # Settings may stand ready for a model that the command line asks for.
        if model not in suite.quality.models:
            encoders.find(model)
    for layer in layers:
        _check_rates(layer, where)
    quality = suite.quality.model_copy(update={"tasks": names})
    return suite.model_copy(update={"quality": quality, "own_tasks": described})


def override(suite: Suite, quality: Mapping[str, Any], cost: Mapping[str, Any]) -> Suite:
    """The suite with fields of its quality and cost sections replaced; learning rates are merged."""
    data = suite.model_dump(exclude_unset=True)
    replaced = set(quality) | {ALTERNATIVES[name] for name in quality if name in ALTERNATIVES}
    if data.get("quality") is not None:
        given = quality.get("learning_rate", {})
        # What a person asks for on the command line holds everywhere, so it must beat a model's or task's own setting.
        layers = [layer for kind in ("model", "task") for layer in data["quality"].get(kind, {}).values()]
        for settings in (data["quality"], *layers):
            for name in replaced - {"learning_rate"}:
                settings.pop(name, None)
            for kind in RATES:
                settings[kind] = _without(settings.get(kind, {}), given)
            settings["learning_rate"] |= given
        data["quality"] |= {name: value for name, value in quality.items() if name != "learning_rate"}
    elif quality:
        raise InputError(f"suite {suite.name} has no quality cells, so {', '.join(quality)} cannot be set")
    put_away = {ALTERNATIVES[name] for name in cost if name in ALTERNATIVES}
    kept = [{k: v for k, v in section.items() if k not in put_away} for section in data.get("cost", [])]
    data["cost"] = [{**section, **cost} for section in kept]
    data["own_tasks"] = suite.own_tasks
    return validate(data, f"suite {suite.name} with command-line settings")


def _without(rates: Mapping[str, Any], given: Mapping[str, float]) -> dict[str, Any]:
    """What a file says of the strategies that `given` does not name, which with a stem names all its arguments."""
    return {name: rate for name, rate in rates.items() if not {name, strategies.family(name)} & given.keys()}


def _check_strategies(names: Sequence[str], where: str) -> None:
    """Raises for an unknown strategy, and for one under two names, which would be compared to itself."""
    known: dict[str, str] = {}
    for name in map(strategies.canonical, names):
        first = known.setdefault(strategies.selection(name), name)
        if first != name:
            raise InputError(f"{where}: {first!r} and {name!r} are two names of one strategy; leave one of them out")


def _check_rates(layer: Training, where: str) -> None:
    """Raises for a rate of no known strategy, and for a strategy with both a rate and a search in one place."""
    for strategy in (*layer.learning_rate, *layer.search):
        strategies.check(strategy)
    both = layer.learning_rate.keys() & layer.search.keys()
    if both:
        raise InputError(f"{where}: {min(both)!r} has both a learning rate and a search; give one of the two")


def _folder() -> Any:
    return resources.files("bench") / "suites"


def _cost_cells(section: Cost, folders: Folders) -> list[Planned]:
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


def _check_sizes(cells: list[CostCell]) -> None:
    """Of a model and shape each strategy is measured at one size: what is compared are strategies, told by name."""
    known: dict[str, str] = {}
    for cell in cells:
        place = cell.model_copy(update={"budget": None, "match": None}).key
        if known.setdefault(place, cell.key) != cell.key:
            raise InputError(
                f"strategy {cell.strategy!r} is measured at two budgets in one shape; give sizes in its name instead"
            )


def _quality_cells(section: Quality, where: str, folders: Folders) -> list[QualityCell]:
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
            cells += [_quality_cell(settings, name, _rate(section, layers, name, where)) for name in names]
    _check_budgets(cells)
    return cells


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
    drawn = {"mask_seed": settings["seed"]} if strategies.is_random(strategy) else {}
    named = {"strategy": strategy, "learning_rate": rate}
    try:
        return QualityCell.model_validate({**_for_strategy(settings, strategy), **drawn, **named})
    except ValidationError as error:
        raise InputError(f"task {settings['task']!r}, strategy {strategy!r}: {explain(error, SECTIONS)}") from None


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


def _rate(section: Quality, layers: list[Training], strategy: str, where: str) -> float | Search:
    """The learning rate of a strategy, or the search for it: what the last layer that names the strategy says.

    A strategy with an argument that no layer names goes by its stem. Raises InputError where there is neither.
    """
    for name in (strategy, strategies.family(strategy)):
        for layer in reversed(layers):
            fixed = {strategies.canonical(key): rate for key, rate in layer.learning_rate.items()}
            searched = {strategies.canonical(key): rates for key, rates in layer.search.items()}
            if name in fixed:
                return fixed[name]
            if name in searched:
                rates = tuple(sorted(searched[name]))
                return Search(method=section.search_method, rates=rates, seeds=tuple(section.search_seeds))
    if any(layer.search for layer in layers):
        hint = (
            f"{where} searches the rates of others, so add one line to its search: {strategy!r} = [1e-3, 3e-3, 1e-2]"
        )
    else:
        hint = f"set one with --learning-rate {strategy}=1e-3"
    raise InputError(f"no learning rate for strategy {strategy!r}; {hint}")
