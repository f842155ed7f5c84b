"""Two or more runs side by side over the cells they share: another machine, another commit, other versions.

The first run is what the others are compared with. Ratios to full fine-tuning of the same run come first, since they
mean the same on every machine; scores are paired cell by cell. What differs in the conditions is said, and scores
of different data or models are shown but not judged.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Group, RenderableType
from rich.text import Text

from bench.record import InputError, Record
from reports import formats, markdown, run, terminal
from reports.changes import Change, Judgement, judge
from reports.cost_changes import cost_changes
from reports.difference_tables import change_tables, conditions_table, describe
from reports.limits import Limit, parse_limit
from reports.run import Run
from reports.score_changes import score_changes
from reports.table import Table, plain
from reports.tables import describe as describe_cell

__all__ = ["Comparison", "Limit", "Side", "compare", "parse_limit"]

OK, REGRESSION, CANNOT_JUDGE = 0, 1, 3
SAME = "The two are one and the same run, so nothing can differ; name another run to learn something."


@dataclass(frozen=True)
class Side:
    """One run against the first.

    `same` says that it is the first run, or a copy of it. `failed` are records of cells that are ok in the first run
    and failed in this one. `unmet` are limits that nothing shared could be held against. `lost` are records of cells
    that are ok in the first run, planned in this one, and without a record here. `only_before` and `only_after` are
    keys one of the two has a record of.
    """

    run: Run
    same: bool
    conditions: Table
    changes: tuple[Change, ...]
    failed: tuple[Record, ...]
    lost: tuple[Record, ...]
    unmet: tuple[str, ...]
    shared: int
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """1 for a regression, 3 where nothing shared has a result or a limit could not be judged, else 0.

        Where limits are given, a cell that was ok and now fails is a regression, and one that is planned and has no
        record cannot be judged.
        """
        limited = bool(self.unmet) or any(change.limit for change in self.changes)
        if any(change.judgement == "regressed" for change in self.changes) or (limited and self.failed):
            return REGRESSION
        unjudged = bool(self.unmet) or any(change.judgement == "cannot judge" for change in self.changes)
        unjudged = unjudged or (limited and bool(self.lost))
        return CANNOT_JUDGE if unjudged or not self.changes else OK


@dataclass(frozen=True)
class Comparison:
    """All runs against the first."""

    before: Run
    sides: tuple[Side, ...]

    @property
    def exit_code(self) -> int:
        """The program's exit code: 1 where any run regressed, else 3 where any cannot be judged, else 0."""
        codes = {side.exit_code for side in self.sides}
        return REGRESSION if REGRESSION in codes else max(codes)

    def markdown(self) -> str:
        """The comparison as Markdown."""
        parts = [f"# {markdown.escape(_title(self.before))}, compared"]
        for side in self.sides:
            parts.append(f"## {markdown.escape(_title(side.run))}")
            parts += [markdown.escape(line) for line in _lines(side)]
            parts += [part for title, table in _tables(side) for part in (f"### {title}", markdown.table(table))]
        return "\n\n".join(parts) + "\n"

    def __rich__(self) -> RenderableType:
        """The comparison for a terminal."""
        parts: list[RenderableType] = []
        for side in self.sides:
            parts.append(Text(f"{_title(self.before)}  compared with  {_title(side.run)}", style="bold"))
            for title, table in _tables(side):
                parts += [Text(), Text(title, style="bold"), terminal.Stacked(table)]
            parts += [Text(), *(Text(line) for line in _lines(side)), Text()]
        return Group(*parts)


def compare(folders: Sequence[Path], limits: Sequence[Limit] = ()) -> Comparison:
    """Compare the first run folder with each of the others.

    Raises InputError for fewer than two folders, a folder that is no run, or two limits on one metric. Runs that
    share no cell are not an error: the comparison says so and its exit code is 3.
    """
    if len(folders) < 2:
        raise InputError("a comparison takes two run folders or more; name another")
    names = [limit.metric.name for limit in limits]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{name} has more than one limit; give one")
    before, *others = (run.load(folder) for folder in folders)
    return Comparison(before, tuple(_side(before, after, limits) for after in others))


