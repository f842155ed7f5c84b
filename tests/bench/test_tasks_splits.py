"""Splits: disjoint, whole groups, the same whatever order the data came in."""

from collections import Counter, defaultdict
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.tasks.base import Example
from bench.tasks.splits import Splits, extra_set, quotas, shuffled, split_official, split_pool, strata

WORDS = st.sampled_from(["a", "A", "b ", "c", "d e", "d  e", "f", "g", "h", "i", "j", "k", "l", "m"])
EXAMPLES = st.builds(
    Example,
    text=st.tuples(WORDS, WORDS),
    label=st.integers(0, 2),
    group=st.sampled_from(["", "x", "y", "z", "w"]),
)
POOLS = st.lists(EXAMPLES, min_size=1, max_size=60)


def assert_disjoint(splits: Splits) -> None:
    texts = [{example.text_key for example in split} for split in splits]
    assert not texts[0] & texts[1]
    assert not texts[0] & texts[2]
    assert not texts[1] & texts[2]


@given(POOLS)
def test_a_pool_is_cut_into_disjoint_bounded_splits(pool: list[Example]) -> None:
    splits = split_pool(pool)
    assert_disjoint(splits)
    assert len(splits.evaluation) <= len(pool) // 5
    assert len(splits.selection) <= len(pool) // 10
    places = defaultdict(set)
    for name, split in zip(Splits._fields, splits, strict=True):
        for example in split:
            if example.group:
                places[example.group].add(name)
    assert all(len(names) == 1 for names in places.values())


@given(POOLS, st.randoms(use_true_random=False))
def test_file_order_decides_nothing(pool: list[Example], random: Random) -> None:
    unique = list({example.text_key: example for example in pool}.values())
    mixed = list(unique)
    random.shuffle(mixed)
    assert split_pool(unique) == split_pool(mixed)


@given(POOLS, POOLS)
def test_an_official_evaluation_file_is_kept_whole(train: list[Example], evaluation: list[Example]) -> None:
    splits = split_official(train, evaluation)
    assert_disjoint(splits)
    assert sorted(map(repr, splits.evaluation)) == sorted(map(repr, evaluation))
    kept = {example.text_key for example in (*splits.train, *splits.selection)}
    lost = {example.text_key for example in train} - kept
    assert lost <= {example.text_key for example in (*evaluation, *splits.selection)}


def test_large_pools_are_cut_at_two_thousand_and_one_thousand() -> None:
    splits = split_pool([Example((f"sentence {n}",), 0) for n in range(15_000)])
    assert [len(split) for split in splits] == [12_000, 1_000, 2_000]


def test_the_order_is_shuffled() -> None:
    ordered = [Example((str(n),), n) for n in range(100)]
    places = [example.label for example in shuffled(ordered)]
    assert sorted(places, key=str) != places
    assert places != list(range(100))
    assert sorted(int(str(place)) for place in places) == list(range(100))


LABELLED = st.lists(st.integers(0, 3), min_size=1, max_size=400)


@given(LABELLED)
def test_selection_has_the_classes_in_the_shares_of_the_training_data(labels: list[int]) -> None:
    train = [Example((f"sentence {n}",), label) for n, label in enumerate(labels)]
    selection = split_official(train, []).selection
    assert len(selection) == len(train) // 10
    for label, size in Counter(labels).items():
        found = sum(example.label == label for example in selection)
        assert abs(found - len(selection) * size / len(train)) < 1


@pytest.mark.parametrize("share", [0.5, 0.7])
def test_the_first_training_examples_have_the_classes_in_the_shares_of_all(share: float) -> None:
    """Size sweeps, curves and train samples take the head of the training split."""
    sizes, deviations = (30, 100, 300), []
    for pool in range(100):
        train = [Example((f"pool {pool} sentence {n}",), int(n % 10 < 10 * share)) for n in range(2000)]
        labels = np.array([example.label for example in split_official(train, []).train])
        deviations.append([(labels[:size].mean() - share) / np.sqrt(share * (1 - share) / size) for size in sizes])
    spread = np.std(deviations, axis=0)
    assert np.all(spread < 1.25), spread
    assert np.all(np.abs(np.mean(deviations, axis=0)) < 0.4)


@given(st.lists(st.floats(-4, 4), min_size=10, max_size=400, unique=True))
def test_selection_has_scores_from_every_tenth(scores: list[float]) -> None:
    train = [Example((f"sentence {n}",), score) for n, score in enumerate(scores)]
    selection = split_official(train, []).selection
    assert len(selection) == len(train) // 10
    places = sorted(sorted(scores).index(float(str(example.label))) * 10 // len(scores) for example in selection)
    spread = Counter(places)
    assert max(spread.values()) <= -(-len(selection) // 10) + 1


@given(POOLS)
def test_no_class_takes_more_of_selection_than_its_share_even_where_groups_stay_whole(pool: list[Example]) -> None:
    splits = split_official(pool, [])
    room = quotas(Counter(strata(pool)), len(pool) // 10)
    assert all(size <= room[label] for label, size in Counter(strata(splits.selection)).items())


@given(st.dictionaries(st.integers(0, 9), st.integers(1, 50), min_size=1), st.floats(0, 1))
def test_quotas_share_out_all_there_is_and_stay_near_the_exact_share(sizes: dict[int, int], share: float) -> None:
    count = int(share * sum(sizes.values()))
    found = quotas(sizes, count)
    assert sum(found.values()) == count
    for name, size in sizes.items():
        assert abs(found[name] - count * size / sum(sizes.values())) < 1
        assert 0 <= found[name] <= size


def test_an_extra_set_gives_way_to_the_training_data() -> None:
    splits = split_pool([Example((f"sentence {n}",), n % 2) for n in range(100)])
    further = [Example((f"Sentence  {n}",), 0) for n in range(150)]
    kept = {example.text[0].casefold().split()[1] for example in extra_set(further, splits)}
    assert kept == {example.text[0].split()[1] for example in splits.evaluation} | set(map(str, range(100, 150)))
    assert extra_set(further, splits) == extra_set(further[::-1], splits)
