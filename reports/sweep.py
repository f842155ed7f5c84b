"""A task at several training-set sizes: every strategy at each, and where it changes places with full fine-tuning."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reports.crossover import Crossover, crossover
from reports.formats import metric
from reports.run import REFERENCE, Sweep
from reports.verdict import Score, reference_arm, score


@dataclass(frozen=True)
class SweepRow:
    """One strategy over the sizes: at each its score against full fine-tuning there, None where it did not run.

    `crossover` is None for full fine-tuning, and where scores of too few sizes can be compared.
    """

    name: str
    strategy: str
    scores: tuple[Score | None, ...]
    crossover: Crossover | None

    @property
    def is_reference(self) -> bool:
        """Whether this is full fine-tuning."""
        return self.strategy == REFERENCE


@dataclass(frozen=True)
class SweepVerdict:
    """All rows of one sweep; `sizes` are training examples, None where they are not known yet."""

    sweep: Sweep
    sizes: tuple[int | None, ...]
    headline: str | None
    rows: tuple[SweepRow, ...]


def judge(sweep: Sweep, order: Sequence[str]) -> SweepVerdict:
    """The verdict of one sweep, rows by the order of their names given, others behind these."""
    found: dict[str, tuple[str, dict[int, Score]]] = {}
    references: dict[int, Score] = {}
    for place, task in enumerate(sweep.points):
        reference = reference_arm(task)
        for arm in task.arms:
            own = score(arm, reference, task.headline)
            found.setdefault(arm.name, (arm.strategy, {}))[1][place] = own
            if own.is_reference:
                references[place] = own
    sizes = tuple(task.examples for task in sweep.points)
    headline = next((task.headline for task in sweep.points if task.headline is not None), None)
    ranks = {name: rank for rank, name in enumerate(order)}
    rows = [
        SweepRow(
            name,
            strategy,
            tuple(scores.get(place) for place in range(len(sizes))),
            None if strategy == REFERENCE else _crossover(scores, references, sizes, headline),
        )
        for name, (strategy, scores) in sorted(found.items(), key=lambda item: ranks.get(item[0], len(ranks)))
    ]
    return SweepVerdict(sweep, sizes, headline, tuple(rows))


def _crossover(
    ours: Mapping[int, Score], theirs: Mapping[int, Score], sizes: Sequence[int | None], headline: str | None
) -> Crossover | None:
    if headline is None:
        return None
    known = [(place, size) for place, size in enumerate(sizes) if size is not None]
    return crossover(
        {size: ours[place].seeds for place, size in known if place in ours},
        {size: theirs[place].seeds for place, size in known if place in theirs},
        higher_is_better=metric(headline).higher_is_better is not False,
    )
