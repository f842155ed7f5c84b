"""Quality cells and trials of a search: train a model on a task with a strategy and a seed, score it, audit it."""

import contextlib
import copy
import hashlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch

import strategies
from bench.audit import Auditor
from bench.batching import Encoded, collate, epochs
from bench.cell import QualityCell, Search, TrainingCell, TrialCell
from bench.checkpoints import BestCheckpoint
from bench.environment import set_matmul
from bench.measure.bias_change import bias_change
from bench.measure.subject import counts
from bench.models import TaskModel, build_model
from bench.outcome import Arrays, Outcome
from bench.record import Checkpoints, CurvePoint, QualityResult, Searched, TrialResult
from bench.scoring import Predictions, Scored, TaskMetrics, predict, score
from bench.session import Session, Splits
from bench.tasks.base import TaskData
from bench.training import Autocast, Trained, autocast_for, make_stepper, train
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
        )

    def predict(self, encoded: Encoded) -> Predictions:
        """Predict every example of a split without labels, in its order."""
        return predict(self.model, encoded, self.task.kind, self.autocast)


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


def run_quality(
    cell: QualityCell, session: Session, folder: Path, on_step: OnStep, search: Searched | None = None
) -> Outcome:
    """Run one quality cell, at the learning rate that `search` chose where the cell leaves it open.

    `on_step(step, total, loss)` is called after each step. The delta is written under `folder`, audited,
    and deleted unless the session keeps deltas.
    """
    set_up = _set_up(cell, session)
    task, splits = set_up.task, set_up.splits
    fitted = _fit(cell, _rate(cell, search), session, set_up, on_step)
    counted, moved = counts(set_up.applied, set_up.base), bias_change(set_up.applied, set_up.base)
    size = _check_delta(cell, session, set_up, folder)
    began = time.monotonic()
    evaluation = fitted.scorer(splits.evaluation, splits.evaluation.examples)
    selection = fitted.scorer(splits.selection, splits.selection.examples)
    train_sample = fitted.scorer(splits.train, splits.evaluation.examples)
    # The gap compares samples of one size; where there is less to train on, that is less than the evaluation split.
    shared = train_sample.scores.examples
    gap_sample = fitted.scorer(splits.evaluation, shared).scores if shared < splits.evaluation.examples else None
    extra = {name: fitted.scorer(encoded, encoded.examples) for name, encoded in splits.extra.items()}
    scoring_seconds = time.monotonic() - began
    result = QualityResult(
        headline=task.headline,
        evaluation=evaluation.scores,
        selection=selection.scores,
        train_sample=train_sample.scores,
        gap_sample=gap_sample,
        curve=fitted.curve,
        counts=counted,
        delta_bytes=size.file,
        delta_encoder_bytes=size.encoder,
        delta_head_bytes=size.head,
        steps=len(fitted.trained.losses),
        train_examples=splits.train.examples,
        padding_ratio=fitted.trained.padding_ratio,
        training_seconds=fitted.trained.seconds,
        scoring_seconds=scoring_seconds,
        inserted_randomness=set_up.applied.draws,
        search=search,
        checkpoints=fitted.checkpoints,
        extra={name: scored.scores for name, scored in extra.items()},
        extra_headlines=dict(task.extra_headlines),
        bias_change=moved,
        labels=list(task.labels),
        test_examples={name: len(test) for name, test in splits.test.items()},
    )
    arrays = {"step_loss": fitted.trained.losses.numpy(), **_outputs("evaluation", evaluation)}
    for name, scored in extra.items():
        arrays |= _outputs(f"extra_{name}", scored)
    arrays |= {name: fitted.scorer.predict(test) for name, test in splits.test.items()}
    return _audited(
        set_up, Outcome(quality=result, arrays=arrays, warnings=(*task.notes, *_warnings(cell, splits, task)))
    )


def run_trial(cell: TrialCell, session: Session, folder: Path, on_step: OnStep) -> Outcome:
    """Run one training of a search: the same training and the same audit, scored on the selection split alone."""
    set_up = _set_up(cell, session)
    fitted = _fit(cell, cell.learning_rate, session, set_up, on_step)
    _check_delta(cell, session, set_up, folder)
    result = TrialResult(
        headline=set_up.task.headline,
        selection=fitted.scorer(set_up.splits.selection, set_up.splits.selection.examples).scores,
        steps=len(fitted.trained.losses),
        training_seconds=fitted.trained.seconds,
        checkpoints=fitted.checkpoints,
    )
    return _audited(set_up, Outcome(trial=result, arrays={"step_loss": fitted.trained.losses.numpy()}))


