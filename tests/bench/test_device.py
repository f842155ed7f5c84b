"""The door to the device: what is asked of it, and in which order, shown on one that writes it down."""

import gzip
import io
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console
from torch.cuda import _memory_viz

from bench import cost, running, suite
from bench.cell import CostCell
from bench.device import AcceleratorDevice, CpuDevice, device_of, peaks_of
from bench.encoders import Encoder
from bench.environment import prepare
from bench.errors import InputError
from bench.measure import swap
from bench.measure.energy import Meter
from bench.measure.memory import WARMUP_STEPS, measure_peak, peak_of_step
from bench.measure.subject import apply_fresh, cost_base, cost_stepper, random_batch
from bench.measure.time import Instruments, PhaseMarks, time_group
from bench.results import MemoryPeak
from bench.session import Session
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
    measured = [
        "synchronize",
        "reset_peak",
        "step",
        "synchronize",
        "peak_allocated",
        "peak_reserved",
        "free",
        "reserved",
    ]
    # Another step is waited for as each phase begins and ends, and its peak read before it is set back for the next.
    begins, ends = ["synchronize", "peak_allocated", "reset_peak"], ["synchronize", "peak_allocated", "reset_peak"]
    by_phase = ["step", *begins, *ends * len(PHASES)]
    attributed = ["step"]  # One more step says what the peak consists of; its own peak is nobody's.
    assert device.calls == [*["step"] * WARMUP_STEPS, *measured, *by_phase, *attributed]
    assert found.by_phase_bytes == dict.fromkeys(PHASES, 2000), "as the allocator says"
    assert (found.method, found.peak_allocated_bytes, found.peak_reserved_bytes) == ("allocator", 2000, 3000)
    assert found.resident_high_water_bytes is None
    assert found.fragmentation_bytes == 1000
    assert (found.context_bytes, found.context_reason) == (
        None,
        "what was free before this process began is not known",
    )


