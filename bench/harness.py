"""Runs the cells of a run folder one after the other and appends a record for each, whatever became of it."""

import itertools
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

import strategies
from bench import cost, quality
from bench.budget import budget_of
from bench.cell import Cell, CostCell, Planned, QualityCell, TrialCell
from bench.configurations import check_length
from bench.errors import InputError
from bench.measure.calibration import calibrate
from bench.measure.subject import KIND, cost_config, cost_shapes
from bench.measure.validity import available_memory_bytes
from bench.models import shape_only
from bench.outcome import Outcome, attempt, failure
from bench.record import Record
from bench.runs import changed, now_utc, to_do
from bench.search import SearchFailedError, choose
from bench.session import Session
from bench.store import RunStore
from strategies.interface import Context

ERROR_LOG = "errors.log"
SNAPSHOTS = "snapshots"


class Listener(Protocol):
    """Who wants to know how a run goes on."""

    def begin(self, cell: Cell, what: str) -> None:
        """Work on `cell` begins; `what` says which kind."""

    def advance(self, what: str, share: float, loss: float | None) -> None:
        """A share of `what` is done in the current cell; `loss` where it is known."""

    def finish(self, record: Record) -> None:
        """A record was written."""


@dataclass(frozen=True)
class Summary:
    """What a run came to: cells with a record of status ok, and those whose last record is a failure."""

    ok: int
    failed: int


BYTES_A_VALUE = 16
"""What a value that trains on a CPU takes at least: itself, its gradient and Adam's two moments, each in float32."""
BYTES_A_DRAWN_VALUE = 4
"""What it takes of the CPU's memory where another device trains: it is drawn there."""


def preflight(cells: Sequence[Planned], session: Session) -> None:
    """Load every model and data set once, and try every strategy on every architecture, before any cell runs.

    Raises InputError or StrategyError for the first that cannot be had or applied, and InputError for a
    training-set size of a sweep that the task does not have.
    """
    quality_cells = [cell for cell in cells if isinstance(cell, QualityCell)]
    for task in dict.fromkeys(cell.task for cell in quality_cells):
        session.task(task)
    _check_sizes(quality_cells, session)
    for model in dict.fromkeys(cell.model for cell in cells):
        session.encoder(model)
    for trained in quality_cells:
        session.splits(trained)
    tried = {(cell.kind, cell.model, cell.strategy, getattr(cell, "setting", "")): cell for cell in cells}
    for cell in tried.values():
        _try_strategy(cell, session)
    for cell in cells:
        _check_length(cell, session)


def _check_length(cell: Planned, session: Session) -> None:
    """Raises InputError where the cell's sequences are longer than its model has positions for."""
    if isinstance(cell, QualityCell):
        splits, config = session.splits(cell), session.pristine(cell).encoder.config
        length = max(int(split.lengths.max()) for split in (splits.train, splits.selection, splits.evaluation))
    else:
        length, config = cell.length, cost_config(cell, session.encoder(cell.model))
    check_length(cell.model, config, length)


def _check_sizes(cells: Iterable[QualityCell], session: Session) -> None:
    """Of a task that runs at several training-set sizes, each must be one of its own.

    A size beyond the training split would silently repeat the largest. A single bound may lie beyond it: it cuts
    nothing, and the record says how many examples there were.
    """
    sizes: dict[tuple[str, str], set[int | None]] = {}
    for cell in cells:
        sizes.setdefault((cell.model, cell.task), set()).add(cell.train_examples)
    for (_, task), found in sizes.items():
        if len(found) < 2:
            continue
        available = len(session.task(task).train)
        for size in sorted(size for size in found if size is not None):
            if size > available or (size == available and None in found):
                raise InputError(
                    f"task {task!r} has {available} training examples, so a size of {size} is the same as all of "
                    f'them: take it out of train_sizes, where "all" stands for the whole split'
                )


def _try_strategy(cell: Planned, session: Session) -> None:
    """Apply a strategy to a model of the cell's architecture that holds no memory.

    What it would insert is of its full size, so one that could not train here is refused before that is made.
    """
    if isinstance(cell, QualityCell):
        kind = session.task(cell.task).kind
        model = shape_only(session.pristine(cell).encoder.config, kind, 2, cell.pooling)
    else:
        kind, model = KIND, cost_shapes(cell, cost_config(cell, session.encoder(cell.model)))
    available = available_memory_bytes()
    each = BYTES_A_VALUE if session.options.device.type == "cpu" else BYTES_A_DRAWN_VALUE
    most = None if available is None else available // each
    context = Context(np.random.default_rng(0), budget=budget_of(cell, model, kind), most=most)
    strategies.resolve(cell.strategy)(model, context)


def check_unchanged(store: RunStore, session: Session) -> None:
    """Raises InputError that names what changed since the finished cells of this run were measured."""
    keys = {cell.key for cell in store.manifest.cells}
    for record in store.latest().values():
        if record.status == "ok" and (record.key in keys or isinstance(record.cell, TrialCell)):
            differences = changed(record, session.conditions(record.cell)) + _changed_metrics(record, session)
            if differences:
                raise InputError(
                    f"{store.folder} holds finished cells made under other conditions: {'; '.join(differences)}. "
                    "Begin again with --new, or go on all the same with --accept-changed"
                )


