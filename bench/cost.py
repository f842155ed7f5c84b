"""Cost cells: groups timed interleaved, then each cell weighed once in a fresh process."""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from bench.arithmetic import Arithmetic
from bench.budget import unmet
from bench.cell import CostCell
from bench.device import device_of
from bench.encoders import Encoder
from bench.measure.energy import Meter, Reason, energy_of, find_meter
from bench.measure.fake import NoShapesError
from bench.measure.flops import arithmetic_of, arithmetic_with_weights
from bench.measure.memory import MemoryFailureError, measure_peak
from bench.measure.nvml import find_card
from bench.measure.time import Instruments, Timing, time_group
from bench.measure.validity import Watch, disturbances, throttled
from bench.outcome import Outcome, failure
from bench.results import CostResult, MemoryPeak, PhaseSeconds, StepTimes
from bench.surroundings import Validity
from bench.training import PHASES

# Steps spread wider than this (interquartile range over median) were disturbed by something.
WIDE_SPREAD = 0.15


def group_of(cell: CostCell) -> str:
    """What cells timed together share: everything but strategy, its size, replicate and mask seed."""
    apart = {"strategy": "*", "replicate": 0, "mask_seed": 0, "budget": None, "match": None}
    return cell.model_copy(update=apart).key


@dataclass(frozen=True)
class TimedGroup:
    """The timings of a group and what surrounded each, by key; the counter of energy, or why there is none."""

    timings: dict[str, Timing]
    validity: dict[str, Validity]
    meter: Meter | Reason


def run_group(
    cells: Sequence[CostCell], encoder: Encoder, device: torch.device, on_turn: Callable[[CostCell, str], None]
) -> dict[str, Outcome]:
    """Time and weigh the cells of one group; returns an outcome a key.

    `on_turn(cell, what)` is called before each timing turn and each memory measurement.
    """
    name = uuid.uuid4().hex[:12]
    timed = _time(cells, encoder, device, lambda cell: on_turn(cell, "time"))
    outcomes = {}
    for cell in cells:
        failed = timed.timings[cell.key].failure
        if failed is not None:
            outcomes[cell.key] = failure(failed)
            continue
        on_turn(cell, "memory")
        outcomes[cell.key] = _outcome(cell, timed, name, _weigh(cell, encoder, device), _count(cell, encoder))
    return outcomes


def _time(
    cells: Sequence[CostCell], encoder: Encoder, device: torch.device, on_turn: Callable[[CostCell], None]
) -> TimedGroup:
    """Time the group, and look at the machine before, meanwhile and after."""
    card, reason = find_card(device)
    watch, meter = Watch(card, reason), find_meter(device, card)
    instruments = Instruments(device_of(device), watch.look, None if isinstance(meter, str) else meter)
    before = watch.look()
    timings = time_group(cells, encoder, instruments, on_turn)
    after = watch.look()
    rounds = {key: [turn.surroundings for turn in timing.turns] for key, timing in timings.items()}
    return TimedGroup(timings, {key: watch.validity(before, own, after) for key, own in rounds.items()}, meter)


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


def _weigh(cell: CostCell, encoder: Encoder, device: torch.device) -> tuple[MemoryPeak | None, str | None]:
    """Peak memory, or None and the reason why there is none; the second full fine-tuning is not weighed twice."""
    if cell.replicate:
        return None, "weighed once, with replicate 0"
    try:
        return measure_peak(cell, encoder, device), None
    except (torch.OutOfMemoryError, MemoryFailureError) as error:
        return None, str(error)


def _outcome(
    cell: CostCell,
    timed: TimedGroup,
    group: str,
    memory: tuple[MemoryPeak | None, str | None],
    arithmetic: tuple[Arithmetic | None, str | None],
) -> Outcome:
    timing, validity = timed.timings[cell.key], timed.validity[cell.key]
    seconds = timing.step_seconds
    joules = [turn.joules for turn in timing.turns]
    energy, energy_reason = energy_of(timed.meter, joules, seconds.sum(axis=1).tolist(), cell.steps_per_round)
    result = CostResult(
        group=group,
        step=step_times(timing),
        memory=memory[0],
        memory_reason=memory[1],
        counts=timing.turns[-1].counts,
        order_by_round=timing.order,
        validity=validity,
        energy=energy,
        energy_reason=energy_reason,
        arithmetic=arithmetic[0],
        arithmetic_reason=arithmetic[1],
    )
    return Outcome(
        cost=result,
        arrays={"step_seconds": seconds, "phase_seconds": timing.phase_seconds},
        warnings=(
            *_warnings(result, weighed=not cell.replicate),
            *disturbances(list(timed.validity.values())),
            *throttled(validity),
        ),
    )


def step_times(timing: Timing) -> StepTimes:
    """The summary of a cell's raw times, all rounds together."""
    seconds = timing.step_seconds
    quartile1, median, quartile3, p95, p99 = np.quantile(seconds, [0.25, 0.5, 0.75, 0.95, 0.99])
    phases = np.median(timing.phase_seconds, axis=(0, 1))
    return StepTimes(
        median_seconds=median,
        quartile1_seconds=quartile1,
        quartile3_seconds=quartile3,
        p95_seconds=p95,
        steps=seconds.size,
        p99_seconds=p99,
        phases=PhaseSeconds(**dict(zip(PHASES, phases.tolist(), strict=True))),
    )


def _warnings(result: CostResult, *, weighed: bool) -> tuple[str, ...]:
    """What a reader of this record should know of its figures."""
    spread = result.step.spread
    wide = f"step times spread widely: interquartile range {spread:.0%} of the median; the machine was not quiet"
    return (
        *((wide,) if spread > WIDE_SPREAD else ()),
        *((f"no peak memory: {result.memory_reason}",) if weighed and result.memory_reason is not None else ()),
        *unmet(result.counts),
    )
