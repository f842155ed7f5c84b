"""Changes in what quality cells measured: scores, gaps, files and counts, paired cell by cell."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from bench.record import Record
from bench.results import QualityResult
from reports.changes import Change, Place, Standing, missing
from reports.formats import metric
from reports.run import Arm, Run, Task
from reports.sentences import spelled
from reports.statistics import paired_difference
from reports.verdict import grain

Value = Callable[[QualityResult], float | None]
Pairs = Sequence[tuple[Record, Record]]

COUNTED: Mapping[str, Value] = {
    "delta_bytes": lambda result: result.delta_bytes,
    "trainable_parameters": lambda result: result.counts.encoder_trainable,
}
ON_REQUEST: Mapping[str, Value] = {
    "loss": lambda result: result.evaluation.loss,
    "training_seconds": lambda result: result.training_seconds,
}
LAST = ("generalization_gap", "error_gap", *ON_REQUEST, *COUNTED)


def score_changes(before: Run, after: Run, wanted: set[str]) -> list[Change]:
    """Headline score, gap, file and count of every arm, and other metrics that are `wanted`; scores come first."""
    found = [
        _change(name, value, Place(f"{model.name}, {model.precision}", spelled(task), arm.name), pairs)
        for model in before.models
        for task in model.measured
        for arm in task.arms
        if (pairs := _pairs(arm, after))
        for name, value in _values(task, wanted).items()
    ]
    return sorted(found, key=lambda change: LAST.index(change.metric) if change.metric in LAST else -1)


def _values(task: Task, wanted: set[str]) -> dict[str, Value]:
    names = [name for name in task.metrics if name == task.headline or name in wanted]
    values: dict[str, Value] = {name: _evaluation(name) for name in names}
    in_points = task.headline is None or metric(task.headline).unit == "fraction"
    values["generalization_gap" if in_points else "error_gap"] = lambda result: result.gap
    requested = {name: value for name, value in ON_REQUEST.items() if name in wanted}
    return {**values, **requested, **COUNTED}


def _evaluation(name: str) -> Value:
    return lambda result: result.evaluation.scores.get(name)


def _pairs(arm: Arm, after: Run) -> list[tuple[Record, Record]]:
    """Records of the arm that are ok in both runs."""
    pairs = ((cell.record, after.latest.get(cell.cell.key)) for cell in arm.cells)
    return [(a, b) for a, b in pairs if a is not None and b is not None and a.status == b.status == "ok"]


def _change(name: str, value: Value, place: Place, pairs: Pairs) -> Change:
    measured = [(value(a.quality), value(b.quality)) for a, b in pairs if a.quality and b.quality]
    both = [(a, b) for a, b in measured if a is not None and b is not None]
    examples = [record.quality.evaluation.examples for pair in pairs for record in pair if record.quality]
    ours, theirs = ({i: pair[side] for i, pair in enumerate(both)} for side in (1, 0))
    found = paired_difference(ours, theirs, grain=grain(metric(name), examples))
    if found is None:
        return missing(name, place, None, None, "a value is missing")
    before, after = (float(np.mean(side)) for side in zip(*both, strict=True))
    if name in COUNTED:
        return Change(name, place, before, after, None, found.n, "clear")
    reason = _incomparable(name, pairs)
    if reason is not None:
        return Change(name, place, before, after, None, found.n, "incomparable", reason)
    standing: Standing = "clear" if found.decided or found.mean == 0 else "unclear"
    if standing == "unclear":
        reason = found.doubt
    return Change(name, place, before, after, found.interval, found.n, standing, reason)


def _incomparable(name: str, pairs: Pairs) -> str | None:
    """Why values of the metric cannot be compared between the runs; None where they can."""
    sides = [(a.conditions, b.conditions) for a, b in pairs]
    if metric(name).unit == "seconds":
        same = all((a.device_name, a.threads) == (b.device_name, b.threads) for a, b in sides)
        return None if same else "different machines or threads"
    if any(a.data_fingerprint != b.data_fingerprint for a, b in sides):
        return "different data"
    return "different models" if any(a.model_fingerprint != b.model_fingerprint for a, b in sides) else None
