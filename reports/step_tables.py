"""Where a step's time goes, and what surrounded its measurement: the tables below the costs of a batch shape."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from bench.timing import CardState, PhaseSeconds, StepTimes, Surroundings, Validity
from reports import formats
from reports.palette import label
from reports.run import Shape, Timed
from reports.statistics import kept_rounds
from reports.table import Cell, Column, Table
from reports.verdict import place

Number = TypeVar("Number", int, float, bool)
PHASES = tuple(PhaseSeconds.model_fields)
SHARES = (
    "Medians of each phase, and its share of the four; the strategy's own hooks count as backward, zero-grad as "
    "optimizer. Throughput is that of the median step, without loading data."
)


def phase_table(shape: Shape, order: Mapping[str, int]) -> Table | None:
    """Phases, throughput, slowest steps and energy of each strategy at one shape; None where no record has phases."""
    timed = sorted(shape.timed, key=lambda one: place(one.cell, order))
    known = [(one, step) for one in timed if one.result is not None and (step := one.result.step).phases is not None]
    if not known:
        return None
    longest = max(step.phases.total for _, step in known if step.phases is not None)
    energy = any(one.result is not None and one.result.energy is not None for one, _ in known)
    columns = (
        Column("strategy", numeric=False),
        *(Column(phase, "share", "phase of a step") for phase in PHASES),
        Column("examples", "per second", "throughput"),
        Column("tokens", "per second", "throughput"),
        Column("99th percentile", "", "step time"),
        *((Column("energy", "joules a step"),) if energy else ()),
    )
    rows = [_phase_row(one, step, longest, energy=energy) for one, step in known]
    return Table(" ".join([SHARES, *_no_energy(known)]), columns, tuple(rows))


def _phase_row(timed: Timed, step: StepTimes, longest: float, *, energy: bool) -> tuple[Cell, ...]:
    cell = timed.cell
    name = label(cell.strategy, cell.strategy) + (" (again, A/A)" if cell.replicate else "")
    examples = cell.batch_size * step.steps_per_second
    drawn = None if timed.result is None else timed.result.energy
    joules = formats.MISSING if drawn is None else formats.significant(drawn.joules_per_step, 3)
    return (
        Cell(name, strategy=cell.strategy),
        *_phase_cells(step, longest),
        Cell(formats.significant(examples, 3)),
        Cell(formats.significant(examples * cell.length, 3)),
        Cell(formats.seconds(step.p99_seconds)),
        *((Cell(joules),) if energy else ()),
    )


def _phase_cells(step: StepTimes, longest: float) -> list[Cell]:
    phases = step.phases
    if phases is None:
        return [Cell(formats.MISSING)] * len(PHASES)
    parts = [getattr(phases, phase) for phase in PHASES]
    return [
        Cell(formats.seconds(part), formats.percent(part / phases.total) if phases.total else "", part / longest)
        for part in parts
    ]


def _no_energy(known: Sequence[tuple[Timed, StepTimes]]) -> list[str]:
    """Of what the energy is, or why there is none, in a sentence each."""
    results = [one.result for one, _ in known if one.result is not None]
    sources = {"NVML": "the card", "RAPL": "the processor and its memory"}
    found = [
        f"Energy is that of {sources[r.energy.source]} ({r.energy.source})." for r in results if r.energy is not None
    ]
    found += [f"No energy: {r.energy_reason}." for r in results if r.energy is None and r.energy_reason is not None]
    return list(dict.fromkeys(found))


def surroundings_table(shape: Shape) -> Table | None:
    """The machine before, during and after the timing of each group of one shape; None in records of old."""
    groups: dict[str, list[Validity]] = {}
    for one in shape.timed:
        if one.result is not None and one.result.validity is not None:
            groups.setdefault(one.result.group, []).append(one.result.validity)
    if not groups:
        return None
    moments: list[tuple[str, Surroundings]] = []
    for number, own in enumerate(groups.values(), start=1):
        suffix = f", group {number}" if len(groups) > 1 else ""
        meanwhile = [moment for validity in own for moment in validity.rounds]
        moments += [(f"before{suffix}", own[0].before), (f"meanwhile{suffix}", worst(meanwhile))]
        moments += [(f"after{suffix}", own[0].after)]
    shown = [(title, note, text) for title, note, text in FIGURES if any(text(m) is not None for _, m in moments)]
    columns = (Column("moment", numeric=False), *(Column(title, note) for title, note, _ in shown))
    rows = tuple((Cell(n), *(Cell(text(m) or formats.MISSING) for *_, text in shown)) for n, m in moments)
    first = next(iter(groups.values()))[0]
    caption = "What surrounded the timing; meanwhile: the worst that was seen as a turn ended."
    load = [] if first.threads is None else [f"The load is held against {formats.count(first.threads, 'thread')}."]
    card = [] if first.card_reason is None else [f"No figures of a card: {first.card_reason}."]
    return Table(" ".join([caption, *load, *card, *_disturbed(groups.values())]), columns, rows)


def _disturbed(groups: Iterable[Sequence[Validity]]) -> list[str]:
    """Which rounds of each group the card disturbed, and what became of them, in a sentence each."""
    found = []
    for own in groups:
        marked, rounds = own[0].disturbed_rounds, max(len(validity.rounds) for validity in own)
        if not marked:
            continue
        numbers = ", ".join(str(number + 1) for number in marked)
        kept = set(kept_rounds(rounds, marked)).intersection(marked)
        fate = "ratios hold them all the same, as fewer than two others remain" if kept else "ratios leave them out"
        found.append(f"Rounds of {rounds} in which the card was throttled or shared: {numbers}; {fate}.")
    return list(dict.fromkeys(found))


def worst(moments: Sequence[Surroundings]) -> Surroundings:
    """The least favourable figure of each kind among several looks; None where none has it."""
    cards = [moment.card for moment in moments if moment.card is not None]
    return Surroundings(
        load_average=_most(moment.load_average for moment in moments),
        available_memory_bytes=_least(moment.available_memory_bytes for moment in moments),
        card=_worst_card(cards) if cards else None,
    )


def _worst_card(cards: Sequence[CardState]) -> CardState:
    reasons = [card.throttle_reasons for card in cards if card.throttle_reasons is not None]
    return CardState(
        sm_clock_mhz=_least(card.sm_clock_mhz for card in cards),
        sm_clock_most_mhz=_most(card.sm_clock_most_mhz for card in cards),
        memory_clock_mhz=_least(card.memory_clock_mhz for card in cards),
        temperature_celsius=_most(card.temperature_celsius for card in cards),
        throttle_reasons=sorted({name for names in reasons for name in names}) if reasons else None,
        power_watts=_most(card.power_watts for card in cards),
        power_limit_watts=_least(card.power_limit_watts for card in cards),
        mig=_most(card.mig for card in cards),
        other_processes=_most(card.other_processes for card in cards),
        utilization_percent=_most(card.utilization_percent for card in cards),
    )


def _most(values: Iterable[Number | None]) -> Number | None:
    return max((value for value in values if value is not None), default=None)


def _least(values: Iterable[Number | None]) -> Number | None:
    return min((value for value in values if value is not None), default=None)


def _of_card(text: Callable[[CardState], str | None]) -> Callable[[Surroundings], str | None]:
    return lambda moment: None if moment.card is None else text(moment.card)


def _plain(value: float | None, decimals: int = 0) -> str | None:
    return None if value is None else formats.number(value, decimals)


def _throttling(card: CardState) -> str | None:
    return None if card.throttle_reasons is None else ", ".join(card.throttle_reasons) or "none"


def _mig(card: CardState) -> str | None:
    return None if card.mig is None else "on" if card.mig else "off"


# Title, unit and text of each figure of a moment, in the order shown.
FIGURES: tuple[tuple[str, str, Callable[[Surroundings], str | None]], ...] = (
    ("load average", "of a minute", lambda moment: _plain(moment.load_average, 2)),
    (
        "available memory",
        "",
        lambda moment: None if moment.available_memory_bytes is None else formats.size(moment.available_memory_bytes),
    ),
    ("clock", "MHz", _of_card(lambda card: _plain(card.sm_clock_mhz))),
    ("memory clock", "MHz", _of_card(lambda card: _plain(card.memory_clock_mhz))),
    ("temperature", "\N{DEGREE SIGN}C", _of_card(lambda card: _plain(card.temperature_celsius))),
    ("throttled by", "", _of_card(_throttling)),
    ("power", "W", _of_card(lambda card: _plain(card.power_watts))),
    ("power limit", "W", _of_card(lambda card: _plain(card.power_limit_watts))),
    ("MIG", "", _of_card(_mig)),
    ("other processes", "on the card", _of_card(lambda card: _plain(card.other_processes))),
    ("utilisation", "%", _of_card(lambda card: _plain(card.utilization_percent))),
)
