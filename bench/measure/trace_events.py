"""What the events of a profiler come to: time by operator, by phase and by module, and memory over one step.

Phases and modules are ranges that the recording marks by name. A backward operator is led back to its module by the
sequence number that torch gives to a node of the graph and to the forward operator that made it: no hook on the
backward pass, which would change what it keeps.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict, cast

from torch._C._autograd import DeviceType

from bench.profiles import ACCUMULATION, BETWEEN, NO_MODULE, MemoryCurve, ModuleTime, OperatorTime, Phase, PhaseSpan

PHASE, MODULE, STEP = "phase: ", "module: ", "ProfilerStep"
NODE = "autograd::engine::evaluate_function"
# Memory changes at every operator; a figure shows no more than so many points.
POINTS = 400
MICROSECOND, NANOSECOND = 1e-6, 1e-9
# torch.autograd.profiler_util.FunctionEvent, which has no types of its own.
Event = Any


@dataclass(frozen=True)
class Spans:
    """When the recorded steps ran, as begin and end in seconds, and their phases; each in order, none overlapping."""

    steps: tuple[tuple[float, float], ...]
    phases: tuple[PhaseSpan, ...]

    def place(self, event: Event) -> tuple[int, Phase] | None:
        """The step and the phase an event began in, whatever its thread; None outside the steps."""
        seconds = event.time_range.start * MICROSECOND
        step = bisect_right(self.steps, seconds, key=lambda span: span[0]) - 1
        if step < 0 or seconds >= self.steps[step][1]:
            return None
        index = bisect_right(self.phases, seconds, key=lambda span: span.begin_seconds) - 1
        running = index >= 0 and seconds < self.phases[index].end_seconds
        return step, self.phases[index].phase if running else "other"

    def phases_of(self, step: int) -> list[PhaseSpan]:
        """The phases of a step, their times counted from its begin."""
        begin, end = self.steps[step]
        return [
            PhaseSpan(phase=s.phase, begin_seconds=s.begin_seconds - begin, end_seconds=s.end_seconds - begin)
            for s in self.phases
            if begin <= s.begin_seconds < end
        ]

    def phase_seconds(self) -> dict[Phase, list[float]]:
        """Wall time of each phase in each step; 'other' is what is left of the step."""
        total: dict[Phase, list[float]] = defaultdict(lambda: [0.0] * len(self.steps))
        for step, (begin, end) in enumerate(self.steps):
            total["other"][step] = end - begin
            for span in self.phases_of(step):
                total[span.phase][step] += span.end_seconds - span.begin_seconds
                total["other"][step] -= span.end_seconds - span.begin_seconds
        return dict(total)


def on_cpu(events: Iterable[Event]) -> list[Event]:
    """The events of the host, in order of time; kernels are counted with the operators that launched them."""
    kept = [e for e in events if e.device_type == DeviceType.CPU and not e.is_async and not e.name.startswith("[")]
    return sorted(kept, key=lambda event: event.time_range.start)


def spans(events: Sequence[Event]) -> Spans:
    """Where the steps and the phases lie."""
    steps = [event.time_range for event in events if event.name.startswith(STEP)]
    phases = [
        PhaseSpan(
            phase=cast(Phase, event.name.removeprefix(PHASE)),
            begin_seconds=event.time_range.start * MICROSECOND,
            end_seconds=event.time_range.end * MICROSECOND,
        )
        for event in events
        if event.name.startswith(PHASE)
    ]
    return Spans(tuple((step.start * MICROSECOND, step.end * MICROSECOND) for step in steps), tuple(phases))


def operator_times(events: Sequence[Event], where: Spans, *, device: bool) -> list[OperatorTime]:
    """Self time of every operator in every phase, the largest first.

    Self times of the marked ranges are what passes between operators. With `device` the kernels' times are told too.
    """
    sums: dict[tuple[str, Phase], _Sum] = defaultdict(lambda: _Sum(len(where.steps)))
    for event in events:
        place = where.place(event)
        if place is not None:
            step, phase = place
            sums[BETWEEN if _is_range(event) else event.name, phase].add(step, event)
    found = [
        OperatorTime(name=name, phase=phase, calls=total.calls, **total.times(device=device))
        for (name, phase), total in sums.items()
    ]
    return sorted(found, key=_largest_first)


def module_times(events: Sequence[Event], where: Spans, *, device: bool) -> list[ModuleTime]:
    """Time of every module's own operators in the forward and in the backward pass, the largest first."""
    owners = _owners(events, where)
    sums: dict[tuple[str, Phase], _Sum] = defaultdict(lambda: _Sum(len(where.steps)))
    for event in events:
        place = where.place(event)
        if place is not None and place[1] in ("forward", "backward"):
            step, phase = place
            sums[_module(event, owners), phase].add(step, event)
    found = [ModuleTime(name=name, phase=phase, **total.times(device=device)) for (name, phase), total in sums.items()]
    return sorted(found, key=_largest_first)


