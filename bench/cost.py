"""Cost cells: groups timed interleaved, then each cell weighed once in a fresh process."""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from bench.budget import unmet
from bench.cell import CostCell
from bench.encoders import Encoder
from bench.measure.fake import NoShapesError
from bench.measure.flops import arithmetic_of, arithmetic_with_weights
from bench.measure.memory import MemoryFailureError, measure_peak
from bench.measure.time import Timing, time_group
from bench.outcome import Outcome, failure
from bench.results import Arithmetic, CostResult, MemoryPeak, StepTimes

# Steps spread wider than this (interquartile range over median) were disturbed by something.
WIDE_SPREAD = 0.15


def group_of(cell: CostCell) -> str:
    """What cells timed together share: everything but strategy, its size, replicate and mask seed."""
    apart = {"strategy": "*", "replicate": 0, "mask_seed": 0, "budget": None, "match": None}
    return cell.model_copy(update=apart).key


def run_group(
    cells: Sequence[CostCell], encoder: Encoder, device: torch.device, on_turn: Callable[[CostCell, str], None]
) -> dict[str, Outcome]:
    """Time and weigh the cells of one group; returns an outcome a key.

    `on_turn(cell, what)` is called before each timing turn and each memory measurement.
    """
    name = uuid.uuid4().hex[:12]
    timings = time_group(cells, encoder, device, lambda cell: on_turn(cell, "time"))
    outcomes = {}
    for cell in cells:
        timing = timings[cell.key]
        if timing.failure is not None:
            outcomes[cell.key] = failure(timing.failure)
            continue
        on_turn(cell, "memory")
        outcome = _outcome(cell, timing, name, *_weigh(cell, encoder, device))
        outcomes[cell.key] = _counted(outcome, *_count(cell, encoder))
    return outcomes


def _count(cell: CostCell, encoder: Encoder) -> tuple[Arithmetic | None, str | None]:
    """The arithmetic of a step, or None and the reason why there is none."""
    if cell.replicate:
        return None, "counted once, with replicate 0"
    try:
        try:
            return arithmetic_of(cell, encoder), None
        except NoShapesError:
            return arithmetic_with_weights(cell, encoder), None
    except (RuntimeError, MemoryError, ValueError) as error:
        return None, (str(error).strip().splitlines() or [type(error).__name__])[0]


def _counted(outcome: Outcome, arithmetic: Arithmetic | None, reason: str | None) -> Outcome:
    """The outcome of a cell with its arithmetic."""
    if outcome.cost is None:
        return outcome
    return replace(
        outcome, cost=outcome.cost.model_copy(update={"arithmetic": arithmetic, "arithmetic_reason": reason})
    )


def _weigh(cell: CostCell, encoder: Encoder, device: torch.device) -> tuple[MemoryPeak | None, str | None]:
    """Peak memory, or None and the reason why there is none; the second full fine-tuning is not weighed twice."""
    if cell.replicate:
        return None, "weighed once, with replicate 0"
    try:
        return measure_peak(cell, encoder, device), None
    except (torch.OutOfMemoryError, MemoryFailureError) as error:
        return None, str(error)


def _outcome(cell: CostCell, timing: Timing, group: str, memory: MemoryPeak | None, reason: str | None) -> Outcome:
    seconds = timing.step_seconds
    quartile1, median, quartile3, p95 = np.quantile(seconds, [0.25, 0.5, 0.75, 0.95])
    if timing.counts is None:
        raise RuntimeError(f"{cell.key} was timed and left no counts")
    result = CostResult(
        group=group,
        step=StepTimes(
            median_seconds=median,
            quartile1_seconds=quartile1,
            quartile3_seconds=quartile3,
            p95_seconds=p95,
            steps=seconds.size,
        ),
        memory=memory,
        memory_reason=reason,
        counts=timing.counts,
        order_by_round=timing.order,
    )
    spread = (quartile3 - quartile1) / median
    wide = f"step times spread widely: interquartile range {spread:.0%} of the median; the machine was not quiet"
    failed = reason is not None and not cell.replicate
    return Outcome(
        cost=result,
        arrays={"step_seconds": seconds},
        warnings=(
            *((wide,) if spread > WIDE_SPREAD else ()),
            *((f"no peak memory: {reason}",) if failed else ()),
            *unmet(timing.counts),
        ),
    )
