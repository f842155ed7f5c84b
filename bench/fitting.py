"""Fitting a cell: the model set up, trained, brought to its chosen epoch, and audited; what it scores comes after."""

import contextlib
import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch

import strategies
from bench.audit import Auditor
from bench.batching import Encoded, collate, epochs
from bench.budget import budget_of
from bench.cell import QualityCell, TrainingCell
from bench.checkpoints import BestCheckpoint
from bench.environment import set_matmul
from bench.measure.subject import counts
from bench.measure.swap import swap_seconds
from bench.models import TaskModel, build_model
from bench.outcome import Outcome
from bench.profiles import slug
from bench.results import Checkpoints, Counts, CurvePoint
from bench.scoring import Predictions, Scored, TaskMetrics, predict, score, task_loss
from bench.session import Session, Splits
from bench.tasks.base import TaskData
from bench.training import Autocast, Trained, autocast_for, make_stepper, train
from strategies import delta
from strategies.interface import Applied, Batch, Context

AUDIT_EXAMPLES = 8
DELTAS = "deltas"
# Characters of a delta's file name that say what it is of; a file system takes 255 in all.
MOST_NAMED = 160

# Told what is worked on, which share of it is done, and the loss where it is known.
Watch = Callable[[str, float, float | None], None]


@dataclass(frozen=True)
class Scorer:
    """Scores the first examples of a split with the task's metrics; `watch` is told how it goes on."""

    model: torch.nn.Module
    task: TaskData
    metric: TaskMetrics
    autocast: Autocast
    watch: Watch

    def __call__(self, encoded: Encoded, examples: int) -> Scored:
        """Score the first `examples` examples, or all where there are fewer."""
        task = self.task
        return score(
            self.model,
            encoded,
            np.arange(min(examples, encoded.examples)),
            task.kind,
            self.metric,
            self.autocast,
            label_names=(*task.labels, *task.unseen),
            unanswerable=task.unanswerable,
            on_share=lambda share: self.watch("score", share, None),
        )

    def predict(self, encoded: Encoded) -> Predictions:
        """Predict every example of a split without labels, in its order."""
        return predict(
            self.model,
            encoded,
            self.task.kind,
            self.autocast,
            on_share=lambda share: self.watch("predict test rows", share, None),
        )


def total_steps(cell: TrainingCell, rows: int) -> int:
    """Optimizer steps of a cell: those it names, or its epochs times the batches of one, at least one."""
    if cell.epochs is None:
        return cast(int, cell.steps)
    return max(1, round(cell.epochs * math.ceil(rows / cell.batch_size)))


def curve_steps(points: int, steps: int) -> frozenset[int]:
    """At most `points` steps, evenly spaced, the last among them."""
    return frozenset(math.ceil(steps * i / points) for i in range(1, points + 1))


def epoch_steps(batches: int, steps: int) -> frozenset[int]:
    """The steps at which an epoch of so many batches ends, the last step among them."""
    return frozenset([*range(batches, steps, batches), steps])


@dataclass(frozen=True)
class SetUp:
    """A quality cell ready to train."""

    task: TaskData
    splits: Splits
    base: TaskModel
    applied: Applied
    auditor: Auditor
    steps: int
    counts: Counts


def prepare(cell: TrainingCell, session: Session) -> SetUp:
    """Build the model, keep what the audit needs of it, and apply the strategy to a copy."""
    device = session.options.device
    task, splits = session.task(cell.task), session.splits(cell)
    set_matmul(cell.precision)
    encoder = copy.deepcopy(session.pristine(cell).encoder)
    base = build_model(encoder, task.kind, task.outputs, cell.pooling, cell.seed).to(device)
    probe = collate(splits.train, np.arange(min(AUDIT_EXAMPLES, len(splits.train))), device)
    steps = total_steps(cell, len(splits.train))
    context = Context(
        np.random.default_rng(cell.mask_seed),
        total_steps=steps,
        batches=lambda: _batches(cell, splits, device),
        loss=lambda logits, batch: task_loss(logits, batch["labels"], task.kind),
        budget=budget_of(cell, base, task.kind),
    )
    applied = strategies.resolve(cell.strategy)(copy.deepcopy(base), context)
    counted = counts(applied, base, context.budget)
    return SetUp(task, splits, base, applied, Auditor(base, probe), steps, counted)


@dataclass(frozen=True)
class Fitted:
    """What training left; `applied` is finished."""

    applied: Applied
    trained: Trained
    scorer: Scorer
    curve: list[CurvePoint]
    checkpoints: Checkpoints | None


