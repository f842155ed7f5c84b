"""How often the interval of a crossover holds the true one, by simulation.

    python -m benchmarks.crossover_coverage

Mean differences of two strategies at four sizes are given noise of each seed, larger at the smaller sizes; with
`shared`, seven tenths of its variance is the seed's own at all sizes. Coverage is the share, among simulations whose
means change sign once, of intervals that hold the true crossover. "Claimed" is how often a crossover with an interval
closed at both ends is reported where there is none, and "throughout" how often it is rightly said that there is none.
Each is given for the bootstrap that reports use, and for two that they do not.
"""

from collections.abc import Callable
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from reports.crossover import Crossover, Resample, crossover, student_means

Floats = NDArray[np.float64]

SIZES = (100, 300, 1000, 3000)
NOISE = np.array([1.6, 1.2, 1.0, 0.8])
CROSSING = np.array([3.0, 1.2, -0.8, -2.6])
APART = np.array([3.0, 2.5, 2.0, 1.5])
IDENTICAL = np.zeros(4)
SEEDS = (3, 5, 10)
SHARED = 0.7


def redrawn_seeds(differences: Floats, resamples: int, generator: np.random.Generator) -> Floats:
    """The plain bootstrap: seeds drawn with replacement, each size apart."""
    seeds, sizes = differences.shape
    drawn = generator.integers(0, seeds, (resamples, seeds, sizes))
    return np.asarray(differences[drawn, np.arange(sizes)].mean(axis=1))


def apart_means(differences: Floats, resamples: int, generator: np.random.Generator) -> Floats:
    """Mean differences drawn from t distributions, each size apart."""
    seeds, sizes = differences.shape
    scale = differences.std(axis=0, ddof=1) / np.sqrt(seeds)
    return np.asarray(differences.mean(axis=0) + scale * generator.standard_t(seeds - 1, (resamples, sizes)))


METHODS: dict[str, Resample] = {
    "seeds kept together, t": student_means,
    "each size apart, t": apart_means,
    "seeds redrawn": redrawn_seeds,
}


def simulate(
    curve: Floats, seeds: int, shared: float, simulations: int, resamples: int, resample: Resample
) -> list[Crossover]:
    """Crossovers found in simulated scores whose mean differences are `curve`."""
    generator = np.random.default_rng([seeds, round(100 * shared)])
    found = []
    for _ in range(simulations):
        own, common = generator.standard_normal((seeds, len(SIZES))), generator.standard_normal((seeds, 1))
        differences = curve + NOISE * (np.sqrt(1 - shared) * own + np.sqrt(shared) * common)
        ours = {size: dict(enumerate(map(float, differences[:, i]))) for i, size in enumerate(SIZES)}
        theirs = {size: dict.fromkeys(range(seeds), 0.0) for size in SIZES}
        crossed = crossover(ours, theirs, resamples=resamples, resample=resample)
        if crossed is not None:
            found.append(crossed)
    return found


def holds_the_truth(found: Crossover) -> bool:
    """Whether the interval holds where `CROSSING` crosses."""
    truth = float(np.exp(np.interp(0.0, -CROSSING, np.log(SIZES))))
    return found.low is not None and found.high is not None and found.low <= truth <= found.high


def share(found: list[Crossover], what: Callable[[Crossover], bool]) -> str:
    """The share of the crossovers that are so, as a percentage."""
    return f"{100 * np.mean([what(one) for one in found]):.1f}%"


def main(
    simulations: Annotated[int, typer.Option(min=1, help="Simulated runs of each kind.")] = 1000,
    resamples: Annotated[int, typer.Option(min=1, help="Resamples of each.")] = 1000,
) -> None:
    """Print a row for each number of seeds, kind of noise and bootstrap."""
    table = Table("seeds", "noise", "bootstrap", "coverage", "claimed: same", "claimed: apart", "throughout: apart")
    for seeds in SEEDS:
        for noise, shared in (("own", 0.0), ("shared", SHARED)):
            for name, resample in METHODS.items():
                crossing, identical, apart = (
                    simulate(curve, seeds, shared, simulations, resamples, resample)
                    for curve in (CROSSING, IDENTICAL, APART)
                )
                table.add_row(
                    str(seeds),
                    noise,
                    name,
                    share([one for one in crossing if one.size is not None], holds_the_truth),
                    share(identical, lambda one: one.closed),
                    share(apart, lambda one: one.closed),
                    share(apart, lambda one: one.outcome == "ahead"),
                )
    Console(width=130).print(table)


if __name__ == "__main__":
    typer.run(main)
