"""Events of a profiler as an accelerator leaves them, made up: kernels, and autograd on a thread of its own."""

from types import SimpleNamespace
from typing import Any

import pytest
from torch._C._autograd import DeviceType

from bench.measure import trace_events
from bench.profiles import ACCUMULATION, NO_MODULE, ModuleTime

MAIN, ENGINE = 1, 2
NODE = f"{trace_events.NODE}: "


def event(name: str, begin: float, end: float, parent: Any = None, **fields: Any) -> Any:
    """An event from `begin` to `end` microseconds, with a kernel as long as `kernel` says."""
    kernel = fields.pop("kernel", None)
    return SimpleNamespace(
        name=name,
        time_range=SimpleNamespace(start=begin, end=end),
        cpu_parent=parent,
        kernels=[] if kernel is None else [SimpleNamespace(duration=kernel)],
        self_cpu_time_total=fields.pop("own", end - begin),
        **(
            {"device_type": DeviceType.CPU, "is_async": False, "thread": MAIN, "fwd_thread": 0, "sequence_nr": -1}
            | fields
        ),
    )


def one_step() -> list[Any]:
    """A step of one linear layer and a loss; the backward pass runs on the engine's thread."""
    step = event("ProfilerStep*", 0, 100, own=2)
    forward = event("phase: forward", 1, 30, step, own=1)
    layer = event("module: layer", 2, 20, forward, own=1, kernel=7)
    # The transpose makes no node and leaves its number to the product, as torch does.
    transposed = event("aten::t", 3, 4, layer, sequence_nr=5)
    product = event("aten::addmm", 4, 19, layer, sequence_nr=5, kernel=40)
    loss = event("aten::nll_loss", 21, 29, forward, sequence_nr=6, kernel=1)
    backward = event("phase: backward", 30, 90, step, own=60)
    engine = {"thread": ENGINE, "fwd_thread": MAIN}
    last = event(f"{NODE}NllLossBackward0", 31, 40, **engine, sequence_nr=6, own=1)
    first = event(f"{NODE}AddmmBackward0", 41, 70, **engine, sequence_nr=5, own=2)
    within = event("aten::mm", 42, 69, first, thread=ENGINE, kernel=80)
    leaf = event(f"{NODE}torch::autograd::AccumulateGrad", 71, 75, **engine, kernel=3)
    on_device = event("gemm", 10, 50, device_type=DeviceType.CUDA)
    later = event("aten::zeros", 120, 130, kernel=5)
    return [step, forward, layer, transposed, product, loss, backward, last, first, within, leaf, on_device, later]


@pytest.fixture
def events() -> list[Any]:
    return trace_events.on_cpu(one_step())


def test_a_kernel_counts_once_for_the_operator_that_launched_it(events: list[Any]) -> None:
    found = {
        (one.name, one.phase): one
        for one in trace_events.operator_times(events, trace_events.spans(events), device=True)
    }
    kernels = {key: (one.device_seconds or [0.0])[0] for key, one in found.items()}
    assert kernels["aten::addmm", "forward"] == pytest.approx(40e-6)
    assert kernels["aten::mm", "backward"] == pytest.approx(80e-6), "in the phase that ran then, whatever the thread"
    assert sum(kernels.values()) == pytest.approx(124e-6), "not again for the range around it, nor after the step"
    assert ("gemm", "forward") not in found
    assert found["aten::addmm", "forward"].calls == [1]


def test_backward_work_on_another_thread_finds_its_module(events: list[Any]) -> None:
    found = trace_events.module_times(events, trace_events.spans(events), device=True)

    def seconds(one: ModuleTime) -> float:
        assert one.device_seconds is not None
        return one.device_seconds[0]

    kernels = {(one.name, one.phase): pytest.approx(seconds(one)) for one in found}
    assert kernels == {
        ("layer", "forward"): 40e-6,
        (NO_MODULE, "forward"): 1e-6,
        ("layer", "backward"): 80e-6,
        (NO_MODULE, "backward"): 0.0,
        (ACCUMULATION, "backward"): 3e-6,
    }


def test_phases_lie_within_their_step(events: list[Any]) -> None:
    where = trace_events.spans(events)
    seconds = where.phase_seconds()
    assert {phase: round(1e6 * values[0]) for phase, values in seconds.items()} == {
        "forward": 29,
        "backward": 60,
        "other": 11,
    }


def test_memory_counts_from_what_was_held_at_the_start(events: list[Any]) -> None:
    where = trace_events.spans(events)
    changes = [(95e-6, -300), (10e-6, 400), (50e-6, -100), (110e-6, 10_000)]
    curve = trace_events.memory_curve(changes, 1000, where, device=True)
    assert curve.method == "allocator"
    assert curve.live_bytes == [1400, 1300, 1000]
    assert curve.seconds == pytest.approx([10e-6, 50e-6, 95e-6])
    assert curve.peak_bytes == 1400
    assert curve.peak_seconds == pytest.approx(10e-6)
    nothing = trace_events.memory_curve([], 1000, where, device=False)
    assert (nothing.peak_bytes, nothing.live_bytes) == (1000, [1000])
