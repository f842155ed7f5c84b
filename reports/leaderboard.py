"""The GLUE leaderboard's files: which there are, what stands in them, and whether a written one keeps to it.

A file holds a header `index<TAB>prediction` and a line for every row of the official test set, in its order
(Wang et al., 2018). Classes are written as 0 and 1 or by name; the similarity of STS-B is a number from 0 to 5.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bench.record import TEST_PREDICTIONS, InputError

HEADER = "index\tprediction"
LOWEST, HIGHEST, DECIMALS = 0.0, 5.0, 3
NUMBER = re.compile(rf"[0-9]\.[0-9]{{{DECIMALS}}}")


@dataclass(frozen=True)
class Submission:
    """One file of a submission.

    name     of the file, without its ending
    task     whose predictions it holds
    rows     of the official test set
    classes  how the leaderboard writes each class of the task; empty for a number
    array    name of the predictions in the sidecar of a record
    """

    name: str
    task: str
    rows: int
    classes: Mapping[str, str] = field(default_factory=dict)
    array: str = TEST_PREDICTIONS

    @property
    def file(self) -> str:
        """The file's name."""
        return f"{self.name}.tsv"

    def lines(self, predictions: np.ndarray, labels: Sequence[str]) -> list[str]:
        """The file's lines for class indices into `labels`, or for numbers, which are clipped to the scale.

        Raises InputError where a class has no name on the leaderboard.
        """
        if not self.classes:
            # Adding 0 turns a negative zero into a plain one.
            clipped = np.clip(predictions, LOWEST, HIGHEST) + 0.0
            written = [f"{value:.{DECIMALS}f}" for value in clipped.tolist()]
        else:
            unknown = [label for label in labels if label not in self.classes]
            if unknown or not labels:
                raise InputError(
                    f"{self.file}: the run's classes of {self.task} are {', '.join(labels) or 'not recorded'}; "
                    f"the leaderboard knows {', '.join(self.classes)}"
                )
            written = [self.classes[labels[index]] for index in predictions.tolist()]
        return [HEADER, *(f"{index}\t{prediction}" for index, prediction in enumerate(written))]


def _binary(no: str, yes: str) -> dict[str, str]:
    return {no: "0", yes: "1"}


def _named(*classes: str) -> dict[str, str]:
    return {name: name for name in classes}


_MNLI = _named("entailment", "neutral", "contradiction")

SUBMISSIONS: tuple[Submission, ...] = (
    Submission("CoLA", "cola", 1063, _binary("unacceptable", "acceptable")),
    Submission("SST-2", "sst2", 1821, _binary("negative", "positive")),
    Submission("MRPC", "mrpc", 1725, _binary("not_equivalent", "equivalent")),
    Submission("STS-B", "stsb", 1379),
    Submission("QQP", "qqp", 390_965, _binary("not_duplicate", "duplicate")),
    Submission("MNLI-m", "mnli", 9796, _MNLI),
    Submission("MNLI-mm", "mnli", 9847, _MNLI, f"{TEST_PREDICTIONS}_mismatched"),
    Submission("QNLI", "qnli", 5463, _named("entailment", "not_entailment")),
    Submission("RTE", "rte", 3000, _named("entailment", "not_entailment")),
    Submission("WNLI", "wnli", 146, _binary("not_entailment", "entailment")),
    Submission("AX", "mnli", 1104, _MNLI, f"{TEST_PREDICTIONS}_ax"),
)


def check(path: Path, submission: Submission) -> str | None:
    """As `check_text`, of a written file."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {error}") from None
    return check_text(text, path, submission)


def check_text(text: str, path: Path, submission: Submission) -> str | None:
    """Hold what is to stand in a file against the leaderboard's rules; returns a warning of an unusual length.

    Raises InputError that names the line where the header, an index or a prediction is not as it must be.
    """
    lines = text.removesuffix("\n").split("\n")
    if lines[0] != HEADER:
        raise InputError(f"{path}, line 1: {lines[0]!r}, expected {HEADER!r}")
    for number, line in enumerate(lines[1:], start=2):
        index, _, prediction = line.partition("\t")
        if index != str(number - 2):
            raise InputError(f"{path}, line {number}: index {index!r}, expected {number - 2}")
        if problem := _problem(prediction, submission):
            raise InputError(f"{path}, line {number}: {problem}")
    rows = len(lines) - 1
    if rows != submission.rows:
        return f"{path.name} has {rows:,} rows, the official test set {submission.rows:,}: it would be refused"
    return None


def _problem(prediction: str, submission: Submission) -> str | None:
    if submission.classes:
        allowed = dict.fromkeys(submission.classes.values())
        return None if prediction in allowed else f"prediction {prediction!r} is none of {', '.join(allowed)}"
    if NUMBER.fullmatch(prediction) and float(prediction) <= HIGHEST:
        return None
    return f"prediction {prediction!r} is no number from {LOWEST:g} to {HIGHEST:g} with {DECIMALS} decimals"
