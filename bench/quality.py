"""Quality cells and trials of a search: fit a model to a task with a strategy and a seed, and score it."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.budget import unmet
from bench.cell import QualityCell, Search, TrainingCell, TrialCell
from bench.fitting import Fitted, Watch, audited, check_delta, fit, prepare
from bench.measure.bias_change import bias_change
from bench.outcome import Arrays, Outcome
from bench.results import QualityResult, Searched, SplitScores, TrialResult
from bench.scoring import RESOLUTION, Scored
from bench.session import Session, Splits
from bench.tasks.base import TaskData


def run_quality(
    cell: QualityCell, session: Session, folder: Path, watch: Watch, search: Searched | None = None
) -> Outcome:
    """Run one quality cell, at the learning rate that `search` chose where the cell leaves it open.

    `watch` is told of each step and of each batch that is scored. The delta is written under `folder`, audited,
    and deleted unless the session keeps deltas.
    """
    set_up = prepare(cell, session)
    task, splits = set_up.task, set_up.splits
    fitted = fit(cell, _rate(cell, search), session, set_up, watch)
    moved = bias_change(fitted.applied, set_up.base)
    written = check_delta(cell, session, set_up, fitted.applied, folder)
    final = _score_all(fitted, splits)
    result = QualityResult(
        headline=task.headline,
        evaluation=final.evaluation.scores,
        selection=final.selection,
        train_sample=final.train_sample,
        gap_sample=final.gap_sample,
        curve=fitted.curve,
        counts=set_up.counts,
        delta_bytes=written.size.file,
        delta_encoder_bytes=written.size.encoder,
        delta_head_bytes=written.size.head,
        steps=len(fitted.trained.losses),
        train_examples=splits.train.examples,
        padding_ratio=fitted.trained.padding_ratio,
        training_seconds=fitted.trained.seconds,
        scoring_seconds=final.seconds,
        inserted_randomness=set_up.applied.draws,
        search=search,
        checkpoints=fitted.checkpoints,
        extra={name: scored.scores for name, scored in final.extra.items()},
        extra_headlines=dict(task.extra_headlines),
        bias_change=moved,
        labels=list(task.labels),
        test_examples={name: len(test) for name, test in splits.test.items()},
        swap_seconds=written.swap_seconds,
    )
    found = (*task.notes, *_warnings(cell, splits, task), *_constant(final.evaluation, task), *unmet(set_up.counts))
    return audited(set_up, Outcome(quality=result, arrays=_arrays(fitted, final, splits), warnings=found))


def run_trial(cell: TrialCell, session: Session, folder: Path, watch: Watch) -> Outcome:
    """Run one training of a search: the same training and the same audit, scored on the selection split alone."""
    set_up = prepare(cell, session)
    fitted = fit(cell, cell.learning_rate, session, set_up, watch)
    check_delta(cell, session, set_up, fitted.applied, folder)
    result = TrialResult(
        headline=set_up.task.headline,
        selection=fitted.scorer(set_up.splits.selection, set_up.splits.selection.examples).scores,
        steps=len(fitted.trained.losses),
        training_seconds=fitted.trained.seconds,
        checkpoints=fitted.checkpoints,
    )
    return audited(set_up, Outcome(trial=result, arrays={"step_loss": fitted.trained.losses.numpy()}))


def _rate(cell: QualityCell, search: Searched | None) -> float:
    if search is not None:
        return search.learning_rate
    if isinstance(cell.learning_rate, Search):
        raise ValueError(f"{cell.key} leaves its learning rate to a search, and no search was made")
    return cell.learning_rate


@dataclass(frozen=True)
class _Final:
    """Scores of the trained model on whole splits, and the seconds they took."""

    evaluation: Scored
    selection: SplitScores
    train_sample: SplitScores
    gap_sample: SplitScores | None
    extra: Mapping[str, Scored]
    seconds: float


def _score_all(fitted: Fitted, splits: Splits) -> _Final:
    """Score every split; the train sample is as large as the evaluation split where there is so much to train on."""
    began = time.monotonic()
    size = splits.evaluation.examples
    train_sample = fitted.scorer(splits.train, size).scores
    # The gap compares samples of one size; where there is less to train on, that is less than the evaluation split.
    shared = train_sample.examples
    return _Final(
        evaluation=fitted.scorer(splits.evaluation, size),
        selection=fitted.scorer(splits.selection, splits.selection.examples).scores,
        train_sample=train_sample,
        gap_sample=fitted.scorer(splits.evaluation, shared).scores if shared < size else None,
        extra={name: fitted.scorer(encoded, encoded.examples) for name, encoded in splits.extra.items()},
        seconds=time.monotonic() - began,
    )


def _arrays(fitted: Fitted, final: _Final, splits: Splits) -> Arrays:
    """What the sidecar keeps: losses of the steps, and predictions and references in the order of the examples."""
    arrays = {"step_loss": fitted.trained.losses.numpy()}
    named = {"evaluation": final.evaluation} | {f"extra_{name}": scored for name, scored in final.extra.items()}
    for name, scored in named.items():
        arrays |= {f"{name}_predictions": scored.predictions, f"{name}_references": scored.references}
    return arrays | {name: fitted.scorer.predict(test) for name, test in splits.test.items()}


def _constant(scored: Scored, task: TaskData) -> tuple[str, ...]:
    """A warning where the model says the same of every evaluation example though they differ: it told none apart."""
    found, true = scored.predictions, scored.references
    if task.kind == "span" or np.ptp(true) == 0 or np.ptp(found) > RESOLUTION * np.abs(found).max():
        return ()
    said = f"{found[0]:.4g}" if task.kind == "regression" else repr((*task.labels, *task.unseen)[int(found[0])])
    counted = "words" if task.kind == "tagging" else "examples"
    return (f"all {len(found)} evaluation {counted} are predicted {said}: the model tells none apart",)


def _warnings(cell: TrainingCell, splits: Splits, task: TaskData) -> tuple[str, ...]:
    """What a reader should know of how the splits were read and scored."""
    found = []
    for name, split in (("training", splits.train), ("evaluation", splits.evaluation)):
        full = int((split.lengths >= cell.max_length).sum())
        if full and split.windows is None:
            found.append(
                f"{full} of {len(split)} {name} examples fill all {cell.max_length} tokens: what goes beyond "
                "is cut off"
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
