"""Changes in what cost cells measured: step time and memory, as ratios to full fine-tuning of the same run first."""

import math
from collections.abc import Sequence

import numpy as np

from reports.changes import Change, Place, Standing, missing
from reports.run import REFERENCE, Run
from reports.statistics import Interval, Values, clears, round_medians, welch_interval
from reports.verdict import Cost, shape_costs

RATIOS = ("step_ratio", "memory_ratio")
ALWAYS = (*RATIOS, "peak_allocated_bytes")
ON_REQUEST = ("step_seconds", "peak_reserved_bytes", "resident_high_water_bytes")


def cost_changes(before: Run, after: Run, wanted: set[str]) -> list[Change]:
    """Ratios and peaks of every cost cell that is ok in both runs, and other metrics that are `wanted`."""
    pairs = _pairs(before, after)
    return [
        _change(name, place, ours, theirs)
        for name in (*ALWAYS, *(name for name in ON_REQUEST if name in wanted))
        for place, ours, theirs in pairs
        if not (name in RATIOS and ours.timed.cell.strategy == REFERENCE)
    ]


def _pairs(before: Run, after: Run) -> list[tuple[Place, Cost, Cost]]:
    theirs = {
        cost.timed.cell.key: cost for model in after.models for shape in model.shapes for cost in shape_costs(shape)
    }
    return [
        (Place(f"{model.name}, {model.precision}", shape.label, cost.timed.cell.strategy), cost, other)
        for model in before.models
        for shape in model.shapes
        for cost in shape_costs(shape)
        if not cost.timed.cell.replicate
        and (other := theirs.get(cost.timed.cell.key)) is not None
        and cost.result is not None
        and other.result is not None
    ]


def _change(name: str, place: Place, ours: Cost, theirs: Cost) -> Change:
    models = {r.conditions.model_fingerprint for r in (ours.timed.record, theirs.timed.record) if r is not None}
    if len(models) > 1:
        return missing(name, place, None, None, "different models")
    if name == "step_ratio":
        return _ratio(name, place, ours, theirs)
    if name == "step_seconds":
        return _seconds(name, place, ours, theirs)
    before, after = _memory(name, ours), _memory(name, theirs)
    if before is None or after is None:
        return missing(name, place, before, after, "not measured")
    if name not in RATIOS and _method(ours) != _method(theirs):
        return missing(name, place, before, after, "counted by different methods")
    return Change(name, place, before, after, None, 1, "clear")


def _ratio(name: str, place: Place, ours: Cost, theirs: Cost) -> Change:
    if ours.ratio is None or theirs.ratio is None:
        values = [None if cost.ratio is None else cost.ratio.value for cost in (ours, theirs)]
        return missing(name, place, values[0], values[1], ours.why or theirs.why or "no ratio")
    floors = (ours.ratio.floor, theirs.ratio.floor)
    return _log_change(name, place, ours.ratio.logs, theirs.ratio.logs, floors)


def _seconds(name: str, place: Place, ours: Cost, theirs: Cost) -> Change:
    """Absolute step times, compared on one machine only; its drift between the runs is in no interval."""
    records = (ours.timed.record, theirs.timed.record)
    machines = {(r.conditions.device_name, r.conditions.threads) for r in records if r is not None}
    if len(machines) > 1:
        return missing(name, place, ours.median_seconds, theirs.median_seconds, "different machines or threads")
    raw = [cost.timed.seconds for cost in (ours, theirs)]
    medians = [np.empty(0) if seconds is None else round_medians(seconds) for seconds in raw]
    if any(len(side) == 0 or not np.all(side > 0) for side in medians):
        return missing(name, place, ours.median_seconds, theirs.median_seconds, "raw step times missing")
    floors = [None if cost.ratio is None else cost.ratio.floor for cost in (ours, theirs)]
    return _log_change(name, place, np.log(medians[0]), np.log(medians[1]), floors)


def _log_change(name: str, place: Place, before: Values, after: Values, floors: Sequence[float | None]) -> Change:
    """A change of geometric means over rounds; clear where it leaves Welch's interval and both noise floors behind."""
    start, end = math.exp(float(np.mean(before))), math.exp(float(np.mean(after)))
    found, size = welch_interval(before, after), abs(math.log(end / start))
    interval = None if found is None else Interval(start * math.expm1(found.low), start * math.expm1(found.high))
    known = [floor for floor in floors if floor is not None]
    standing: Standing = "unclear"
    reason: str | None = "within the noise of one run, or the interval includes no change"
    if len(known) == len(floors) and all(size <= floor for floor in known):
        standing, reason = "noise", "within the noise of both runs"
    elif interval is None:
        reason = "one round gives no interval"
    elif not interval.includes(0.0) and all(clears(size, floor) for floor in known):
        standing, reason = "clear", None
    return Change(name, place, start, end, interval, min(len(before), len(after)), standing, reason)


def _memory(name: str, cost: Cost) -> float | None:
    memory = None if cost.result is None else cost.result.memory
    if memory is None or name == "memory_ratio":
        return cost.memory_ratio
    found: float | None = getattr(memory, name)
    return found


def _method(cost: Cost) -> str | None:
    return None if cost.result is None or cost.result.memory is None else cost.result.memory.method
