"""Universal part-of-speech tagging on a Universal Dependencies treebank: `D/ud/<Treebank>/*-ud-{train,dev}.conllu`.

The official dev file is the evaluation split. Multi-word tokens and empty nodes are dropped, the words they
stand for are kept.
"""

import difflib
from pathlib import Path

from bench.errors import DataError
from bench.tasks import Entry
from bench.tasks.base import Example, Source, TaskData
from bench.tasks.files import data_folder, read_conllu
from bench.tasks.splits import split_official

UPOS = (
    "ADJ",
    "ADP",
    "ADV",
    "AUX",
    "CCONJ",
    "DET",
    "INTJ",
    "NOUN",
    "NUM",
    "PART",
    "PRON",
    "PROPN",
    "PUNCT",
    "SCONJ",
    "SYM",
    "VERB",
    "X",
)
FILES = "D/ud/<Treebank>/*-ud-train.conllu and *-ud-dev.conllu"


def load(name: str, entry: Entry, source: Source) -> TaskData:
    """The task `pos`, or `pos:<Treebank>` where several are there.

    Raises DataError naming file and row where the treebank is missing, not named or malformed.
    """
    root = data_folder(source.data_dir, name, FILES) / "ud"
    folder = _treebank(root, name.partition(":")[2])
    train, evaluation = (_examples(folder, part, source) for part in ("train", "dev"))
    splits = split_official(train, evaluation)
    return TaskData(
        name=name,
        kind="tagging",
        sentence=f"{entry.sentence.rstrip('.')} ({folder.name}).",
        labels=UPOS,
        metrics=("accuracy",),
        train=splits.train,
        selection=splits.selection,
        evaluation=splits.evaluation,
    )


def _treebank(root: Path, wanted: str) -> Path:
    """The folder of the treebank called `wanted`, or the only one where that is empty."""
    names = sorted(path.name for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    if not names:
        raise DataError(f"{root} holds no treebank: task 'pos' needs {FILES}")
    if not wanted and len(names) > 1:
        raise DataError(f"{root} holds {len(names)} treebanks: name one, as in 'pos:{names[0]}'")
    if wanted and wanted not in names:
        near = difflib.get_close_matches(wanted, names, n=1) or names
        raise DataError(f"{root} holds no treebank {wanted!r}: did you mean 'pos:{near[0]}'?")
    return root / (wanted or names[0])


def _examples(folder: Path, part: str, source: Source) -> list[Example]:
    paths = sorted(folder.glob(f"*-ud-{part}.conllu"))
    if len(paths) != 1:
        raise DataError(f"{folder} holds {len(paths)} files *-ud-{part}.conllu, expected 1: task 'pos' needs {FILES}")
    return [Example(words, tags) for words, tags in read_conllu(paths[0], UPOS, source.cache_dir)]
