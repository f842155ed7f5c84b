"""Statistics against scipy and hand-computed values, and their properties on whatever hypothesis finds."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from reports.statistics import (
    Ratio,
    noise_floor,
    paired_difference,
    round_ratio,
    summarize,
    t_interval,
    welch_interval,
)

values = st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=12)
times = st.lists(st.floats(1e-4, 10.0), min_size=2, max_size=8)


def test_summary_leaves_out_what_does_not_exist() -> None:
    found = summarize([0.8, None, 0.9, math.nan])
    assert found is not None
    assert found.n == 2
    assert found.mean == pytest.approx(0.85)
    assert found.sd == pytest.approx(math.sqrt(0.005))


def test_summary_of_one_value_has_no_spread() -> None:
    found = summarize([0.8])
    assert found is not None
    assert (found.mean, found.sd, found.n) == (0.8, None, 1)


def test_nothing_has_no_summary() -> None:
    assert summarize([None, None]) is None
    assert summarize([]) is None


@given(values)
def test_interval_is_that_of_scipy(sample: list[float]) -> None:
    found = t_interval(sample)
    spread = float(np.std(sample, ddof=1))
    assert found is not None
    if spread == 0:
        assert found.half_width == 0
    else:
        expected = stats.t.interval(0.95, len(sample) - 1, np.mean(sample), spread / math.sqrt(len(sample)))
        assert (found.low, found.high) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_interval_by_hand() -> None:
    # Mean 2, standard deviation 1, t(2) = 4.302653: half width 4.302653 / sqrt(3).
    found = t_interval([1.0, 2.0, 3.0])
    assert found is not None
    assert found.low == pytest.approx(2 - 2.484138, abs=1e-6)
    assert found.high == pytest.approx(2 + 2.484138, abs=1e-6)


def test_one_value_has_no_interval() -> None:
    assert t_interval([1.0]) is None
    assert t_interval([]) is None
    assert welch_interval([1.0], [1.0, 2.0]) is None


@given(values, values)
def test_welch_is_that_of_scipy(before: list[float], after: list[float]) -> None:
    found = welch_interval(before, after)
    assert found is not None
    if min(np.std(before), np.std(after)) < 1e-6:
        assert found.low <= found.high
        return
    expected = stats.ttest_ind(after, before, equal_var=False).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-7, abs=1e-7)


def test_welch_of_constants_has_no_width() -> None:
    found = welch_interval([1.0, 1.0], [3.0, 3.0])
    assert found is not None
    assert (found.low, found.high) == (2.0, 2.0)


def test_difference_pairs_shared_seeds_only() -> None:
    found = paired_difference({0: 0.8, 1: 0.7, 2: None, 5: 0.1}, {0: 0.9, 1: 0.9, 2: 0.9, 7: 0.2})
    assert found is not None
    assert found.n == 2
    assert found.mean == pytest.approx(-0.15)
    expected = stats.t.interval(0.95, 1, -0.15, np.std([-0.1, -0.2], ddof=1) / math.sqrt(2))
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx(expected)
    assert not found.decided


def test_without_shared_seeds_there_is_no_difference() -> None:
    assert paired_difference({0: 0.8}, {1: 0.9}) is None
    assert paired_difference({0: None}, {0: 0.9}) is None
    assert paired_difference({}, {}) is None


def test_one_seed_decides_nothing() -> None:
    found = paired_difference({0: 0.1}, {0: 0.9})
    assert found is not None
    assert found.interval is None
    assert not found.decided


def test_pairing_removes_what_seeds_share() -> None:
    full = {0: 0.50, 1: 0.70, 2: 0.90}
    ours = {seed: score - 0.02 - 0.001 * seed for seed, score in full.items()}
    found = paired_difference(ours, full)
    assert found is not None
    assert found.decided
    assert found.mean == pytest.approx(-0.021)


@given(st.dictionaries(st.integers(0, 9), st.floats(0, 1), min_size=1))
def test_a_strategy_never_differs_from_itself(scores: dict[int, float]) -> None:
    found = paired_difference(scores, scores)
    assert found is not None
    assert found.mean == 0
    assert not found.decided


@given(values, values)
def test_difference_changes_sign_with_its_sides(ours: list[float], theirs: list[float]) -> None:
    a, b = dict(enumerate(ours)), dict(enumerate(theirs))
    forth, back = paired_difference(a, b), paired_difference(b, a)
    assert forth is not None
    assert back is not None
    assert forth.mean == pytest.approx(-back.mean)
    assert forth.decided == back.decided


def test_rounding_is_no_difference() -> None:
    found = paired_difference({0: 0.1 + 0.2, 1: 0.6}, {0: 0.3, 1: 0.6})
    assert found is not None
    assert found.mean == 0


def test_ratio_by_hand() -> None:
    # Medians 2 and 8 against 4 and 4: ratios 1/2 and 2, whose geometric mean is 1.
    found = round_ratio([[1, 2, 9], [8, 8, 8]], [[4, 4, 4], [4, 1, 7]])
    assert found is not None
    assert found.value == pytest.approx(1.0)
    assert found.rounds == 2
    half = stats.t.ppf(0.975, 1) * np.std(np.log([0.5, 2.0]), ddof=1) / math.sqrt(2)
    assert found.interval is not None
    assert math.log(found.interval.high) == pytest.approx(half)
    assert found.verdict == "undecided"


@given(times, st.floats(0.1, 10.0))
def test_a_constant_factor_is_found_whatever_the_machine_does(rounds: list[float], factor: float) -> None:
    reference = np.array(rounds)[:, None]
    found = round_ratio(factor * reference, reference)
    assert found is not None
    assert found.value == pytest.approx(factor)
    assert found.interval is not None
    assert found.interval.half_width < 1e-6 * factor


@given(times)
def test_ratio_inverts_with_its_sides(rounds: list[float]) -> None:
    ours, theirs = np.array(rounds)[:, None], np.array(rounds[::-1])[:, None]
    forth, back = round_ratio(ours, theirs), round_ratio(theirs, ours)
    assert forth is not None
    assert back is not None
    assert forth.value * back.value == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("steps", "reference"),
    [([], []), ([[]], [[]]), ([1.0, 2.0], [1.0, 2.0]), ([[0.0]], [[1.0]]), ([[1.0]], [[math.nan]]), ([[1.0]], [])],
)
def test_unusable_times_give_no_ratio(steps: list[object], reference: list[object]) -> None:
    assert round_ratio(np.array(steps, dtype=float), np.array(reference, dtype=float)) is None


def test_rounds_only_one_side_has_are_left_out() -> None:
    found = round_ratio([[1.0], [1.0]], [[2.0], [2.0], [9.0]])
    assert found is not None
    assert found.value == pytest.approx(0.5)
    assert found.rounds == 2


def test_disturbed_rounds_count_only_where_fewer_than_two_others_remain() -> None:
    ours, theirs = [[1.0], [3.0], [1.0], [8.0]], [[2.0], [1.0], [2.0], [1.0]]
    found = round_ratio(ours, theirs, disturbed=[1, 3])
    assert found is not None
    assert found.value == pytest.approx(0.5)
    assert found.rounds == 2
    everything = round_ratio(ours, theirs)
    assert everything is not None
    assert round_ratio(ours, theirs, disturbed=[0, 1, 3]) == everything
    assert everything.rounds == 4


def test_one_round_has_a_ratio_and_decides_nothing() -> None:
    found = round_ratio([[1.0, 1.0]], [[2.0, 2.0]])
    assert found is not None
    assert found.interval is None
    assert found.verdict == "undecided"


def test_floor_is_the_far_end_of_the_pair() -> None:
    pair = round_ratio([[1.01], [1.02], [1.03]], [[1.0], [1.0], [1.0]])
    floor = noise_floor(pair)
    assert pair is not None
    assert pair.interval is not None
    assert floor == pytest.approx(math.log(pair.interval.high))
    assert noise_floor(None) is None
    assert noise_floor(round_ratio([[1.1]], [[1.0]])) == pytest.approx(math.log(1.1))


@given(times)
def test_full_is_never_faster_than_itself(rounds: list[float]) -> None:
    first = np.array(rounds)[:, None]
    pair = round_ratio(first[::-1], first)
    floor = noise_floor(pair)
    again = round_ratio(first[::-1], first, floor)
    assert again is not None
    assert again.verdict in ("below the noise", "undecided")


@pytest.mark.parametrize(
    ("factor", "floor", "verdict"),
    [
        (0.5, 0.1, "faster"),
        (2.0, 0.1, "slower"),
        (0.95, 0.1, "below the noise"),
        (0.95, None, "faster"),
        (0.3, 0.5, "undecided"),
    ],
)
def test_a_ratio_must_clear_the_noise_floor(factor: float, floor: float | None, verdict: str) -> None:
    reference = np.array([[1.0, 1.0], [1.1, 1.1], [0.9, 0.9]])
    wobble = np.array([[1.001], [0.999], [1.0]])
    found: Ratio | None = round_ratio(factor * wobble * reference, reference, floor)
    assert found is not None
    assert found.verdict == verdict


@pytest.mark.parametrize("examples", [27, 100, 872])
def test_two_seeds_that_differ_by_the_same_example_decide_nothing(examples: int) -> None:
    full = {0: 20 / examples, 1: 21 / examples}
    ours = {0: 19 / examples, 1: 20 / examples}
    for grain in (0.0, 1 / examples):
        found = paired_difference(ours, full, grain=grain)
        assert found is not None
        assert not found.decided


def test_a_large_difference_is_decided_although_two_seeds_agree_on_it() -> None:
    found = paired_difference({0: 0.50, 1: 0.52}, {0: 0.80, 1: 0.82}, grain=0.01)
    assert found is not None
    assert found.decided
    assert found.interval is not None
    # t(1) = 12.706 times 0.01 * sqrt(1 / 6) / sqrt(2).
    assert found.interval.half_width == pytest.approx(12.7062 * 0.01 * 0.408248 / 1.414214, rel=1e-4)


@given(values, st.floats(0, 1))
def test_a_grain_never_narrows_an_interval(sample: list[float], grain: float) -> None:
    zero = dict.fromkeys(range(len(sample)), 0.0)
    plain = paired_difference(dict(enumerate(sample)), zero)
    coarse = paired_difference(dict(enumerate(sample)), zero, grain=grain)
    assert plain is not None
    assert coarse is not None
    assert coarse.mean == plain.mean
    if plain.interval is not None and coarse.interval is not None:
        assert coarse.interval.half_width >= plain.interval.half_width * (1 - 1e-9)
