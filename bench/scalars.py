"""The `tensorboard` command: losses, curves and hyperparameters of a run's quality cells as TensorBoard reads them.

Step times and memory are no scalars over training: they are in the report, and in traces (see `bench.profiling`).
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cell import QualityCell
from bench.errors import InputError
from bench.profiles import slug
from bench.record import Record
from bench.results import QualityResult
from bench.store import RunStore

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

STEP_LOSS = "step_loss"
EVENTS = "events.out.tfevents.*"
# What belongs to measuring, and sets nothing about training.
NO_HYPERPARAMETERS = ("kind", "learning_rate", "curve_points", "curve_examples", "selection_examples")
CURVES = {
    "score/train_sample": "train_score",
    "score/evaluation": "evaluation_score",
    "score/selection": "selection_score",
    "loss/train_sample": "train_loss",
    "loss/evaluation": "evaluation_loss",
    "loss/selection": "selection_loss",
}

Value = str | float


@dataclass(frozen=True)
class Written:
    """What was written: the folders of cells, and in words what is not there."""

    folders: tuple[Path, ...]
    notes: tuple[str, ...]


def write(run: Path, to: Path) -> Written:
    """Write every finished quality cell of the run folder `run` into a folder of its own below `to`.

    All values of a cell carry the time it began, as records tell no other. Raises InputError where `run` is no run or
    has no finished quality cell, and where `to` holds a cell's events already or cannot be written.
    """
    store = RunStore.open(run)
    records = list(store.latest().values())
    done = [record for record in records if record.quality is not None and record.status == "ok"]
    if not done:
        raise InputError(f"{run} has no finished quality cell, so there are no curves to write")
    folders = [to / name for name in _names(done)]
    taken = next((folder for folder in folders if any(folder.glob(EVENTS))), None)
    if taken is not None:
        raise InputError(f"{taken} already holds events, and would show them twice; name another folder with --to")
    from torch.utils.tensorboard import SummaryWriter

    notes = []
    hyperparameters = _hyperparameters(done)
    for record, folder, values in zip(done, folders, hyperparameters, strict=True):
        losses = _losses(store, record)
        if isinstance(losses, str):
            notes.append(losses)
            losses = []
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with SummaryWriter(str(folder)) as writer:
                _write_cell(writer, record, losses, values)
        except OSError as error:
            raise InputError(f"cannot write to {folder}: {error.strerror}; name another folder with --to") from None
    failed = sum(isinstance(record.cell, QualityCell) and record.status != "ok" for record in records)
    if failed:
        notes.append(f"{failed} quality cells failed and have no curves; the report says why")
    return Written(tuple(folders), tuple(notes))


def _write_cell(writer: "SummaryWriter", record: Record, losses: Sequence[float], values: Mapping[str, Value]) -> None:
    """Losses of every step, points of the curves, results, and the hyperparameters they go with."""
    from torch.utils.tensorboard.summary import hparams

    if record.quality is None:
        raise ValueError(f"{record.key} has no result")
    began = datetime.fromisoformat(record.started_utc).timestamp()
    for tag, value, step in _scalars(record.quality, losses):
        writer.add_scalar(tag, value, step, walltime=began)
    results = _results(record.quality)
    for tag, found in results.items():
        if found is not None:
            writer.add_scalar(tag, found, record.quality.steps, walltime=began)
    # SummaryWriter.add_hparams would begin a second run for each cell.
    for summary in hparams(dict(values), dict.fromkeys(results, 0.0)):  # type: ignore[no-untyped-call]
        writer.file_writer.add_summary(summary, walltime=began)  # type: ignore[attr-defined]


def _scalars(result: QualityResult, losses: Sequence[float]) -> Iterator[tuple[str, float, int]]:
    """Tag, value and step of every loss and every curve point that exists."""
    for step, loss in enumerate(losses, start=1):
        yield "loss/step", float(loss), step
    for point in result.curve:
        for tag, name in CURVES.items():
            value = getattr(point, name)
            if value is not None:
                yield tag, value, point.step


def _results(result: QualityResult) -> dict[str, float | None]:
    """What a cell came to, by tag; the tags are the same for every cell, whatever its headline metric."""
    return {
        "result/evaluation_score": result.headline_score,
        "result/selection_score": result.selection.scores.get(result.headline),
        "result/generalization_gap": result.gap,
        "result/training_seconds": result.training_seconds,
        "result/trainable_parameters": result.counts.encoder_trainable,
        "result/delta_bytes": result.delta_bytes,
    }


def _losses(store: RunStore, record: Record) -> Sequence[float] | str:
    """The loss of every step; a text that says why where there are none."""
    try:
        found = store.arrays(record).get(STEP_LOSS)
    except InputError as error:
        return str(error)
    return f"{record.key} kept no losses of its steps" if found is None else [float(loss) for loss in found]


def _names(records: Sequence[Record]) -> list[str]:
    """A folder for each cell, 'model/task/strategy/seed-0'; cells that differ in more add part of their key's hash."""
    plain = []
    for record in records:
        cell = record.cell
        if not isinstance(cell, QualityCell):
            raise ValueError(f"{record.key} is no quality cell")
        plain.append("/".join((slug(cell.model), slug(cell.task), slug(cell.strategy), f"seed-{cell.seed}")))
    several = Counter(plain)
    hashes = [record.cell.digest[:8] for record in records]
    return [f"{name}-{part}" if several[name] > 1 else name for name, part in zip(plain, hashes, strict=True)]


def _hyperparameters(records: Sequence[Record]) -> list[dict[str, Value]]:
    """The settings of each cell, the same ones for all: TensorBoard takes their list, and their type, from any one."""
    rows = []
    for record in records:
        fields = record.cell.model_dump(exclude=set(NO_HYPERPARAMETERS))
        given = record.quality.search if record.quality is not None else None
        rate = given.learning_rate if given is not None else getattr(record.cell, "learning_rate", None)
        rows.append(fields | {"learning_rate": rate})
    names = [name for name in rows[0] if any(row[name] is not None for row in rows)]
    numeric = {name for name in names if all(isinstance(row[name], int | float) for row in rows)}
    return [{name: float(row[name]) if name in numeric else str(row[name]) for name in names} for row in rows]
