"""Quality cells: train a model on a task with a strategy and a seed, score it, audit it."""

import copy
import hashlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import strategies
from bench.audit import Auditor
from bench.batching import Encoded, collate, epochs
from bench.cell import QualityCell
from bench.environment import set_matmul
from bench.measure.subject import counts
from bench.models import TaskModel, build_model
from bench.outcome import Outcome
from bench.record import CurvePoint, QualityResult
from bench.scoring import Scored, TaskMetrics, score
from bench.session import Session, Splits
from bench.tasks.base import TaskData
from bench.training import Autocast, autocast_for, make_stepper, train
from strategies import delta
from strategies.interface import Applied, Batch, Context

AUDIT_EXAMPLES = 8
DELTAS = "deltas"

OnStep = Callable[[int, int, float | None], None]


@dataclass(frozen=True)
class Scorer:
    """Scores the first examples of a split with the task's metrics."""

    model: torch.nn.Module
    task: TaskData
    metric: TaskMetrics
    autocast: Autocast

    def __call__(self, encoded: Encoded, examples: int) -> Scored:
        """Score the first `examples` examples, or all where there are fewer."""
        rows = np.arange(min(examples, len(encoded)))
        return score(
            self.model, encoded, rows, self.task.kind, self.metric, self.autocast, label_names=self.task.labels
        )


def total_steps(cell: QualityCell, train_examples: int) -> int:
    """Optimizer steps of a cell: its epochs times the batches of one, at least one."""
    return max(1, round(cell.epochs * math.ceil(train_examples / cell.batch_size)))


def curve_steps(points: int, steps: int) -> frozenset[int]:
    """At most `points` steps, evenly spaced, the last among them."""
    return frozenset(math.ceil(steps * i / points) for i in range(1, points + 1))


def run_quality(cell: QualityCell, session: Session, folder: Path, on_step: OnStep) -> Outcome:
    """Run one quality cell.

    `on_step(step, total, loss)` is called after each step. The delta is written under `folder`, audited,
    and deleted unless the session keeps deltas.
    """
    device, set_up = session.options.device, _set_up(cell, session)
    task, splits, applied, auditor = set_up.task, set_up.splits, set_up.applied, set_up.auditor
    auditor.after_apply(applied)
    stepper = make_stepper(
        applied,
        task.kind,
        learning_rate=cell.learning_rate,
        total_steps=set_up.steps,
        warmup_fraction=cell.warmup_fraction,
        weight_decay=cell.weight_decay,
        clip_norm=cell.clip_norm,
        autocast=autocast_for(cell.precision, device),
        seed=cell.seed,
    )
    scorer = Scorer(applied.model, task, TaskMetrics(task.metrics), stepper.autocast)
    curve: list[CurvePoint] = []
    trained = train(
        stepper,
        _batches(cell, splits, device),
        set_up.steps,
        curve_steps(cell.curve_points, set_up.steps),
        lambda step: curve.append(_curve_point(scorer, cell, splits, task.headline, step)),
        lambda step, loss: on_step(step, set_up.steps, loss),
        session.deadline(),
    )
    applied.finalize()
    auditor.after_finalize(applied)
    counted = counts(applied, set_up.base)
    size = _check_delta(cell, session, set_up, folder)
    began = time.monotonic()
    evaluation = scorer(splits.evaluation, len(splits.evaluation))
    selection = scorer(splits.selection, len(splits.selection))
    train_sample = scorer(splits.train, len(splits.evaluation))
    scoring_seconds = time.monotonic() - began
    result = QualityResult(
        headline=task.headline,
        evaluation=evaluation.scores,
        selection=selection.scores,
        train_sample=train_sample.scores,
        curve=curve,
        counts=counted,
        delta_bytes=size.file,
        delta_encoder_bytes=size.encoder,
        delta_head_bytes=size.head,
        steps=set_up.steps,
        train_examples=len(splits.train),
        padding_ratio=trained.padding_ratio,
        training_seconds=trained.seconds,
        scoring_seconds=scoring_seconds,
        inserted_randomness=applied.draws,
    )
    audit = auditor.result()
    found = "; ".join(f"{name}: {problem}" for name, problem in audit.checks.items() if problem)
    return Outcome(
        status="ok" if audit.passed else "audit_failed",
        reason=found or None,
        quality=result,
        audit=audit,
        arrays={
            "step_loss": trained.losses.numpy(),
            "evaluation_predictions": evaluation.predictions,
            "evaluation_references": evaluation.references,
        },
        warnings=_warnings(splits),
    )


