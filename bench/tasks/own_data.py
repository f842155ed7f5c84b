"""Reading a task that its user described: every row is checked, and the first that is wrong is named."""

from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path
from reprlib import repr as shown
from typing import Any

from bench.errors import DataError
from bench.tasks import hub
from bench.tasks.base import Example, Source, TaskData
from bench.tasks.columns import Layout, conllu, read_columns
from bench.tasks.numbers import finite
from bench.tasks.own import Columns, Description, OwnTask
from bench.tasks.rows import Row, read_rows
from bench.tasks.sources import check_shards
from bench.tasks.splits import Splits, split_given, split_official, split_pool
from bench.tasks.tagged_rows import aligned, tagged
from bench.tasks.tagging import Sentence, as_iob2, check_tags, examples, tag_sets

SHOWN_LABELS = 12
FIRST_AND_LAST, FORMS_AND_UPOS = (1, -1), (2, 4)


def load(task: OwnTask, source: Source) -> TaskData:
    """The described task. Raises DataError, naming file and row, for what is missing or malformed."""
    described = task.description
    files = {split: _locate(task, name, source) for split, name in described.files.given.items()}
    _check_files(files)
    if described.kind == "tagging":
        parts, labels, unseen = _tagged(described, files)
    else:
        parts, labels = _labelled(described, files)
        unseen = ()
    _check_groups(files, parts)
    splits = _split(parts)
    if "f1" in described.metrics and len(labels) != 2:
        raise DataError(f"{files['train'][0]} has {len(labels)} labels and metric 'f1' needs two; use macro_f1")
    return TaskData(
        name=described.name,
        kind=described.kind,
        sentence=described.description or f"{described.kind.capitalize()}, described in {task.path.name}.",
        labels=labels,
        metrics=tuple(described.metrics),
        train=splits.train,
        selection=splits.selection,
        evaluation=splits.evaluation,
        marks=("synthetic data: so says its description",) if described.synthetic else (),
        unseen=unseen,
        places={split: str(paths[0]) for split, paths in files.items()},
    )


def _locate(task: OwnTask, name: str, source: Source) -> list[Path]:
    """The files a name or pattern stands for, in the order of their names."""
    from_hub = task.description.hub
    folder = task.path.parent
    if from_hub is not None:
        folder = hub.fetch((from_hub.id, from_hub.revision), from_hub.config, source.cache_dir, source.offline)
    try:
        found = [folder / name] if (folder / name).is_file() else sorted(p for p in folder.glob(name) if p.is_file())
    except (ValueError, NotImplementedError):  # no pattern that globbing takes, such as an absolute path
        found = []
    if not found:
        raise DataError(f"{folder / name} is missing: {task.path.name} names it")
    check_shards(found)
    return found


def _split(parts: dict[str, list[Example]]) -> Splits:
    if "evaluation" not in parts:
        return split_pool(parts["train"])
    if "selection" not in parts:
        return split_official(parts["train"], parts["evaluation"])
    return split_given(parts["train"], parts["selection"], parts["evaluation"])


def _labelled(
    described: Description, files: dict[str, list[Path]]
) -> tuple[dict[str, list[Example]], tuple[str, ...]]:
    """Examples of each split with a class or a score, and the labels."""
    columns = described.columns
    named = [name for name in (columns.text, columns.second_text, columns.label, columns.group) if name is not None]
    kind = described.files.kind
    rows = {split: [r for path in paths for r in read_rows(path, kind, named)] for split, paths in files.items()}
    if described.kind == "regression":
        return {split: [_example(row, columns, _score) for row in rows[split]] for split in rows}, ()
    declared = described.declared
    labels = declared or tuple(sorted({_class_name(row, row.values[str(columns.label)], ()) for row in rows["train"]}))
    place = {label: number for number, label in enumerate(labels)}

    def parse(row: Row, value: Any) -> int:
        name = _class_name(row, value, declared)
        if name not in place:
            raise DataError(f"{row.where}: label {name!r} is none of {_listed(labels, declared)}")
        return place[name]

    return {split: [_example(row, columns, parse) for row in rows[split]] for split in rows}, labels


