"""GLUE tasks from a folder in the original layout: `D/glue/<Task>/{train,dev}.tsv` (Wang et al., 2018).

The official dev file is the evaluation split; the test files have no labels. Class order and names are those
of the hub's version, so that the same data has the same fingerprint from either place.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.errors import DataError
from bench.tasks import Entry
from bench.tasks.base import Example, Source, TaskData
from bench.tasks.files import data_folder, read_tsv
from bench.tasks.splits import split_official

STSB_HIGHEST = 5.0


@dataclass(frozen=True)
class Layout:
    """How the files of one task look.

    folder    name of its folder
    text      columns of the sentences
    label     column of the label
    labels    names of the classes in order; empty for regression
    written   how the file writes the classes, in the same order
    columns   all columns of a file without a header line; empty where there is one
    overlaps  families of tuning corpora the data belongs to; STS-B takes a third of its pairs from image captions
    """

    folder: str
    text: tuple[str, ...]
    label: str
    metrics: tuple[str, ...]
    labels: tuple[str, ...] = ()
    written: tuple[str, ...] = ("0", "1")
    columns: tuple[str, ...] = ()
    overlaps: tuple[str, ...] = ()


PAIR = ("sentence1", "sentence2")
LAYOUTS = {
    "cola": Layout(
        folder="CoLA",
        text=("sentence",),
        label="label",
        metrics=("matthews_correlation", "accuracy"),
        labels=("unacceptable", "acceptable"),
        columns=("source", "label", "original", "sentence"),
    ),
    "sst2": Layout("SST-2", ("sentence",), "label", ("accuracy",), ("negative", "positive")),
    "mrpc": Layout(
        folder="MRPC",
        text=("#1 String", "#2 String"),
        label="Quality",
        metrics=("f1", "accuracy"),
        labels=("not_equivalent", "equivalent"),
    ),
    "rte": Layout(
        folder="RTE",
        text=PAIR,
        label="label",
        metrics=("accuracy",),
        labels=("entailment", "not_entailment"),
        written=("entailment", "not_entailment"),
        overlaps=("NLI",),
    ),
    "stsb": Layout("STS-B", PAIR, "score", ("spearman", "pearson"), overlaps=("captions",)),
    "wnli": Layout("WNLI", PAIR, "label", ("accuracy",), ("not_entailment", "entailment")),
}


def load(name: str, entry: Entry, source: Source) -> TaskData:
    """One of the GLUE tasks. Raises DataError naming file and row where its files are missing or malformed."""
    layout = LAYOUTS[name]
    files = f"D/glue/{layout.folder}/train.tsv and dev.tsv in the original GLUE layout"
    folder = data_folder(source.data_dir, name, files) / "glue" / layout.folder
    for file in ("train.tsv", "dev.tsv"):
        if not (folder / file).is_file():
            raise DataError(f"{folder / file} is missing: task {name!r} needs {files}")
    train = _examples(folder / "train.tsv", layout, source)
    splits = split_official(train, _examples(folder / "dev.tsv", layout, source))
    return TaskData(
        name=name,
        kind="classification" if layout.labels else "regression",
        sentence=entry.sentence,
        labels=layout.labels,
        metrics=layout.metrics,
        train=splits.train,
        selection=splits.selection,
        evaluation=splits.evaluation,
        overlaps=layout.overlaps,
    )


def _examples(path: Path, layout: Layout, source: Source) -> list[Example]:
    columns = layout.columns or (*layout.text, layout.label)
    parse = _class_index(layout.written) if layout.labels else _score
    found = []
    for number, row in read_tsv(path, columns, not layout.columns, source.cache_dir):
        text = tuple(row[column].strip() for column in layout.text)
        if not all(text):
            raise DataError(f"{path}, row {number}: a sentence is empty")
        found.append(Example(text, parse(path, number, row[layout.label])))
    return found


def _class_index(written: tuple[str, ...]) -> Callable[[Path, int, str], int]:
    index = {label: place for place, label in enumerate(written)}

    def parse(path: Path, number: int, value: str) -> int:
        if value not in index:
            raise DataError(f"{path}, row {number}: label {value!r} is none of {', '.join(written)}")
        return index[value]

    return parse


def _score(path: Path, number: int, value: str) -> float:
    try:
        score = float(value)
    except ValueError:
        score = math.nan
    if not 0.0 <= score <= STSB_HIGHEST:
        raise DataError(f"{path}, row {number}: score {value!r} is no number from 0 to {STSB_HIGHEST:g}")
    return score
