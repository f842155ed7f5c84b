"""Suites: named lists of cells written in TOML, strictly validated, and what the command line may override."""

import difflib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, InstanceOf, ValidationError

import strategies
from bench import encoders, matrix, tasks
from bench.cell import CostCell, Planned
from bench.errors import InputError
from bench.settings import ALTERNATIVES, RATES, Cost, Quality, Section, Training
from bench.store import suite_hash
from bench.tasks import own
from bench.validation import explain, parse_toml, read_text


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

    def cells(self, *, accelerator: bool, folders: matrix.Folders = None) -> list[Planned]:
        """Every cell, resolved: cost cells first, then quality cells seed by seed, so each strategy is seen early.

        `folders` holds the models that are folders, by name. Raises InputError for a strategy without a learning
        rate, for a model that is not known, and where there is no cell at all.
        """
        resolved: list[Planned] = []
        for section in self.cost:
            if section.when == "always" or accelerator:
                resolved += matrix.cost_cells(section, folders)
        if self.quality is not None:
            resolved += matrix.quality_cells(self.quality, f"suite {self.name}", folders)
        if not resolved:
            raise InputError(f"suite {self.name} has no cells to run here; give it a quality or a cost section")
        unique = {cell.key: cell for cell in resolved}
        matrix.check_sizes([cell for cell in unique.values() if isinstance(cell, CostCell)])
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
