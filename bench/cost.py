"""Cost cells: groups timed interleaved, then each cell weighed once in a fresh process."""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from bench.arithmetic import Arithmetic
from bench.budget import unmet
from bench.cell import CostCell
from bench.device import device_of
from bench.encoders import Encoder
from bench.errors import first_line
from bench.forecasts import Forecast, Weight, forecasts_of, shortage, too_large, unforeseen
from bench.measure.energy import Meter, Reason, energy_of, find_meter
from bench.measure.fake import NoShapesError
from bench.measure.flops import arithmetic_of, arithmetic_with_weights
from bench.measure.memory import measure_peak
from bench.measure.nvml import find_card
from bench.measure.time import Instruments, Timing, time_group
from bench.measure.validity import Watch, disturbances, disturbed_rounds, throttled
from bench.outcome import Outcome, failure
from bench.profiles import slug
from bench.results import CostResult
from bench.timing import PhaseSeconds, StepTimes, Validity
from bench.training import PHASES

# Steps spread wider than this (interquartile range over median) were disturbed by something.
WIDE_SPREAD = 0.15
AGAIN = "weighed once, with replicate 0"


Count = tuple[Arithmetic | None, str | None]
"""The arithmetic of a step, or None and the reason why there is none."""


@dataclass(frozen=True)
class TimedGroup:
    """The timings of a group and what surrounded each, by key; the counter of energy, or why there is none."""

    timings: dict[str, Timing]
    validity: dict[str, Validity]
    meter: Meter | Reason


def run_group(
    cells: Sequence[CostCell],
    encoder: Encoder,
    device: torch.device,
    on_turn: Callable[[CostCell, str], None],
    snapshots: Path | None = None,
) -> dict[str, Outcome]:
    """Time and weigh the cells of one group; returns an outcome a key.

    `on_turn(cell, what)` is called before each timing turn and each memory measurement. A snapshot of the memory of
    each cell is written into the folder `snapshots` where one is named and the device keeps a history. What cannot fit
    into the memory of a CPU is not begun.
    """
    name = uuid.uuid4().hex[:12]
    forecasts = forecasts_of(cells, encoder, device)
    outcomes = {
        cell.key: _failed(reason, forecasts[cell.key]) for cell, reason in too_large(cells, device, forecasts).items()
    }
    fitting = [cell for cell in cells if cell.key not in outcomes]
    if not fitting:
        return outcomes
    timed = _time(fitting, encoder, device, lambda cell: on_turn(cell, "time"))
    for cell in fitting:
        failed = timed.timings[cell.key].failure
        if failed is not None:
            outcomes[cell.key] = _failed(failed, forecasts[cell.key])
            continue
        on_turn(cell, "memory")
        snapshot = None if snapshots is None else snapshots / snapshot_name(cell)
        forecast = forecasts[cell.key]
        figures = Figures(
            _weigh(cell, encoder, device, snapshot),
            (None, AGAIN) if cell.replicate else forecast.own,
            _count(cell, encoder, device, forecast),
        )
        outcomes[cell.key] = _outcome(cell, timed, name, figures)
    return outcomes


def snapshot_name(cell: CostCell) -> str:
    """The file of a cell's memory snapshot: its strategy and the digest of its key."""
    return f"{slug(cell.strategy)}-{cell.digest}.json.gz"


def _failed(error: Exception, forecast: Forecast) -> Outcome:
    """What becomes of a cell that could not be timed; one that did not fit says what it would have needed."""
    outcome = failure(error)
    if outcome.status != "out_of_memory":
        return outcome
    return replace(outcome, reason=f"{outcome.reason}; {forecast.words}")


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
    validity = {key: watch.validity(before, own, after) for key, own in rounds.items()}
    marked = {"disturbed_rounds": disturbed_rounds(validity.values())}
    return TimedGroup(timings, {key: own.model_copy(update=marked) for key, own in validity.items()}, meter)


class Figures(NamedTuple):
    """What is found out of a cell besides its time."""

    memory: Weight
    forecast: Weight
    arithmetic: Count


def _count(cell: CostCell, encoder: Encoder, device: torch.device, forecast: Forecast) -> Count:
    """Count the arithmetic on shapes alone, or with weights where the strategy looks at values and its step may fit.

    Here as below, whatever fails costs the cell this figure alone: its timing is done.
    """
    if cell.replicate:
        return None, "counted once, with replicate 0"
    try:
        try:
            return arithmetic_of(cell, encoder, accelerator=device.type != "cpu"), None
        except NoShapesError as error:
            # An accelerator may have taken a step for which the memory beside its CPU is too small.
            short = shortage(forecast)
            if short is not None:
                return None, f"{first_line(error)}; not counted with weights: {short}; {forecast.words}"
            return arithmetic_with_weights(cell, encoder), None
    except Exception as error:
        return None, unforeseen(error)


def _weigh(cell: CostCell, encoder: Encoder, device: torch.device, snapshot: Path | None) -> Weight:
    """Peak memory as measured; the second full fine-tuning is not weighed twice."""
    if cell.replicate:
        return None, AGAIN
    try:
        return measure_peak(cell, encoder, device, snapshot), None
    except Exception as error:
        return None, unforeseen(error)


def _outcome(cell: CostCell, timed: TimedGroup, group: str, figures: Figures) -> Outcome:
    (memory, reason), (forecast, forecast_reason), (arithmetic, arithmetic_reason) = figures
    timing, validity = timed.timings[cell.key], timed.validity[cell.key]
    seconds = timing.step_seconds
    joules = [turn.joules for turn in timing.turns]
    energy, energy_reason = energy_of(timed.meter, joules, seconds.sum(axis=1).tolist(), cell.steps_per_round)
    result = CostResult(
        group=group,
        step=step_times(timing),
        memory=memory,
        memory_reason=reason,
        counts=timing.turns[-1].counts,
        order_by_round=timing.order,
        validity=validity,
        energy=energy,
        energy_reason=energy_reason,
        forecast=forecast,
        forecast_reason=forecast_reason,
        arithmetic=arithmetic,
        arithmetic_reason=arithmetic_reason,
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
    spread, snapshot = result.step.spread, None if result.memory is None else result.memory.snapshot_reason
    wide = f"step times spread widely: interquartile range {spread:.0%} of the median; the machine was not quiet"
    return (
        *((wide,) if spread > WIDE_SPREAD else ()),
        *((f"no peak memory: {result.memory_reason}",) if weighed and result.memory_reason is not None else ()),
        *((f"no memory snapshot: {snapshot}",) if snapshot is not None else ()),
        *unmet(result.counts),
    )
