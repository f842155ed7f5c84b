"""Statistics of step times as pytest-benchmark defines them: its quartiles and outliers are not those of numpy."""

import statistics
from collections.abc import Sequence


def summary(seconds: Sequence[float]) -> dict[str, float | int | str]:
    """Every field that pytest-benchmark's `Stats` has, of one or more times, in its order.

    `ld15iqr` and `hd15iqr` are the lowest and the highest time within one and a half interquartile ranges of the
    quartiles, `outliers` how many lie beyond a standard deviation of the mean and how many beyond that fence.
    Raises ValueError where there are no times.
    """
    if not seconds:
        raise ValueError("no times, no statistics")
    ordered = sorted(map(float, seconds))
    mean, total = statistics.mean(ordered), sum(ordered)
    deviation = statistics.stdev(ordered) if len(ordered) > 1 else 0.0
    quartile1, quartile3 = _quartiles(ordered)
    fence = 1.5 * (quartile3 - quartile1)
    within = [one for one in ordered if quartile1 - fence <= one <= quartile3 + fence]
    far = sum(abs(one - mean) > deviation for one in ordered)
    beyond = len(ordered) - len(within)
    return {
        "min": ordered[0],
        "max": ordered[-1],
        "mean": mean,
        "stddev": deviation,
        "rounds": len(ordered),
        "median": statistics.median(ordered),
        "iqr": quartile3 - quartile1,
        "q1": quartile1,
        "q3": quartile3,
        "iqr_outliers": beyond,
        "stddev_outliers": far,
        "outliers": f"{far};{beyond}",
        "ld15iqr": within[0],
        "hd15iqr": within[-1],
        "ops": len(ordered) / total if total else 0.0,
        "total": total,
    }


def _quartiles(ordered: Sequence[float]) -> tuple[float, float]:
    """First and third quartile by methods 2 (an even number of times) and 3 (an odd one) of Wikipedia's list."""
    size = len(ordered)
    if size == 1:
        return ordered[0], ordered[0]
    if size % 2 == 0:
        half = size // 2
        return statistics.median(ordered[:half]), statistics.median(ordered[half:])
    n = size // 4
    if size % 4 == 1:
        return (
            0.25 * ordered[n - 1] + 0.75 * ordered[n],
            0.75 * ordered[3 * n] + 0.25 * ordered[3 * n + 1],
        )
    return (
        0.75 * ordered[n] + 0.25 * ordered[n + 1],
        0.25 * ordered[3 * n + 1] + 0.75 * ordered[3 * n + 2],
    )
