"""Named entities from column files such as those of CoNLL-2003: `D/ner/<Dataset>/{train,dev}.txt`.

The first column holds the words, the last one the tags. `dev.txt` may also be called `valid.txt` or `testa.txt`; it is
the evaluation split. Spans written in IOB1, BIOES or BILOU are turned into IOB2, and scored by strict span F1.
"""

from pathlib import Path

from bench.errors import DataError
from bench.tasks import Entry
from bench.tasks.base import Source, TaskData
from bench.tasks.columns import Layout, read_columns
from bench.tasks.files import data_folder, named_folder
from bench.tasks.splits import split_official
from bench.tasks.tagging import Sentence, as_iob2, examples, tag_sets

FILES = "D/ner/<Dataset>/train.txt and dev.txt, valid.txt or testa.txt"
EVALUATION = ("dev.txt", "valid.txt", "testa.txt")


def load(name: str, entry: Entry, source: Source) -> TaskData:
    """The task `ner`, or `ner:<Dataset>` where several are there.

    Raises DataError naming file and row where the data set is missing, not named or malformed.
    """
    wanted = name.partition(":")[2]
    folder = named_folder(data_folder(source.data_dir, name, FILES) / "ner", wanted, "ner", "data set", FILES)
    train, evaluation = _sentences(folder, ("train.txt",)), _sentences(folder, EVALUATION)
    labels, unseen = tag_sets(train, evaluation)
    splits = split_official(examples(train, labels), examples(evaluation, (*labels, *unseen)))
    return TaskData(
        name=name,
        kind="tagging",
        sentence=f"{entry.sentence} ({folder.name})",
        labels=labels,
        metrics=("span_f1", "accuracy"),
        train=splits.train,
        selection=splits.selection,
        evaluation=splits.evaluation,
        unseen=unseen,
    )


def _sentences(folder: Path, names: tuple[str, ...]) -> list[Sentence]:
    """The sentences of the one file of `folder` that has one of the names."""
    paths = [folder / name for name in names if (folder / name).is_file()]
    if len(paths) != 1:
        raise DataError(f"{folder} holds {len(paths)} of {', '.join(names)}, expected 1: task 'ner' needs {FILES}")
    return as_iob2(paths[0], read_columns(paths[0], Layout(words=1, tags=-1)))
