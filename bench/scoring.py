"""Predictions and scores. Metrics are `evaluate.Metric` classes made in process, so nothing is fetched at run time."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import datasets
import evaluate
import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from seqeval.metrics import f1_score as span_f1_score
from seqeval.scheme import IOB2
from sklearn import metrics as sk
from torch import Tensor, nn
from torch.nn import functional

from bench import answers, spans
from bench.batching import IGNORED, Encoded, Ints, collate, sorted_batches
from bench.results import SplitScores
from bench.tasks.base import HeadKind

Score = Callable[[Any, Any], float]
OnShare = Callable[[float], None]
Predictions = NDArray[np.float32] | NDArray[np.int64]
Piece = tuple[NDArray[Any], NDArray[Any]]

SCORES: dict[str, Score] = {
    "accuracy": lambda predictions, references: float(sk.accuracy_score(references, predictions)),
    "f1": lambda predictions, references: float(sk.f1_score(references, predictions, zero_division=0.0)),
    "macro_f1": lambda predictions, references: float(
        sk.f1_score(references, predictions, average="macro", zero_division=0.0)
    ),
    "matthews_correlation": lambda predictions, references: float(sk.matthews_corrcoef(references, predictions)),
    "pearson": lambda predictions, references: _correlation(stats.pearsonr, predictions, references),
    "spearman": lambda predictions, references: _correlation(stats.spearmanr, predictions, references),
    "mean_absolute_error": lambda predictions, references: float(sk.mean_absolute_error(references, predictions)),
    "span_f1": lambda predictions, references: float(
        span_f1_score(references, predictions, mode="strict", scheme=IOB2, zero_division=0)
    ),
    "exact_match": answers.exact_match,
    "answer_f1": answers.answer_f1,
}
RESOLUTION = float(np.finfo(np.float32).eps)
SPAN_METRICS = frozenset({"span_f1"})
ANSWER_METRICS = frozenset({"exact_match", "answer_f1"})
FLOAT_METRICS = frozenset({"pearson", "spearman", "mean_absolute_error"})


def _correlation(function: Callable[[Any, Any], Any], predictions: Any, references: Any) -> float:
    """A correlation, NaN where one side is constant: it does not exist there, and no warning need say so.

    Values that differ by no more than single precision resolves are one value.
    """
    if len(predictions) < 2 or any(
        np.ptp(side) <= RESOLUTION * np.abs(side).max() for side in (predictions, references)
    ):
        return math.nan
    return float(function(predictions, references).statistic)


class TaskMetrics(evaluate.Metric):  # type: ignore[misc]
    """The named metrics of a task as one `evaluate.Metric`.

    Where a span metric is among them, inputs are sequences of IOB2 tags, one a sentence, and the other metrics see
    all words in one row. Answers are texts, with a list of gold texts each. Else inputs are flat numbers, one an
    example or, for tagging, one a word.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        super().__init__(config_name="+".join(names), keep_in_memory=True)

    def _info(self) -> evaluate.MetricInfo:
        text = datasets.Value("string")
        prediction = reference = datasets.Value("float64" if set(self.names) & FLOAT_METRICS else "int64")
        if set(self.names) & SPAN_METRICS:
            prediction = reference = datasets.Sequence(text)
        elif set(self.names) & ANSWER_METRICS:
            prediction, reference = text, datasets.Sequence(text)
        return evaluate.MetricInfo(
            description="The metrics of one task, in process.",
            citation="",
            features=datasets.Features({"predictions": prediction, "references": reference}),
        )

    def _compute(self, predictions: Any, references: Any) -> dict[str, float | None]:
        flat = predictions, references
        if set(self.names) & SPAN_METRICS:
            flat = list(chain.from_iterable(predictions)), list(chain.from_iterable(references))
        values = {
            name: SCORES[name](*((predictions, references) if name in SPAN_METRICS else flat)) for name in self.names
        }
        return {name: value if math.isfinite(value) else None for name, value in values.items()}


@dataclass(frozen=True)
class Scored:
    """Scores of a split, and the raw predictions and references behind them, in the order of the examples asked for.

    For spans both are ranges of characters of the context: `spans.answers` and `spans.gold_ranges`.
    """

    scores: SplitScores
    predictions: Predictions
    references: Predictions


def task_loss(logits: Tensor, labels: Tensor, kind: HeadKind, reduction: str = "mean") -> Tensor:
    """Cross-entropy over classes, labelled tokens or places of an answer's ends, mean squared error for regression.

    Computed in float32.
    """
    if kind == "span":
        return spans.loss(logits, labels, reduction)
    if kind == "regression":
        return functional.mse_loss(logits.float().squeeze(-1), labels.float(), reduction=reduction)
    flat = logits.float().reshape(-1, logits.shape[-1])
    return functional.cross_entropy(flat, labels.reshape(-1), ignore_index=IGNORED, reduction=reduction)


@torch.inference_mode()
def predict(
    model: nn.Module,
    encoded: Encoded,
    kind: HeadKind,
    autocast: Callable[[], Any],
    batch_size: int = 64,
    on_share: OnShare | None = None,
) -> Predictions:
    """Class indices or numbers for every example of a split without labels, in its order; not for tagging or spans.

    Eval mode; the model's training mode is restored. `on_share` is told which share is done.

    Raises FloatingPointError where logits are not finite.
    """
    rows = np.arange(len(encoded))
    found: NDArray[Any] = np.zeros(len(encoded), dtype=np.float32 if kind == "regression" else np.int64)
    for batch_rows, logits, _ in forward(model, encoded, rows, autocast, batch_size, on_share):
        if not bool(torch.isfinite(logits).all()):
            raise FloatingPointError("a prediction is not finite")
        found[batch_rows] = _decide(logits, kind, encoded, batch_rows)
    return found


