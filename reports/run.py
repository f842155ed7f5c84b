"""A run folder as reports see it: every cell with its record, grouped by model, task, strategy and batch shape."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from bench.arithmetic import Calibration
from bench.record import CostCell, InputError, Manifest, QualityCell, Record, TrialCell
from bench.results import CostResult, QualityResult
from bench.store import BadLine, RunStore
from reports.grouping import IDENTITY, OWN, POOLED, SHAPED, SIZE, by_variant, group, label
from reports.statistics import summarize

REFERENCE = "full"


@dataclass(frozen=True)
class Scored:
    """A quality cell and the last readable record of it; no record: the cell is outstanding."""

    cell: QualityCell
    record: Record | None

    @property
    def result(self) -> QualityResult | None:
        """What it measured, unless it failed: a result that did not pass its audit counts for nothing."""
        return self.record.quality if self.record is not None and self.record.status == "ok" else None


@dataclass(frozen=True)
class Timed:
    """A cost cell, its record, and its raw step times, shaped (rounds, steps); None where there are none to read."""

    cell: CostCell
    record: Record | None
    seconds: np.ndarray | None

    @property
    def result(self) -> CostResult | None:
        """What it measured, unless it failed."""
        return self.record.cost if self.record is not None and self.record.status == "ok" else None


@dataclass(frozen=True)
class Arm:
    """One strategy on one task, over all seeds; `variant` tells apart several settings of one strategy."""

    strategy: str
    variant: str
    cells: tuple[Scored, ...]

    @property
    def name(self) -> str:
        """The strategy, with what sets it apart where it ran at several settings."""
        return label(self.strategy, self.variant)

    @property
    def results(self) -> list[tuple[int, QualityResult]]:
        """Seed and result of every cell that has one."""
        return [(scored.cell.seed, scored.result) for scored in self.cells if scored.result is not None]

    def by_seed(self, value: Callable[[QualityResult], float | None]) -> dict[int, float | None]:
        """`value` of each seed, the mean where a seed ran with several masks."""
        seeds: dict[int, list[float | None]] = {}
        for seed, result in self.results:
            seeds.setdefault(seed, []).append(value(result))
        summaries = {seed: summarize(values) for seed, values in sorted(seeds.items())}
        return {seed: None if found is None else found.mean for seed, found in summaries.items()}


@dataclass(frozen=True)
class Task:
    """A task at one setting, and the strategies that ran on it."""

    name: str
    arms: tuple[Arm, ...]

    @cached_property
    def records(self) -> list[Record]:
        """Every record of the task."""
        return [cell.record for arm in self.arms for cell in arm.cells if cell.record is not None]

    @property
    def headline(self) -> str | None:
        """The headline metric; None while no cell has a result."""
        return next((record.quality.headline for record in self.records if record.quality is not None), None)

    @property
    def marks(self) -> tuple[str, ...]:
        """Every mark on the task's records, once."""
        return tuple(dict.fromkeys(mark for record in self.records for mark in record.marks))

    @property
    def metrics(self) -> list[str]:
        """Every score its records hold, the headline first."""
        scored = (record.quality for record in self.records if record.quality is not None)
        names = dict.fromkeys(name for quality in scored for name in (quality.headline, *quality.evaluation.scores))
        return list(names)

    @property
    def examples(self) -> int | None:
        """Size of the training set; None while no cell that trains on all of it has a result."""
        cells = [cell for arm in self.arms for cell in arm.cells]
        return next((cell.result.train_examples for cell in cells if cell.result), cells[0].cell.train_examples)


@dataclass(frozen=True)
class Sweep:
    """A task at several training-set sizes, the smallest first."""

    name: str
    points: tuple[Task, ...]

    @property
    def largest(self) -> Task:
        """The task at its largest size, which stands for it where one size is shown."""
        return self.points[-1]


@dataclass(frozen=True)
class Shape:
    """Cost cells of one batch shape and setting, which differ in strategy, mask and replicate only."""

    label: str
    timed: tuple[Timed, ...]


@dataclass(frozen=True)
class Model:
    """One model at one precision: what is compared with each other.

    Of a task that ran at several training-set sizes, `tasks` holds the largest; all of them are in its sweep.
    """

    name: str
    precision: str
    tasks: tuple[Task, ...]
    sweeps: tuple[Sweep, ...]
    shapes: tuple[Shape, ...]

    @property
    def measured(self) -> list[Task]:
        """Every task at every size it ran at."""
        points = {sweep.largest.name: sweep.points for sweep in self.sweeps}
        return [point for task in self.tasks for point in points.get(task.name, (task,))]


