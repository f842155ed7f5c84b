"""What it takes to keep one encoder for several tasks: bytes on disk, and the time to change tasks."""

import statistics
from collections.abc import Sequence

from bench.results import QualityResult
from reports import formats
from reports.palette import label
from reports.table import Cell, Column, Table, bars
from reports.verdict import Row, Verdict

TASKS = 10
BYTES_PER_VALUE = 4
CAPTION = (
    f"One encoder and a delta for each of {TASKS} tasks, each as large as the largest here, against {TASKS} copies of "
    "the whole model. A swap takes one delta off the encoder in memory and puts another on, both read beforehand: the "
    "median."
)


def deployment_table(verdict: Verdict) -> Table | None:
    """Every strategy's bytes for several tasks and its swap time; None while no task has a result."""
    found = [(row, results) for row in verdict.rows if (results := _results(verdict, row))]
    if not found:
        return None
    columns = (
        Column("strategy", numeric=False),
        Column("a task", "delta"),
        Column(f"{TASKS} tasks", "on disk"),
        Column("of copies", f"of {TASKS} whole models"),
        Column("swap", "in memory"),
    )
    sizes = [_bytes(row, results) for row, results in found]
    lengths = bars([ours for ours, _ in sizes])
    rows = [
        (
            Cell(label(row.name, row.strategy), strategy=row.strategy),
            Cell(formats.size(row.delta_bytes)),
            Cell(formats.size(ours), bar=length),
            Cell(formats.percent(ours / copies)),
            Cell(formats.seconds(_swap(results))),
        )
        for (row, results), (ours, copies), length in zip(found, sizes, lengths, strict=True)
    ]
    reference = next((index for index, (row, _) in enumerate(found) if row.is_reference), None)
    return Table(CAPTION, columns, tuple(rows), reference)


def _results(verdict: Verdict, row: Row) -> list[QualityResult]:
    """Every result behind a row."""
    arms = [arm for task in verdict.model.tasks for arm in task.arms if arm.name == row.name]
    return [result for arm in arms for _, result in arm.results]


def _bytes(row: Row, results: Sequence[QualityResult]) -> tuple[int, int]:
    """Bytes for all tasks, and of as many copies of encoder and head; the delta of full fine-tuning is such a copy."""
    encoder = BYTES_PER_VALUE * results[0].counts.encoder_total
    deltas = TASKS * max(result.delta_bytes for result in results)
    copies = TASKS * (encoder + max(result.delta_head_bytes for result in results))
    return deltas if row.is_reference else encoder + deltas, copies


def _swap(results: Sequence[QualityResult]) -> float | None:
    """Seconds of a swap, the median over results; None where none was timed."""
    medians = [statistics.median(result.swap_seconds) for result in results if result.swap_seconds]
    return statistics.median(medians) if medians else None
