"""Suites: named lists of cells written in TOML, strictly validated, and what the command line may override."""

import difflib
import itertools
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

import strategies
from bench import encoders, tasks
from bench.cell import Cell, CostCell, Fraction, Pooling, Positive, Precision, QualityCell
from bench.errors import InputError
from bench.store import suite_hash

Names = Annotated[list[str], Field(min_length=1)]
Rate = Annotated[float, Field(gt=0.0)]
REFERENCE = "full"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Training(_Strict):
    """Settings of quality cells; a model may override each, and a task any. None leaves the cell's own default."""

    epochs: Annotated[float, Field(gt=0.0)] | None = None
    batch_size: Positive | None = None
    pooling: Pooling | None = None
    train_examples: Positive | None = None
    selection_examples: Positive | None = None
    evaluation_examples: Positive | None = None
    max_length: Positive | None = None
    warmup_fraction: Fraction | None = None
    weight_decay: Annotated[float, Field(ge=0.0)] | None = None
    clip_norm: Annotated[float, Field(gt=0.0)] | None = None
    hidden_dropout: Fraction | None = None
    attention_dropout: Fraction | None = None
    precision: Precision | None = None
    curve_points: Annotated[int, Field(ge=1, le=10)] | None = None
    curve_examples: Positive | None = None
    learning_rate: dict[str, Rate] = {}


class Quality(Training):
    """The matrix of quality cells: every model x task x strategy x seed."""

    models: Names
    tasks: Names
    strategies: Names
    seeds: Annotated[list[int], Field(min_length=1)]
    model: dict[str, Training] = {}
    task: dict[str, Training] = {}


class Cost(_Strict):
    """A matrix of cost cells: every model x strategy x shape, each shape [batch size, length]."""

    when: Literal["always", "accelerator"] = "always"
    models: Names
    strategies: Names
    shapes: Annotated[list[tuple[Positive, Positive]], Field(min_length=1)]
    precision: Precision = "fp32"
    attention_dropout: Fraction | None = None
    rounds: Positive | None = None
    steps_per_round: Positive | None = None


class Suite(_Strict):
    """A suite as written. `timeout_minutes` bounds each quality cell and is no part of any key."""

    name: str
    description: str
    timeout_minutes: Annotated[float, Field(gt=0.0)] | None = None
    quality: Quality | None = None
    cost: list[Cost] = []

    def cells(self, *, accelerator: bool) -> list[Cell]:
        """Every cell, resolved: cost cells first, then quality cells seed by seed, so each strategy is seen early.

        Raises InputError for a strategy without a learning rate.
        """
        resolved: list[Cell] = []
        for section in self.cost:
            if section.when == "always" or accelerator:
                resolved += _cost_cells(section)
        if self.quality is not None:
            resolved += _quality_cells(self.quality)
        unique = {cell.key: cell for cell in resolved}
        return list(unique.values())


def identity(cells: list[Cell]) -> str:
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
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"cannot read the suite {path}: {error}") from None
        return parse(text, str(path))
    if name not in available():
        near = difflib.get_close_matches(name, available(), n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(available())}"
        raise InputError(f"unknown suite {name!r}; {hint} A file works too: ./my-suite.toml")
    return parse((_folder() / f"{name}.toml").read_text(encoding="utf-8"), f"suite {name}")


def parse(text: str, where: str) -> Suite:
    """A suite from TOML text; `where` names it in errors. Every name in it is checked."""
    try:
        return validate(tomllib.loads(text), where)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{where} is not TOML: {error}") from None


def validate(data: Mapping[str, Any], where: str) -> Suite:
    """A suite from plain data, its fields and every strategy and task name checked."""
    try:
        suite = Suite.model_validate(data)
    except ValidationError as error:
        raise InputError(f"{where}: {_explain(error)}") from None
    named = [section.strategies for section in suite.cost] + ([suite.quality.strategies] if suite.quality else [])
    for strategy in itertools.chain.from_iterable(named):
        strategies.check(strategy)
    if suite.quality is not None:
        for task in (*suite.quality.tasks, *suite.quality.task):
            tasks.check(task)
    return suite