@dataclass(frozen=True)
class _Fitted:
    """What training left besides the model."""

    trained: Trained
    scorer: Scorer
    curve: list[CurvePoint]
    checkpoints: Checkpoints | None


def _fit(cell: TrainingCell, learning_rate: float, session: Session, set_up: "_SetUp", on_step: OnStep) -> _Fitted:
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
    scorer = Scorer(applied.model, set_up.task, TaskMetrics(set_up.task.metrics), stepper.autocast)
    best = BestCheckpoint(stepper.parameters, set_up.task.headline, cell.patience)
    drawn = curve_steps(cell.curve_points, steps) if isinstance(cell, QualityCell) else frozenset[int]()
    ends = frozenset[int]()
    if cell.checkpoint == "best":
        ends = epoch_steps(math.ceil(len(splits.train) / cell.batch_size), steps)
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
        lambda step, loss: on_step(step, steps, loss),
        session.deadline(),
    )
    checkpoints = best.restore(steps) if ends else None
    applied.finalize()
    set_up.auditor.after_finalize(applied)
    return _Fitted(trained, scorer, curve, checkpoints)


def _rate(cell: QualityCell, search: Searched | None) -> float:
    if search is not None:
        return search.learning_rate
    if isinstance(cell.learning_rate, Search):
        raise ValueError(f"{cell.key} leaves its learning rate to a search, and no search was made")
    return cell.learning_rate


def _audited(set_up: "_SetUp", outcome: Outcome) -> Outcome:
    """The outcome with its audit; one that found something is a failure, whatever was measured."""
    audit = set_up.auditor.result()
    found = "; ".join(f"{name}: {problem}" for name, problem in audit.checks.items() if problem)
    return replace(outcome, status="ok" if audit.passed else "audit_failed", reason=found or None, audit=audit)


@dataclass(frozen=True)
class _SetUp:
    """A quality cell ready to train."""

    task: TaskData
    splits: Splits
    base: TaskModel
    applied: Applied
    auditor: Auditor
    steps: int


def _set_up(cell: TrainingCell, session: Session) -> _SetUp:
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


def _check_delta(cell: TrainingCell, session: Session, set_up: _SetUp, folder: Path) -> delta.DeltaSize:
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
        with contextlib.suppress(OSError):  # where other deltas were kept
            path.parent.rmdir()
    return size


def _outputs(name: str, scored: Scored) -> Arrays:
    """What the sidecar keeps of a scored set: predictions and references, in the order of the examples."""
    return {f"{name}_predictions": scored.predictions, f"{name}_references": scored.references}


def _warnings(cell: TrainingCell, splits: Splits, task: TaskData) -> tuple[str, ...]:
    """What a reader should know of how the splits were scored."""
    found = []
    full = int((splits.evaluation.lengths >= cell.max_length).sum())
    if full and splits.evaluation.windows is None:
        found.append(
            f"{full} of {len(splits.evaluation)} evaluation examples fill all {cell.max_length} tokens: what goes "
            "beyond is cut off"
        )
    if splits.evaluation.unscored:
        found.append(f"{splits.evaluation.unscored} evaluation words were cut off or left no token: not scored")
    if task.unseen and (words := int((splits.evaluation.labels >= task.outputs).sum())):
        found.append(
            f"{words} evaluation words have a tag that training never shows ({', '.join(task.unseen)}): they count "
            "as errors"
        )
    for name, split in (("training", splits.train), ("evaluation", splits.evaluation)):
        if split.windows is not None:
            found += [f"of {split.examples} {name} questions {problem}" for problem in split.windows.problems()]
    return tuple(found)


def _batches(cell: TrainingCell, splits: Splits, device: torch.device) -> Iterator[Batch]:
    """Training batches without end, in the order the seed fixes."""
    for rows in epochs(splits.train.lengths, cell.batch_size, cell.seed):
        yield collate(splits.train, rows, device)


def _examples_seen(cell: TrainingCell, train: Encoded, step: int) -> int:
    """Training examples in the first `step` batches: exact at the end of each epoch, within a batch elsewhere.

    Where examples take several rows, each row is the same share of one.
    """
    passes, batches = divmod(step, math.ceil(len(train) / cell.batch_size))
    rows = passes * len(train) + min(batches * cell.batch_size, len(train))
    return round(rows * train.examples / len(train))


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
