"""Statistics over seeds and rounds: means, paired differences and step-time ratios with their intervals.

All intervals are two-sided Student t intervals. With three seeds they are wide (2.5 standard deviations either
way) and that is the truth; a difference whose interval includes 0 is never called one.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri, stdtrit

LEVEL = 0.95
FEW = 5
# With fewer there is no interval.
FEWEST_ROUNDS = 2
# Values that differ by less, relative to their size, are equal but for the rounding of floats.
EQUAL = 1e-12
# Standard deviation of the sum of two roundings to a grid, in steps of it: each has 1 / sqrt(12).
ROUNDINGS = math.sqrt(2 / 12)
# Forward, gradients of activations and gradients of weights are about a third of a step each, so that a strategy which
# trains throughout the encoder saves a third at most: the ratio 1 / 1.5. A noise floor above that hides them all.
UNUSABLE_FLOOR = math.log(1.5)

Values = Sequence[float] | NDArray[np.float64]

RatioVerdict = Literal["faster", "slower", "below the noise", "undecided"]


@dataclass(frozen=True)
class Interval:
    """A closed interval."""

    low: float
    high: float

    def includes(self, value: float) -> bool:
        """Whether `value` lies in the interval, its ends included."""
        return self.low <= value <= self.high

    @property
    def half_width(self) -> float:
        """Half the distance between the ends."""
        return (self.high - self.low) / 2


@dataclass(frozen=True)
class Summary:
    """Mean, standard deviation (None for one value) and number of values."""

    mean: float
    sd: float | None
    n: int


@dataclass(frozen=True)
class Difference:
    """Mean of paired differences over `n` shared seeds; one pair gives no interval."""

    mean: float
    interval: Interval | None
    n: int

    @property
    def decided(self) -> bool:
        """Whether there is an interval and it leaves out 0."""
        return self.doubt is None

    @property
    def doubt(self) -> str | None:
        """Why the difference is undecided; None where it is decided.

        Where the grain of the scores is not known, a few seeds may agree to the last digit by chance: an interval of
        no width decides nothing below FEW seeds.
        """
        if self.interval is None:
            return "one shared seed gives no interval"
        if self.interval.includes(0.0):
            return "the interval includes 0"
        return "so few seeds may agree by chance" if self.interval.half_width == 0 and self.n < FEW else None


@dataclass(frozen=True)
class Ratio:
    """Geometric mean over rounds of a ratio of step times.

    `logs` are the logarithms of the rounds' ratios. `floor` is the noise floor, also on the log scale: how far
    full fine-tuning divided by itself may lie from 1; None where the run holds no A/A pair.
    """

    value: float
    interval: Interval | None
    logs: tuple[float, ...]
    floor: float | None = None

    @property
    def rounds(self) -> int:
        """Number of rounds compared."""
        return len(self.logs)

    @property
    def verdict(self) -> RatioVerdict:
        """Faster or slower only where the interval leaves out 1 and the ratio clears a usable noise floor."""
        size = abs(math.log(self.value))
        if self.floor is not None and size <= self.floor:
            return "below the noise"
        unusable = self.floor is not None and not clears(size, self.floor)
        if unusable or self.interval is None or self.interval.includes(1.0):
            return "undecided"
        return "faster" if self.value < 1 else "slower"


def summarize(values: Iterable[float | None]) -> Summary | None:
    """Summary of the values that exist (finite, not None); None where there are none."""
    kept = [value for value in values if value is not None and math.isfinite(value)]
    if not kept:
        return None
    sd = float(np.std(kept, ddof=1)) if len(kept) > 1 else None
    return Summary(float(np.mean(kept)), sd, len(kept))


def t_interval(values: Values, level: float = LEVEL, *, least_spread: float = 0.0) -> Interval | None:
    """Student t interval of the mean, from a standard deviation of no less than `least_spread`.

    None for fewer than two values; of zero width where all are equal but for rounding and no spread is asked for.
    """
    if len(values) < 2:
        return None
    mean, spread = float(np.mean(values)), float(np.std(values, ddof=1))
    equal = spread <= EQUAL * float(np.max(np.abs(values)))
    spread = max(0.0 if equal else spread, least_spread)
    half = _t_quantile(len(values) - 1, level) * spread / math.sqrt(len(values))
    return Interval(mean - half, mean + half)


def welch_interval(before: Values, after: Values, level: float = LEVEL) -> Interval | None:
    """Interval of mean(after) - mean(before) for unequal variances (Welch 1947); None below two values a side."""
    if len(before) < 2 or len(after) < 2:
        return None
    change = float(np.mean(after) - np.mean(before))
    parts = [float(np.var(side, ddof=1)) / len(side) for side in (before, after)]
    total = sum(parts)
    if total == 0:
        return Interval(change, change)
    # Welch-Satterthwaite, on shares of the variance: squares of tiny variances would underflow.
    shares = (part / total for part in parts)
    freedom = 1 / sum(share**2 / (len(side) - 1) for share, side in zip(shares, (before, after), strict=True))
    half = _t_quantile(freedom, level) * math.sqrt(total)
    return Interval(change - half, change + half)


def paired_difference(
    ours: Mapping[int, float | None],
    reference: Mapping[int, float | None],
    level: float = LEVEL,
    *,
    grain: float = 0.0,
) -> Difference | None:
    """Ours minus reference over the seeds where both exist; None where they share none.

    `grain` is the distance between neighbouring scores, such as 1 / examples of a share of examples. Seeds that agree
    by luck show less spread than there is, so none below that of two roundings to the grain is believed.
    """
    pairs = [(ours[seed], reference[seed]) for seed in sorted(ours.keys() & reference.keys())]
    differences = [difference(a, b) for a, b in pairs if a is not None and b is not None]
    if not differences:
        return None
    interval = t_interval(differences, level, least_spread=grain * ROUNDINGS)
    return Difference(float(np.mean(differences)), interval, len(differences))


def round_ratio(
    steps: ArrayLike, reference: ArrayLike, floor: float | None = None, disturbed: Collection[int] = ()
) -> Ratio | None:
    """Step times, shaped (rounds, steps), against those of the reference, round by round.

    Each round gives median / median; the value is their geometric mean over the rounds both have, the interval a
    t interval of the logarithms. Rounds of the numbers `disturbed`, from 0, are left out as `kept_rounds` says. None
    where they share no round or a median is not a positive number.
    """
    ours, theirs = round_medians(steps), round_medians(reference)
    kept = kept_rounds(min(len(ours), len(theirs)), disturbed)
    medians = np.concatenate([ours[kept], theirs[kept]])
    if not kept or not np.all(np.isfinite(medians)) or not np.all(medians > 0):
        return None
    logs = np.log(ours[kept] / theirs[kept]).tolist()
    interval = t_interval(logs)
    bounds = None if interval is None else Interval(math.exp(interval.low), math.exp(interval.high))
    return Ratio(math.exp(float(np.mean(logs))), bounds, tuple(logs), floor)


def kept_rounds(rounds: int, disturbed: Collection[int]) -> list[int]:
    """Which of so many rounds count: all but the disturbed ones, or all where those would leave fewer than two."""
    left = [number for number in range(rounds) if number not in disturbed]
    return left if len(left) >= FEWEST_ROUNDS else list(range(rounds))


def round_medians(steps: ArrayLike) -> NDArray[np.float64]:
    """The median step time of each round, from times shaped (rounds, steps); empty for any other shape."""
    table = np.asarray(steps, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] == 0:
        return np.empty(0)
    return np.asarray(np.median(table, axis=1), dtype=np.float64)


def noise_floor(pair: Ratio | None) -> float | None:
    """How far, on the log scale, the A/A ratio may lie from 0: the farther end of its interval.

    With one round there is no interval and the ratio itself stands in for it. None without a pair.
    """
    if pair is None:
        return None
    if pair.interval is None:
        return abs(math.log(pair.value))
    return max(abs(math.log(pair.interval.low)), abs(math.log(pair.interval.high)))


def clears(size: float, floor: float) -> bool:
    """Whether a log ratio of this size stands out from a noise floor; from an unusable one none does."""
    return floor <= UNUSABLE_FLOOR and size > floor


def share_half_width(share: float, n: int, level: float = LEVEL) -> float:
    """Half the width of the binomial interval of a share of `n` examples (Wilson 1927); 20 of 20 are not certain.

    No mean over examples of values from 0 to 1 varies more than a share does, so it is a bound for those.
    """
    z = float(ndtri((1 + level) / 2))
    return z / (1 + z**2 / n) * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))


def difference(a: float, b: float) -> float:
    """Return a - b, and 0 where that is below the resolution of a float: it is rounding, not a measurement."""
    return 0.0 if math.isclose(a, b, rel_tol=EQUAL) else a - b


def _t_quantile(freedom: float, level: float) -> float:
    return float(stdtrit(freedom, (1 + level) / 2))
