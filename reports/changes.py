"""Changes between two runs: what a metric was before and after, whether that stands out, and whether a limit held."""

from dataclasses import dataclass, replace
from typing import Literal

from reports.limits import Limit
from reports.statistics import Interval

Judgement = Literal["regressed", "improved", "within limit", "cannot judge", "no limit"]
Standing = Literal["clear", "unclear", "noise", "incomparable"]


@dataclass(frozen=True)
class Place:
    """Where a metric was measured: model and precision, task or batch shape, strategy."""

    model: str
    where: str
    strategy: str


@dataclass(frozen=True)
class Change:
    """One metric at one place in two runs, over `n` shared cells or rounds.

    `interval` is that of after minus before, None where the value is counted or there is too little of it.
    `standing` is 'clear' where the change stands out from the noise (always so for counted values), 'noise' where
    the noise floors of both runs cover it, 'unclear' in between, 'incomparable' where the two values are of
    different things; `reason` then says why.
    """

    metric: str
    place: Place
    before: float | None
    after: float | None
    interval: Interval | None
    n: int
    standing: Standing
    reason: str | None = None
    judgement: Judgement = "no limit"
    limit: str = ""


def missing(metric: str, place: Place, before: float | None, after: float | None, reason: str) -> Change:
    """A change that has no measure, and why."""
    return Change(metric, place, before, after, None, 0, "incomparable", reason)


def judge(change: Change, limit: Limit) -> Change:
    """The change with its judgement against a limit on its metric.

    A change no larger than the limit is within it. A larger one is a regression or an improvement where it stands
    out from the noise; where it does not, one for the worse cannot be judged: a noisy machine passes no gate.
    """
    change = replace(change, limit=limit.text)
    if change.before is None or change.after is None or change.standing == "incomparable":
        return replace(change, judgement="cannot judge")
    difference = change.after - change.before
    worse = -difference if limit.metric.higher_is_better else difference
    beyond = abs(worse) > limit.allowance(change.before) * (1 + 1e-9)
    if not beyond:
        return replace(change, judgement="within limit")
    if change.standing == "clear":
        return replace(change, judgement="regressed" if worse > 0 else "improved")
    return replace(change, judgement="cannot judge" if worse > 0 else "within limit")
