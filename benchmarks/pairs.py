"""Two ways of doing one thing, timed in turns, so that the machine's drift falls on both."""

import time
from collections import deque
from collections.abc import Callable, Mapping

import numpy as np
from pytest_benchmark.fixture import BenchmarkFixture

Work = Callable[[], object]


def paired(
    benchmark: BenchmarkFixture, ours: Work, rivals: Mapping[str, Work], *, goal: str, rounds: int = 7, each: int = 1
) -> None:
    """Time `ours` with pytest-benchmark and, before each round of it, every one of `rivals`, in rotating order.

    Leaves in `extra_info`, for each rival, the median over rounds of rival / ours with its quartiles, and the median
    of rival - ours. `each` is how many steps or batches one call makes: times are given for one of them.
    """
    taken: dict[str, list[float]] = {name: [] for name in rivals}
    order = deque(rivals)

    def before() -> None:
        for name in order:
            begin = time.perf_counter()
            rivals[name]()
            taken[name].append(time.perf_counter() - begin)
        order.rotate(-1)

    ours()
    before()
    taken = {name: [] for name in rivals}
    benchmark.pedantic(ours, setup=before, rounds=rounds)  # type: ignore[no-untyped-call]
    if benchmark.stats is None:
        raise RuntimeError("nothing was timed: benchmarks are switched off")
    own = np.asarray(benchmark.stats.stats.data)
    benchmark.extra_info |= {"goal": goal, "ours, ms each": 1000 * float(np.median(own)) / each}
    for name, seconds in taken.items():
        theirs = np.asarray(seconds)
        low, middle, high = np.quantile(theirs / own, [0.25, 0.5, 0.75])
        benchmark.extra_info[f"{name} / ours"] = f"{middle:.3g} ({low:.3g} to {high:.3g})"
        benchmark.extra_info[f"{name} - ours, ms each"] = 1000 * float(np.median(theirs - own)) / each