def _tagged(
    described: Description, files: dict[str, list[Path]]
) -> tuple[dict[str, list[Example]], tuple[str, ...], tuple[str, ...]]:
    """Tagged examples of each split, the tags of the training file, and those of the others alone."""
    sentences: dict[str, list[Sentence]] = {split: [] for split in files}
    for split, paths in files.items():
        for path in paths:
            found = _sentences(path, described)
            if "span_f1" in described.metrics:
                found = as_iob2(path, found)
            if described.declared:
                check_tags(path, found, described.declared)
            sentences[split] += found
    labels, unseen = described.declared, tuple[str, ...]()
    if not labels:
        labels, unseen = tag_sets(sentences["train"], *sentences.values())
    return {split: examples(found, (*labels, *unseen)) for split, found in sentences.items()}, labels, unseen


def _sentences(path: Path, described: Description) -> list[Sentence]:
    kind, columns = described.files.kind, described.columns
    if kind in ("columns", "conllu"):
        layout = conllu if kind == "conllu" else Layout
        usual = FIRST_AND_LAST if kind == "columns" else FORMS_AND_UPOS
        return read_columns(path, layout(int(columns.words or usual[0]), int(columns.tags or usual[1])))
    named = [str(name) for name in (columns.words, columns.tags, columns.group) if name is not None]
    return [_sentence(row, columns, described.declared) for row in read_rows(path, kind, named)]


def _sentence(row: Row, columns: Columns, declared: Sequence[str]) -> Sentence:
    words, tags = aligned(row, {"words": str(columns.words), "tags": str(columns.tags)})
    return tagged(row, words, [_class_name(row, tag, declared) for tag in tags], _group(row, columns))


def _example(row: Row, columns: Columns, parse: Callable[[Row, Any], int | float]) -> Example:
    names = [name for name in (columns.text, columns.second_text) if name is not None]
    return Example(
        tuple(_text(row, name) for name in names), parse(row, row.values[str(columns.label)]), _group(row, columns)
    )


def _text(row: Row, column: str) -> str:
    value = row.values[column]
    if not isinstance(value, str):
        raise DataError(f"{row.where}: {column!r} is {shown(value)}, expected text")
    if not value.strip():
        raise DataError(f"{row.where}: {column!r} is empty")
    return value.strip()


def _group(row: Row, columns: Columns) -> str:
    if columns.group is None:
        return ""
    value = row.values[columns.group]
    if value is None or not str(value).strip():
        raise DataError(f"{row.where}: {columns.group!r} is empty; every row needs its group")
    return str(value).strip()


def _class_name(row: Row, value: Any, declared: Sequence[str]) -> str:
    """The class a value names. A whole number that is no declared label is the place of one, counted from 0."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        as_place = declared and str(value) not in declared and 0 <= value < len(declared)
        return declared[value] if as_place else str(value)
    if not isinstance(value, str):
        raise DataError(f"{row.where}: label {shown(value)} is neither text nor a whole number")
    if not value.strip():
        raise DataError(f"{row.where}: the label is empty")
    return value.strip()


def _score(row: Row, value: Any) -> float:
    score = finite(value)
    if score is None:
        raise DataError(f"{row.where}: score {shown(value)} is no finite number of single precision")
    return score


def _listed(labels: Sequence[str], declared: Sequence[str]) -> str:
    shown = ", ".join(map(repr, labels[:SHOWN_LABELS])) + (", ..." if len(labels) > SHOWN_LABELS else "")
    return f"the declared labels {shown}" if declared else f"the labels of the training file, {shown}"


def _check_files(files: dict[str, list[Path]]) -> None:
    """A file serves one split: a pattern for train may match the evaluation file too."""
    for first, second in combinations(files, 2):
        for path in files[first]:
            if path in files[second]:
                raise DataError(f"{path} is named for {first} and for {second}; a file serves one of them")


def _check_groups(files: dict[str, list[Path]], parts: dict[str, list[Example]]) -> None:
    """A group lies in one file: what is learnt of it in training must not help in evaluation."""
    where: dict[str, str] = {}
    for split, found in parts.items():
        for group in dict.fromkeys(example.group for example in found if example.group):
            first = where.setdefault(group, split)
            if first != split:
                raise DataError(
                    f"{files[split][0]}: group {group!r} is also in {files[first][0]}; a group belongs in one of them"
                )