@dataclass(frozen=True)
class Run:
    """A run folder, read once. `unreadable` says of which records the raw values could not be read, and why."""

    folder: Path
    manifest: Manifest
    cells: tuple[QualityCell | CostCell, ...]
    latest: Mapping[str, Record]
    bad: tuple[BadLine, ...]
    unreadable: tuple[str, ...]
    models: tuple[Model, ...]
    calibrations: tuple[Calibration, ...] = ()

    @property
    def records(self) -> list[Record]:
        """The last readable record of each cell that has one."""
        return list(self.latest.values())

    @property
    def failed(self) -> list[Record]:
        """Records of cells that ran and have no result."""
        return [record for record in self.records if record.status != "ok"]

    @property
    def outstanding(self) -> list[str]:
        """Keys of the cells that have not run yet."""
        return [cell.key for cell in self.cells if cell.key not in self.latest]

    @property
    def marks(self) -> tuple[str, ...]:
        """Every mark of the run, once, in the order met."""
        return tuple(dict.fromkeys(mark for record in self.records for mark in record.marks))


def load(folder: Path) -> Run:
    """Read a run folder. Raises InputError where it is none; damaged records and raw files are told of, not fatal."""
    store = RunStore.open(folder)
    read, bad = store.read()
    # Trials of a search are told of in the records of the cells they were made for.
    records = {record.key: record for record in read if not isinstance(record.cell, TrialCell)}
    cells: dict[str, QualityCell | CostCell] = {cell.key: cell for cell in store.manifest.cells}
    cells |= {key: record.cell for key, record in records.items() if not isinstance(record.cell, TrialCell)}
    latest = {key: records[key] for key in cells if key in records}
    raw, unreadable = _step_seconds(store, latest.values())
    models = _models(list(cells.values()), latest, raw)
    calibrations, damaged = store.calibrations()
    bad += damaged
    return Run(
        folder, store.manifest, tuple(cells.values()), latest, tuple(bad), unreadable, models, tuple(calibrations)
    )


def _step_seconds(store: RunStore, records: Iterable[Record]) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    raw: dict[str, np.ndarray] = {}
    unreadable: list[str] = []
    for record in records:
        if record.cost is None:
            continue
        try:
            raw[record.key] = store.arrays(record)["step_seconds"]
        except KeyError:
            unreadable.append(f"{record.key} has no raw step times beside it")
        except (InputError, OSError, ValueError) as error:
            unreadable.append(str(error))
    return raw, tuple(unreadable)


def _models(
    cells: Sequence[QualityCell | CostCell], latest: Mapping[str, Record], raw: Mapping[str, np.ndarray]
) -> tuple[Model, ...]:
    models: list[Model] = []
    for (name, precision), own in group(cells, lambda cell: (cell.model, cell.precision)):
        scored = [Scored(cell, latest.get(cell.key)) for cell in own if isinstance(cell, QualityCell)]
        timed = [Timed(c, latest.get(c.key), raw.get(c.key)) for c in own if isinstance(c, CostCell)]
        sized = _tasks(scored)
        tasks = tuple(sweep.largest for sweep in sized)
        sweeps = tuple(sweep for sweep in sized if len(sweep.points) > 1)
        models.append(Model(name, precision, tasks, sweeps, _shapes(timed)))
    return tuple(models)


def _tasks(scored: Sequence[Scored]) -> list[Sweep]:
    """Every task at each setting, as a sweep of one or more sizes."""
    shared = [name for name in QualityCell.model_fields if name not in (*POOLED, *OWN, *IDENTITY, SIZE)]
    return [
        _sweep(label(name, variant), own)
        for name, members in group(scored, lambda one: one.cell.task)
        for variant, own in by_variant(members, shared)
    ]


def _sweep(name: str, scored: Sequence[Scored]) -> Sweep:
    sizes = sorted(group(scored, lambda one: one.cell.train_examples), key=lambda pair: pair[0] or math.inf)
    if len(sizes) == 1:
        return Sweep(name, (Task(name, _arms(scored)),))
    return Sweep(name, tuple(Task(f"{name} with {_amount(size, own)}", _arms(own)) for size, own in sizes))


def _amount(size: int | None, scored: Sequence[Scored]) -> str:
    """A training-set size in words; how many all examples are is known from the first result."""
    if size is not None:
        return f"{size:,} examples"
    found = (one.result.train_examples for one in scored if one.result is not None)
    return next((f"all {examples:,} examples" for examples in found), "all examples")


def _arms(scored: Sequence[Scored]) -> tuple[Arm, ...]:
    return tuple(
        Arm(strategy, variant, tuple(own))
        for strategy, members in group(scored, lambda one: one.cell.strategy)
        for variant, own in by_variant(members, OWN)
    )


def _shapes(timed: Sequence[Timed]) -> tuple[Shape, ...]:
    # A suite measures a strategy at one size in a shape, and only some strategies have one to choose.
    given = ("strategy", "replicate", "budget", "match", *SHAPED, *POOLED, *IDENTITY)
    rest = [name for name in CostCell.model_fields if name not in given]
    return tuple(
        Shape(label(place, variant), tuple(own))
        for place, members in group(timed, lambda one: _place(one.cell))
        for variant, own in by_variant(members, rest)
    )


def _place(cell: CostCell) -> str:
    """What a cost cell is a step of, in words. Attention and checkpointing are named wherever they are asked for."""
    shape = f"{cell.batch_size} \N{MULTIPLICATION SIGN} {cell.length} tokens"
    return f"{shape}, {cell.setting}" if cell.setting else shape
