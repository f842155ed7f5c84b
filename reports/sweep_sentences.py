"""What becomes of each strategy against full fine-tuning as the training set grows, in one sentence a strategy."""

import math

from reports import formats
from reports.crossover import Crossover
from reports.sweep import SweepRow, SweepVerdict

FULL = "full fine-tuning"


def sentences(verdict: SweepVerdict) -> list[tuple[SweepRow, str]]:
    """Each strategy but full fine-tuning with its sentence, which follows the strategy's name and a colon."""
    return [(row, f"{_sentence(row.crossover)}.") for row in verdict.rows if not row.is_reference]


def place(size: float) -> str:
    """A place between sizes as text, with two significant digits: '420', '1,200'."""
    return formats.number(round(size, 1 - math.floor(math.log10(size))), 0)


def bounds(found: Crossover) -> str:
    """The interval of a crossover: '150 to 900', its open ends named for what they are; '' without one."""
    if found.low is None or found.high is None:
        return ""
    low = place(found.low) if found.low > 0 else f"below\N{NO-BREAK SPACE}{found.sizes[0]:,}"
    high = place(found.high) if math.isfinite(found.high) else f"above\N{NO-BREAK SPACE}{found.sizes[-1]:,}"
    return f"{low}{formats.TO}{high}"


def _sentence(found: Crossover | None) -> str:
    if found is None:
        return f"nothing to compare with {FULL} at two sizes or more"
    match found.outcome:
        case "crossover":
            return _crossing(found)
        case "ahead" | "behind":
            return (
                f"{found.outcome}{_of(found.outcome)} {FULL} throughout, {_range(found)}: no crossover in this range"
            )
        case "not monotone":
            return (
                f"changes places with {FULL} {formats.count(found.changes, 'time')}: not monotone, no single crossover"
            )
        case "undecided":
            return f"undecided, since {_reason(found)}"


def _crossing(found: Crossover) -> str:
    first, then = ("ahead", "behind") if found.starts_ahead else ("behind", "ahead")
    at = "" if found.size is None else place(found.size)
    if found.closed:
        return (
            f"{first}{_of(first)} {FULL} on small training sets, {then} on large ones; they change places at {at} "
            f"examples (interval {bounds(found)})"
        )
    settled = f"{then}{_of(then)} {FULL} on large" if found.low == 0 else f"{first}{_of(first)} {FULL} on small"
    return (
        f"{settled} training sets; the means change places at {at} examples, but perhaps not within the range "
        f"(interval {bounds(found)}; {formats.percent(found.uncrossed)} of resamples do not cross)"
    )


def _reason(found: Crossover) -> str:
    """Why a crossover is neither found nor excluded, and what the means say."""
    if found.seeds < 2:
        says = f"; its mean crosses that of {FULL} at {place(found.size)} examples" if found.size else ""
        return f"one seed with a score at every size gives no interval{says}"
    if found.starts_ahead is None:
        return f"it does not differ from {FULL} at any size"
    if found.coincidence:
        return f"its {found.seeds} seeds differ from {FULL} by the same amount at some size, which may be chance"
    if found.changes > 1:
        return f"the difference changes its sign {found.changes} times within the noise (not monotone)"
    if found.size is not None:
        return f"the means change places at {place(found.size)} examples, but the interval is the whole range"
    side = "ahead" if found.starts_ahead else "behind"
    return f"its mean is {side} at every size, {_range(found)}, but by too little to exclude a crossover"


def _range(found: Crossover) -> str:
    return f"from {found.sizes[0]:,} to {found.sizes[-1]:,} examples"


def _of(side: str) -> str:
    return " of" if side == "ahead" else ""
