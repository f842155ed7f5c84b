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

from bench.batching import IGNORED, Encoded, Ints, collate, sorted_batches
from bench.record import SplitScores
from bench.tasks.base import HeadKind

Score = Callable[[Any, Any], float]
Predictions = NDArray[np.float32] | NDArray[np.int64]

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
}
SPAN_METRICS = frozenset({"span_f1"})
FLOAT_METRICS = frozenset({"pearson", "spearman", "mean_absolute_error"})


def _correlation(function: Callable[[Any, Any], Any], predictions: Any, references: Any) -> float:
    """A correlation, NaN where one side is constant: it does not exist there, and no warning need say so."""
    if len(predictions) < 2 or np.ptp(predictions) == 0 or np.ptp(references) == 0:
        return math.nan
    return float(function(predictions, references).statistic)


class TaskMetrics(evaluate.Metric):  # type: ignore[misc]
    """The named metrics of a task as one `evaluate.Metric`.

    Where a span metric is among them, inputs are sequences of IOB2 tags, one a sentence, and the other metrics see
    all words in one row; else they are flat numbers, one an example or, for tagging, one a word.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        super().__init__(config_name="+".join(names), keep_in_memory=True)

    def _info(self) -> evaluate.MetricInfo:
        spans = set(self.names) & SPAN_METRICS
        value = datasets.Value("float64" if set(self.names) & FLOAT_METRICS else "int64")
        feature = datasets.Sequence(datasets.Value("string")) if spans else value
        return evaluate.MetricInfo(
            description="The metrics of one task, in process.",
            citation="",
            features=datasets.Features({"predictions": feature, "references": feature}),
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
    """Scores of a split, and the raw predictions and references behind them, in the order of the rows asked for."""

    scores: SplitScores
    predictions: Predictions
    references: Predictions


def task_loss(logits: Tensor, labels: Tensor, kind: HeadKind, reduction: str = "mean") -> Tensor:
    """Cross-entropy over classes or labelled tokens, mean squared error for regression; computed in float32."""
    if kind == "regression":
        return functional.mse_loss(logits.float().squeeze(-1), labels.float(), reduction=reduction)
    flat = logits.float().reshape(-1, logits.shape[-1])
    return functional.cross_entropy(flat, labels.reshape(-1), ignore_index=IGNORED, reduction=reduction)


@torch.inference_mode()
def predict(
    model: nn.Module, encoded: Encoded, kind: HeadKind, autocast: Callable[[], Any], batch_size: int = 64
) -> Predictions:
    """Class indices or numbers for every example of a split without labels, in its order; not for tagging.

    Eval mode; the model's training mode is restored. Raises FloatingPointError where logits are not finite.
    """
    rows = np.arange(len(encoded))
    found: NDArray[Any] = np.zeros(len(encoded), dtype=np.float32 if kind == "regression" else np.int64)
    for batch_rows, logits, _ in _forward(model, encoded, rows, autocast, batch_size):
        if not bool(torch.isfinite(logits).all()):
            raise FloatingPointError("a prediction is not finite")
        found[batch_rows] = _decide(logits, kind)
    return found


def _forward(
    model: nn.Module, encoded: Encoded, rows: Ints, autocast: Callable[[], Any], batch_size: int
) -> Iterator[tuple[Ints, Tensor, Tensor]]:
    """(rows, logits, labels) of each batch in eval mode; the model's training mode is restored at the end."""
    device = next(model.parameters()).device
    training = model.training
    model.eval()
    for batch_rows in sorted_batches(encoded.lengths, rows, batch_size):
        batch = collate(encoded, batch_rows, device)
        labels = batch.pop("labels")
        with autocast():
            logits = model(**batch)
        yield batch_rows, logits, labels
    model.train(training)


@torch.inference_mode()
def score(
    model: nn.Module,
    encoded: Encoded,
    rows: Ints,
    kind: HeadKind,
    metric: TaskMetrics,
    autocast: Callable[[], Any],
    batch_size: int = 64,
    label_names: Sequence[str] = (),
) -> Scored:
    """Score the examples `rows` of a split in eval mode; the model's training mode is restored afterwards.

    `label_names` names the tags of span metrics. Tags beyond the model's outputs, which training never shows, are
    left out of the loss and count as errors in every score.

    Raises FloatingPointError where logits are not finite.
    """
    pieces: dict[int, tuple[NDArray[Any], NDArray[Any]]] = {}
    total_loss = torch.zeros((), dtype=torch.float64, device=next(model.parameters()).device)
    counted = 0
    for batch_rows, logits, labels in _forward(model, encoded, rows, autocast, batch_size):
        seen = labels.where(labels < logits.shape[-1], IGNORED) if encoded.per_token else labels
        total_loss += task_loss(logits, seen, kind, reduction="sum").double()
        counted += int((seen != IGNORED).sum()) if encoded.per_token else len(labels)
        pieces |= _by_row(batch_rows, _decide(logits, kind), labels.cpu().numpy(), encoded.per_token)
    loss = float(total_loss) / max(counted, 1)
    if not math.isfinite(loss):
        raise FloatingPointError("the loss in scoring is not finite")
    ordered = [pieces[int(row)] for row in rows]
    predictions = np.concatenate([piece[0] for piece in ordered])
    references = np.concatenate([piece[1] for piece in ordered])
    if set(metric.names) & SPAN_METRICS:
        named = [[[label_names[int(i)] for i in side] for side in piece] for piece in ordered]
        values = metric.compute(predictions=[n[0] for n in named], references=[n[1] for n in named])
    else:
        values = metric.compute(predictions=predictions, references=references)
    return Scored(SplitScores(examples=len(rows), loss=loss, scores=dict(values)), predictions, references)


def _decide(logits: Tensor, kind: HeadKind) -> NDArray[Any]:
    """Logits to class indices, or to numbers for regression."""
    decided = logits.float().squeeze(-1) if kind == "regression" else logits.argmax(-1)
    array: NDArray[Any] = decided.cpu().numpy()
    return array


def _by_row(
    rows: Ints, decided: NDArray[Any], labels: NDArray[Any], per_token: bool
) -> dict[int, tuple[NDArray[Any], NDArray[Any]]]:
    """Predictions and references of each row; for tagging those of its labelled tokens."""
    pieces = {}
    for position, row in enumerate(rows):
        keep = labels[position] != IGNORED if per_token else slice(position, position + 1)
        source = (decided[position], labels[position]) if per_token else (decided, labels)
        pieces[int(row)] = (source[0][keep], source[1][keep])
    return pieces
