"""Tokenised splits in flat arrays, length-bucketed batches and a collator that pads to the longest row of a batch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from bench.errors import DataError
from bench.tasks.base import Example, HeadKind
from bench.windows import Windows, cut

IGNORED = -100
BUCKET_BATCHES = 50

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Encoded:
    """A tokenised split.

    ids, types   token and segment ids of all rows, one after the other; flat
    starts       where each row begins in them, and each row is an example but for spans; one more entry than rows
    labels       one number an example; for tagging one a token, flat, IGNORED but on each word's first token; for
                 spans three a row, see `spans.loss`
    unscored     words that were cut off or tokenised to nothing, and so carry no label
    windows      for spans, whose examples take one row a window: what leads back to the examples
    """

    ids: Ints
    types: Ints
    starts: Ints
    labels: NDArray[np.int64] | NDArray[np.float32]
    pad_id: int
    per_token: bool
    unscored: int
    windows: Windows | None = None

    @property
    def lengths(self) -> Ints:
        """Tokens of each row."""
        return np.diff(self.starts)

    @property
    def examples(self) -> int:
        """Examples, which may take several rows each."""
        return len(self) if self.windows is None else len(self.windows.examples)

    def rows_of(self, examples: Ints) -> Ints:
        """The rows of the examples numbered `examples`, in that order."""
        return examples if self.windows is None else self.windows.rows_of(examples)

    def __len__(self) -> int:
        return len(self.starts) - 1


def encode(
    examples: Sequence[Example], kind: HeadKind, tokenizer: PreTrainedTokenizerBase, max_length: int
) -> Encoded:
    """Tokenise examples, cutting at `max_length` tokens; pairs lose from their longer half first, spans nothing.

    Raises DataError for a tokenizer that gives no word alignment where the task needs one or cannot tell the two
    texts of a pair apart, and for an example that leaves no token.
    """
    if kind == "span":
        rows, types, span_labels, windows = cut(examples, tokenizer, max_length)
        return _flat(rows, types, span_labels, tokenizer, windows=windows)
    tagging = kind == "tagging"
    if tagging and not tokenizer.is_fast:
        raise DataError(f"{type(tokenizer).__name__} gives no word alignment; tagging needs a fast tokenizer")
    columns = [[list(example.text) for example in examples]] if tagging else _columns(examples, tokenizer)
    coded = tokenizer(
        *columns, truncation=True, max_length=max_length, is_split_into_words=tagging, return_token_type_ids=True
    )
    lengths = [len(row) for row in coded["input_ids"]]
    if 0 in lengths:
        raise DataError(
            f"the text {examples[lengths.index(0)].text!r} leaves no token, and {type(tokenizer).__name__} adds none "
            "of its own; remove it from the data"
        )
    unscored = 0
    if tagging:
        tags = [
            _first_token_labels(coded.word_ids(i), cast(tuple[int, ...], example.label))
            for i, example in enumerate(examples)
        ]
        labels = np.concatenate(tags)
        unscored = sum(len(example.text) for example in examples) - int((labels != IGNORED).sum())
    else:
        labels = np.array([e.label for e in examples], dtype=np.float32 if kind == "regression" else np.int64)
    ids, types = coded["input_ids"], coded["token_type_ids"]
    return _flat(ids, types, labels, tokenizer, per_token=tagging, unscored=unscored)


def _flat(
    ids: Sequence[ArrayLike],
    types: Sequence[ArrayLike],
    labels: NDArray[np.int64] | NDArray[np.float32],
    tokenizer: PreTrainedTokenizerBase,
    *,
    per_token: bool = False,
    unscored: int = 0,
    windows: Windows | None = None,
) -> Encoded:
    """Rows of token and segment ids, one after the other."""
    rows = [np.asarray(row, dtype=np.int64) for row in ids]
    return Encoded(
        ids=np.concatenate(rows),
        types=np.concatenate([np.asarray(row, dtype=np.int64) for row in types]),
        starts=np.concatenate([[0], np.cumsum([len(row) for row in rows])]),
        labels=labels,
        pad_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0,
        per_token=per_token,
        unscored=unscored,
        windows=windows,
    )


def _columns(examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> list[list[Any]]:
    """First texts and, of pairs, second texts.

    Where the tokenizer puts nothing between the two, its end-of-text token does: a decoder would read them as one.
    """
    columns: list[list[Any]] = [list(column) for column in zip(*(example.text for example in examples), strict=True)]
    between = tokenizer.num_special_tokens_to_add(pair=True) - tokenizer.num_special_tokens_to_add(pair=False)
    if len(columns) == 1 or between > 0:
        return columns
    if tokenizer.eos_token is None:
        raise DataError(f"{type(tokenizer).__name__} has no token to put between the two texts of a pair")
    first, second = columns
    return [first, [tokenizer.eos_token + text for text in second]]


def _first_token_labels(word_ids: Sequence[int | None], tags: tuple[int, ...]) -> Ints:
    """Labels a token: the word's tag on its first token, IGNORED elsewhere."""
    labels = np.full(len(word_ids), IGNORED, dtype=np.int64)
    previous = None
    for position, word in enumerate(word_ids):
        if word is not None and word != previous:
            labels[position] = tags[word]
        previous = word
    return labels