def _changed_metrics(record: Record, session: Session) -> list[str]:
    """How the metrics of a finished cell differ from its task's: those of a described task its user can change."""
    result = record.quality or record.trial
    if result is None or isinstance(record.cell, CostCell):
        return []
    task = session.task(record.cell.task)
    then, now = (result.headline, set(result.selection.scores)), (task.headline, set(task.metrics))
    if then == now:
        return []
    return [f"metrics of {task.name} {_metrics(*then)} -> {_metrics(*now)}"]


def _metrics(headline: str, names: set[str]) -> str:
    return ", ".join([headline, *sorted(names - {headline})])


def run(store: RunStore, session: Session, listener: Listener, *, retry_failed: bool = False) -> Summary:
    """Run what is left to do in `store`. An interrupt passes through; what is finished is on disk by then."""
    left = to_do(store, retry_failed=retry_failed)
    costs = [cell for cell in left if isinstance(cell, CostCell)]
    runner = _Runner(store, session, listener, _usable(store, retry_failed=retry_failed))
    groups = _groups(costs, store.manifest.cells)
    precisions = {cell.precision for cells in groups for cell in cells}
    if groups:
        store.append_calibration(calibrate(session.options.device, precisions, "start"))
    for cells in groups:
        runner.run_group(cells)
    if groups:
        store.append_calibration(calibrate(session.options.device, precisions, "end"))
    for cell in left:
        if isinstance(cell, QualityCell):
            runner.run_quality(cell)
    latest = [record.status for key, record in store.latest().items() if key in {c.key for c in store.manifest.cells}]
    return Summary(ok=latest.count("ok"), failed=sum(status != "ok" for status in latest))


def _usable(store: RunStore, *, retry_failed: bool) -> dict[str, Record]:
    """The trials of searches that need not be made again."""
    trials = {key: record for key, record in store.latest().items() if isinstance(record.cell, TrialCell)}
    return {key: record for key, record in trials.items() if record.status == "ok" or not retry_failed}


def _groups(left: Sequence[CostCell], cells: Iterable[Planned]) -> list[list[CostCell]]:
    """The whole group of each cost cell left to do: times mean something only beside their group's."""
    wanted = {cell.group for cell in left}
    groups: dict[str, list[CostCell]] = {}
    for cell in cells:
        if isinstance(cell, CostCell) and cell.group in wanted:
            groups.setdefault(cell.group, []).append(cell)
    return list(groups.values())


@dataclass
class _Runner:
    """Runs cells and writes their records. `trials` are those made so far, by key: a strategy's seeds share them."""

    store: RunStore
    session: Session
    listener: Listener
    trials: dict[str, Record]

    def run_group(self, cells: list[CostCell]) -> None:
        """Run one cost group. Its wall time is shared evenly by its records, whose timings are interleaved."""
        started, begin = now_utc(), time.monotonic()
        turns = len(cells) * (cells[0].rounds + 1)
        count = itertools.count(1)

        def on_turn(cell: CostCell, what: str) -> None:
            self.listener.begin(cell, what)
            self.listener.advance(f"{what}; its group", next(count) / turns, None)

        options = self.session.options
        snapshots = self.store.folder / SNAPSHOTS if options.memory_snapshots else None
        try:
            encoder = self.session.encoder(cells[0].model)
            outcomes = cost.run_group(cells, encoder, options.device, on_turn, snapshots)
        except Exception as error:
            outcomes = {cell.key: failure(error) for cell in cells}
        share = (time.monotonic() - begin) / len(cells)
        for cell in cells:
            self._append(cell, outcomes[cell.key], started, share)

    def run_quality(self, cell: QualityCell) -> None:
        """Run a quality cell, and before it those trials of its search that are not made yet."""
        try:
            search = choose(cell, self._trial)
        except SearchFailedError as error:
            self._append(cell, failure(error), now_utc(), 0.0)
            return
        self.listener.begin(cell, "train")
        self._record(
            cell, lambda: quality.run_quality(cell, self.session, self.store.folder, self.listener.advance, search)
        )

    def _trial(self, cell: TrialCell) -> Record:
        if cell.key not in self.trials:
            self.listener.begin(cell, "try")
            made = self._record(
                cell, lambda: quality.run_trial(cell, self.session, self.store.folder, self.listener.advance)
            )
            self.trials[cell.key] = made
        return self.trials[cell.key]

    def _record(self, cell: Cell, run: Callable[[], Outcome]) -> Record:
        """Run a cell and write its record, with the time it took."""
        started, begin = now_utc(), time.monotonic()
        outcome = attempt(run)
        return self._append(cell, outcome, started, time.monotonic() - begin)

    def _append(self, cell: Cell, outcome: Outcome, started: str, wall_seconds: float) -> Record:
        """Write the record of a cell, and the traceback of one that failed beside it."""
        if outcome.error is not None:
            _log(self.store.folder / ERROR_LOG, cell, outcome.error)
        record = Record(
            key=cell.key,
            cell=cell,
            status=outcome.status,
            reason=outcome.reason,
            started_utc=started,
            wall_seconds=wall_seconds,
            conditions=self.session.conditions(cell),
            marks=self.session.marks(cell),
            warnings=list(outcome.warnings),
            descriptions=self.session.descriptions(cell),
            quality=outcome.quality,
            trial=outcome.trial,
            cost=outcome.cost,
            audit=outcome.audit,
        )
        record = self.store.append(record, dict(outcome.arrays))
        self.listener.finish(record)
        return record


def _log(path: Path, cell: Cell, error: BaseException) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{now_utc()} {cell.key}\n{''.join(traceback.format_exception(error))}\n")
