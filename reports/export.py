"""Writes the predictions of a run as the files the GLUE leaderboard takes.

Of several cells of a task that one is exported whose selection score is best: nothing else may decide, and the test
rows have no labels that could.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.record import InputError, QualityCell, Record
from bench.results import QualityResult
from bench.store import RunStore
from reports import formats
from reports.files import write_atomic
from reports.formats import metric
from reports.leaderboard import SUBMISSIONS, Submission, check_text


@dataclass(frozen=True)
class Candidate:
    """A finished quality cell with test predictions."""

    record: Record
    cell: QualityCell
    result: QualityResult

    @property
    def selection_score(self) -> float | None:
        """The headline metric on the selection split."""
        return self.result.selection.scores.get(self.result.headline)

    @property
    def merit(self) -> float:
        """What cells are ranked by: the selection score, turned so that more is better; one without it comes last."""
        return metric(self.result.headline).merit(self.selection_score)


@dataclass(frozen=True)
class Exported:
    """What an export came to, a line each: files written or replaced, those still lacking, and what to look at."""

    written: tuple[str, ...]
    missing: tuple[str, ...]
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        lines = [*self.written]
        lines += [f"missing: {line}" for line in self.missing]
        lines += [f"warning: {line}" for line in self.warnings]
        if self.missing:
            lines.append(f"a submission needs all {len(SUBMISSIONS)} files")
        return "\n".join(lines)


def export(
    folder: Path, to: Path, *, model: str | None = None, strategy: str | None = None, seed: int | None = None
) -> Exported:
    """Write a file into `to` for every test set that one model and strategy of the run `folder` predicted.

    Per task the cell with the best selection score is taken, of those with `seed` where it is given. Raises
    InputError where there are no predictions, where several models or strategies have some and none is named, and
    where a sidecar or `to` cannot be used.
    """
    store = RunStore.open(folder)
    found = _candidates(store)
    if not found:
        raise InputError(f"{folder} holds no test predictions: run with --predict-test and a --data-dir with test.tsv")
    found = _only("model", model, found, lambda one: one.cell.model)
    found = _only("strategy", strategy, found, lambda one: one.cell.strategy)
    if seed is not None:
        found = _only("seed", str(seed), found, lambda one: str(one.cell.seed))
    written, missing, warnings = [], [], []
    for submission in SUBMISSIONS:
        able = [
            one for one in found if one.cell.task == submission.task and submission.array in one.result.test_examples
        ]
        if not able:
            stale = " (the file there is from an earlier export)" if (to / submission.file).exists() else ""
            missing.append(f"{submission.file}: no predictions of task {submission.task}{stale}")
            continue
        best = max(able, key=lambda one: one.merit)
        verb = "replaced" if (to / submission.file).exists() else "wrote"
        warnings += _write(to / submission.file, submission, best, store)
        written.append(f"{verb} {to / submission.file}: {_described(best, len(able), submission)}")
    return Exported(tuple(written), tuple(missing), tuple(warnings))


def _candidates(store: RunStore) -> list[Candidate]:
    return [
        Candidate(record, record.cell, record.quality)
        for record in store.latest().values()
        if record.status == "ok" and isinstance(record.cell, QualityCell) and record.quality is not None
        if record.quality.test_examples
    ]


def _only(what: str, name: str | None, found: Sequence[Candidate], of: Callable[[Candidate], str]) -> list[Candidate]:
    """The candidates called `name`, or all where they share one name. Raises InputError where that leaves a doubt."""
    names = list(dict.fromkeys(map(of, found)))
    if name is None and len(names) > 1:
        raise InputError(
            f"there are test predictions of more than one {what}: {', '.join(names)}; choose with --{what}"
        )
    if name is not None and name not in names:
        raise InputError(f"no test predictions of {what} {name!r}; there are some of {', '.join(names)}")
    return [one for one in found if name is None or of(one) == name]


def _write(path: Path, submission: Submission, chosen: Candidate, store: RunStore) -> list[str]:
    """Write one file, checked before it takes its place; returns warnings."""
    predictions = store.arrays(chosen.record).get(submission.array)
    if predictions is None:
        raise InputError(f"the raw values of {chosen.record.key} hold no {submission.array}")
    lines = submission.lines(predictions, chosen.result.labels)
    text = "\n".join(lines) + "\n"
    warning = check_text(text, path, submission)
    write_atomic(path, text.encode())
    return [] if warning is None else [warning]


def _described(chosen: Candidate, among: int, submission: Submission) -> str:
    cell, headline = chosen.cell, metric(chosen.result.headline)
    score = formats.value(headline, chosen.selection_score)
    rows = formats.count(chosen.result.test_examples[submission.array], "row")
    picked = f"the best of {among} by it" if among > 1 else "the only cell"
    marks = "".join(f" [{mark}]" for mark in chosen.record.marks)
    return (
        f"{rows}, {cell.model}, {cell.strategy}, seed {cell.seed}; selection {headline.label} {score}, {picked}{marks}"
    )
