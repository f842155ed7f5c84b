"""Choosing a learning rate on the selection split, by trials that are recorded one by one.

Torch-free. 'grid' trains every rate in full. 'halving' is successive halving (Jamieson and Talwalkar, AISTATS 2016)
with eta 2: all rates train for a small share of the epochs, the better half for twice that share, and so on until one
is left, each training with a schedule of its own. It costs less and judges by shorter trainings.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

import strategies
from bench.cell import QualityCell, Search, TrialCell
from bench.metrics import METRICS
from bench.record import Record
from bench.results import Searched, TrialResult, Tried

RunTrial = Callable[[TrialCell], Record]
Merit = Callable[[float | None], float]


class SearchFailedError(RuntimeError):
    """No rate of a search gave a score, so there is nothing to choose."""


@dataclass(frozen=True)
class Rung:
    """One round of a search: how many rates still run, and for which share of the cell's epochs or steps."""

    rates: int
    share: float


def rungs(search: Search) -> list[Rung]:
    """The rounds of a search, the first with all rates."""
    if search.method == "grid":
        return [Rung(len(search.rates), 1.0)]
    counts = [len(search.rates)]
    while counts[-1] > 2:
        counts.append(-(-counts[-1] // 2))
    return [Rung(count, 0.5 ** (len(counts) - place)) for place, count in enumerate(counts)]


def budget(cell: QualityCell) -> float:
    """Epochs, or steps, that the search for a cell's learning rate may spend; 0 where its rate is given."""
    search = cell.learning_rate
    if not isinstance(search, Search):
        return 0.0
    return len(search.seeds) * sum(rung.rates * length_of(cell, rung.share) for rung in rungs(search))


def choose(cell: QualityCell, run_trial: RunTrial) -> Searched | None:
    """Choose the learning rate of `cell` by its search, and say what was tried; None where it needs none.

    A rate's score is its mean over the search's seeds, best first in the direction of the task's headline metric;
    a rate with a failed trial, or without a score, comes last, and of equals the smaller one wins. Nothing but
    selection scores is looked at. Raises SearchFailedError where no rate has a score.
    """
    search = cell.learning_rate
    if not isinstance(search, Search):
        return None
    left, tried, found = sorted(search.rates), list[Tried](), list[Tried]()
    for rung in rungs(search):
        records = [run_trial(trial) for rate in left for trial in _trials(cell, search, rate, rung.share)]
        found = [_tried(record) for record in records]
        tried += found
        left = _best_first(left, found, _merit(records))
        left = left[: -(-rung.rates // 2)] if search.method == "halving" else left
    last = [one.selection_score for one in found if one.learning_rate == left[0]]
    if None in last:
        raise SearchFailedError("no learning rate of the search could be scored: " + _reasons(tried))
    return Searched(learning_rate=left[0], method=search.method, tried=tried)


def _trials(cell: QualityCell, search: Search, rate: float, share: float) -> Iterator[TrialCell]:
    random = strategies.is_random(cell.strategy)
    for seed in search.seeds:
        changed = {"learning_rate": rate, "seed": seed, "mask_seed": seed if random else 0}
        yield cell.trial(**changed, **{cell.length_unit: length_of(cell, share)})


def length_of(cell: QualityCell, share: float) -> float:
    """That share of the cell's epochs, or of its steps, at least one of these."""
    return share * cell.length if cell.steps is None else max(1, round(share * cell.steps))


def _tried(record: Record) -> Tried:
    cell, trial = record.cell, record.trial
    if not isinstance(cell, TrialCell):
        raise TypeError(f"{record.key} is no trial")
    return Tried(
        learning_rate=cell.learning_rate,
        seed=cell.seed,
        epochs=cell.epochs,
        steps=cell.steps,
        status=record.status,
        reason=record.reason,
        selection_score=trial.selection.scores[trial.headline] if trial and record.status == "ok" else None,
        training_seconds=trial.training_seconds if trial else None,
        stopped_after=_stopped_after(cell, trial) if trial else None,
    )


def _stopped_after(cell: TrialCell, trial: TrialResult) -> float | None:
    """Epochs or steps after which a trial ended for want of a better epoch; None where it trained to its end."""
    if trial.checkpoints is None or not trial.checkpoints.stopped:
        return None
    return len(trial.checkpoints.tried) if cell.steps is None else trial.steps


def _merit(records: Sequence[Record]) -> Merit:
    """How the headline metric of the trials ranks scores; where all failed, there is none to rank."""
    headline = next((record.trial.headline for record in records if record.trial), None)
    return METRICS[headline].merit if headline else lambda _: float("-inf")


def _best_first(rates: Sequence[float], tried: Sequence[Tried], merit: Merit) -> list[float]:
    def mean(rate: float) -> float:
        return fmean(merit(one.selection_score) for one in tried if one.learning_rate == rate)

    return sorted(rates, key=lambda rate: (-mean(rate), rate))


def _reasons(tried: Sequence[Tried]) -> str:
    return "; ".join(dict.fromkeys(one.reason or "the metric is undefined for what it predicts" for one in tried))