class _Times(TypedDict):
    cpu_seconds: list[float]
    device_seconds: list[float] | None


class _Sum:
    """Calls and times of one row, step by step."""

    def __init__(self, steps: int) -> None:
        self.calls = [0] * steps
        self._cpu = [0.0] * steps
        self._device = [0.0] * steps

    def add(self, step: int, event: Event) -> None:
        """Add an event's own time; a range is no call, and shows the kernels of the operators in it again."""
        self._cpu[step] += event.self_cpu_time_total * MICROSECOND
        if not _is_range(event):
            self.calls[step] += 1
            self._device[step] += sum(kernel.duration for kernel in event.kernels) * MICROSECOND

    def times(self, *, device: bool) -> "_Times":
        """The fields of a row that hold times. Rounding may leave a self time a hair below nothing."""
        return {
            "cpu_seconds": [max(0.0, seconds) for seconds in self._cpu],
            "device_seconds": self._device if device else None,
        }


def _largest_first(one: OperatorTime | ModuleTime) -> float:
    return -sum(one.cpu_seconds if one.device_seconds is None else one.device_seconds)


def memory_curve(changes: Sequence[tuple[float, int]], start_bytes: int, where: Spans, *, device: bool) -> MemoryCurve:
    """Memory over the last step from every allocation and release: (seconds, bytes, negative for a release).

    `start_bytes` were held when the first of them came.
    """
    begin, end = where.steps[-1]
    live = start_bytes
    highest: dict[int, tuple[int, float]] = {}
    for seconds, change in sorted(changes, key=lambda one: one[0]):
        live += change
        if begin <= seconds < end:
            place = int(POINTS * (seconds - begin) / (end - begin))
            highest[place] = max(highest.get(place, (live, seconds - begin)), (live, seconds - begin))
    points = [highest[place] for place in sorted(highest)] or [(live, 0.0)]
    peak, at = max(points, key=lambda point: point[0])
    return MemoryCurve(
        method="allocator" if device else "live tensors",
        start_bytes=start_bytes,
        peak_bytes=peak,
        peak_seconds=at,
        seconds=[seconds for _, seconds in points],
        live_bytes=[held for held, _ in points],
        phases=where.phases_of(-1),
    )


def _is_range(event: Event) -> bool:
    return bool(event.name.startswith((PHASE, MODULE, STEP)))


def _owners(events: Sequence[Event], where: Spans) -> dict[tuple[int, int], str]:
    """The module that made each node of the graph, by the thread of the forward pass and the sequence number.

    Several operators may carry a number, as those that make no node leave it to the next: it belongs to the last.
    """
    found: dict[tuple[int, int], str] = {}
    for event in events:
        place = where.place(event) if event.sequence_nr >= 0 else None
        if place is not None and place[1] == "forward":
            found[event.thread, event.sequence_nr] = _module(event, {})
    return found


def _module(event: Event, owners: dict[tuple[int, int], str]) -> str:
    """The module of an operator: of the innermost marked range around it, or of the node it differentiates."""
    around = event
    while around is not None:
        if around.name.startswith(MODULE):
            return str(around.name.removeprefix(MODULE))
        if around.name.startswith(NODE):
            if "AccumulateGrad" in around.name:
                return ACCUMULATION
            return owners.get((around.fwd_thread, around.sequence_nr), NO_MODULE)
        around = around.cpu_parent
    return NO_MODULE
