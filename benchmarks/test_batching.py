"""Batching: length buckets against padding every batch to 128 tokens, and the collator against the usual one.

Run it with `tox -e perf -- benchmarks/test_batching.py`.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from transformers import BatchEncoding, DataCollatorWithPadding, PreTrainedTokenizerFast

from bench.archives import default_cache_dir
from bench.batching import Encoded, Ints, bucketed_batches, collate
from bench.cell import QualityCell
from bench.configurations import configure
from bench.models import config_encoder
from bench.session import Options, Session
from benchmarks.pairs import paired

CPU = torch.device("cpu")
EXAMPLES, BATCH, PADDED = 3200, 32, 128
TASKS = ("cola", "sst2", "mrpc", "stsb", "rte")
TIMED = 25
"""Batches of an epoch that are timed; they come in random order."""


def made_up(lengths: Ints) -> Encoded:
    """A split of made-up tokens with rows of these lengths."""
    random = np.random.default_rng(0)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    ids = random.integers(5, 900, starts[-1])
    return Encoded(ids, np.zeros_like(ids), starts, random.integers(0, 2, len(lengths)), 0, False, 0)


@pytest.fixture(scope="module")
def glue_lengths(real_data: Path) -> dict[str, Ints]:
    """Tokens of each row of the training splits of `TASKS`, at most 128."""
    session = Session(Options(CPU, default_cache_dir(), real_data))
    fields = {
        "model": "minilm",
        "strategy": "full",
        "seed": 0,
        "learning_rate": 1e-4,
        "epochs": 1,
        "batch_size": BATCH,
    }
    cells = {task: QualityCell.model_validate({**fields, "task": task, "max_length": PADDED}) for task in TASKS}
    return {task: session.splits(cell).train.lengths for task, cell in cells.items()}


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


@pytest.mark.parametrize("task", TASKS)
def test_an_epoch_in_length_buckets(benchmark: BenchmarkFixture, glue_lengths: dict[str, Ints], task: str) -> None:
    """Goal: at least 5 times faster than padding to 128; padding at most 1.06 times the real tokens.

    The lengths are those of the real training splits. No task can do better by much than 128 / its mean length.
    """
    sizes = {"hidden_size": 384, "num_hidden_layers": 1, "num_attention_heads": 12, "intermediate_size": 1536}
    config = configure({"model_type": "bert", "vocab_size": 1000, **sizes}, None, None)
    model = config_encoder(config, "classification", "mean")
    lengths = glue_lengths[task]
    batches = bucketed_batches(lengths, BATCH, np.random.default_rng(1))
    padding = sum(int(lengths[rows].max()) * len(rows) for rows in batches) / int(lengths.sum())
    encoded, timed = made_up(lengths), batches[:TIMED]
    paired(
        benchmark,
        epoch(model, encoded, timed, None),
        {"padded to 128": epoch(model, encoded, timed, PADDED)},
        goal=f"padded to 128 / ours >= 5, 128 / mean length being {PADDED / lengths.mean():.2f}; "
        f"padded tokens / real <= 1.06, here {padding:.3f}",
        rounds=3,
        each=len(timed),
    )


def test_collation(benchmark: BenchmarkFixture) -> None:
    """Goal: at most 0.03 ms a batch of 32, of lengths whose median is 25, a tenth of them above 54."""
    lengths = np.clip(np.exp(np.random.default_rng(0).normal(np.log(25), 0.6, EXAMPLES)), 5, PADDED)
    encoded = made_up(lengths.astype(np.int64))
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