@dataclass(frozen=True)
class _SetUp:
    """A quality cell ready to train."""

    task: TaskData
    splits: Splits
    base: TaskModel
    applied: Applied
    auditor: Auditor
    steps: int


def _set_up(cell: QualityCell, session: Session) -> _SetUp:
    """Build the model, keep what the audit needs of it, and apply the strategy to a copy."""
    device = session.options.device
    task, splits = session.task(cell.task), session.splits(cell)
    set_matmul(cell.precision)
    encoder = copy.deepcopy(session.pristine(cell).encoder)
    base = build_model(encoder, task.kind, task.outputs, cell.pooling, cell.seed).to(device)
    probe = collate(splits.train, np.arange(min(AUDIT_EXAMPLES, len(splits.train))), device)
    steps = total_steps(cell, len(splits.train))
    context = Context(
        np.random.default_rng(cell.mask_seed), total_steps=steps, batches=lambda: _batches(cell, splits, device)
    )
    applied = strategies.resolve(cell.strategy)(copy.deepcopy(base), context)
    return _SetUp(task, splits, base, applied, Auditor(base, probe), steps)


def _check_delta(cell: QualityCell, session: Session, set_up: _SetUp, folder: Path) -> delta.DeltaSize:
    """Write the delta, audit it on the untouched base, and delete it unless deltas are kept; returns its size.

    The base is consumed: the delta is applied to it.
    """
    fingerprint = session.pristine(cell).fingerprint
    path = folder / DELTAS / f"{hashlib.sha256(cell.key.encode()).hexdigest()[:16]}.safetensors"
    path.parent.mkdir(exist_ok=True)
    info = delta.DeltaInfo(cell.strategy, cell.mask_seed, fingerprint, cell.task, set_up.task.labels)
    size = delta.save(path, set_up.applied, info)
    set_up.auditor.after_delta(set_up.applied, path, set_up.base, fingerprint)
    if not session.options.keep_deltas:
        path.unlink()
    return size


def _warnings(splits: Splits) -> tuple[str, ...]:
    """What a reader should know of how the splits were scored."""
    found = []
    if splits.evaluation.unscored:
        found.append(f"{splits.evaluation.unscored} evaluation words were cut off or left no token: not scored")
    if len(splits.train) < len(splits.evaluation):
        found.append(
            f"the gap compares {len(splits.train)} training with {len(splits.evaluation)} evaluation examples: "
            "there are no more of the former"
        )
    return tuple(found)


def _batches(cell: QualityCell, splits: Splits, device: torch.device) -> Iterator[Batch]:
    """Training batches without end, in the order the seed fixes."""
    for rows in epochs(splits.train.lengths, cell.batch_size, cell.seed):
        yield collate(splits.train, rows, device)


def _curve_point(scorer: Scorer, cell: QualityCell, splits: Splits, headline: str, step: int) -> CurvePoint:
    """Score the fixed subsamples, the first examples of the training and of the evaluation split."""
    train_scores = scorer(splits.train, cell.curve_examples).scores
    evaluation = scorer(splits.evaluation, cell.curve_examples).scores
    return CurvePoint(
        step=step,
        examples_seen=step * cell.batch_size,
        train_score=train_scores.scores[headline],
        train_loss=train_scores.loss,
        evaluation_score=evaluation.scores[headline],
        evaluation_loss=evaluation.loss,
    )
