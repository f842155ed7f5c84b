"""The one door to the device: whatever is asked of an accelerator itself is asked here.

Outside there are torch's ordinary ways alone, the same for every device: tensors made on it and moved to it, autocast,
the profiler, and `torch.accelerator` where a device is chosen.

Two implementations, one of the CPU and one of whatever accelerator torch has; a third, which records the order of
calls, stands in for them in tests.
"""

import functools
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch

# A moment on the device's own clock. What it is only the device that made it knows.
Mark = Any


class Device(Protocol):
    """What measuring asks of a device.

    `counts_memory` says whether it has an allocator that counts; where it has none, its figures are None.
    `keeps_history` says whether that allocator can tell what it did.
    """

    torch_device: torch.device
    counts_memory: bool
    keeps_history: bool

    def name(self) -> str:
        """What the device calls itself."""

    def uuid(self) -> str | None:
        """The id by which the management library of an NVIDIA card knows it; None of any other device."""

    def supports(self, precision: str) -> bool:
        """Whether it computes at 'fp32', 'tf32' or 'bf16'; to be asked of the current device."""

    def seed(self, seed: int) -> None:
        """Seed the generators of the device."""

    def make_current(self) -> None:
        """Have this process compute on the device wherever it names none."""

    def synchronize(self) -> None:
        """Wait until the device has done all it was given."""

    def empty_cache(self) -> None:
        """Give memory that nothing holds back to the device."""

    def reset_peak(self) -> None:
        """Count peaks from now on."""

    def peak_allocated_bytes(self) -> int | None:
        """The most bytes tensors held since `reset_peak`."""

    def peak_reserved_bytes(self) -> int | None:
        """The most bytes the allocator held since `reset_peak`."""

    def reserved_bytes(self) -> int | None:
        """The bytes the allocator holds now."""

    def free_bytes(self) -> int | None:
        """The bytes of the device that no process holds; None where it does not tell."""

    def history(self, work: Callable[[], object]) -> dict[str, Any] | None:
        """What the allocator holds after `work` and what it did meanwhile; None where it keeps no history.

        In the layout of torch's memory snapshots: 'segments' with their blocks, 'device_traces' with each allocation
        and release and the Python frames it came from.
        """

    def mark(self) -> Mark:
        """The moment at which the device comes to what it is given next; costs no wait."""

    def seconds_between(self, begin: Mark, end: Mark) -> float:
        """Seconds from one mark to a later one. To be asked after `synchronize` only."""


class CpuDevice:
    """The CPU: work is done when the call returns, and no allocator counts."""

    torch_device = torch.device("cpu")
    counts_memory = False
    keeps_history = False

    def name(self) -> str:
        """Its model."""
        return _cpu_model()

    def uuid(self) -> None:
        """It has none."""

    def supports(self, precision: str) -> bool:
        """TensorFloat-32 is a format of NVIDIA's cards."""
        return precision != "tf32"

    def seed(self, seed: int) -> None:
        """Torch's default generator is its own, and seeded for every device."""

    def make_current(self) -> None:
        """There is one."""

    def synchronize(self) -> None:
        """Nothing to wait for."""

    def empty_cache(self) -> None:
        """Nothing is cached."""

    def reset_peak(self) -> None:
        """Nothing is counted."""

    def peak_allocated_bytes(self) -> None:
        """Not counted."""

    def peak_reserved_bytes(self) -> None:
        """Not counted."""

    def reserved_bytes(self) -> None:
        """Not counted."""

    def free_bytes(self) -> None:
        """Memory that is free is no measure of a process here: files are kept in it."""

    def history(self, work: Callable[[], object]) -> None:
        """Not kept."""

    def mark(self) -> float:
        """Now."""
        return time.perf_counter()

    def seconds_between(self, begin: float, end: float) -> float:
        """The difference of two clock readings."""
        return end - begin


