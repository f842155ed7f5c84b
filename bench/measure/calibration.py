"""The machine's own rates: how fast it multiplies large matrices, and how fast it copies memory.

What a step achieves is judged against these, not against a data sheet. They are taken at the start and at the end of
the cost cells of a run, so that a machine which became slower meanwhile is found out.
"""

import time
from collections.abc import Callable, Iterable
from typing import Literal

import torch

from bench.arithmetic import Calibration
from bench.device import device_of
from bench.environment import set_matmul
from bench.errors import first_line
from bench.runs import now_utc

# Each rate is the best of the samples that fit into so many seconds, and of so many at least.
SECONDS = 0.5
LEAST_SAMPLES = 3
# A sample is long enough for a clock, and its operation large enough to hide what it takes to start it.
SAMPLE_SECONDS = 0.02
SMALLEST, LARGEST = 256, 8192
# Far larger than a cache.
COPIED_BYTES = {"cpu": 2**27}
COPIED_BYTES_ON_ACCELERATOR = 2**29
TYPES = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16}


def calibrate(device: torch.device, precisions: Iterable[str], moment: Literal["start", "end"]) -> Calibration:
    """Measure the rates of `device` at these precisions, in about half a second each.

    A rate that cannot be measured is left out, and why is among the `failures`.
    """
    rates, sizes, failures = {}, {}, []
    copied = None
    for precision in sorted(precisions):
        try:
            rates[precision], sizes[precision] = _matmul_rate(device, precision)
        except (RuntimeError, MemoryError) as error:
            failures.append(f"{precision} products: {first_line(error)}")
    try:
        copied = _copy_rate(device)
    except (RuntimeError, MemoryError) as error:
        failures.append(f"copies: {first_line(error)}")
    return Calibration(
        moment=moment,
        taken_utc=now_utc(),
        device_name=device_of(device).name(),
        threads=torch.get_num_threads(),
        matmul_flops_per_second=rates,
        matmul_sizes=sizes,
        copied_bytes_per_second=copied,
        failures=failures,
    )


def _matmul_rate(device: torch.device, precision: str) -> tuple[float, int]:
    """Operations a second of a square product, and the width of the matrices."""
    set_matmul(precision)
    size = SMALLEST
    while True:
        left, right = (torch.randn(size, size, device=device, dtype=TYPES[precision]) for _ in range(2))
        out = torch.empty_like(left)

        def multiply(left: torch.Tensor = left, right: torch.Tensor = right, out: torch.Tensor = out) -> None:
            torch.mm(left, right, out=out)

        multiply()
        if size == LARGEST or _seconds(multiply, 1, device) >= SAMPLE_SECONDS:
            return 2 * size**3 / _best_seconds(multiply, device), size
        size *= 2


def _copy_rate(device: torch.device) -> float:
    """Bytes a second, those read and those written added up."""
    size = COPIED_BYTES.get(device.type, COPIED_BYTES_ON_ACCELERATOR)
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.zeros_like(source)
    return 2 * size / _best_seconds(lambda: target.copy_(source), device)


def _best_seconds(work: Callable[[], object], device: torch.device) -> float:
    """Seconds that `work` takes when nothing disturbs it."""
    begin = time.perf_counter()
    once = _seconds(work, 1, device)
    times = max(1, round(SAMPLE_SECONDS / once))
    best = _seconds(work, times, device)
    taken = 1
    while taken < LEAST_SAMPLES or time.perf_counter() - begin < SECONDS:
        best = min(best, _seconds(work, times, device))
        taken += 1
    return best


def _seconds(work: Callable[[], object], times: int, device: torch.device) -> float:
    door = device_of(device)
    door.synchronize()
    begin = time.perf_counter()
    for _ in range(times):
        work()
    door.synchronize()
    return (time.perf_counter() - begin) / times
