"""Part-of-speech tagging on a Universal Dependencies treebank, `D/ud/<Treebank>/*-ud-{train,dev}.conllu` or the hub's.

`pos` predicts the universal tags, `pos-xpos` those of the treebank's own tag set. The official dev file is the
evaluation split. Multi-word tokens and empty nodes are dropped, the words they stand for are kept.

Where the user's folder has no treebank, or a name such as `pos:de_gsd` is one of the hub's, it comes from there.
"""

import re
from pathlib import Path
from typing import Any

from bench.errors import DataError
from bench.tasks import Entry, hub
from bench.tasks.base import EVALUATION, TRAIN, Source, TaskData
from bench.tasks.columns import conllu, read_columns
from bench.tasks.files import data_folder, holds, named_folder
from bench.tasks.rows import Row, read_rows
from bench.tasks.splits import split_official
from bench.tasks.tagged_rows import aligned, tag_names, tagged
from bench.tasks.tagging import Part, Sentence, check_tags, examples, tag_sets

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
HUB_NAME = re.compile(r"[a-z]+_[a-z0-9]+")
HUB_DEFAULT = "en_ewt"
NO_HEAD = ("None", "_")


def load(name: str, entry: Entry, source: Source) -> TaskData:
    """The tasks `pos` and `pos-xpos`, or `pos:<Treebank>` and so on where several are there.

    Raises DataError naming file and row where the treebank is missing, not named or malformed, and where it would
    have to come from the hub and cannot.
    """
    task, _, wanted = name.partition(":")
    of_hub = HUB_NAME.fullmatch(wanted or HUB_DEFAULT)
    if of_hub and not holds(source.data_dir, name, FILES, f"ud/{wanted or '*'}/"):
        called = wanted or HUB_DEFAULT
        lacking = f"ud/{wanted or '<Treebank>'}"
        folder = hub.fetch_for(name, lacking, FILES, hub.UNIVERSAL_DEPENDENCIES, called, source)
        train, evaluation = (_hub_sentences(folder, part, task) for part in ("train", "validation"))
    else:
        folder = named_folder(data_folder(source.data_dir, name, FILES) / "ud", wanted, task, "treebank", FILES)
        called = folder.name
        train, evaluation = (_sentences(folder, part, task) for part in ("train", "dev"))
    labels, unseen = tag_sets(train.sentences, evaluation.sentences) if task == XPOS else (UPOS, ())
    splits = split_official(examples(train.sentences, labels), examples(evaluation.sentences, (*labels, *unseen)))
    return TaskData(
        name=name,
        kind="tagging",
        sentence=f"{entry.sentence.rstrip('.')} ({called}).",
        labels=labels,
        metrics=("accuracy",),
        train=splits.train,
        selection=splits.selection,
        evaluation=splits.evaluation,
        unseen=unseen,
        places={TRAIN: train.place, EVALUATION: evaluation.place},
    )


def _sentences(folder: Path, part: str, task: str) -> Part:
    paths = sorted(folder.glob(f"*-ud-{part}.conllu"))
    if len(paths) != 1:
        raise DataError(
            f"{folder} holds {len(paths)} files *-ud-{part}.conllu, expected 1: task {task!r} needs {FILES}"
        )
    sentences = read_columns(paths[0], conllu(words=2, tags=5 if task == XPOS else 4))
    if task != XPOS:
        check_tags(paths[0], sentences, UPOS)
    return Part(str(paths[0]), sentences)


def _hub_sentences(folder: Path, part: str, task: str) -> Part:
    """The sentences of one split of a treebank on the hub."""
    tags = "xpos" if task == XPOS else "upos"
    found, split = [], hub.split_of(folder, f"universal_dependencies-{part}")
    for path in split.paths:
        rows = read_rows(path, "parquet", ("tokens", tags, "head"))
        sentences = [sentence for row in rows if (sentence := _hub_sentence(row, tags))]
        if not sentences:
            raise DataError(f"{path} holds no sentences")
        if task != XPOS:
            check_tags(path, sentences, UPOS)
        found += sentences
    return Part(split.place, found)


def _hub_sentence(row: Row, column: str) -> Sentence | None:
    """The words of a row and their tags; None where none of its tokens is a word.

    The hub's rows do not hold the tokens' numbers. What tells words from multi-word tokens and empty nodes is that
    words alone have a head.
    """
    words, tags, heads = aligned(row, {"words": "tokens", "tags": column, "heads": "head"})
    kept = [place for place, head in enumerate(heads) if _has_head(row, head)]
    if words and not kept:
        return None
    return tagged(row, [words[place] for place in kept], tag_names(row, [tags[place] for place in kept]))


def _has_head(row: Row, head: Any) -> bool:
    """Heads are numbers written as text. Raises DataError, naming file and row, for what says neither yes nor no."""
    if not isinstance(head, str) or not (head.isdecimal() or head in NO_HEAD):
        raise DataError(f"{row.where}: head {head!r} is neither a number nor {NO_HEAD[0]!r}")
    return head not in NO_HEAD
