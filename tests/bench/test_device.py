"""The door to the device: what is asked of it, and in which order, shown on one that writes it down."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from bench.cell import CostCell
from bench.device import AcceleratorDevice, CpuDevice, device_of, peaks_of
from bench.encoders import Encoder
from bench.measure import swap
from bench.measure.energy import Meter
from bench.measure.memory import WARMUP_STEPS, peak_of_step
from bench.measure.subject import apply_fresh, cost_base, cost_stepper, random_batch
from bench.measure.time import Instruments, PhaseMarks, time_group
from bench.timing import Surroundings
from bench.training import END, PHASES, Stepper
from fake_device import FakeDevice, note_steps
from families import ENCODERS

CPU = torch.device("cpu")
TINY = Encoder("tiny", "A tiny BERT.", ENCODERS["bert"])
FULL = CostCell(model="tiny", strategy="full", batch_size=2, length=8, rounds=2, steps_per_round=3, warmup_steps=2)
# One timed step: the device is idle when it begins, five marks, idle again, then the four phases are read.
TIMED = ["synchronize", "step", *["mark"] * 5, "synchronize", *["read"] * 4]
WARM = ["step", *["mark"] * 5]
# Energy is read around the timed steps alone, when the device has done the warm-up; looks cost no timed step.
TURN = [*WARM * 2, "synchronize", "energy", *TIMED * 3, "energy", "look", "empty_cache"]


def tiny_stepper(cell: CostCell) -> Stepper:
    return cost_stepper(apply_fresh(cost_base(cell, TINY), cell, CPU), cell, CPU)


def test_a_group_is_timed_in_order_and_nothing_is_read_too_early(monkeypatch: pytest.MonkeyPatch) -> None:
    device = FakeDevice()
    note_steps(device, monkeypatch)
    cells = [FULL, FULL.model_copy(update={"strategy": "bitfit"})]
    instruments = Instruments(device, look(device), meter(device))
    timings = time_group(cells, TINY, instruments, lambda cell: device.calls.append(f"turn {cell.strategy}"))
    thrown_away, *turns = split(device.calls)
    assert thrown_away == TURN
    assert [name for name, _ in pairs(turns)] == ["turn full", "turn bitfit", "turn bitfit", "turn full"]
    assert all(calls == TURN for _, calls in pairs(turns))
    assert timings[FULL.key].phase_seconds.shape == (2, 3, 4)
    assert (timings[FULL.key].phase_seconds == 1.0).all(), "the clock of the fake ticks once a mark"
    assert [turn.joules for turn in timings[FULL.key].turns] == [15.0, 15.0], "of the timed steps alone"


def look(device: FakeDevice) -> Callable[[], Surroundings]:
    def call() -> Surroundings:
        device.calls.append("look")
        return Surroundings(load_average=None, available_memory_bytes=None)

    return call


def meter(device: FakeDevice) -> Meter:
    def read() -> list[float]:
        device.calls.append("energy")
        return [float(device.ticks)]

    return Meter("NVML", 0.1, read, lambda begin, end: end[0] - begin[0])


def split(calls: list[str]) -> list[Any]:
    """The calls before the first turn, and then each turn's name and calls."""
    parts: list[Any] = [[]]
    for call in calls:
        if call.startswith("turn"):
            parts.append((call, []))
        elif isinstance(parts[-1], tuple):
            parts[-1][1].append(call)
        else:
            parts[-1].append(call)
    return parts


def pairs(turns: list[Any]) -> list[tuple[str, list[str]]]:
    return [(name, calls) for name, calls in turns]


def test_peaks_are_counted_from_after_the_warm_up_and_read_when_the_step_is_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    device = FakeDevice()
    note_steps(device, monkeypatch)
    monkeypatch.setattr("bench.measure.memory.device_of", lambda _: device)
    found = peak_of_step(FULL, TINY, CPU)
    measured = ["synchronize", "reset_peak", "step", "synchronize", "peak_allocated", "peak_reserved"]
    attributed = ["step"]  # One more step says what the peak consists of; its own peak is nobody's.
    assert device.calls == [*["step"] * WARMUP_STEPS, *measured, *attributed]
    assert (found.method, found.peak_allocated_bytes, found.peak_reserved_bytes) == ("allocator", 2000, 3000)
    assert found.resident_high_water_bytes is None


