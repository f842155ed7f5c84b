"""Tables of a comparison: what differs in the conditions, and every change metric by metric."""

from collections.abc import Sequence

from bench.metrics import Metric
from bench.record import QualityCell, Record
from reports import formats
from reports.changes import Change
from reports.formats import metric
from reports.palette import style
from reports.table import Cell, Column, Table, plain
from reports.tables import tally

FIELDS = (
    "code_commit",
    "code_dirty",
    "code_fingerprint",
    "device",
    "device_name",
    "driver",
    "threads",
    "wait_policy",
    "precision",
    "attention",
    "python",
    "platform",
)
HASH = 12


def conditions_table(before: Sequence[Record], after: Sequence[Record]) -> Table:
    """Every condition whose values differ between the shared records of two runs."""
    rows = [(name.replace("_", " "), _values(before, name), _values(after, name)) for name in FIELDS]
    packages = sorted({package for record in (*before, *after) for package in record.conditions.versions})
    rows += [(package, _version(before, package), _version(after, package)) for package in packages]
    rows.append(("model fingerprint", _models(before), _models(after)))
    tasks = dict.fromkeys(record.cell.task for record in before if isinstance(record.cell, QualityCell))
    rows += [(f"data of {task}", _data(before, task), _data(after, task)) for task in tasks]
    differing = [row for row in rows if row[1] != row[2]]
    caption = f"{formats.count(len(differing), 'condition')} differ{'s' if len(differing) == 1 else ''}."
    return plain(caption, ("condition", "first run", "second run"), differing)


def change_tables(changes: Sequence[Change]) -> list[tuple[str, Table]]:
    """One table a metric, in the order the changes come."""
    names = dict.fromkeys(change.metric for change in changes)
    return [(metric(name).label, _table(name, [c for c in changes if c.metric == name])) for name in names]


def describe(change: Change) -> str:
    """A change in words: 'accuracy of BitFit on questions (minilm, fp32): 87.5 to 84.4'."""
    unit, place = metric(change.metric), change.place
    values = f"{_value(unit, change.before)} to {_value(unit, change.after)}"
    return f"{unit.label} of {style(place.strategy).label} on {place.where} ({place.model}): {values}"


def _table(name: str, changes: Sequence[Change]) -> Table:
    """Changes of one metric; where both runs have the very same value, only their number is told."""
    unit = metric(name)
    limit = next((change.limit for change in changes if change.limit), "")
    columns = (
        Column("where", numeric=False),
        Column("strategy", numeric=False),
        Column("before"),
        Column("after"),
        Column("change", "95% interval"),
        Column("judgement" if limit else "note", numeric=False),
    )
    shown = [change for change in changes if change.before is None or change.before != change.after]
    several = len({change.place.model for change in changes}) > 1
    caption = {True: "Higher is better.", False: "Lower is better.", None: "Neither direction is better."}
    words = [caption[unit.higher_is_better]]
    words += [f"Limit: {limit}."] if limit else []
    words += [f"The very same in both runs: {len(changes) - len(shown)} of {len(changes)}."]
    return Table(
        " ".join(words), columns if shown else (), tuple(_row(unit, change, named=several) for change in shown)
    )


def _row(unit: Metric, change: Change, *, named: bool) -> tuple[Cell, ...]:
    place = change.place
    judged = change.judgement != "no limit"
    reason = change.reason or ""
    return (
        Cell(f"{place.where} ({place.model})" if named else place.where),
        Cell(style(place.strategy).label),
        Cell(_value(unit, change.before)),
        Cell(_value(unit, change.after)),
        _change(unit, change),
        Cell(
            change.judgement if judged else reason,
            reason if judged else "",
            strong=change.judgement in ("regressed", "improved"),
        ),
    )


def _change(unit: Metric, change: Change) -> Cell:
    """After minus before: scores in points with their interval, everything else also as a percentage of before."""
    if change.before is None or change.after is None or change.standing == "incomparable":
        return Cell(formats.MISSING)
    difference = change.after - change.before
    strong = change.standing == "clear" and difference != 0
    if unit.unit in ("fraction", "loss"):
        factor = formats.scale(unit)
        decimals = 3 if unit.unit == "loss" else 1
        if change.interval is not None and change.interval.half_width > 0:
            decimals = formats.digits(change.interval.half_width * factor)
        note = "" if change.interval is None else formats.interval(change.interval, decimals, factor)
        return Cell(formats.signed(difference * factor, decimals), note, strong=strong)
    if not change.before:
        return Cell(formats.signed(difference, 0), strong=strong)
    factor = 100 / change.before
    decimals = 1
    note = "" if change.interval is None else f"{formats.interval(change.interval, decimals, factor)}%"
    return Cell(f"{formats.signed(difference * factor, decimals)}%", note, strong=strong)


def _value(unit: Metric, value: float | None) -> str:
    if value is None:
        return formats.MISSING
    if unit.unit == "ratio":
        return formats.number(value, max(3, formats.plain_ratio_digits(value)))
    return formats.value(unit, value) if unit.unit in ("fraction", "loss") else unit.format(value)


def _values(records: Sequence[Record], name: str) -> str:
    return tally(getattr(record.conditions, name) for record in records)


def _version(records: Sequence[Record], package: str) -> str:
    return tally(record.conditions.versions.get(package) for record in records)


def _models(records: Sequence[Record]) -> str:
    return tally(record.conditions.model_fingerprint[:HASH] for record in records)


def _data(records: Sequence[Record], task: str) -> str:
    ours = [r for r in records if isinstance(r.cell, QualityCell) and r.cell.task == task]
    return tally((record.conditions.data_fingerprint or formats.MISSING)[:HASH] for record in ours)
