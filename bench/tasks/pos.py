"""Part-of-speech tagging on a Universal Dependencies treebank: `D/ud/<Treebank>/*-ud-{train,dev}.conllu`.

`pos` predicts the universal tags, `pos-xpos` those of the treebank's own tag set. The official dev file is the
evaluation split. Multi-word tokens and empty nodes are dropped, the words they stand for are kept.
"""

from pathlib import Path

from bench.errors import DataError
from bench.tasks import Entry
from bench.tasks.base import Source, TaskData
from bench.tasks.columns import conllu, read_columns
from bench.tasks.files import data_folder, named_folder
from bench.tasks.splits import split_official
from bench.tasks.tagging import Sentence, check_tags, examples, tag_sets

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
XPOS = "pos-xpos"
FILES = "D/ud/<Treebank>/*-ud-train.conllu and *-ud-dev.conllu"


def load(name: str, entry: Entry, source: Source) -> TaskData:
    """The tasks `pos` and `pos-xpos`, or `pos:<Treebank>` and so on where several are there.

    Raises DataError naming file and row where the treebank is missing, not named or malformed.
    """
    task, _, wanted = name.partition(":")
    folder = named_folder(data_folder(source.data_dir, name, FILES) / "ud", wanted, task, "treebank", FILES)
    train, evaluation = (_sentences(folder, part, task) for part in ("train", "dev"))
    labels, unseen = tag_sets(train, evaluation) if task == XPOS else (UPOS, ())
    splits = split_official(examples(train, labels), examples(evaluation, (*labels, *unseen)))
    return TaskData(
        name=name,
        kind="tagging",
        sentence=f"{entry.sentence.rstrip('.')} ({folder.name}).",
        labels=labels,
        metrics=("accuracy",),
        train=splits.train,
        selection=splits.selection,
        evaluation=splits.evaluation,
        unseen=unseen,
    )


def _sentences(folder: Path, part: str, task: str) -> list[Sentence]:
    paths = sorted(folder.glob(f"*-ud-{part}.conllu"))
    if len(paths) != 1:
        raise DataError(
            f"{folder} holds {len(paths)} files *-ud-{part}.conllu, expected 1: task {task!r} needs {FILES}"
        )
    sentences = read_columns(paths[0], conllu(words=2, tags=5 if task == XPOS else 4))
    if task != XPOS:
        check_tags(paths[0], sentences, UPOS)
    return sentences