class AcceleratorDevice:
    """Any accelerator torch has. Marks are events on its stream, so that splitting a step does not stall it."""

    counts_memory = True

    def __init__(self, device: torch.device) -> None:
        self.torch_device = device
        self.keeps_history = device.type == "cuda"

    def name(self) -> str:
        """The driver's word; of a kind that has none, its kind."""
        return (
            torch.cuda.get_device_name(self.torch_device)
            if self.torch_device.type == "cuda"
            else self.torch_device.type
        )

    def uuid(self) -> str | None:
        """Of NVIDIA's cards alone."""
        if self.torch_device.type != "cuda" or torch.version.cuda is None:
            return None
        return str(torch.cuda.get_device_properties(self.torch_device).uuid)

    def supports(self, precision: str) -> bool:
        """TensorFloat-32 from Ampere on; bfloat16 as torch knows of CUDA and ROCm, and takes for granted elsewhere."""
        if precision == "tf32":
            nvidia = self.torch_device.type == "cuda" and torch.version.cuda is not None
            return nvidia and torch.cuda.get_device_capability(self.torch_device) >= (8, 0)
        return precision != "bf16" or self.torch_device.type != "cuda" or torch.cuda.is_bf16_supported()

    def seed(self, seed: int) -> None:
        """Of every device of the kind: `manual_seed` alone seeds the current one; some kinds have only one."""
        module = torch.get_device_module(self.torch_device)
        getattr(module, "manual_seed_all", module.manual_seed)(seed)

    def make_current(self) -> None:
        """Torch's own choice among devices of the kind, where this one has a number."""
        if self.torch_device.index is not None:
            torch.accelerator.set_device_index(self.torch_device)

    def synchronize(self) -> None:
        """Wait for every stream of the device."""
        torch.accelerator.synchronize(self.torch_device)

    def empty_cache(self) -> None:
        """Free the blocks that the allocator keeps for later."""
        torch.accelerator.empty_cache()

    def reset_peak(self) -> None:
        """Set the allocator's peaks to what is held now."""
        torch.accelerator.reset_peak_memory_stats(self.torch_device)

    def peak_allocated_bytes(self) -> int:
        """The allocator's figure."""
        return torch.accelerator.max_memory_allocated(self.torch_device)

    def peak_reserved_bytes(self) -> int:
        """The allocator's figure."""
        return torch.accelerator.max_memory_reserved(self.torch_device)

    def reserved_bytes(self) -> int:
        """The allocator's figure."""
        return torch.accelerator.memory_reserved(self.torch_device)

    def free_bytes(self) -> int | None:
        """The driver's figure, where torch has a way to ask for it."""
        ask = getattr(torch.get_device_module(self.torch_device), "mem_get_info", None)
        return None if ask is None else int(ask(self.torch_device)[0])

    def history(self, work: Callable[[], object]) -> dict[str, Any] | None:
        """Of CUDA and ROCm alone, whose allocator records what it does while it is told to."""
        if not self.keeps_history:
            return None
        torch.cuda.memory._record_memory_history(stacks="python", device=self.torch_device)
        try:
            work()
            self.synchronize()
            found: dict[str, Any] = torch.cuda.memory._snapshot(self.torch_device)
        finally:
            torch.cuda.memory._record_memory_history(enabled=None)
        return found

    def mark(self) -> torch.Event:
        """An event recorded on the device's current stream.

        Without a stream torch would take that of the current device: an event knows its kind of device, not which.
        """
        event = torch.Event(self.torch_device, enable_timing=True)
        event.record(torch.accelerator.current_stream(self.torch_device))
        return event

    def seconds_between(self, begin: torch.Event, end: torch.Event) -> float:
        """Time of the device between two events, which must have passed."""
        return begin.elapsed_time(end) / 1000


@functools.cache
def device_of(device: torch.device) -> Device:
    """The door to `device`."""
    return CpuDevice() if device.type == "cpu" else AcceleratorDevice(device)


@functools.cache
def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    for line in cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else ():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def peaks_of(device: Device, work: Callable[[], object]) -> tuple[int | None, int | None]:
    """Peak allocated and peak reserved bytes while `work` ran, what was held before included."""
    device.synchronize()
    device.reset_peak()
    work()
    device.synchronize()
    return device.peak_allocated_bytes(), device.peak_reserved_bytes()
