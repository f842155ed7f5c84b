"""Step time of each strategy of the default suite, in seconds, on the accelerator where there is one.

Run it with `tox -e perf -- benchmarks/test_step_times.py`. The cells are the suite's own, on a CPU in smaller batches,
taken by the program's own stepper; the timer waits for the device before it reads the clock. Nothing is timed in turns
here: for ratios with intervals, run the suite. These are for pytest-benchmark's `compare` with the same benchmarks of
another day (`--benchmark-autosave`).
"""

import itertools
from collections.abc import Callable

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench import encoders
from bench import suite as suites
from bench.cell import CostCell
from bench.device import device_of
from bench.environment import choose_device
from bench.measure.subject import ready
from benchmarks.timers import synchronising
from fake_device import FakeDevice

DEVICE = device_of(choose_device(None))
ON_CPU = DEVICE.torch_device.type == "cpu"
SMALLER = {"batch_size": 4, "length": 32} if ON_CPU else {}
PLANNED = suites.load("embedded").cells(accelerator=not ON_CPU)
CELLS = [cell.model_copy(update=SMALLER) for cell in PLANNED if isinstance(cell, CostCell)]
ROUNDS = 10
fake = FakeDevice()


def named(cell: CostCell) -> str:
    """What a benchmark is called by."""
    again = "-again" if cell.replicate else ""
    return f"{cell.model}-{cell.batch_size}x{cell.length}-{cell.strategy}{again}"


@pytest.mark.benchmark(timer=synchronising(DEVICE))
@pytest.mark.parametrize("cell", CELLS, ids=named)
def test_step(cell: CostCell, benchmark: BenchmarkFixture) -> None:
    """One step; the second full fine-tuning shows how far two timings of the same thing lie apart."""
    benchmark.group = f"a step of {cell.model}, {cell.batch_size}x{cell.length}, {cell.precision}"
    benchmark.extra_info["device"] = DEVICE.name()
    benchmark.pedantic(  # type: ignore[no-untyped-call]
        stepping(cell), rounds=ROUNDS, iterations=1, warmup_rounds=cell.warmup_steps
    )


@pytest.mark.benchmark(timer=synchronising(fake))
def test_the_timer_waits_for_the_device(benchmark: BenchmarkFixture) -> None:
    """The clock is read only when the device is done, before a step and after it."""
    fake.calls.clear()
    benchmark.pedantic(lambda: fake.calls.append("step"), rounds=3, iterations=1)  # type: ignore[no-untyped-call]
    assert fake.calls == 3 * ["synchronize", "step", "synchronize"]  # noqa: S101


def stepping(cell: CostCell) -> Callable[[], object]:
    """A function that takes a training step of the cell on the device."""
    stepper, batch = ready(cell, encoders.find(cell.model), DEVICE.torch_device)
    count = itertools.count()
    return lambda: stepper(batch, next(count))
