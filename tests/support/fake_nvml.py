"""A stand-in for the module pynvml: one card whose figures a test sets, and which may lack any of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from bench.timing import CardState

UUID = "6f9619ff-8b86-d011-b42d-00cf4fc964ff"


class NVMLError(Exception):
    """What the library raises for anything it cannot do."""


@dataclass
class FakeNvml:
    """Answers with `figures`, by the name of the question; one that is missing raises as an unsupported one does.

    `clocks` are those of the streaming multiprocessors and of the memory; `pids` compute on the card, of them
    `part_pids` on the MIG instance that has `uuid`.
    """

    figures: dict[str, Any] = field(default_factory=dict)
    clocks: tuple[int, int] = (1980, 2619)
    pids: Sequence[int] = ()
    part_pids: Sequence[int] = ()
    uuid: str = f"GPU-{UUID}"
    starts: bool = True
    NVMLError: type[Exception] = NVMLError
    NVML_CLOCK_SM: int = 1
    NVML_CLOCK_MEM: int = 2
    NVML_TEMPERATURE_GPU: int = 0

    def nvmlInit(self) -> None:  # noqa: N802
        if not self.starts:
            raise NVMLError("Driver Not Loaded")

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:  # noqa: N802
        if uuid != self.uuid:
            raise NVMLError("Not Found")
        return "the card" if uuid.startswith("GPU-") else "a part of the card"

    def nvmlDeviceGetDeviceHandleFromMigDeviceHandle(self, part: str) -> str:  # noqa: N802
        assert part == "a part of the card"
        return "the card"

    def nvmlDeviceGetClockInfo(self, handle: str, clock: int) -> int:  # noqa: N802
        assert handle == "the card"
        return self.clocks[clock - 1]

    def nvmlDeviceGetMaxClockInfo(self, handle: str, clock: int) -> int:  # noqa: N802
        assert clock == self.NVML_CLOCK_SM
        return 1980

    def nvmlDeviceGetComputeRunningProcesses(self, handle: str) -> list[Any]:  # noqa: N802
        listed = {"the card": self.pids, "a part of the card": self.part_pids}[handle]
        return [SimpleNamespace(pid=pid, usedGpuMemory=2**30) for pid in listed]

    def __getattr__(self, question: str) -> Any:
        if not question.startswith("nvmlDeviceGet"):
            raise AttributeError(question)

        def answer(handle: str, *_: int) -> Any:
            assert handle == "the card"
            if question not in self.figures:
                raise NVMLError("Not Supported")
            return self.figures[question]

        return answer


QUIET_STATE = CardState(
    sm_clock_mhz=1980,
    sm_clock_most_mhz=1980,
    memory_clock_mhz=2619,
    temperature_celsius=41,
    throttle_reasons=[],
    power_watts=115.25,
    power_limit_watts=700.0,
    mig=False,
    other_processes=0,
    utilization_percent=0,
)
"""What `quiet_card` says, in the units that records use."""


def quiet_card(**figures: Any) -> FakeNvml:
    """A card that does nothing else, as a data-centre card would answer."""
    found = {
        "nvmlDeviceGetTemperature": 41,
        "nvmlDeviceGetCurrentClocksEventReasons": 0x01,
        "nvmlDeviceGetPowerUsage": 115_250,
        "nvmlDeviceGetEnforcedPowerLimit": 700_000,
        "nvmlDeviceGetMigMode": [0, 0],
        "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=0, memory=0),
        "nvmlDeviceGetTotalEnergyConsumption": 5_000_000,
    }
    return FakeNvml(found | figures)
