"""What the cells of a suite come to in steps and scored examples, trials of searches included."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from bench.cell import Cell, CostCell, Planned, QualityCell, Search, TrainingCell, TrialCell
from bench.fitting import curve_steps, epoch_steps, total_steps
from bench.measure.memory import WARMUP_STEPS
from bench.search import length_of, rungs
from bench.task_sizes import Sizes

SizesOf = Callable[[TrainingCell], Sizes | None]
# A step for the resident high-water mark or the allocator's peak, and a tracked one.
WEIGHED_STEPS = WARMUP_STEPS + 2


@dataclass(frozen=True)
class Work:
    """`count` cells that take the same: each so many optimizer steps, and so many examples scored without training.

    `cell` is one of them. None where `reason` says why that is not known.
    """

    cell: Cell
    count: int
    steps: int | None
    scored: int | None
    reason: str | None = None


def workload(cells: Sequence[Planned], sizes: SizesOf) -> list[Work]:
    """The work of all cells; `sizes` knows how many examples a cell's task has, or None.

    The seeds of a cell share the trials of its search. Halving is counted by how many rates each of its rounds has,
    whichever they will be.
    """
    found: dict[str, Work] = {}
    for cell in cells:
        if isinstance(cell, CostCell):
            found[cell.key] = Work(cell, 1, timed_steps(cell), 0)
            continue
        known = sizes(cell)
        alike = cell.model_copy(update={"seed": 0, "mask_seed": 0}).key
        if alike in found:
            found[alike] = replace(found[alike], count=found[alike].count + 1)
            continue
        found[alike] = _trained(cell, 1, known)
        for number, (trial, count) in enumerate(_trials(cell)):
            found[f"{alike} trials {number}"] = _trained(trial, count, known)
    return list(found.values())


def timed_steps(cell: CostCell) -> int:
    """Steps of a cost cell: those to warm up and to time, and those in which memory is weighed."""
    weighed = 0 if cell.replicate else WEIGHED_STEPS
    return cell.rounds * (cell.warmup_steps + cell.steps_per_round) + weighed


def _trials(cell: QualityCell) -> Iterator[tuple[TrialCell, int]]:
    """The trials of a cell's search: one for each of its rounds, and how many of it there are."""
    search = cell.learning_rate
    if not isinstance(search, Search):
        return
    for rung in rungs(search):
        shared = {"learning_rate": search.rates[0], "seed": search.seeds[0]}
        trial = cell.trial(**shared, **{cell.length_unit: length_of(cell, rung.share)})
        yield trial, rung.rates * len(search.seeds)


def _trained(cell: TrainingCell, count: int, sizes: Sizes | None) -> Work:
    if sizes is None:
        reason = f"how many examples {cell.task} has is not known here; give --train-examples"
        return Work(cell, count, cell.steps, None, None if cell.steps else reason)
    steps = total_steps(cell, min(cell.train_examples or sizes.train, sizes.train))
    return Work(cell, count, steps, scored_examples(cell, steps, sizes))


def scored_examples(cell: TrainingCell, steps: int, sizes: Sizes) -> int:
    """Examples scored in the course of a cell and at its end; extra sets of a task are left out."""
    train = min(cell.train_examples or sizes.train, sizes.train)
    selection = min(cell.selection_examples or sizes.selection, sizes.selection)
    ends = len(epoch_steps(math.ceil(train / cell.batch_size), steps)) if cell.checkpoint == "best" else 0
    scored = selection * (ends + 1)
    if isinstance(cell, TrialCell):
        return scored
    evaluation = min(cell.evaluation_examples or sizes.evaluation, sizes.evaluation)
    points = len(curve_steps(cell.curve_points, steps))
    curve = points * sum(min(cell.curve_examples, size) for size in (train, selection, evaluation))
    gap = train if train < evaluation else 0
    return scored + curve + evaluation + min(train, evaluation) + gap
