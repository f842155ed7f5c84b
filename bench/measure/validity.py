"""Whether a measurement of time can be believed: what else went on in the machine, looked at while it was taken."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from bench.device import device_of
from bench.errors import InputError
from bench.measure.nvml import find_card
from bench.timing import CardState, Surroundings, Validity

# A card that was this busy before a run does other work.
BUSY_PERCENT = 10
# The measurement itself loads a core with each of its threads; what it hands out for a moment beyond is no neighbour.
OWN_EXCESS_LOAD = 0.5


class CardLook(Protocol):
    """Whoever can tell the state of a card."""

    def state(self) -> CardState:
        """The card now."""


@dataclass(frozen=True)
class Watch:
    """Looks at the machine and at the card it measures on; `card_reason` says why there is no card to look at."""

    card: CardLook | None
    card_reason: str | None

    def look(self) -> Surroundings:
        """What surrounds this process now."""
        return Surroundings(
            load_average=load_average(),
            available_memory_bytes=available_memory_bytes(),
            card=None if self.card is None else self.card.state(),
        )

    def validity(self, before: Surroundings, rounds: Sequence[Surroundings], after: Surroundings) -> Validity:
        """The looks of one cell put together."""
        return Validity(
            cores=usable_cores(),
            threads=torch.get_num_threads(),
            card_reason=self.card_reason,
            before=before,
            after=after,
            rounds=list(rounds),
        )


def usable_cores() -> int | None:
    """Cores that this process may run on; None where the system does not tell."""
    try:
        return len(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        return os.cpu_count()


def load_average() -> float | None:
    """Processes that ran or waited to, mean of the last minute; None where the system does not tell."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None


def available_memory_bytes(meminfo: Path = Path("/proc/meminfo")) -> int | None:
    """Memory that a new process could have without swapping; None where the system does not tell."""
    try:
        lines = meminfo.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)


def refuse_busy_card(device: torch.device) -> str | None:
    """Raises InputError where something else computes on the card behind `device`, or just did.

    A device that nobody can tell of is not refused. Where that is an NVIDIA card, returns why it cannot be told.
    """
    card, reason = find_card(device)
    if card is None:
        return None if device_of(device).uuid() is None else reason
    state = card.state()
    busy = signs_of_work(state)
    if busy:
        raise InputError(
            f"{device} is busy ({', '.join(busy)}), and step times would measure that too: wait, choose another "
            "with --device, leave out the cost cells with --skip cost, or go on all the same with --allow-busy"
        )
    told = state.other_processes is not None or state.utilization_percent is not None
    return None if told else "its driver tells neither its processes nor its utilisation"


def signs_of_work(card: CardState) -> list[str]:
    """What tells that a card does other work, as far as it can be known; nothing where it is quiet."""
    found = []
    if card.other_processes:
        found.append("1 other process" if card.other_processes == 1 else f"{card.other_processes} other processes")
    if card.utilization_percent is not None and card.utilization_percent > BUSY_PERCENT:
        found.append(f"utilisation {card.utilization_percent}%, above {BUSY_PERCENT}%")
    return found


def disturbances(group: Sequence[Validity]) -> list[str]:
    """What disturbed the timing of a whole group, as warnings that each of its records carries."""
    moments = [moment for validity in group for moment in validity.moments]
    loads = [moment.load_average for moment in moments if moment.load_average is not None]
    threads = group[0].threads if group else None
    found = []
    if loads and threads is not None and max(loads) > threads + OWN_EXCESS_LOAD:
        own = "1 thread" if threads == 1 else f"{threads} threads"
        found.append(f"load average up to {max(loads):.1f} while {own} timed this group: other work ran")
    shared = [moment.card.other_processes for moment in moments if moment.card and moment.card.other_processes]
    if shared:
        found.append(f"the card was shared with up to {max(shared)} other processes while this group was timed")
    return found


def throttled(validity: Validity) -> list[str]:
    """A warning that names the rounds in which the card was throttled as the last step ended, and why; else none."""
    found = {
        number: moment.card.throttle_reasons
        for number, moment in enumerate(validity.rounds, start=1)
        if moment.card is not None and moment.card.throttle_reasons
    }
    if not found:
        return []
    reasons = sorted({reason for names in found.values() for reason in names})
    numbers = ", ".join(map(str, found))
    return [
        f"the card was throttled in {len(found)} of {len(validity.rounds)} rounds ({numbers}): {', '.join(reasons)}"
    ]


def disturbed_rounds(group: Iterable[Validity]) -> list[int]:
    """The rounds, counted from 0, in which any turn of a group ended on a card that was throttled or shared."""
    return sorted(
        {
            number
            for validity in group
            for number, moment in enumerate(validity.rounds)
            if moment.card is not None and (moment.card.throttle_reasons or moment.card.other_processes)
        }
    )
