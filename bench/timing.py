"""What timing a cost cell leaves: step times and their phases, energy, and what surrounded them; torch-free."""

from typing import Literal

from pydantic import Field

from bench.frozen import Frozen


class PhaseSeconds(Frozen):
    """Seconds of a step's phases. The strategy's own hooks count as backward, the schedule and zero-grad as optimizer.

    On an accelerator these are times of the device, waits for the next kernel to arrive included.
    """

    forward: float
    backward: float
    clipping: float
    optimizer: float

    @property
    def total(self) -> float:
        """The phases together."""
        return self.forward + self.backward + self.clipping + self.optimizer


class StepTimes(Frozen):
    """Summary of the raw step times, which lie in the sidecar array `step_seconds`, shaped (rounds, steps).

    `phases` are the medians of each phase, whose raw times lie in `phase_seconds`, shaped (rounds, steps, 4); they
    and `p99_seconds` are None in records of old.
    """

    median_seconds: float
    quartile1_seconds: float
    quartile3_seconds: float
    p95_seconds: float
    steps: int
    p99_seconds: float | None = None
    phases: PhaseSeconds | None = None

    @property
    def spread(self) -> float:
        """Interquartile range over median."""
        return (self.quartile3_seconds - self.quartile1_seconds) / self.median_seconds

    @property
    def steps_per_second(self) -> float:
        """At the median step time."""
        return 1 / self.median_seconds


class CardState(Frozen):
    """An NVIDIA card at one moment, as its management library tells; None for what it does not tell of this card.

    `throttle_reasons` are those that hold the clocks down, by their names in the library. `other_processes` compute
    on the card besides this one. `utilization_percent` is the share of the last moments in which anything ran.
    """

    sm_clock_mhz: int | None
    sm_clock_most_mhz: int | None
    memory_clock_mhz: int | None
    temperature_celsius: int | None
    throttle_reasons: list[str] | None
    power_watts: float | None
    power_limit_watts: float | None
    mig: bool | None
    other_processes: int | None
    utilization_percent: int | None


class Surroundings(Frozen):
    """The machine at one moment: load average of the last minute, memory to be had, and its card where it has one."""

    load_average: float | None
    available_memory_bytes: int | None
    card: CardState | None = None


class Validity(Frozen):
    """What surrounded the timing of a cell.

    `before` and `after` are those of its whole group, `rounds` the moment after the last timed step of each of its
    own turns. `cores` is how many this process may run on, `threads` how many it computes with and the load average is
    held against; None in records of old. `disturbed_rounds` are those, counted from 0, in which any turn of the group
    ended on a card that was throttled or shared. `card_reason` says why nothing is known of a card, where nothing is.
    """

    cores: int | None
    card_reason: str | None
    before: Surroundings
    after: Surroundings
    rounds: list[Surroundings]
    threads: int | None = None
    disturbed_rounds: list[int] = Field(default=[])

    @property
    def moments(self) -> list[Surroundings]:
        """Every look at the machine, in the order taken."""
        return [self.before, *self.rounds, self.after]


class Energy(Frozen):
    """Energy drawn during the timed steps of each round, in joules, idle power and all else that ran included.

    `source` says of what: NVML counts the whole card, RAPL the processor's packages and their memory.
    """

    source: Literal["NVML", "RAPL"]
    joules_by_round: list[float]
    steps_per_round: int

    @property
    def joules_per_step(self) -> float:
        """Mean over all timed steps."""
        return sum(self.joules_by_round) / (len(self.joules_by_round) * self.steps_per_round)
