"""Batching: length buckets against padding every batch to 128 tokens, and the collator against the usual one.

Run it with `tox -e perf -- benchmarks/test_batching.py`.
"""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from transformers import BatchEncoding, DataCollatorWithPadding, PreTrainedTokenizerFast

from bench.batching import Encoded, Ints, bucketed_batches, collate
from bench.models import config_encoder, configure
from benchmarks.pairs import paired

EXAMPLES, BATCH, PADDED = 3200, 32, 128
# Lengths in tokens as single sentences and pairs of GLUE have them: median 25, a tenth above 54, none above 128.
MEDIAN, SPREAD = 25, 0.6


@pytest.fixture(scope="module")
def encoded() -> Encoded:
    """A split with made-up tokens and GLUE-like lengths."""
    random = np.random.default_rng(0)
    lengths = np.clip(np.exp(random.normal(np.log(MEDIAN), SPREAD, EXAMPLES)), 5, PADDED).astype(np.int64)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    ids = random.integers(5, 900, starts[-1])
    return Encoded(ids, np.zeros_like(ids), starts, random.integers(0, 2, EXAMPLES), 0, False, 0)


def epoch(model: torch.nn.Module, encoded: Encoded, batches: list[Ints], width: int | None) -> Callable[[], None]:
    """One pass of training steps, padded to `width` or to the longest row of each batch."""

    def run() -> None:
        for rows in batches:
            batch = collate(encoded, rows)
            ids, mask = batch["input_ids"], batch["attention_mask"]
            if width is not None:
                missing = (0, width - ids.shape[1])
                ids, mask = (torch.nn.functional.pad(tensor, missing) for tensor in (ids, mask))
            model(input_ids=ids, attention_mask=mask).last_hidden_state.sum().backward()
            model.zero_grad()

    return run


def test_an_epoch_in_length_buckets(benchmark: BenchmarkFixture, encoded: Encoded) -> None:
    """Goal: at least 5 times faster than padding to 128; padding at most 1.06 times the real tokens."""
    sizes = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 512}
    config = configure({"model_type": "bert", "vocab_size": 1000, **sizes}, None, None)
    model = config_encoder(config, "classification", "mean")
    batches = bucketed_batches(encoded.lengths, BATCH, np.random.default_rng(1))
    real = int(encoded.lengths.sum())
    padding = sum(int(encoded.lengths[rows].max()) * len(rows) for rows in batches) / real
    paired(
        benchmark,
        epoch(model, encoded, batches, None),
        {"padded to 128": epoch(model, encoded, batches, PADDED)},
        goal=f"padded to 128 / ours >= 5; padded tokens / real <= 1.06, here {padding:.3f}",
        rounds=3,
        each=len(batches),
    )


def test_collation(benchmark: BenchmarkFixture, encoded: Encoded) -> None:
    """Goal: at most 0.03 ms a batch of 32."""
    batches = bucketed_batches(encoded.lengths, BATCH, np.random.default_rng(1))
    rows = [
        BatchEncoding(
            {
                "input_ids": encoded.ids[begin:end].tolist(),
                "attention_mask": [1] * (end - begin),
                "token_type_ids": [0] * (end - begin),
                "labels": int(label),
            }
        )
        for begin, end, label in zip(encoded.starts, encoded.starts[1:], encoded.labels, strict=False)
    ]
    usual = DataCollatorWithPadding(_tokenizer())
    paired(
        benchmark,
        lambda: [collate(encoded, chosen) for chosen in batches],
        {"DataCollatorWithPadding": lambda: [usual([rows[i] for i in chosen]) for chosen in batches]},
        goal="ours <= 0.03 ms each batch of 32",
        each=len(batches),
    )


def _tokenizer() -> PreTrainedTokenizerFast:
    from tokenizers import Tokenizer, models

    words = Tokenizer(models.WordLevel({"[PAD]": 0}))
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]")  # type: ignore[no-untyped-call] # noqa: S106
