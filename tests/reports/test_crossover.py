"""Where two strategies change places: found where it is, with an interval that holds it, and not made up elsewhere."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from reports.crossover import Crossover, Scores, crossover

SIZES = (100, 300, 1000, 3000)
NOISE = np.array([1.6, 1.2, 1.0, 0.8])
CROSSING = np.array([3.0, 1.2, -0.8, -2.6])
TRUTH = math.exp(np.interp(0.0, -CROSSING, np.log(SIZES)))

Rows = st.integers(2, 6).flatmap(
    lambda sizes: st.lists(st.lists(st.floats(-5, 5), min_size=sizes, max_size=sizes), min_size=1, max_size=5)
)


def scores(differences: NDArray[np.float64]) -> tuple[Scores, Scores]:
    """Scores of two strategies with these differences, shaped (seeds, sizes)."""
    sizes = [100 * 3**i for i in range(differences.shape[1])]
    ours = {size: dict(enumerate(map(float, differences[:, i]))) for i, size in enumerate(sizes)}
    return ours, {size: dict.fromkeys(range(len(differences)), 0.0) for size in sizes}


def found(differences: object, **options: bool) -> Crossover:
    crossed = crossover(*scores(np.array(differences, dtype=np.float64)), **options)  # type: ignore[arg-type]
    assert crossed is not None
    return crossed


def simulated(curve: NDArray[np.float64], seeds: int, shared: float = 0.0, simulations: int = 200) -> list[Crossover]:
    """Crossovers of simulated runs; `shared` is the share of the noise's variance that a seed has at every size."""
    generator = np.random.default_rng(seeds)
    results = []
    for _ in range(simulations):
        own, common = generator.standard_normal((seeds, len(SIZES))), generator.standard_normal((seeds, 1))
        drawn = curve + NOISE * (math.sqrt(1 - shared) * own + math.sqrt(shared) * common)
        ours = {size: dict(enumerate(map(float, drawn[:, i]))) for i, size in enumerate(SIZES)}
        theirs = {size: dict.fromkeys(range(seeds), 0.0) for size in SIZES}
        one = crossover(ours, theirs, resamples=1000)
        assert one is not None
        results.append(one)
    return results


def test_it_is_interpolated_on_the_logarithm_of_the_size() -> None:
    one = found([[1.0, -1.0]] * 5)
    assert one.outcome == "crossover"
    assert one.starts_ahead
    assert one.size == pytest.approx(math.sqrt(100 * 300))
    assert (one.low, one.high) == pytest.approx((one.size, one.size))
    assert found([[3.0, -1.0]]).size == pytest.approx(100 * 3**0.75)


@given(Rows)
def test_swapping_the_strategies_mirrors_the_answer(rows: list[list[float]]) -> None:
    ours, theirs = scores(np.array(rows))
    one, other = crossover(ours, theirs, resamples=200), crossover(theirs, ours, resamples=200)
    assert one is not None
    assert other is not None
    mirrored = {"ahead": "behind", "behind": "ahead"}
    assert other.outcome == mirrored.get(one.outcome, one.outcome)
    assert (one.size is None) == (other.size is None) == (one.changes != 1)
    assert other.size == (None if one.size is None else pytest.approx(one.size))
    assert one.starts_ahead is (None if other.starts_ahead is None else not other.starts_ahead)


@given(Rows)
def test_a_crossover_lies_within_the_sizes_and_its_interval_is_in_order(rows: list[list[float]]) -> None:
    one = crossover(*scores(np.array(rows)), resamples=200)
    assert one is not None
    if one.size is not None:
        assert one.sizes[0] * 0.999 <= one.size <= one.sizes[-1] * 1.001
    if one.low is not None:
        assert one.high is not None
        assert 0 <= one.low <= one.high
    assert (one.uncrossed is None) == (len(rows) == 1 or one.coincidence)


