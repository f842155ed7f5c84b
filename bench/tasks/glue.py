"""GLUE tasks, from a folder in the original layout or in the hub's, or from the hub (Wang et al., 2018).

The official development file is the evaluation split; the test files have no labels and are predicted on demand.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from reprlib import repr as shown
from typing import Any

import numpy as np

from bench.errors import DataError
from bench.tasks import Entry, hub
from bench.tasks.base import EVALUATION, TRAIN, Example, Source, TaskData
from bench.tasks.files import data_folder, holds, text_lines
from bench.tasks.glue_layouts import (
    DIAGNOSTIC,
    DIAGNOSTIC_COLUMNS,
    DIAGNOSTIC_FOLDERS,
    DIAGNOSTIC_HEADLINE,
    DIAGNOSTIC_NAMES,
    LAYOUTS,
    Layout,
)
from bench.tasks.glue_test_files import extra_official_rows, official_rows
from bench.tasks.numbers import finite
from bench.tasks.sources import Row, Split, find, read_table, read_text
from bench.tasks.splits import extra_set, split_official

STSB_HIGHEST = 5.0
UNLABELLED = -1

Parse = Callable[[str, Any], int | float]


@dataclass(frozen=True)
class _Loaded:
    """The examples of one split, what messages call its file, and what was left out of it in words."""

    place: str
    examples: list[Example]
    notes: tuple[str, ...] = ()


def load(name: str, entry: Entry, source: Source) -> TaskData:
    """One of the GLUE tasks.

    Raises DataError naming file and row where its files are missing or malformed, and where they would have
    to come from the hub and cannot.
    """
    layout = LAYOUTS[name]
    folder = _folder(name, layout, source)

    def read(names: tuple[str, ...]) -> _Loaded:
        return _examples(_split(folder, name, layout, names), layout, source)

    train, evaluation = read(("train",)), read(layout.evaluation)
    extra = {part: read(names) for part, names in layout.extra.items()}
    if layout.diagnostic:
        extra |= _diagnostic(layout, source)
    splits = split_official(train.examples, evaluation.examples)
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
        extra={part: extra_set(found.examples, splits) for part, found in extra.items()},
        extra_headlines={DIAGNOSTIC: DIAGNOSTIC_HEADLINE} if DIAGNOSTIC in extra else {},
        test=official_rows(layout, source),
        extra_test=extra_official_rows(layout, source),
        notes=tuple(note for found in (train, evaluation, *extra.values()) for note in found.notes),
        places={
            TRAIN: train.place,
            EVALUATION: evaluation.place,
            **{part: found.place for part, found in extra.items()},
        },
    )


def layout_told(layout: Layout) -> str:
    """What the user's data folder should hold, for messages."""
    names = ["train", layout.evaluation[0], *(names[0] for names in layout.extra.values())]
    files = f"{', '.join(f'{name}.tsv' for name in names[:-1])} and {names[-1]}.tsv"
    return (
        f"D/glue/{layout.folder}/ with {files} in the original GLUE layout, "
        "or the hub's splits as JSON lines, Parquet or save_to_disk"
    )


def _folder(name: str, layout: Layout, source: Source) -> Path:
    """The folder with the task's files: the user's where it has one, else the hub's."""
    told, place = layout_told(layout), f"glue/{layout.folder}"
    if holds(source.data_dir, name, told, f"{place}/"):
        return data_folder(source.data_dir, name, told) / place
    return hub.fetch_for(name, place, told, hub.GLUE, layout.config, source)


def _split(folder: Path, name: str, layout: Layout, names: tuple[str, ...]) -> Split:
    split = find(folder, names)
    if split is None:
        raise DataError(f"{folder / names[0]}.tsv is missing: task {name!r} needs {layout_told(layout)}")
    return split