def fit(cell: TrainingCell, learning_rate: float, session: Session, set_up: SetUp, watch: Watch) -> Fitted:
    """Train, finish on the chosen epoch's weights, and audit that nothing changed that may not."""
    device, steps, splits, applied = session.options.device, set_up.steps, set_up.splits, set_up.applied
    set_up.auditor.after_apply(applied)
    stepper = make_stepper(
        applied,
        set_up.task.kind,
        learning_rate=learning_rate,
        total_steps=steps,
        warmup_fraction=cell.warmup_fraction,
        weight_decay=cell.weight_decay,
        clip_norm=cell.clip_norm,
        autocast=autocast_for(cell.precision, device),
        seed=cell.seed,
    )
    scorer = Scorer(applied.model, set_up.task, TaskMetrics(set_up.task.metrics), stepper.autocast, watch)
    best = BestCheckpoint(stepper.parameters, set_up.task.headline, cell.patience)
    drawn = curve_steps(cell.curve_points, steps) if isinstance(cell, QualityCell) else frozenset[int]()
    ends = frozenset[int]()
    if cell.checkpoint == "best":
        every = epoch_steps(math.ceil(len(splits.train) / cell.batch_size), steps)
        ends = frozenset(step for step in every if step >= applied.ready_after)
    curve: list[CurvePoint] = []

    def at_point(step: int) -> bool:
        if isinstance(cell, QualityCell) and step in drawn:
            curve.append(_curve_point(scorer, cell, splits, set_up.task.headline, step))
        return step in ends and best.saw(step, scorer(splits.selection, splits.selection.examples).scores)

    trained = train(
        stepper,
        _batches(cell, splits, device),
        steps,
        drawn | ends,
        at_point,
        lambda step, loss: watch("train", step / steps, loss),
        session.deadline(),
    )
    checkpoints = best.restore(steps) if ends else None
    applied = applied.finished()
    set_up.auditor.after_finalize(applied)
    return Fitted(applied, trained, scorer, curve, checkpoints)


@dataclass(frozen=True)
class CheckedDelta:
    """The size of a delta, and the seconds of a few swaps; none where its audit found something."""

    size: delta.DeltaSize
    swap_seconds: list[float]


def check_delta(cell: TrainingCell, session: Session, set_up: SetUp, applied: Applied, folder: Path) -> CheckedDelta:
    """Write the delta, audit it on the untouched base and time swaps there; it is deleted unless deltas are kept."""
    fingerprint = session.pristine(cell).fingerprint
    words = slug(f"{cell.task}-{cell.strategy}")[:MOST_NAMED]
    path = folder / DELTAS / f"{words}-seed{cell.seed}-{cell.digest}.safetensors"
    path.parent.mkdir(exist_ok=True)
    labels, budget, use = set_up.task.labels, set_up.counts.budget, _use(cell, set_up.task)
    info = delta.DeltaInfo(cell.strategy, cell.mask_seed, fingerprint, cell.task, labels, budget, use)
    size = delta.save(path, applied, info)
    found = set_up.auditor.after_delta(applied, path, set_up.base, fingerprint)
    swaps = [] if any(found.values()) else swap_seconds(path, set_up.base, fingerprint)
    if not session.options.keep_deltas:
        path.unlink()
        with contextlib.suppress(OSError):  # where other deltas were kept
            path.parent.rmdir()
    return CheckedDelta(size, swaps)


def _use(cell: TrainingCell, task: TaskData) -> delta.Use:
    """How the cell's model is built and fed."""
    return delta.Use(
        model=cell.model,
        kind=task.kind,
        pooling=cell.pooling,
        outputs=task.outputs,
        max_length=cell.max_length,
        pair=task.kind != "tagging" and len(task.train[0].text) == 2,
        unanswerable=task.unanswerable,
    )


def audited(set_up: SetUp, outcome: Outcome) -> Outcome:
    """The outcome with its audit; one that found something is a failure, whatever was measured."""
    audit = set_up.auditor.result()
    found = "; ".join(f"{name}: {problem}" for name, problem in audit.checks.items() if problem)
    return replace(outcome, status="ok" if audit.passed else "audit_failed", reason=found or None, audit=audit)


def _batches(cell: TrainingCell, splits: Splits, device: torch.device) -> Iterator[Batch]:
    """Training batches without end, in the order the seed fixes."""
    for rows in epochs(splits.train.lengths, cell.batch_size, cell.seed):
        yield collate(splits.train, rows, device)


def _curve_point(scorer: Scorer, cell: QualityCell, splits: Splits, headline: str, step: int) -> CurvePoint:
    """Score the fixed subsamples, the first examples of each split."""
    train_scores, selection, evaluation = (
        scorer(split, cell.curve_examples).scores for split in (splits.train, splits.selection, splits.evaluation)
    )
    return CurvePoint(
        step=step,
        examples_seen=_examples_seen(cell, splits.train, step),
        train_score=train_scores.scores[headline],
        train_loss=train_scores.loss,
        evaluation_score=evaluation.scores[headline],
        evaluation_loss=evaluation.loss,
        selection_score=selection.scores[headline],
        selection_loss=selection.loss,
    )


def _examples_seen(cell: TrainingCell, train: Encoded, step: int) -> int:
    """Training examples in the first `step` batches: exact at the end of each epoch, within a batch elsewhere.

    Where examples take several rows, each row is the same share of one.
    """
    passes, batches = divmod(step, math.ceil(len(train) / cell.batch_size))
    rows = passes * len(train) + min(batches * cell.batch_size, len(train))
    return round(rows * train.examples / len(train))
