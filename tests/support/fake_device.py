"""A device that writes down in which order it was called, and stands in for an accelerator on any machine."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.training import Stepper
from strategies.interface import Batch


@dataclass
class FakeDevice:
    """Computes on the CPU. Its clock ticks once a mark, and may be read only after a synchronisation."""

    calls: list[str] = field(default_factory=list)
    torch_device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    counts_memory: bool = True
    keeps_history: bool = True
    ticks: int = 0
    reached: int = 0

    def name(self) -> str:
        return "a fake"

    def uuid(self) -> str:
        return "6f9619ff-8b86-d011-b42d-00cf4fc964ff"

    def supports(self, precision: str) -> bool:
        self.calls.append(f"supports {precision}")
        return precision == "fp32"

    def seed(self, seed: int) -> None:
        self.calls.append("seed")

    def make_current(self) -> None:
        self.calls.append("make_current")

    def synchronize(self) -> None:
        self.calls.append("synchronize")
        self.reached = self.ticks

    def empty_cache(self) -> None:
        self.calls.append("empty_cache")

    def reset_peak(self) -> None:
        self.calls.append("reset_peak")

    def peak_allocated_bytes(self) -> int:
        self.calls.append("peak_allocated")
        return 2000

    def peak_reserved_bytes(self) -> int:
        self.calls.append("peak_reserved")
        return 3000

    def reserved_bytes(self) -> int:
        self.calls.append("reserved")
        return 2500

    def free_bytes(self) -> int:
        self.calls.append("free")
        return 10_000

    def history(self, work: Callable[[], object]) -> dict[str, Any]:
        self.calls.append("record")
        work()
        self.synchronize()
        self.calls.append("snapshot")
        return snapshot()

    def mark(self) -> int:
        self.calls.append("mark")
        self.ticks += 1
        return self.ticks

    def seconds_between(self, begin: int, end: int) -> float:
        assert begin < end <= self.reached, "a mark was read before the device had come to it"
        self.calls.append("read")
        return float(end - begin)


def snapshot() -> dict[str, Any]:
    """One segment with one block in it, laid out as torch's snapshots are; a device is what JSON does not know."""
    frames = [{"filename": "bench/training.py", "name": "step", "line": 3}]
    shared = {"stream": 0, "frames": frames}
    block = {"address": 4096, "size": 512, "requested_size": 500, "state": "active_allocated", "frames": frames}
    rest = {"address": 4608, "size": 1536, "requested_size": 0, "state": "inactive", "frames": []}
    sizes = {"total_size": 2048, "allocated_size": 512, "active_size": 512, "requested_size": 500}
    segment = {"device": 0, "address": 4096, **sizes, **shared, "segment_type": "small", "segment_pool_id": (0, 0)}
    event = {"action": "alloc", "addr": 4096, "size": 512, "time_us": 1, **shared}
    return {
        "segments": [{**segment, "is_expandable": False, "blocks": [block, rest]}],
        "device_traces": [[event]],
        "allocator_settings": {"device": torch.device("cpu")},
    }


def note_steps(device: FakeDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every step write 'step' among the device's calls when it begins."""
    honest = Stepper.__call__

    def call(self: Stepper, batch: Batch, step: int) -> Tensor:
        device.calls.append("step")
        return honest(self, batch, step)

    monkeypatch.setattr(Stepper, "__call__", call)
