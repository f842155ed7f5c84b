"""One NVIDIA card through its management library; the package that speaks to it, nvidia-ml-py, may be absent."""

import importlib
import os
from collections.abc import Iterable
from typing import Any

import torch

from bench.device import device_of
from bench.timing import CardState

# Bits of what holds the clocks of a card down (nvml.h, nvmlClocksEventReasons). Idle clocks, clocks an application
# or a display asked for, and those of a card that keeps pace with another are nobody's disturbance.
THROTTLE_REASONS = {
    0x04: "power cap",
    0x08: "hardware slowdown",
    0x20: "temperature (driver)",
    0x40: "temperature (hardware)",
    0x80: "power brake",
}


class Card:
    """One card on which this process computes. `nvml` is the module pynvml, `handle` what it calls the card.

    `instance` is what it calls the MIG instance of the card that this process has, where it has no more than that.
    """

    def __init__(self, nvml: Any, handle: Any, instance: Any = None) -> None:
        self._nvml = nvml
        self._handle = handle
        self._instance = instance

    @property
    def shared_by_instances(self) -> bool:
        """Whether the card is split, so that figures of the whole card are not those of this process's part."""
        return self._instance is not None or self._mig() is True

    def state(self) -> CardState:
        """What the library tells of the card now; None for each figure it does not have."""
        nvml = self._nvml
        utilization = self._ask("nvmlDeviceGetUtilizationRates")
        return CardState(
            sm_clock_mhz=self._ask("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_SM),
            sm_clock_most_mhz=self._ask("nvmlDeviceGetMaxClockInfo", nvml.NVML_CLOCK_SM),
            memory_clock_mhz=self._ask("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_MEM),
            temperature_celsius=self._ask("nvmlDeviceGetTemperature", nvml.NVML_TEMPERATURE_GPU),
            throttle_reasons=self._throttle_reasons(),
            power_watts=_thousandths(self._ask("nvmlDeviceGetPowerUsage")),
            power_limit_watts=_thousandths(self._ask("nvmlDeviceGetEnforcedPowerLimit")),
            mig=self._mig(),
            other_processes=self._other_processes(),
            utilization_percent=None if utilization is None else int(utilization.gpu),
        )

    def energy_joules(self) -> float | None:
        """Energy the card has drawn since its driver was loaded; None where it does not count it (before Volta).

        None also of a card that is split: nobody counts the energy of a part.
        """
        if self.shared_by_instances:
            return None
        return _thousandths(self._ask("nvmlDeviceGetTotalEnergyConsumption"))

    def _ask(self, question: str, *arguments: Any) -> Any:
        """The library's answer about the card; None where the card, the driver or the package has none."""
        return self._ask_of(self._handle, question, *arguments)

    def _ask_of(self, handle: Any, question: str, *arguments: Any) -> Any:
        function = getattr(self._nvml, question, None)
        if function is None:
            return None
        try:
            return function(handle, *arguments)
        except self._nvml.NVMLError:
            return None

    def _throttle_reasons(self) -> list[str] | None:
        # Older packages know it by the second name alone.
        for question in ("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons"):
            bits = self._ask(question)
            if bits is not None:
                return [name for bit, name in THROTTLE_REASONS.items() if bits & bit]
        return None

    def _mig(self) -> bool | None:
        modes = self._ask("nvmlDeviceGetMigMode")
        return None if modes is None else bool(modes[0])

    def _other_processes(self) -> int | None:
        """Computing processes besides this one, on its own part of a card that is split.

        None where the card is split and this process's part not known: those listed may be on another.
        """
        if self._instance is None and self.shared_by_instances:
            return None
        own = self._handle if self._instance is None else self._instance
        running = self._ask_of(own, "nvmlDeviceGetComputeRunningProcesses")
        return None if running is None else others(running, os.getpid())


def others(running: Iterable[Any], own: int) -> int:
    """How many of `running` are not process `own`, which computes on the card too.

    In a container the library may know it by another number: one of those listed is taken for this process all the
    same, so that a single neighbour is missed where the library lists that one and not this process.
    """
    numbers = {int(process.pid) for process in running}
    return len(numbers - {own}) if own in numbers else max(0, len(numbers) - 1)


def find_card(device: torch.device) -> tuple[Card | None, str | None]:
    """The card behind `device`; None and the reason where there is none, or nobody who could tell of it."""
    if device.type != "cuda" or torch.version.cuda is None:
        return None, f"{device.type} is no NVIDIA card here"
    try:
        nvml = importlib.import_module("pynvml")
    except ImportError:
        return None, "the package nvidia-ml-py is not installed"
    torch.zeros(1, device=device)  # From now on this process is one of those the library lists.
    return card_by_uuid(nvml, str(device_of(device).uuid()))


def card_by_uuid(nvml: Any, uuid: str) -> tuple[Card | None, str | None]:
    """The card of this id as the library knows it, or None and the reason.

    The id, not the number: CUDA_VISIBLE_DEVICES renumbers torch's devices, but not the library's.
    """
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return None, f"NVML does not start: {error}"
    try:
        return _card(nvml, uuid), None
    except nvml.NVMLError as error:
        return None, f"NVML does not know card {uuid}: {error}"


def _card(nvml: Any, uuid: str) -> Card:
    """The card of this id, or the card that the MIG instance of this id is a part of, which is asked with it."""
    bare = uuid.removeprefix("GPU-").removeprefix("MIG-")
    try:
        return Card(nvml, nvml.nvmlDeviceGetHandleByUUID(f"GPU-{bare}"))
    except nvml.NVMLError:
        part = nvml.nvmlDeviceGetHandleByUUID(f"MIG-{bare}")
        return Card(nvml, nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(part), part)


def _thousandths(value: int | None) -> float | None:
    return None if value is None else value / 1000
