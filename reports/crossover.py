"""At which size of the training set two strategies change places, and how sure that is.

The difference of two strategies' scores is paired by seed and averaged at every size; between the sizes it is drawn
as a straight line over the logarithm of the size. A crossover is where it changes its sign.

Its uncertainty comes from a parametric bootstrap of those mean differences. A resample adds to them a draw from a
multivariate t distribution with as many degrees of freedom as there are seeds less one, and the covariance of the
seeds' differences divided by their number for its scale: at each single size this is the t interval that reports show
everywhere, and a seed that is lucky at one size may be lucky at its neighbours. Only seeds with both scores at every
size are used. Every resample is crossed like the means themselves, and the interval runs between quantiles of the
places found.

Measured with 1,000 simulated runs a row (`python -m benchmarks.crossover_coverage`): how often an interval of 95%
holds the true crossover, where seeds are lucky or unlucky at each size apart, and (after the stroke) at all sizes
alike. Redrawing the seeds with replacement, the plain bootstrap, is far too narrow for a handful of them; t
distributions for each size apart are too narrow where luck is shared.

    seeds   seeds kept together, t   each size apart, t   seeds redrawn
        3              99.4 / 97.2          99.6 / 98.4     83.8 / 65.4
        5              95.6 / 93.9          97.7 / 93.0     87.0 / 76.6
       10              94.9 / 95.1          96.0 / 90.2     90.7 / 83.5

Strategies that are equal at every size were said to cross, with both ends of the interval closed, in at most 0.3% of
the runs, and strategies clearly apart never.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from reports.statistics import FEW, LEVEL, difference

RESAMPLES = 10_000
RANDOM_SEED = 0

Scores = Mapping[int, Mapping[int, float | None]]
Floats = NDArray[np.float64]
Resample = Callable[[Floats, int, np.random.Generator], Floats]
Outcome = Literal["crossover", "ahead", "behind", "not monotone", "undecided"]


@dataclass(frozen=True)
class Crossover:
    """What became of the first strategy against the second over the sizes.

    outcome      "crossover": they change places once, and the interval is closed at one end at least;
                 "ahead", "behind": throughout the range, and `level` of the resamples say so too;
                 "not monotone": more than one change of places is beyond the noise; else "undecided"
    sizes        training examples of the sizes compared, smallest first
    seeds        how many have both scores at every size; one gives no interval
    changes      how often the mean difference changes its sign
    starts_ahead whether the first strategy's mean is ahead at the small end; None where no mean differs
    size         where the mean difference changes its sign, if it does so once
    low, high    interval of `size`: 0 stands for below the smallest size, infinity for above the largest;
                 None where there is no `size`, one seed or a coincidence
    uncrossed    share of resamples whose sign does not change; None for one seed or a coincidence
    coincidence  whether a few seeds agree to the last digit at some size, which decides nothing and gives no interval
    """

    outcome: Outcome
    sizes: tuple[int, ...]
    seeds: int
    changes: int
    starts_ahead: bool | None
    size: float | None = None
    low: float | None = None
    high: float | None = None
    uncrossed: float | None = None
    coincidence: bool = False

    @property
    def closed(self) -> bool:
        """Whether both ends of the interval lie in the range, so that there is a crossover beyond the noise."""
        return self.low is not None and self.high is not None and self.low > 0 and math.isfinite(self.high)


def student_means(differences: Floats, resamples: int, generator: np.random.Generator) -> Floats:
    """Resampled mean differences, shaped (resamples, sizes), from differences shaped (seeds, sizes).

    Weights drawn for each seed, shared by all sizes, keep the seeds' covariance; the chi-square divisor, which makes
    a t distribution of a normal one, stands for not knowing it.
    """
    seeds = len(differences)
    mean = differences.mean(axis=0)
    weights = generator.standard_normal((resamples, seeds)) / math.sqrt(seeds * (seeds - 1))
    weights /= np.sqrt(generator.chisquare(seeds - 1, (resamples, 1)) / (seeds - 1))
    return np.asarray(mean + weights @ (differences - mean))


def crossover(
    ours: Scores,
    theirs: Scores,
    *,
    higher_is_better: bool = True,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    resample: Resample = student_means,
) -> Crossover | None:
    """Where our strategy changes places with theirs, from scores by size and seed.

    Sizes at which they share no seed are left out. None where fewer than two are left, or no seed has scores at all
    of them. The same scores always give the same answer: resampling begins from a fixed seed.
    """
    sizes, differences = _paired(ours, theirs)
    if len(sizes) < 2 or not len(differences):
        return None
    differences = differences if higher_is_better else -differences
    mean = differences.mean(axis=0)
    changes, starts_ahead = _changes(mean)
    places = np.log(sizes)
    size = float(np.exp(_last(mean[None], places, starts_ahead)[0])) if changes == 1 else None
    found = Crossover("undecided", sizes, len(differences), changes, starts_ahead, size)
    if len(differences) < 2:
        return found
    if len(differences) < FEW and not np.ptp(differences, axis=0).all():
        return replace(found, coincidence=True)
    draws = resample(differences, resamples, np.random.default_rng(RANDOM_SEED))
    return _judged(found, draws, places, level)


def _judged(found: Crossover, draws: Floats, places: Floats, level: float) -> Crossover:
    """The answer with what the resampled mean differences, shaped (resamples, sizes), say of it."""
    tail = (1 - level) / 2
    above, below = draws > 0, draws < 0
    uncrossed = 1 - float((above.any(axis=1) & below.any(axis=1)).mean())
    if found.size is not None:
        first = np.quantile(_first(draws, places, found.starts_ahead), tail, method="lower")
        last = np.quantile(_last(draws, places, found.starts_ahead), 1 - tail, method="higher")
        # Where the difference is exactly 0 at several sizes, the places found lie at either end of these.
        low, high = sorted((float(np.exp(first)), float(np.exp(last))))
        outcome: Outcome = "crossover" if low > 0 or math.isfinite(high) else "undecided"
        return replace(found, outcome=outcome, low=low, high=high, uncrossed=uncrossed)
    # Signs beyond the noise, size by size; 0 elsewhere.
    settled = 1.0 * (above.mean(axis=0) >= 1 - tail) - 1.0 * (below.mean(axis=0) >= 1 - tail)
    if _changes(settled)[0] > 1:
        return replace(found, outcome="not monotone", uncrossed=uncrossed)
    if above.all(axis=1).mean() >= level:
        return replace(found, outcome="ahead", uncrossed=uncrossed)
    if below.all(axis=1).mean() >= level:
        return replace(found, outcome="behind", uncrossed=uncrossed)
    return replace(found, uncrossed=uncrossed)


def _paired(ours: Scores, theirs: Scores) -> tuple[tuple[int, ...], Floats]:
    """The sizes compared, smallest first, and ours minus theirs there, shaped (seeds, sizes)."""
    by_size = {size: _differences(ours[size], theirs[size]) for size in sorted(ours.keys() & theirs.keys())}
    by_size = {size: found for size, found in by_size.items() if found}
    seeds = sorted(set.intersection(*map(set, by_size.values()))) if by_size else []
    return tuple(by_size), np.array([[found[seed] for found in by_size.values()] for seed in seeds])


def _differences(ours: Mapping[int, float | None], theirs: Mapping[int, float | None]) -> dict[int, float]:
    both = ((seed, ours[seed], theirs[seed]) for seed in ours.keys() & theirs.keys())
    return {seed: difference(a, b) for seed, a, b in both if a is not None and b is not None}


def _changes(means: Floats) -> tuple[int, bool | None]:
    """How often the sign changes, zeros passed over, and whether it begins positive; None where all are zero."""
    signs = np.sign(means[means != 0])
    return int(np.count_nonzero(np.diff(signs))), bool(signs[0] > 0) if len(signs) else None


def _first(draws: Floats, places: Floats, starts_ahead: bool | None) -> Floats:
    """Where each row first leaves the sign it should start with: -inf from the outset, inf never."""
    return -_last(-draws[:, ::-1], -places[::-1], starts_ahead)


def _last(draws: Floats, places: Floats, starts_ahead: bool | None) -> Floats:
    """Where each row, shaped (resamples, sizes), last has the sign it should start with: inf to the end, -inf never.

    It is interpolated between the last place with that sign and the next one.
    """
    values = draws if starts_ahead else -draws
    sizes = values.shape[1]
    rows = np.arange(len(values))
    tail = np.logical_and.accumulate(values[:, ::-1] <= 0, axis=1).sum(axis=1)
    before = np.clip(sizes - tail - 1, 0, sizes - 2)
    left, right = values[rows, before], values[rows, before + 1]
    share = np.divide(left, left - right, out=np.zeros_like(left), where=left != right)
    crossing = places[before] + share * (places[before + 1] - places[before])
    return np.where(tail == 0, np.inf, np.where(tail == sizes, -np.inf, crossing))