def test_a_swap_is_timed_between_synchronisations(monkeypatch: pytest.MonkeyPatch) -> None:
    device = FakeDevice()

    class Delta:
        def apply(self) -> None:
            device.calls.append("apply")

        def remove(self) -> None:
            device.calls.append("remove")

    monkeypatch.setattr(swap, "device_of", lambda _: device)
    monkeypatch.setattr("strategies.loading.load", lambda *_: Delta())
    swap.swap_seconds(None, torch.nn.Linear(1, 1), "")  # type: ignore[arg-type]
    assert device.calls == [*["synchronize", "remove", "apply", "synchronize"] * swap.SWAPS, "remove"]


def test_a_cpu_has_no_allocator_that_counts() -> None:
    device = device_of(CPU)
    assert isinstance(device, CpuDevice)
    assert not device.counts_memory
    assert peaks_of(device, lambda: None) == (None, None)
    first, second = device.mark(), device.mark()
    assert device.seconds_between(first, second) == second - first >= 0


def test_an_accelerator_is_asked_through_torch_for_itself_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, ...]] = []

    class Event:
        def __init__(self, device: torch.device, *, enable_timing: bool) -> None:
            calls.append(("event", device, enable_timing))

        def record(self) -> None:
            calls.append(("record",))

        def elapsed_time(self, end: "Event") -> float:
            assert end is not self
            return 12.5

    def note(name: str, value: int | None = None) -> Any:
        def call(*arguments: Any) -> int | None:
            calls.append((name, *arguments))
            return value

        return call

    figures = {"max_memory_allocated": 5, "max_memory_reserved": 8}
    for name in ("synchronize", "empty_cache", "reset_peak_memory_stats", *figures):
        monkeypatch.setattr(torch.accelerator, name, note(name, figures.get(name)))
    monkeypatch.setattr(torch, "Event", Event)
    second = torch.device("cuda", 1)
    device = device_of(second)
    assert isinstance(device, AcceleratorDevice)
    assert peaks_of(device, lambda: calls.append(("work",))) == (5, 8)
    begin, end = device.mark(), device.mark()
    assert device.seconds_between(begin, end) == 0.0125, "events tell milliseconds"
    device.empty_cache()
    assert calls == [
        ("synchronize", second),
        ("reset_peak_memory_stats", second),
        ("work",),
        ("synchronize", second),
        ("max_memory_allocated", second),
        ("max_memory_reserved", second),
        *[("event", second, True), ("record",)] * 2,
        ("empty_cache",),
    ]


@pytest.mark.parametrize("clip_norm", [None, 1.0])
def test_a_step_tells_of_its_phases_in_order(clip_norm: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    stepper = tiny_stepper(FULL.model_copy(update={"clip_norm": clip_norm}))
    object.__setattr__(stepper, "mark", told.append)
    monkeypatch.setattr(torch.autograd, "backward", after(torch.autograd.backward, told, "backward runs"))
    clip = after(torch.nn.utils.clip_grad_norm_, told, "clipping runs")
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", clip)
    stepper.optimizer.register_step_pre_hook(lambda *_: told.append("optimizer runs"))
    monkeypatch.setattr(stepper.optimizer, "zero_grad", after(stepper.optimizer.zero_grad, told, "zero-grad runs"))
    stepper(random_batch(FULL, 50, CPU), 0)
    clipped = ["clipping runs"] if clip_norm else []
    assert told == [
        *["forward", "backward", "backward runs", "clipping", *clipped],
        *["optimizer", "optimizer runs", "zero-grad runs", "end"],
    ]
    assert [word for word in told if "runs" not in word] == [*PHASES, END]


def after(function: Any, told: list[str], words: str) -> Any:
    def call(*arguments: Any, **named: Any) -> Any:
        told.append(words)
        return function(*arguments, **named)

    return call


def test_a_step_that_leaves_a_phase_out_is_no_measurement() -> None:
    marks = PhaseMarks(CpuDevice())
    for phase in ("forward", "backward", "end"):
        marks(phase)
    with pytest.raises(RuntimeError, match="2 phases, not 4"):
        marks.seconds()
