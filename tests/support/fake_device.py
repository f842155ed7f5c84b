"""A device that writes down in which order it was called, and stands in for an accelerator on any machine."""

from dataclasses import dataclass, field

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
    ticks: int = 0
    reached: int = 0

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

    def mark(self) -> int:
        self.calls.append("mark")
        self.ticks += 1
        return self.ticks

    def seconds_between(self, begin: int, end: int) -> float:
        assert begin < end <= self.reached, "a mark was read before the device had come to it"
        self.calls.append("read")
        return float(end - begin)


def note_steps(device: FakeDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every step write 'step' among the device's calls when it begins."""
    honest = Stepper.__call__

    def call(self: Stepper, batch: Batch, step: int) -> Tensor:
        device.calls.append("step")
        return honest(self, batch, step)

    monkeypatch.setattr(Stepper, "__call__", call)
