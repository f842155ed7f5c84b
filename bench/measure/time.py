"""Step time of several strategies at one shape, interleaved in rotating order over several rounds.

Machines drift, so what counts is the ratio to full fine-tuning within one round. Each turn builds its
model afresh: no strategy holds memory while another is timed, and one that fails does not stop the rest.
"""

import contextlib
import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from bench.audit import AuditError, wrong_selection
from bench.budget import budget_of
from bench.cell import CostCell
from bench.device import Device, Mark
from bench.encoders import Encoder
from bench.environment import set_matmul
from bench.measure.energy import Meter
from bench.measure.subject import KIND, apply_fresh, cost_base, cost_stepper, counts, random_batch
from bench.models import TaskModel
from bench.results import Counts
from bench.timing import Surroundings
from bench.training import PHASES


@dataclass(frozen=True)
class Turn:
    """One cell's part of one round: seconds of each timed step, and of the PHASES of each, shaped (steps, 4).

    `joules` is the energy of the timed steps, None where nothing counts it; `surroundings` what was seen as the last
    of them ended.
    """

    step_seconds: list[float]
    phase_seconds: list[list[float]]
    joules: float | None
    surroundings: Surroundings
    counts: Counts


@dataclass
class Timing:
    """What one cell left: its turns, its place in each round, or why it failed."""

    turns: list[Turn] = field(default_factory=list)
    order: list[int] = field(default_factory=list)
    failure: Exception | None = None

    @property
    def step_seconds(self) -> NDArray[np.float64]:
        """Raw step times, (rounds, steps)."""
        return np.asarray([turn.step_seconds for turn in self.turns], dtype=np.float64)

    @property
    def phase_seconds(self) -> NDArray[np.float64]:
        """Raw times of the phases of each step, (rounds, steps, 4), in the order of PHASES."""
        return np.asarray([turn.phase_seconds for turn in self.turns], dtype=np.float64)


@dataclass(frozen=True)
class Instruments:
    """What times a group: its device, who looks at what surrounds it, and the counter of energy if there is one."""

    device: Device
    look: Callable[[], Surroundings]
    meter: Meter | None


class PhaseMarks:
    """Notes when each phase of a step begins; reads the device's clock after the step, so that it stalls nothing."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._marks: list[Mark] = []

    def __call__(self, phase: str) -> None:  # noqa: ARG002
        """A phase begins, or the step ends."""
        self._marks.append(self._device.mark())

    def clear(self) -> None:
        """Forget what was noted."""
        self._marks.clear()

    def seconds(self) -> list[float]:
        """Seconds of each phase of the one step noted, in the order of PHASES; to be asked after it is done.

        Raises RuntimeError where a step told of other phases than these.
        """
        found = [self._device.seconds_between(begin, end) for begin, end in pairwise(self._marks)]
        if len(found) != len(PHASES):
            raise RuntimeError(f"a step told of {len(found)} phases, not {len(PHASES)}")
        return found


def time_group(
    cells: Sequence[CostCell], encoder: Encoder, instruments: Instruments, on_turn: Callable[[CostCell], None]
) -> dict[str, Timing]:
    """Time cells that differ in strategy and replicate only; returns a Timing a key.

    A cell that fails once is left out of the later rounds. `on_turn` is called before each turn. One turn before
    the first round is not timed: the first work of a process pays for memory, threads and clocks that wake up.
    """
    first = cells[0]
    base = cost_base(first, encoder)
    set_matmul(first.precision)
    timings = {cell.key: Timing() for cell in cells}
    # Each turn builds its model anew, but what a budget comes to is the same every time.
    budgets = {cell.key: budget_of(cell, base, KIND) for cell in cells}
    with contextlib.suppress(RuntimeError, MemoryError, ValueError):  # the same turn fails again, and is then recorded
        _turn(base, first, instruments, budgets[first.key])
    _free(instruments.device)
    for round_number in range(first.rounds):
        for place, cell in enumerate(turn_order(cells, round_number)):
            timing = timings[cell.key]
            if timing.failure is not None:
                continue
            on_turn(cell)
            try:
                turn = _turn(base, cell, instruments, budgets[cell.key])
            except (RuntimeError, MemoryError, ValueError) as error:
                timing.failure = error.with_traceback(None)
                continue
            finally:
                _free(instruments.device)
            timing.turns.append(turn)
            timing.order.append(place)
    return timings


def turn_order(cells: Sequence[CostCell], round_number: int) -> list[CostCell]:
    """The cells in the order of one round, which rotates by a step that spreads each cell over early and late turns.

    Replicates stand half a round from the cells they repeat, so that the pair of the noise floor sees as much drift
    as any two cells do. In as many rounds as there are cells each stands at every place once, and so on from there.
    """
    firsts, again = [c for c in cells if not c.replicate], [c for c in cells if c.replicate]
    middle = len(cells) // 2
    order = [*firsts[:middle], *again, *firsts[middle:]]
    rounds = cells[0].rounds
    shift = round_number % len(order) if rounds >= len(order) else round(round_number * len(order) / rounds)
    return [*order[shift:], *order[:shift]]


def _turn(base: TaskModel, cell: CostCell, instruments: Instruments, budget: int | None) -> Turn:
    """Build, warm up, and time one cell's steps of one round. Raises AuditError where the wrong values train."""
    device, meter = instruments.device, instruments.meter
    applied = apply_fresh(base, cell, device.torch_device, budget)
    wrong = wrong_selection(applied)
    if wrong:
        raise AuditError(wrong)
    marks = PhaseMarks(device)
    stepper = replace(cost_stepper(applied, cell, device.torch_device), mark=marks)
    batch = random_batch(cell, base.encoder.config.vocab_size, device.torch_device)
    for step in range(cell.warmup_steps):
        stepper(batch, step)
    device.synchronize()
    energy_before = None if meter is None else meter.read()
    seconds, phases = [], []
    for step in range(cell.warmup_steps, cell.warmup_steps + cell.steps_per_round):
        marks.clear()
        device.synchronize()
        begin = time.perf_counter()
        stepper(batch, step)
        device.synchronize()
        seconds.append(time.perf_counter() - begin)
        phases.append(marks.seconds())
    joules = None if meter is None else meter.since(energy_before)
    return Turn(seconds, phases, joules, instruments.look(), counts(applied, base, budget))


def _free(device: Device) -> None:
    """Give the memory of the last turn back before the next one begins."""
    gc.collect()
    device.empty_cache()
