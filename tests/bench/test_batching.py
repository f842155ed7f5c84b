"""Batches cover every example once an epoch, in an order the seed fixes, padded no further than needed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.batching import IGNORED, Encoded, bucketed_batches, collate, epochs, sorted_batches

LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=300)


def encoded(lengths: list[int], *, per_token: bool = False) -> Encoded:
    starts = np.concatenate([[0], np.cumsum(lengths)])
    total = int(starts[-1])
    labels = np.arange(total) % 5 if per_token else np.arange(len(lengths))
    return Encoded(np.arange(total) + 10, np.arange(total) % 2, starts, labels, 0, per_token, 0)


@given(LENGTHS, st.integers(1, 17), st.integers(0, 5))
def test_an_epoch_holds_every_row_once(lengths: list[int], batch_size: int, seed: int) -> None:
    batches = bucketed_batches(np.array(lengths), batch_size, np.random.default_rng(seed))
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    assert max(map(len, batches)) <= batch_size


def test_the_seed_fixes_the_order_and_epochs_differ() -> None:
    lengths = np.arange(1, 101)
    first, again, other = (epochs(lengths, 10, seed) for seed in (1, 1, 2))
    one = [next(first).tolist() for _ in range(20)]
    assert one == [next(again).tolist() for _ in range(20)]
    assert one != [next(other).tolist() for _ in range(20)]
    assert one[:10] != one[10:]


def test_buckets_keep_padding_small_on_sentence_lengths() -> None:
    lengths = np.clip(np.random.default_rng(0).lognormal(2.5, 0.5, 5000).astype(int), 3, 128)
    batches = bucketed_batches(lengths, 32, np.random.default_rng(0))
    padded = sum(len(rows) * lengths[rows].max() for rows in batches)
    assert padded / lengths.sum() < 1.1


@given(LENGTHS)
def test_collation_restores_every_example_and_masks_the_rest(lengths: list[int]) -> None:
    data = encoded(lengths)
    rows = np.random.default_rng(0).permutation(len(lengths))[:8]
    batch = collate(data, rows)
    for position, row in enumerate(rows):
        length = lengths[row]
        begin = data.starts[row]
        assert batch["input_ids"][position, :length].tolist() == data.ids[begin : begin + length].tolist()
        assert batch["token_type_ids"][position, :length].tolist() == data.types[begin : begin + length].tolist()
        assert batch["attention_mask"][position].tolist() == [1] * length + [0] * (
            max(lengths[r] for r in rows) - length
        )
        assert not batch["input_ids"][position, length:].any()
    assert batch["labels"].tolist() == data.labels[rows].tolist()


def test_padding_of_token_labels_is_ignored() -> None:
    batch = collate(encoded([2, 4], per_token=True), np.array([0, 1]))
    assert batch["labels"].tolist() == [[0, 1, IGNORED, IGNORED], [2, 3, 4, 0]]


def test_scoring_batches_keep_the_rows_asked_for() -> None:
    rows = np.array([5, 1, 9])
    batches = sorted_batches(np.arange(1, 11), rows, 2)
    assert sorted(np.concatenate(batches).tolist()) == [1, 5, 9]
    assert [len(batch) for batch in batches] == [2, 1]


@pytest.mark.parametrize("batch_size", [1, 7])
def test_rows_of_a_batch_are_alike_in_length(batch_size: int) -> None:
    lengths = np.random.default_rng(1).integers(1, 100, size=batch_size * 50)
    spans = [np.ptp(lengths[rows]) for rows in bucketed_batches(lengths, batch_size, np.random.default_rng(2))]
    assert np.mean(spans) <= 100 / 50 * 2
