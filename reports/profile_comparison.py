"""Profiles side by side: the time a step spends by phase, operator and module, and where strategies differ most."""

import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from bench.profiles import ModuleTime, OperatorTime, Phase, Profile
from reports import formats
from reports.palette import label
from reports.parts import Sentence

Key = TypeVar("Key", bound=Hashable)
# What is less than this share of a step is not put in words.
LEAST_SHARE = 0.005
PHASE_WORDS: Mapping[Phase, str] = {
    "forward": "forward pass",
    "backward": "backward pass",
    "clipping": "clipping",
    "optimizer": "optimizer",
    "other": "rest of the step",
}


@dataclass(frozen=True)
class Line:
    """One thing that takes time: `steps` holds its seconds in every step of each profile; None: it does not occur.

    `seconds` are those of the shown steps. `notes` says more of each profile, such as the number of calls.
    """

    name: str
    detail: str
    seconds: tuple[float | None, ...]
    steps: tuple[Sequence[float] | None, ...]
    notes: tuple[str, ...] = ()

    @property
    def differences(self) -> tuple[float, ...]:
        """How much more time than in the first profile it takes in each of the others; what does not occur takes 0."""
        first, *others = (seconds or 0.0 for seconds in self.seconds)
        return tuple(seconds - first for seconds in others)

    @property
    def decided(self) -> tuple[bool, ...]:
        """Whether every step of one profile takes more than every step of the other, for each difference."""
        first, *others = (steps or (0.0,) for steps in self.steps)
        return tuple(min(first) > max(steps) or max(first) < min(steps) for steps in others)

    @property
    def weight(self) -> float:
        """By what lines are sorted: the largest difference, or the time where there is one profile only."""
        return max(map(abs, self.differences), default=self.seconds[0] or 0.0)

    @property
    def longest(self) -> float:
        """The most time it takes in any profile."""
        return max(seconds or 0.0 for seconds in self.seconds)


def name(profile: Profile) -> str:
    """A profile's strategy as people call it."""
    return label(profile.cell.strategy, profile.cell.strategy)


def phase_lines(profiles: Sequence[Profile]) -> list[Line]:
    """Time by phase in the order they run, but for phases that take no time anywhere."""
    tables = []
    for profile in profiles:
        table = _phases(profile)
        tables.append({(PHASE_WORDS[phase], ""): table[phase] for phase in PHASE_WORDS if any(table.get(phase, ()))})
    found = {line.name: line for line in _lines(profiles, tables)}
    return [found[word] for word in PHASE_WORDS.values() if word in found]


def step_line(profiles: Sequence[Profile]) -> Line:
    """What the phases add up to."""
    tables = [_summed((("step", ""), values) for values in _phases(profile).values()) for profile in profiles]
    return _lines(profiles, tables)[0]


def operator_lines(profiles: Sequence[Profile]) -> list[Line]:
    """Self time by operator and phase."""

    def key(one: OperatorTime) -> tuple[str, str]:
        return one.name, PHASE_WORDS[one.phase]

    calls = [{key(one): one.calls[profile.shown_step] for one in profile.operators} for profile in profiles]

    def notes(line: Line) -> tuple[str, ...]:
        found = (table.get((line.name, line.detail), 0) for table in calls)
        return tuple(formats.count(number, "call") if number else "" for number in found)

    tables = [_summed((key(one), profile.times(one)) for one in profile.operators) for profile in profiles]
    return [replace(line, notes=notes(line)) for line in _lines(profiles, tables)]


def module_lines(profiles: Sequence[Profile]) -> list[Line]:
    """Time by module and pass, the layers of a stack taken together: 'encoder.layer.*.output.dense'."""

    def key(one: ModuleTime) -> tuple[str, str]:
        return re.sub(r"\.\d+(?=\.|$)", ".*", one.name), PHASE_WORDS[one.phase]

    tables = [_summed((key(one), profile.times(one)) for one in profile.modules) for profile in profiles]
    return _lines(profiles, tables)


def merged(lines: Sequence[Line], name: str) -> Line:
    """Several lines as one."""
    places = range(len(lines[0].steps))
    seconds = tuple(sum(line.seconds[place] or 0.0 for line in lines) for place in places)
    steps = [_summed((name, found) for line in lines if (found := line.steps[place])).get(name) for place in places]
    return Line(name, "", seconds, tuple(steps))


def _phases(profile: Profile) -> Mapping[Phase, Sequence[float]]:
    """Seconds of each phase in every step: wall time on a CPU, time of its kernels on an accelerator."""
    if profile.clock == "cpu":
        return profile.phase_seconds
    return _summed((one.phase, profile.times(one)) for one in profile.operators)


def _summed(values: Iterable[tuple[Key, Sequence[float]]]) -> dict[Key, list[float]]:
    """The sum of all that share a key, step by step."""
    total: dict[Key, list[float]] = {}
    for key, steps in values:
        total[key] = [a + b for a, b in zip(total[key], steps, strict=True)] if key in total else list(steps)
    return total


def _lines(profiles: Sequence[Profile], tables: Sequence[Mapping[tuple[str, str], Sequence[float]]]) -> list[Line]:
    """A line for every key of the tables, one table a profile; the line with the most weight first."""
    lines = []
    for at in dict.fromkeys(key for table in tables for key in table):
        steps = tuple(table.get(at) for table in tables)
        shown = (None if one is None else one[p.shown_step] for p, one in zip(profiles, steps, strict=True))
        lines.append(Line(*at, tuple(shown), steps))
    return sorted(lines, key=lambda line: -line.weight)


def sentences(profiles: Sequence[Profile]) -> tuple[Sentence, ...]:
    """What the profiles say in words: each strategy's step and where it goes, compared with the first."""
    first, *others = profiles
    step = step_line([first]).longest
    shares = [(line.name, line.longest / step) for line in phase_lines([first])]
    own = ", ".join(f"{phase} {formats.percent(share)}" for phase, share in shares if share >= LEAST_SHARE)
    said = f"{formats.seconds(step)} a step under the profiler: {own}."
    return (
        Sentence(name(first), first.cell.strategy, said),
        *(Sentence(name(other), other.cell.strategy, _compared(first, other)) for other in others),
    )


def _compared(first: Profile, other: Profile) -> str:
    both = [first, other]
    step = step_line(both)
    there, here = (seconds or 0.0 for seconds in step.seconds)
    ratio = formats.plain_ratio(here / there if there else None)
    text = f"{formats.seconds(here)} a step under the profiler, {ratio} of {name(first)}"
    phases = [line for line in phase_lines(both) if abs(line.differences[0]) >= LEAST_SHARE * there]
    if phases:
        text += "; in ms: " + ", ".join(f"{line.name} {milliseconds(line.differences[0])}" for line in phases)
    largest = next((line for line in operator_lines(both) if line.decided[0]), None)
    if largest is not None:
        text += f". The largest difference of an operator that every step shows: {largest.name} in the "
        text += f"{largest.detail}, {milliseconds(largest.differences[0])} ms"
    if not step.decided[0]:
        text += ". The recorded steps of the two overlap in time: the difference may be the machine's"
    return f"{text}."


def milliseconds(seconds: float) -> str:
    """A difference in ms, with its sign and as many digits as help."""
    value = 1000 * seconds
    return formats.signed(value, 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2)
