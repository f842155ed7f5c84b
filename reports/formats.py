"""Numbers as a reader should see them: with a unit, a real minus sign, and as many digits as their interval allows."""

import math

from bench.metrics import METRICS, Metric, format_bytes, format_seconds
from reports.statistics import Difference, Interval, Ratio, Summary

__all__ = ["format_bytes", "format_seconds"]

MISSING = "n/a"
MINUS = "\N{MINUS SIGN}"
TO = "\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}"
STATUS_WORDS = {
    "out_of_memory": "out of memory",
    "bad_data": "bad data",
    "audit_failed": "audit failed",
}


def metric(name: str) -> Metric:
    """The metric of this name; one that the table does not know prints raw and favours no direction."""
    return METRICS.get(name) or Metric(name, name.replace("_", " "), "ratio", None)


def status(name: str) -> str:
    """A record's status in words."""
    return STATUS_WORDS.get(name, name)


def digits(half_width: float, most: int = 3) -> int:
    """Decimals that an uncertainty of `half_width` justifies: its first digit, and one more where that is a 1."""
    if not math.isfinite(half_width) or half_width <= 0:
        return min(1, most)
    exponent = math.floor(math.log10(half_width))
    leading_one = half_width / 10.0**exponent < 2
    return max(0, min(most, leading_one - exponent))


def number(value: float, decimals: int) -> str:
    """A number with a real minus sign, and no minus before a rounded zero."""
    text = f"{value:,.{decimals}f}"
    return text.replace("-", MINUS if float(text.replace(",", "")) else "")


def signed(value: float, decimals: int) -> str:
    """A difference: always with its sign, except a rounded zero."""
    text = number(value, decimals)
    return text if value <= 0 or not float(text.replace(",", "")) else f"+{text}"


def significant(value: float, figures: int, most: int = 12) -> str:
    """A number with so many significant digits but `most` decimals: '12', '1.2', '0.012'; '0' for zero."""
    if value == 0:
        return "0"
    return number(value, min(most, max(0, figures - 1 - math.floor(math.log10(abs(value))))))


def scale(metric: Metric) -> float:
    """What a raw value is multiplied by for print: fractions become points of 100."""
    return 100.0 if metric.unit == "fraction" else 1.0


def unit(metric: Metric) -> str:
    """The unit of a difference in words, with a leading space; empty where the metric has none."""
    return " points" if metric.unit == "fraction" else ""


def score(metric: Metric, summary: Summary) -> tuple[str, str]:
    """Mean and standard deviation as text; the latter is empty for one value."""
    factor = scale(metric)
    decimals = _score_digits(metric, summary.sd)
    mean = number(summary.mean * factor, decimals)
    return mean, "" if summary.sd is None else number(summary.sd * factor, decimals)


def value(metric: Metric, raw: float | None) -> str:
    """One raw value as text; 'n/a' where it does not exist."""
    if raw is None:
        return MISSING
    return number(raw * scale(metric), 1 if metric.unit == "fraction" else 3)


def difference(metric: Metric, found: Difference) -> tuple[str, str]:
    """A difference and its interval as text ('' without one)."""
    factor = scale(metric)
    decimals = difference_digits(metric, found)
    mean = signed(found.mean * factor, decimals)
    return mean, "" if found.interval is None else interval(found.interval, decimals, factor)


def difference_digits(metric: Metric, found: Difference) -> int:
    """Decimals of a difference after scaling."""
    default = 1 if metric.unit == "fraction" else 3
    if found.interval is None or found.interval.half_width * scale(metric) < 1e-9:
        return default
    return digits(found.interval.half_width * scale(metric))


def interval(bounds: Interval, decimals: int, factor: float = 1.0) -> str:
    """'low to high' with so many decimals."""
    return f"{number(bounds.low * factor, decimals)}{TO}{number(bounds.high * factor, decimals)}"


def ratio(found: Ratio) -> tuple[str, str]:
    """A ratio and its interval as text ('' without one)."""
    decimals = ratio_digits(found)
    return number(found.value, decimals), "" if found.interval is None else interval(found.interval, decimals)


def ratio_digits(found: Ratio) -> int:
    """Decimals of a ratio: what its interval allows, two at least where it is near 1 or below."""
    least = plain_ratio_digits(found.value)
    if found.interval is None:
        return least
    return max(least, digits(found.interval.half_width))


def plain_ratio_digits(value: float) -> int:
    """Decimals that show two significant digits of a ratio, and never fewer than two decimals below 10."""
    if value <= 0:
        return 2
    return max(0 if value >= 100 else 2, 1 - math.floor(math.log10(value)))


def plain_ratio(value: float | None) -> str:
    """A ratio measured once, without an interval."""
    return MISSING if value is None else number(value, plain_ratio_digits(value))


def floor(log_floor: float) -> str:
    """A noise floor as a percentage: '1.4%'."""
    share = 100 * math.expm1(log_floor)
    return f"{number(share, 0 if share >= 10 else 1)}%"


def percent(fraction: float | None) -> str:
    """A share with two significant digits: '100%', '0.11%', '0%'."""
    if fraction is None:
        return MISSING
    share = 100 * fraction
    if share == 0 or share >= 99.95:
        return f"{share:.0f}%"
    return f"{number(share, max(0, 1 - math.floor(math.log10(share))))}%"


def size(value: float | None) -> str:
    """Bytes, or 'n/a'."""
    return MISSING if value is None else format_bytes(value)


def seconds(value: float | None) -> str:
    """Seconds, or 'n/a'."""
    return MISSING if value is None else format_seconds(value)


def si(value: float) -> str:
    """A number with three digits and the prefix of a unit to follow: '179 G', '38.6 M', '512 '."""
    for prefix, size in (("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= 0.9995 * size:
            return f"{significant(value / size, 3)} {prefix}"
    return f"{significant(value, 3)} "


def flops(value: float) -> str:
    """Floating-point operations: '539 GFLOP'."""
    return f"{si(value)}FLOP"


def count(number_of: int, singular: str, plural: str = "") -> str:
    """'1 cell', '3 cells'."""
    return f"{number_of:,} {singular if number_of == 1 else plural or singular + 's'}"


def _score_digits(metric: Metric, sd: float | None) -> int:
    if metric.unit != "fraction":
        return 3
    return 2 if sd is not None and 0 < sd < 0.0005 else 1