def forward(
    model: nn.Module,
    encoded: Encoded,
    rows: Ints,
    autocast: Callable[[], Any],
    batch_size: int = 64,
    on_share: OnShare | None = None,
) -> Iterator[tuple[Ints, Tensor, Tensor]]:
    """(rows, logits, labels) of each batch in eval mode; the model's training mode is restored at the end.

    `on_share` is told after each batch which share of the rows is done.
    """
    device = next(model.parameters()).device
    training = model.training
    done = 0
    model.eval()
    try:
        for batch_rows in sorted_batches(encoded.lengths, rows, batch_size):
            batch = collate(encoded, batch_rows, device)
            labels = batch.pop("labels")
            with autocast():
                logits = model(**batch)
            yield batch_rows, logits, labels
            done += len(batch_rows)
            if on_share is not None:
                on_share(done / len(rows))
    finally:
        model.train(training)


@torch.inference_mode()
def score(
    model: nn.Module,
    encoded: Encoded,
    examples: Ints,
    kind: HeadKind,
    metric: TaskMetrics,
    autocast: Callable[[], Any],
    batch_size: int = 64,
    label_names: Sequence[str] = (),
    unanswerable: bool = False,
    on_share: OnShare | None = None,
) -> Scored:
    """Score the examples numbered `examples` in eval mode; the model's training mode is restored afterwards.

    `label_names` names the tags of span metrics. Tags beyond the model's outputs, which training never shows, are
    left out of the loss and count as errors in every score. The loss is the mean over examples, labelled tokens, or
    windows for spans; `unanswerable` as in `TaskData`. `on_share` is told which share of the rows is done.

    Raises FloatingPointError where logits are not finite.
    """
    rows = encoded.rows_of(examples)
    loss, pieces = _run(forward(model, encoded, rows, autocast, batch_size, on_share), encoded, rows, kind)
    predictions = np.concatenate([piece[0] for piece in pieces])
    references = np.concatenate([piece[1] for piece in pieces])
    if encoded.windows is not None:
        predictions = spans.answers(predictions, encoded.windows, examples, unanswerable)
        references = spans.gold_ranges(encoded.windows, examples)
        given = spans.texts(predictions, encoded.windows, examples)
        values = metric.compute(predictions=given, references=spans.gold_texts(encoded.windows, examples))
    elif set(metric.names) & SPAN_METRICS:
        named = [[[label_names[int(i)] for i in side] for side in piece] for piece in pieces]
        reopened = [_reopened(*sides) for sides in named]
        values = metric.compute(predictions=[n[0] for n in reopened], references=[n[1] for n in reopened])
    else:
        values = metric.compute(predictions=predictions, references=references)
    return Scored(SplitScores(examples=len(examples), loss=loss, scores=dict(values)), predictions, references)


def _reopened(predicted: list[str], true: list[str]) -> tuple[list[str], list[str]]:
    """Tags of a sentence; a span whose first word left no token begins at its next word, on both sides."""
    places = [place for place in range(len(true)) if _continues_nothing(true, place)]
    sides = ([*predicted], [*true])
    for place in places:
        for tags, given in zip(sides, (predicted, true), strict=True):
            if _continues_nothing(given, place):
                tags[place] = f"B-{given[place][2:]}"
    return sides


def _continues_nothing(tags: Sequence[str], place: int) -> bool:
    """Whether a tag says to go on with a span that the word before it is not part of."""
    return tags[place].startswith("I-") and (place == 0 or tags[place - 1][2:] != tags[place][2:])


def _run(
    batches: Iterator[tuple[Ints, Tensor, Tensor]], encoded: Encoded, rows: Ints, kind: HeadKind
) -> tuple[float, list[Piece]]:
    """The mean loss over `rows`, and what was decided of each and its labels."""
    pieces: dict[int, Piece] = {}
    total_loss = 0.0
    counted = 0
    for batch_rows, logits, labels in batches:
        seen = labels.where(labels < logits.shape[-1], IGNORED) if encoded.per_token else labels
        total_loss += float(task_loss(logits, seen, kind, reduction="sum"))
        if not math.isfinite(total_loss):
            raise FloatingPointError("the loss in scoring is not finite")
        counted += int((seen != IGNORED).sum()) if encoded.per_token else len(labels)
        decided = _decide(logits, kind, encoded, batch_rows)
        pieces |= _by_row(batch_rows, decided, labels.cpu().numpy(), encoded.per_token)
    return total_loss / max(counted, 1), [pieces[int(row)] for row in rows]


def _decide(logits: Tensor, kind: HeadKind, encoded: Encoded, rows: Ints) -> NDArray[Any]:
    """Logits of `rows` to class indices, to numbers for regression, or to the best span of each window."""
    if encoded.windows is not None:
        return spans.best_spans(logits, encoded.windows, rows)
    decided = logits.float().squeeze(-1) if kind == "regression" else logits.argmax(-1)
    array: NDArray[Any] = decided.cpu().numpy()
    return array


def _by_row(rows: Ints, decided: NDArray[Any], labels: NDArray[Any], per_token: bool) -> dict[int, Piece]:
    """Predictions and references of each row; for tagging those of its labelled tokens."""
    pieces = {}
    for position, row in enumerate(rows):
        keep = labels[position] != IGNORED if per_token else slice(position, position + 1)
        source = (decided[position], labels[position]) if per_token else (decided, labels)
        pieces[int(row)] = (source[0][keep], source[1][keep])
    return pieces
