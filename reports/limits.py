"""Limits a comparison may be asked to hold: `accuracy=-1.0`, `step_ratio=+5%`, `peak_allocated_bytes=+64MiB`.

The grammar:

    LIMIT   = METRIC "=" SIGN NUMBER [UNIT]  |  METRIC "=" "0"
    METRIC  = a name in bench.metrics that has a worse direction
    SIGN    = the worse direction: "-" where higher is better, "+" where lower is
    NUMBER  = digits, with a decimal point or without
    UNIT    = "%" of the first run's value; or an absolute unit: B, kiB, MiB, GiB for bytes, ms or s for seconds

Without a unit the number is in the metric's own: points of 100 for scores, bytes, seconds, or plain. Scores take no
"%", since 1% and 1 point are easily taken for each other. The limit itself is still allowed.
"""

import difflib
import re
from dataclasses import dataclass

from bench.metrics import METRICS, Metric
from bench.record import InputError

UNITS: dict[str, dict[str, float]] = {
    "fraction": {"": 0.01},
    "bytes": {"": 1, "B": 1, "kiB": 2**10, "MiB": 2**20, "GiB": 2**30},
    "seconds": {"": 1, "s": 1, "ms": 1e-3},
}
_FORM = re.compile(r"([+-]?)(\d+(?:\.\d*)?|\.\d+)\s*([A-Za-z%]*)")


@dataclass(frozen=True)
class Limit:
    """How much worse a metric may get: `size` in its raw unit, or as a share of the first run's value."""

    metric: Metric
    size: float
    relative: bool
    text: str

    def allowance(self, before: float) -> float:
        """The size in raw units, given the value it is measured from."""
        return self.size * abs(before) if self.relative else self.size


def parse_limit(text: str) -> Limit:
    """Read one limit. Raises InputError for an unknown metric (with the nearest name) or a malformed amount."""
    name, equals, amount = text.partition("=")
    metric = _metric(name.strip(), text)
    sign = "-" if metric.higher_is_better else "+"
    example = f"{metric.name}={sign}1.0" if metric.unit == "fraction" else f"{metric.name}={sign}5%"
    found = _FORM.fullmatch(amount.strip().replace("\N{MINUS SIGN}", "-")) if equals else None
    if found is None:
        raise InputError(f"limit {text!r} is not METRIC=AMOUNT; write for example {example}")
    number = float(found[2])
    if found[1] != sign and number != 0:
        worse = "lower" if metric.higher_is_better else "higher"
        raise InputError(f"limit {text!r}: {worse} is worse for {metric.name}, so write for example {example}")
    if found[3] == "%" and metric.unit != "fraction":
        return Limit(metric, number / 100, True, text)
    units = UNITS.get(metric.unit, {"": 1.0})
    if found[3] not in units:
        known = ", ".join(filter(None, units)) or "a bare number"
        known = "points of 100, without %" if metric.unit == "fraction" else f"{known} or %"
        raise InputError(f"limit {text!r}: unknown unit {found[3]!r} for {metric.name}; it takes {known}")
    return Limit(metric, number * units[found[3]], False, text)


def _metric(name: str, text: str) -> Metric:
    judged = [metric.name for metric in METRICS.values() if metric.higher_is_better is not None]
    if name in judged:
        return METRICS[name]
    if name in METRICS:
        raise InputError(f"limit {text!r}: neither direction of {name} is worse, so it cannot have a limit")
    near = difflib.get_close_matches(name, judged, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(judged)}"
    raise InputError(f"limit {text!r}: unknown metric {name!r}; {hint}")
