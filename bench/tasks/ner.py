"""Named entities from column files such as those of CoNLL-2003, `D/ner/<Dataset>/{train,dev}.txt`, or from the hub.

The first column holds the words, the last one the tags. `dev.txt` may also be called `valid.txt` or `testa.txt`; it is
the evaluation split. Spans written in IOB1, BIOES or BILOU are turned into IOB2, and scored by strict span F1.

Where the user's folder has no data set and none is named, CoNLL-2003 itself comes from the hub.
"""

from pathlib import Path

from bench.errors import DataError
from bench.tasks import Entry, hub
from bench.tasks.base import EVALUATION, TRAIN, Source, TaskData
from bench.tasks.columns import Layout, read_columns
from bench.tasks.files import data_folder, holds, named_folder
from bench.tasks.rows import Row, read_rows
from bench.tasks.splits import split_official
from bench.tasks.tagged_rows import aligned, tag_names, tagged
from bench.tasks.tagging import Part, Sentence, as_iob2, examples, tag_sets

FILES = "D/ner/<Dataset>/train.txt and dev.txt, valid.txt or testa.txt"
EVALUATION_FILES = ("dev.txt", "valid.txt", "testa.txt")
HUB_SPLITS = ("train", "validation")
WORDS, TAGS = "tokens", "ner_tags"


def load(name: str, entry: Entry, source: Source) -> TaskData:
    """The task `ner`, or `ner:<Dataset>` where several are there.

    Raises DataError naming file and row where the data set is missing, not named or malformed, and where it would
    have to come from the hub and cannot.
    """
    wanted = name.partition(":")[2]
    if wanted or holds(source.data_dir, name, FILES, "ner/*/"):
        folder = named_folder(data_folder(source.data_dir, name, FILES) / "ner", wanted, "ner", "data set", FILES)
        called = folder.name
        train, evaluation = _sentences(folder, ("train.txt",)), _sentences(folder, EVALUATION_FILES)
    else:
        called = hub.CONLL_2003[0]
        train, evaluation = _hub_sentences(name, source)
    labels, unseen = tag_sets(train.sentences, evaluation.sentences)
    splits = split_official(examples(train.sentences, labels), examples(evaluation.sentences, (*labels, *unseen)))
    return TaskData(
        name=name,
        kind="tagging",
        sentence=f"{entry.sentence} ({called})",
        labels=labels,
        metrics=("span_f1", "accuracy"),
        train=splits.train,
        selection=splits.selection,
        evaluation=splits.evaluation,
        unseen=unseen,
        places={TRAIN: train.place, EVALUATION: evaluation.place},
    )


def _sentences(folder: Path, names: tuple[str, ...]) -> Part:
    """The sentences of the one file of `folder` that has one of the names."""
    paths = [folder / name for name in names if (folder / name).is_file()]
    if len(paths) != 1:
        raise DataError(f"{folder} holds {len(paths)} of {', '.join(names)}, expected 1: task 'ner' needs {FILES}")
    return Part(str(paths[0]), as_iob2(paths[0], read_columns(paths[0], Layout(words=1, tags=-1))))


def _hub_sentences(name: str, source: Source) -> list[Part]:
    """The sentences of the two splits of CoNLL-2003 on the hub."""
    root = hub.fetch_for(name, "ner/<Dataset>", FILES, hub.CONLL_2003, "", source)
    folder = hub.folder_of(root, HUB_SPLITS)
    parts = []
    for split in HUB_SPLITS:
        sentences, found = [], hub.split_of(folder, split)
        for path in found.paths:
            rows = read_rows(path, "parquet", (WORDS, TAGS))
            sentences += as_iob2(path, [_hub_sentence(row) for row in rows])
        parts.append(Part(found.place, sentences))
    return parts


def _hub_sentence(row: Row) -> Sentence:
    words, tags = aligned(row, {"words": WORDS, "tags": TAGS})
    return tagged(row, words, tag_names(row, tags))