def collate(encoded: Encoded, rows: Ints, device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """The rows numbered `rows` as tensors padded to the longest of them.

    Returns input_ids, attention_mask and token_type_ids, each (batch, length), and labels, (batch,), or
    (batch, length) for tagging, or (batch, 3) for spans.
    """
    starts = encoded.starts[rows]
    lengths = encoded.starts[rows + 1] - starts
    columns = np.arange(lengths.max())
    inside = columns < lengths[:, None]
    # Where a row has ended this reads what stands behind it, or the last token again: masked below.
    source = starts[:, None] + columns
    grids = np.empty((3, *inside.shape), dtype=np.int64)
    ids, mask, types = grids
    encoded.ids.take(source, out=ids, mode="clip")
    encoded.types.take(source, out=types, mode="clip")
    mask[:] = inside
    grids *= inside
    if encoded.pad_id:
        ids[~inside] = encoded.pad_id
    labels = encoded.labels
    labels = np.where(inside, labels.take(source, mode="clip"), IGNORED) if encoded.per_token else labels[rows]
    arrays = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types, "labels": labels}
    return {name: torch.from_numpy(array).to(device, non_blocking=True) for name, array in arrays.items()}


def bucketed_batches(lengths: Ints, batch_size: int, generator: np.random.Generator) -> list[Ints]:
    """One epoch of row numbers in batches of similar length: shuffled, sorted within buckets, shuffled again."""
    order = generator.permutation(len(lengths))
    span = BUCKET_BATCHES * batch_size
    batches: list[Ints] = []
    for begin in range(0, len(order), span):
        bucket = order[begin : begin + span]
        bucket = bucket[np.argsort(lengths[bucket], kind="stable")]
        batches += [bucket[i : i + batch_size] for i in range(0, len(bucket), batch_size)]
    return [batches[i] for i in generator.permutation(len(batches))]


def epochs(lengths: Ints, batch_size: int, seed: int) -> Iterator[Ints]:
    """Batches of row numbers without end, epoch after epoch, in an order that `seed` fixes for every strategy."""
    epoch = 0
    while True:
        yield from bucketed_batches(lengths, batch_size, np.random.default_rng([seed, epoch]))
        epoch += 1


def sorted_batches(lengths: Ints, rows: Ints, batch_size: int) -> list[Ints]:
    """`rows` in batches of similar length, for scoring."""
    ordered = rows[np.argsort(lengths[rows], kind="stable")]
    return [ordered[i : i + batch_size] for i in range(0, len(ordered), batch_size)]