@pytest.mark.parametrize(
    ("before", "context", "reason"),
    [
        (12_800, 300, None),
        (12_500, 0, None),
        (12_400, None, "another process gave memory of the device back meanwhile"),
    ],
)
def test_the_context_is_what_is_gone_from_the_device_and_not_the_allocator_s(
    before: int, context: int | None, reason: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.measure.memory.device_of", lambda _: FakeDevice())
    found = peak_of_step(FULL, TINY, CPU, free_bytes=before)
    assert (found.context_bytes, found.context_reason) == (context, reason)


@pytest.mark.parametrize(("after", "kept"), [(2**30, True), (2**30 - 2**21, True), (2**30 - 10 * 2**20, False)])
def test_a_context_is_not_told_where_another_process_was_at_work(
    after: int, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    peak = peak_of_step(FULL, TINY, CPU).model_copy(update={"context_bytes": 5})
    free, asked = iter([2**30, after]), []

    class Busy(FakeDevice):
        def free_bytes(self) -> int:
            return next(free)

    def child(*_: object, input: str, **__: object) -> subprocess.CompletedProcess[str]:  # noqa: A002
        asked.append(json.loads(input))
        return subprocess.CompletedProcess("", 0, peak.model_dump_json(), "")

    monkeypatch.setattr("bench.measure.memory.device_of", lambda _: Busy())
    monkeypatch.setattr("subprocess.run", child)
    found = measure_peak(FULL, TINY, CPU)
    assert asked[0]["free_bytes"] == 2**30, "as it was before the process began"
    if kept:
        assert (found.context_bytes, found.context_reason) == (5, None)
    else:
        reason = "another process changed the free memory of the device by 10 MiB meanwhile"
        assert (found.context_bytes, found.context_reason) == (None, reason)


def test_a_snapshot_is_of_a_step_of_its_own_and_torch_s_viewer_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device, path = FakeDevice(), tmp_path / "snapshots" / "full.json.gz"
    note_steps(device, monkeypatch)
    monkeypatch.setattr("bench.measure.memory.device_of", lambda _: device)
    found = peak_of_step(FULL, TINY, CPU, snapshot=path)
    assert found.peak_allocated_bytes == 2000
    assert device.calls[-5:] == ["step", "record", "step", "synchronize", "snapshot"], "behind all that is measured"
    with gzip.open(path, "rt", encoding="utf-8") as file:
        read = json.load(file)
    assert read["cell"] == FULL.key
    assert read["segments"][0]["segment_pool_id"] == [0, 0]
    assert read["allocator_settings"] == {"device": "cpu"}
    assert "1 entries" in _memory_viz.trace(read)  # type: ignore[no-untyped-call]
    assert "segments: 1" in _memory_viz.segsum(read)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("fails", ["history", "write"])
def test_a_snapshot_that_fails_costs_no_figure(fails: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(FakeDevice):
        def history(self, work: Callable[[], object]) -> dict[str, Any]:
            if fails == "history":
                raise torch.OutOfMemoryError("tried to allocate 2 GiB")
            return super().history(work)

    def full_disk(text: object, file: Any, **_: object) -> None:
        file.write("half of")
        raise OSError(28, "No space left on device", str(tmp_path))

    monkeypatch.setattr("bench.measure.memory.device_of", lambda _: Full())
    monkeypatch.setattr("bench.measure.memory.json.dump", full_disk)
    found = peak_of_step(FULL, TINY, CPU, snapshot=tmp_path / "full.json.gz")
    assert found.peak_allocated_bytes == 2000
    assert (
        found.snapshot_reason
        == {
            "history": "OutOfMemoryError: tried to allocate 2 GiB",
            "write": "OSError: No space left on device",
        }[fails]
    )
    assert list(tmp_path.iterdir()) == [], "no half of a file"
    monkeypatch.setattr("bench.cost.measure_peak", lambda *_: found)
    outcome = cost.run_group([FULL], TINY, CPU, lambda *_: None, tmp_path)[FULL.key]
    assert f"no memory snapshot: {found.snapshot_reason}" in outcome.warnings


def test_every_cell_of_a_group_has_a_snapshot_but_the_one_that_is_not_weighed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = []

    def measure(cell: CostCell, _: Encoder, __: torch.device, snapshot: Path | None) -> MemoryPeak:
        paths.append(snapshot)
        return peak_of_step(cell, TINY, CPU)

    monkeypatch.setattr("bench.cost.measure_peak", measure)
    cells = [FULL, *(FULL.model_copy(update=changed) for changed in ({"strategy": "bitfit:query"}, {"replicate": 1}))]
    cost.run_group(cells, TINY, CPU, lambda *_: None, tmp_path / "snapshots")
    cost.run_group(cells[:1], TINY, CPU, lambda *_: None)
    assert paths[2] is None, "not unless it is asked for"
    assert [path.parent for path in paths[:2] if path] == [tmp_path / "snapshots"] * 2
    assert [bool(re.fullmatch(r"(full|bitfit-query)-[0-9a-f]{16}\.json\.gz", p.name)) for p in paths[:2] if p] == [
        True
    ] * 2


@pytest.mark.parametrize("keeps", [True, False])
def test_a_device_without_a_history_is_told_of_once_and_asked_for_nothing(
    keeps: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[Session] = []

    def stop(_: object, session: Session) -> None:
        found.append(session)
        raise InputError("far enough")

    monkeypatch.setattr("bench.harness.preflight", stop)
    monkeypatch.setattr(running, "device_of", lambda _: FakeDevice(keeps_history=keeps))
    output = io.StringIO()
    request = running.Request(
        suite=suite.load("smoke"), cache_dir=tmp_path, runs_dir=tmp_path, device="cpu", memory_snapshot=True
    )
    with pytest.raises(InputError, match="far enough"):
        running.run(request, Console(file=output, width=200))
    said = "note: cpu keeps no history of its memory, so no snapshots are written"
    assert output.getvalue().count(said) == (not keeps)
    assert [session.options.memory_snapshots for session in found] == [keeps]


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
    assert (device.reserved_bytes(), device.free_bytes(), device.history(pytest.fail)) == (None, None, None)
    assert isinstance(device, CpuDevice)
    assert not device.counts_memory
    assert peaks_of(device, lambda: None) == (None, None)
    assert not device.keeps_history
    first, second = device.mark(), device.mark()
    assert device.seconds_between(first, second) == second - first >= 0


def test_an_accelerator_is_asked_through_torch_for_itself_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, ...]] = []

    class Event:
        def __init__(self, device: torch.device, *, enable_timing: bool) -> None:
            calls.append(("event", device, enable_timing))

        def record(self, stream: str) -> None:
            calls.append(("record", stream))

        def elapsed_time(self, end: "Event") -> float:
            assert end is not self
            return 12.5

    def note(name: str, value: int | None = None) -> Any:
        def call(*arguments: Any) -> int | None:
            calls.append((name, *arguments))
            return value

        return call

    figures = {"max_memory_allocated": 5, "max_memory_reserved": 8, "memory_reserved": 7}
    for name in ("synchronize", "empty_cache", "reset_peak_memory_stats", *figures):
        monkeypatch.setattr(torch.accelerator, name, note(name, figures.get(name)))
    monkeypatch.setattr(torch, "Event", Event)
    monkeypatch.setattr(torch.accelerator, "current_stream", lambda device: f"stream of {device}")
    second = torch.device("cuda", 1)
    device = device_of(second)
    assert isinstance(device, AcceleratorDevice)
    assert peaks_of(device, lambda: calls.append(("work",))) == (5, 8)
    begin, end = device.mark(), device.mark()
    assert device.seconds_between(begin, end) == 0.0125, "events tell milliseconds"
    device.empty_cache()
    assert device.reserved_bytes() == 7
    assert calls == [
        ("synchronize", second),
        ("reset_peak_memory_stats", second),
        ("work",),
        ("synchronize", second),
        ("max_memory_allocated", second),
        ("max_memory_reserved", second),
        *[("event", second, True), ("record", "stream of cuda:1")] * 2,
        ("empty_cache",),
        ("memory_reserved", second),
    ]


def test_the_device_of_a_run_becomes_the_current_one(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[torch.device] = []
    monkeypatch.setattr(torch.accelerator, "set_device_index", chosen.append)
    second, current = torch.device("cuda", 1), torch.device("cuda")
    for device in (second, current, CPU):
        prepare(device, {"fp32"}, None)
    assert chosen == [second], "one without a number is the current one already"
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: chosen[-1] == second)
    prepare(second, {"bf16"}, None)


def test_a_device_is_asked_for_precisions_once_it_is_the_current_one(monkeypatch: pytest.MonkeyPatch) -> None:
    device = FakeDevice()
    monkeypatch.setattr("bench.environment.device_of", lambda _: device)
    prepare(CPU, {"fp32"}, None)
    for precision, said in (("tf32", "compute capability 8.0 or higher, not cpu"), ("bf16", "by a fake")):
        with pytest.raises(InputError, match=said):
            prepare(CPU, {precision}, None)
    assert device.calls == ["make_current", *["make_current", "supports tf32"], *["make_current", "supports bf16"]]


def test_a_step_seeds_its_device_before_it_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    device, stepper = FakeDevice(), tiny_stepper(FULL)
    monkeypatch.setattr("bench.training.device_of", lambda _: device)
    stepper.applied.model.register_forward_pre_hook(lambda *_: device.calls.append("forward"))
    stepper(random_batch(FULL, 50, CPU), 0)
    assert device.calls == ["seed", "forward"]


@pytest.mark.parametrize(
    ("capability", "bf16", "expected"),
    [((9, 0), True, [True, True, True]), ((7, 5), False, [True, False, False])],
)
def test_what_a_card_says_of_itself(
    capability: tuple[int, int], bf16: bool, expected: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    second = torch.device("cuda", 1)
    told = {
        "get_device_name": "a card",
        "get_device_capability": capability,
        "get_device_properties": SimpleNamespace(uuid="1-2"),
    }
    for question, answer in told.items():
        monkeypatch.setattr(torch.cuda, question, lambda device, answer=answer: answer if device == second else None)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: bf16)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    device = device_of(second)
    assert (device.name(), device.uuid()) == ("a card", "1-2")
    assert [device.supports(precision) for precision in ("fp32", "tf32", "bf16")] == expected
    monkeypatch.setattr(torch.version, "cuda", None)  # ROCm calls its cards so too.
    assert (device.uuid(), device.supports("tf32"), device.supports("bf16")) == (None, False, bf16)
    other = device_of(torch.device("mps"))
    assert (other.name(), other.uuid(), other.supports("tf32"), other.supports("bf16")) == ("mps", None, False, True)


def test_a_history_is_recorded_while_a_step_runs_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []
    second = torch.device("cuda", 1)
    monkeypatch.setattr(torch.accelerator, "synchronize", lambda device: calls.append(("synchronize", device)))
    monkeypatch.setattr(torch.cuda.memory, "_record_memory_history", lambda **options: calls.append(options))
    monkeypatch.setattr(torch.cuda.memory, "_snapshot", lambda device: {"taken of": device})
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (11, 80) if device == second else None)
    device = device_of(second)
    assert device.free_bytes() == 11
    assert device.history(lambda: calls.append("work")) == {"taken of": second}
    begin, end = {"stacks": "python", "device": second}, {"enabled": None}
    assert calls == [begin, "work", ("synchronize", second), end]
    calls.clear()
    with pytest.raises(ZeroDivisionError):
        device.history(lambda: 1 / 0)
    assert calls == [begin, end]


def test_an_accelerator_that_cannot_tell_is_asked_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_device_module", lambda _: object())
    device = device_of(torch.device("mps"))
    assert not device.keeps_history
    assert device.free_bytes() is None
    assert device.history(pytest.fail) is None


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
