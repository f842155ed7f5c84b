"""Energy of timed steps, from counters that the machine keeps anyway: NVML's of a card, RAPL's of a processor."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from bench.measure.nvml import Card
from bench.timing import Energy

POWERCAP = Path("/sys/class/powercap")
# A card's counter moves about ten times a second, RAPL's a thousand times.
NVML_UPDATE_SECONDS = 0.1
RAPL_UPDATE_SECONDS = 0.001
# An energy is not reported where the counter's coarseness alone may move it by more.
COARSEST = 0.1

Reason = str


Reading = Sequence[float]


@dataclass(frozen=True)
class Meter:
    """A counter of energy that moves every `update_seconds`.

    `read` gives a reading, or None where it fails; `joules` the energy from one reading to a later one.
    """

    source: Literal["NVML", "RAPL"]
    update_seconds: float
    read: Callable[[], Reading | None]
    joules: Callable[[Reading, Reading], float]

    def since(self, begin: Reading | None) -> float | None:
        """Joules from a reading until now; None where one of the two failed."""
        end = self.read()
        return None if begin is None or end is None else self.joules(begin, end)


def find_meter(device: torch.device, card: Card | None, powercap: Path = POWERCAP) -> Meter | Reason:
    """The counter of what computes on `device`, or why there is none."""
    if device.type == "cpu":
        return rapl_meter(powercap)
    if card is None:
        return f"no energy counter of {device.type} is known without NVML"
    if card.shared_by_instances:
        return "the card is split into MIG instances, and NVML counts the energy of the whole card"
    if card.energy_joules() is None:
        return "the card does not count its energy"

    def read() -> list[float] | None:
        joules = card.energy_joules()
        return None if joules is None else [joules]

    return Meter("NVML", NVML_UPDATE_SECONDS, read, lambda begin, end: end[0] - begin[0])


def rapl_meter(powercap: Path = POWERCAP) -> Meter | Reason:
    """The counters of every processor package and of the memory beside it, or why they cannot be read."""
    zones = [zone for zone in sorted(powercap.glob("intel-rapl:*")) if _counts(zone)]
    if not zones:
        return f"no RAPL counter in {powercap}"
    counters = [zone / "energy_uj" for zone in zones]
    try:
        ranges = [_number(zone / "max_energy_range_uj") for zone in zones]
        [_number(counter) for counter in counters]
    except PermissionError as error:
        return f"RAPL counters are for root alone here: no permission to read {error.filename}"
    except (OSError, ValueError) as error:
        return f"RAPL counters cannot be read: {error}"

    def read() -> list[float] | None:
        try:
            return [_number(counter) for counter in counters]
        except (OSError, ValueError):
            return None

    def joules(begin: Reading, end: Reading) -> float:
        # A counter starts again from 0 beyond its range.
        spent = [(e - b) % (most + 1) for b, e, most in zip(begin, end, ranges, strict=True)]
        return sum(spent) / 1e6

    return Meter("RAPL", RAPL_UPDATE_SECONDS, read, joules)


def _counts(zone: Path) -> bool:
    """Whether a zone is a package, or memory, which no package counts; others are parts of these, or of the board."""
    try:
        name = (zone / "name").read_text(encoding="ascii").strip()
    except OSError:
        return False
    return name.startswith("package") or name == "dram"


def _number(path: Path) -> float:
    return float(path.read_text(encoding="ascii"))


def energy_of(
    meter: Meter | Reason, joules_by_round: Sequence[float | None], seconds_by_round: Sequence[float], steps: int
) -> tuple[Energy | None, Reason | None]:
    """The energy of a cell's rounds of `steps` timed steps each, or why there is none.

    A counter that moves every u seconds is late by anything up to u at both ends of a round: by
    u * sqrt(rounds / 6) seconds of work in all, one standard deviation.
    """
    if isinstance(meter, str):
        return None, meter
    known = [joules for joules in joules_by_round if joules is not None]
    if len(known) < len(joules_by_round) or not known:
        return None, f"{meter.source} could not be read in every round"
    late_seconds = meter.update_seconds * math.sqrt(len(known) / 6)
    total_seconds = sum(seconds_by_round)
    if late_seconds > COARSEST * total_seconds:
        return None, (
            f"{total_seconds:.2g} s of timed steps are too short for {meter.source}, whose counter moves every "
            f"{meter.update_seconds:g} s"
        )
    return Energy(source=meter.source, joules_by_round=known, steps_per_round=steps), None