def _side(before: Run, after: Run, limits: Sequence[Limit]) -> Side:
    shared = [key for key in before.latest if key in after.latest]
    by_name = {limit.metric.name: limit for limit in limits}
    found = [*cost_changes(before, after, set(by_name)), *score_changes(before, after, set(by_name))]
    judged = [judge(change, by_name[change.metric]) if change.metric in by_name else change for change in found]
    met = {change.metric for change in found}
    outstanding = set(after.outstanding)
    return Side(
        run=after,
        # Records hold when they began and what they timed: those of two runs are never all equal.
        same=before.manifest == after.manifest and before.latest == after.latest,
        conditions=conditions_table([before.latest[key] for key in shared], [after.latest[key] for key in shared]),
        changes=tuple(judged),
        failed=tuple(
            after.latest[key] for key in shared if before.latest[key].status == "ok" != after.latest[key].status
        ),
        lost=tuple(record for key, record in before.latest.items() if record.status == "ok" and key in outstanding),
        unmet=tuple(limit.text for limit in limits if limit.metric.name not in met),
        shared=len(shared),
        only_before=tuple(key for key in before.latest if key not in after.latest),
        only_after=tuple(key for key in after.latest if key not in before.latest),
    )


def _title(found: Run) -> str:
    return found.folder.name or str(found.folder)


def _lines(side: Side) -> list[str]:
    """What is shared, and the outcome, in words."""
    same = [SAME] if side.same else []
    if not side.shared:
        return [
            *same,
            "Cannot judge: the two runs share no cell. Compare runs of one suite, or of suites that overlap.",
        ]
    lines = [
        *same,
        f"{formats.count(side.shared, 'cell')} shared, {len(side.only_before)} only in the first run, "
        f"{len(side.only_after)} only in the second.",
    ]
    lines += [
        f"Failed here, ok in the first run: {describe_cell(record)} ({record.reason})." for record in side.failed
    ]
    lines += [f"Without a record here, ok in the first run: {describe_cell(record)}." for record in side.lost]
    lines += [f"Damaged: {bad}." for bad in side.run.bad]
    lines += [f"Cannot judge {limit}: no shared cell has this metric." for limit in side.unmet]
    lines += [f"Not comparable, {reason}: {metrics}." for reason, metrics in _incomparable(side.changes)]
    for word in ("cannot judge", "regressed"):
        named = [change for change in side.changes if change.judgement == word]
        lines += [f"{word.capitalize()}: {describe(change)}; limit {change.limit}." for change in named]
    verdicts = [change.judgement for change in side.changes if change.limit]
    if verdicts:
        words: tuple[Judgement, ...] = ("regressed", "improved", "within limit", "cannot judge")
        lines.append("Limits: " + ", ".join(f"{verdicts.count(word)} {word}" for word in words) + ".")
    return lines


def _incomparable(changes: Sequence[Change]) -> list[tuple[str, str]]:
    """Each reason why values are not of the same thing, with the metrics and places it holds for."""
    reasons: dict[str, dict[str, None]] = {}
    for change in changes:
        if change.standing == "incomparable" and change.reason:
            name = f"{formats.metric(change.metric).label} on {change.place.where}"
            reasons.setdefault(change.reason, {})[name] = None
    return [(reason, ", ".join(names)) for reason, names in reasons.items()]


def _tables(side: Side) -> list[tuple[str, Table]]:
    if not side.shared:
        return []
    tables = [("Conditions that differ", side.conditions), *change_tables(side.changes)]
    for title, keys in (("Only in the first run", side.only_before), ("Only in the second run", side.only_after)):
        if keys:
            tables.append((title, plain(f"{formats.count(len(keys), 'cell')}.", ("cell",), [[key] for key in keys])))
    return tables