def override(suite: Suite, quality: Mapping[str, Any], cost: Mapping[str, Any]) -> Suite:
    """The suite with fields of its quality and cost sections replaced; learning rates are merged."""
    data = suite.model_dump(exclude_unset=True)
    if "quality" in data:
        rates = data["quality"].get("learning_rate", {}) | quality.get("learning_rate", {})
        # What a person asks for on the command line holds everywhere, so it must beat a model's or task's own setting.
        layers = (data["quality"].get(kind, {}).values() for kind in ("model", "task"))
        for settings in itertools.chain.from_iterable(layers):
            for name, value in quality.items():
                if name == "learning_rate":
                    settings.setdefault(name, {}).update(value)
                else:
                    settings.pop(name, None)
        data["quality"] |= dict(quality) | {"learning_rate": rates}
    elif quality:
        raise InputError(f"suite {suite.name} has no quality cells, so {', '.join(quality)} cannot be set")
    data["cost"] = [section | cost for section in data.get("cost", [])]
    return validate(data, f"suite {suite.name} with command-line settings")


def _folder() -> Any:
    return resources.files("bench") / "suites"


def _explain(error: ValidationError) -> str:
    """The first problem in one line; for an unknown key, the nearest known one."""
    problem = error.errors()[0]
    where = ".".join(map(str, problem["loc"]))
    if problem["type"] != "extra_forbidden":
        return f"{where}: {problem['msg']}"
    known = {name for model in (Suite, Quality, Cost, Training) for name in model.model_fields}
    near = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1)
    return f"unknown key {where!r}" + (f"; did you mean {near[0]!r}?" if near else "")


def _cost_cells(section: Cost) -> list[Cell]:
    """The cells of one cost section; full fine-tuning is always among them, twice."""
    fields = section.model_dump(exclude={"when", "models", "strategies", "shapes"}, exclude_none=True)
    names = [REFERENCE, *(strategies.canonical(name) for name in section.strategies if name != REFERENCE)]
    cells: list[Cell] = []
    for model in section.models:
        for batch_size, length in section.shapes:
            shape = {"model": model, "batch_size": batch_size, "length": length, **fields}
            shape["pooling"] = encoders.TABLE[model].pooling if model in encoders.TABLE else "cls"
            cells += [CostCell(strategy=name, **shape) for name in names]
            cells.append(CostCell(strategy=REFERENCE, replicate=1, **shape))
    return cells


def _quality_cells(section: Quality) -> list[Cell]:
    """The cells of the quality section, seed by seed."""
    return [
        _quality_cell(section, model, task, strategy, seed)
        for seed in section.seeds
        for model in section.models
        for task in section.tasks
        for strategy in section.strategies
    ]


def _quality_cell(section: Quality, model: str, task: str, strategy: str, seed: int) -> QualityCell:
    layers = [section, *filter(None, (section.model.get(model), section.task.get(task)))]
    settings: dict[str, Any] = {"pooling": encoders.TABLE[model].pooling if model in encoders.TABLE else "cls"}
    rates: dict[str, float] = {}
    for layer in layers:
        settings |= layer.model_dump(include=set(Training.model_fields) - {"learning_rate"}, exclude_none=True)
        rates |= layer.learning_rate
    rate = rates.get(strategy, rates.get(strategy.partition(":")[0]))
    if rate is None:
        raise InputError(f"no learning rate for strategy {strategy!r}; set one with --learning-rate {strategy}=1e-3")
    for needed in ("epochs", "batch_size"):
        if needed not in settings:
            raise InputError(f"the quality section sets no {needed}")
    drawn = {"mask_seed": seed} if strategies.check(strategy).random else {}
    named = {"model": model, "task": task, "seed": seed, "learning_rate": rate}
    named["strategy"] = strategies.canonical(strategy)
    return QualityCell.model_validate(named | drawn | settings)