@pytest.mark.parametrize(("seeds", "shared"), [(5, 0.0), (5, 0.7), (10, 0.0), (10, 0.7)])
def test_intervals_of_95_percent_hold_a_known_crossover(seeds: int, shared: float) -> None:
    crossed = [one for one in simulated(CROSSING, seeds, shared) if one.size is not None]
    held = [one.low is not None and one.high is not None and one.low <= TRUTH <= one.high for one in crossed]
    assert len(crossed) > 190
    assert np.mean(held) >= 0.91


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_curves_apart_do_not_cross(seeds: int) -> None:
    apart = simulated(np.array([3.0, 2.5, 2.0, 1.5]), seeds)
    assert sum(one.outcome == "crossover" for one in apart) <= 2
    assert not any(one.closed for one in apart)
    assert not any(one.outcome == "behind" for one in apart)
    if seeds == 10:
        assert np.mean([one.outcome == "ahead" for one in apart]) > 0.95


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_equal_curves_are_undecided(seeds: int) -> None:
    same = simulated(np.zeros(4), seeds)
    assert np.mean([one.outcome == "undecided" for one in same]) > 0.9
    assert sum(one.closed for one in same) <= 2
    exact = found(np.zeros((seeds, 4)))
    assert exact.outcome == "undecided"
    assert exact.starts_ahead is None
    assert exact.uncrossed == (None if exact.coincidence else 1.0)
    assert exact.coincidence == (seeds < 5)


def test_one_seed_gives_a_place_and_no_interval() -> None:
    one = found([[2.0, 1.0, -1.0]])
    assert (one.outcome, one.seeds) == ("undecided", 1)
    assert one.size == pytest.approx(100 * 3**1.5)
    assert one.low is None
    assert one.high is None
    assert one.uncrossed is None


def test_a_few_seeds_that_agree_to_the_last_digit_decide_nothing() -> None:
    one = found([[1.0, -1.0], [1.0, -2.0]])
    assert one.outcome == "undecided"
    assert one.coincidence
    assert one.size is not None
    assert one.low is one.high is one.uncrossed is None
    five = found([[1.0, -1.0]] * 5)
    assert not five.coincidence
    assert five.outcome == "crossover"


def test_an_end_that_is_not_settled_is_open() -> None:
    late = found([[3.0, 2.0, 0.5], [3.1, 2.1, -1.5], [2.9, 1.9, -0.5]])
    assert (late.outcome, late.closed, late.high) == ("crossover", False, math.inf)
    assert late.low is not None
    assert late.low > 300
    early = found([[0.5, -2.0, -3.0], [-0.4, -2.1, -3.1], [0.3, -1.9, -2.9]])
    assert (early.outcome, early.closed, early.low) == ("crossover", False, 0.0)


def test_several_settled_changes_are_not_monotone_and_give_no_number() -> None:
    one = found([[2.0, -2.0, 2.0], [2.1, -2.1, 2.1], [1.9, -1.9, 1.9]])
    assert (one.outcome, one.changes, one.size, one.low) == ("not monotone", 2, None, None)


def test_a_lower_score_can_be_the_better_one() -> None:
    rows = [[2.0, 1.0], [2.1, 1.1], [1.9, 0.9]]
    assert found(rows).outcome == "ahead"
    assert found(rows, higher_is_better=False).outcome == "behind"


def test_only_seeds_with_both_scores_at_every_size_count() -> None:
    ours, theirs = scores(np.array([[1.0, -1.0, -2.0], [1.2, -1.1, -2.0], [9.0, 9.0, 9.0]]))
    sparse = {size: {seed: s for seed, s in own.items() if (size, seed) != (300, 2)} for size, own in ours.items()}
    one = crossover(sparse, theirs)
    assert one is not None
    assert one.seeds == 2
    assert one.size is not None
    assert one.size < 300
    empty = crossover({**ours, 300: dict.fromkeys(range(3), None)}, theirs)
    assert empty is not None
    assert empty.sizes == (100, 900)


def test_fewer_than_two_sizes_or_no_common_seed_are_nothing() -> None:
    assert crossover({}, {}) is None
    assert crossover({100: {0: 1.0}}, {100: {0: 2.0}, 300: {0: 1.0}}) is None
    assert crossover({100: {0: 1.0}, 300: {1: 1.0}}, {100: {0: 2.0}, 300: {1: 2.0}}) is None


def test_the_same_scores_give_the_same_answer() -> None:
    rows = np.random.default_rng(3).normal(0, 1, (5, 4))
    assert found(rows) == found(rows)