def _examples(split: Split, layout: Layout, source: Source) -> _Loaded:
    """The examples of one split. Raises DataError for a malformed one, or one without a complete row."""
    original = split.format == "tsv"
    columns, parse = (layout.tsv, _from_text(layout)) if original else (layout.hub, _from_value(layout))
    examples, left_out = [], Counter[str]()
    for where, values in _rows(split, layout, source):
        text = tuple(_sentence(where, values[column]) for column in columns.text)
        label = values[columns.label]
        if layout.incomplete == "left out" and not (all(text) and label not in (None, "")):
            left_out["incomplete"] += 1
        elif original and layout.undecided is not None and label == layout.undecided:
            left_out[f"no agreed label ({label!r})"] += 1
        elif all(text):
            examples.append(Example(text, parse(where, label)))
        else:
            raise DataError(f"{where}: a sentence is empty")
    if not examples:
        raise DataError(f"{split.place} holds no complete row")
    rows = len(examples) + left_out.total()
    name = split.paths[0].name
    notes = tuple(f"{name}: {n} of {rows} rows left out: {why}" for why, n in left_out.items())
    return _Loaded(split.place, examples, notes)


def _rows(split: Split, layout: Layout, source: Source) -> Iterator[Row]:
    if split.format != "tsv":
        return read_table(split, layout.hub.all)
    columns, short = layout.unnamed or layout.tsv.all, layout.incomplete == "left out"
    return read_text(split, columns, source.cache_dir, header=not layout.unnamed, short_rows=short)


def _sentence(where: str, value: Any) -> str:
    if value is not None and not isinstance(value, str):
        raise DataError(f"{where}: a sentence is {shown(value)}, not text")
    return (value or "").strip()


def _diagnostic(layout: Layout, source: Source) -> dict[str, _Loaded]:
    """GLUE's diagnostic set where the user's folder holds it with labels; the leaderboard's own file has none."""
    for folder in DIAGNOSTIC_FOLDERS if source.data_dir is not None else ():
        for name in DIAGNOSTIC_NAMES:
            path = Path(source.data_dir or "") / "glue" / folder / f"{name}.tsv"
            header = text_lines(path)[0].split("\t") if path.is_file() else []
            for columns in DIAGNOSTIC_COLUMNS:
                if set(columns.all) <= set(header):
                    split = Split("tsv", (path,))
                    return {DIAGNOSTIC: _examples(split, replace(layout, tsv=columns), source)}
    return {}


def _from_text(layout: Layout) -> Parse:
    """How a TSV file writes labels."""
    if not layout.labels:
        return _score
    index = {label: place for place, label in enumerate(layout.written)}

    def parse(where: str, value: Any) -> int:
        if value not in index:
            raise DataError(f"{where}: label {value!r} is none of {', '.join(layout.written)}")
        return index[value]

    return parse


def _from_value(layout: Layout) -> Parse:
    """How all other forms hold labels: a class by its number or its name."""
    if not layout.labels:
        return _score
    index: dict[object, int] = {label: place for place, label in enumerate(layout.labels)}

    def parse(where: str, value: Any) -> int:
        if value == UNLABELLED:
            raise DataError(f"{where}: label -1, as in the hub's test files, means unlabelled: use a labelled split")
        place = index.get(value) if isinstance(value, str) else value
        if isinstance(place, bool) or not isinstance(place, int) or not 0 <= place < len(layout.labels):
            raise DataError(
                f"{where}: label {value!r} is none of {', '.join(layout.labels)} (0 to {len(layout.labels) - 1})"
            )
        return place

    return parse


def _score(where: str, value: Any) -> float:
    """A similarity score, as the nearest number of single precision writes itself: the hub keeps no more."""
    number = finite(value)
    score = None if number is None else float(str(np.float32(number)))
    if score == UNLABELLED:
        raise DataError(f"{where}: score -1, as in the hub's test files, means unlabelled: use a labelled split")
    if score is None or not 0.0 <= score <= STSB_HIGHEST:
        raise DataError(f"{where}: score {shown(value)} is no number from 0 to {STSB_HIGHEST:g}")
    return score
