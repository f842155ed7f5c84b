"""What a person sees while a run goes on: a live display on a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench.cell import Cell, CostCell, TrialCell
from bench.metrics import METRICS, format_seconds
from bench.record import Record

REDRAW_SECONDS = 0.1
SAY_SECONDS = 60.0


def describe(cell: Cell, *, sized: bool = False) -> str:
    """A cell in a few words, where `sized` with the size of its training set."""
    if isinstance(cell, CostCell):
        again = " (A/A)" if cell.replicate else ""
        setting = f" {cell.setting}," if cell.setting else ""
        return f"cost {cell.model} {cell.batch_size}x{cell.length}{setting} {cell.strategy}{again}"
    size = f" on {cell.train_examples or 'all'} examples" if sized else ""
    if isinstance(cell, TrialCell):
        return f"trial {cell.task} {cell.strategy} rate {cell.learning_rate:g} seed {cell.seed}{size}"
    return f"{cell.task} {cell.strategy} seed {cell.seed}{size}"


def result_of(record: Record) -> str:
    """The outcome of a cell in a few words."""
    if record.status != "ok":
        return f"FAILED ({record.status}): {record.reason}"
    if record.quality is not None:
        metric = METRICS[record.quality.headline]
        return f"{metric.label} {metric.format(record.quality.headline_score)}"
    if record.trial is not None:
        metric = METRICS[record.trial.headline]
        return f"{metric.label} {metric.format(record.trial.selection.scores[metric.name])} on the selection split"
    if record.cost is None:
        raise ValueError(f"the record of {record.key} holds no result")
    memory = record.cost.memory
    peak = METRICS["peak_allocated_bytes"].format(memory.peak_allocated_bytes) if memory else None
    step = METRICS["step_seconds"].format(record.cost.step.median_seconds)
    return f"step {step}" + (f", peak {peak}" if peak else "")


def _swept(cells: Sequence[Cell]) -> set[tuple[str, str]]:
    """Models and tasks that are trained on training sets of several sizes."""
    sizes: dict[tuple[str, str], set[int | None]] = {}
    for cell in cells:
        if not isinstance(cell, CostCell):
            sizes.setdefault((cell.model, cell.task), set()).add(cell.train_examples)
    return {place for place, found in sizes.items() if len(found) > 1}


class Remaining:
    """Estimates the time left from the cells done so far: those of the same task and strategy count first."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        self._left = {cell.key: cell for cell in cells}
        self._taken: list[tuple[Cell, float]] = []

    def done(self, record: Record) -> bool:
        """Take note of a finished cell; True where it was one of those planned, not a trial of a search."""
        self._taken.append((record.cell, record.wall_seconds))
        return self._left.pop(record.key, None) is not None

    def seconds(self) -> float | None:
        """Seconds left, or None before anything comparable is done."""
        total = 0.0
        for cell in self._left.values():
            guess = self._guess(cell)
            if guess is None:
                return None
            total += guess
        return total

    def _guess(self, cell: Cell) -> float | None:
        likeness: list[Callable[[Cell], bool]] = [
            lambda other: _kin(other) == _kin(cell) and other.strategy == cell.strategy,
            lambda other: _kin(other) == _kin(cell),
            lambda other: other.kind == cell.kind,
        ]
        for alike in likeness:
            taken = [seconds for other, seconds in self._taken if alike(other)]
            if taken:
                return sum(taken) / len(taken)
        return None


def _kin(cell: Cell) -> str:
    if isinstance(cell, CostCell):
        return f"{cell.model} cost"
    return f"{cell.model} {cell.task} {cell.train_examples}"


class Display:
    """Shows a run as it goes on; a context manager. `on_record` is called after each record, for the report.

    Where it is no terminal, a line says once a minute what a long cell is at.
    """

    def __init__(self, console: Console, cells: Sequence[Cell], done: int, on_record: Callable[[], None]) -> None:
        self._console = console
        self._remaining = Remaining(cells)
        self._total = len(cells) + done
        self._done = done
        self._on_record = on_record
        self._sized = _swept(cells)
        self._current = ""
        self._shown = self._said = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("cells"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._task = self._bar.add_task("starting", total=self._total, completed=done, left="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def begin(self, cell: Cell, what: str) -> None:
        """Show what is worked on now."""
        self._current = self._describe(cell)
        self._update(f"{self._current}: {what}")

    def advance(self, what: str, share: float, loss: float | None) -> None:
        """Show how far the current cell is; redrawn ten times a second at most."""
        now = time.monotonic()
        redraw = loss is not None or now - self._shown > REDRAW_SECONDS
        say = not self._console.is_terminal and now - self._said > SAY_SECONDS
        if not redraw and not say:
            return
        text = f"{self._current}: {what} {share:.0%}" + (f" loss {loss:.3f}" if loss is not None else "")
        if redraw:
            self._shown = now
            self._update(text)
        if say:
            self._say(text)

    def finish(self, record: Record) -> None:
        """Print one line for a finished cell and refresh the report."""
        self._done += self._remaining.done(record)
        name, result = self._describe(record.cell), result_of(record)
        share = " of its group's time" if isinstance(record.cell, CostCell) else ""
        took = format_seconds(record.wall_seconds) + share
        self._say(f"[{self._done}/{self._total}] {name}: {result}  ({took}{self._left(', ')})")
        self._bar.update(self._task, completed=self._done)
        self._on_record()

    def _describe(self, cell: Cell) -> str:
        return describe(cell, sized=not isinstance(cell, CostCell) and (cell.model, cell.task) in self._sized)

    def _say(self, line: str) -> None:
        self._said = time.monotonic()
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _update(self, text: str) -> None:
        self._bar.update(self._task, description=text, left=self._left(""))

    def _left(self, before: str) -> str:
        seconds = self._remaining.seconds()
        return "" if not seconds else f"{before}about {format_seconds(seconds)} left"
