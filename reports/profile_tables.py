"""The tables of the profile page."""

from collections.abc import Callable, Sequence

from bench.profiles import Profile
from bench.record import Conditions
from reports import formats
from reports.profile_comparison import (
    Line,
    merged,
    milliseconds,
    module_lines,
    name,
    operator_lines,
    phase_lines,
    step_line,
)
from reports.table import Cell, Column, Table, bars, plain

# So many lines a table shows; what is left is one line of its own.
SHOWN = 25
ABSENT = "\N{EN DASH}"
BOLD = "Bold: every recorded step of one strategy took more of it than any step of the other."


def phases_table(profiles: Sequence[Profile]) -> Table:
    """Time of each phase, and the step that they add up to."""
    caption = "ms in one step, the one of median time. "
    if profiles[0].clock == "cpu":
        caption += "Wall time under the profiler, which slows small operators down"
    else:
        caption += "Time of the kernels that each phase launched; the device may also have stood idle"
    caption += f". {BOLD} "
    if len(profiles) > 1:
        caption += "Strategies are recorded one after the other: a machine that drifts makes one look slower. "
    caption += "For step times, run cost cells: see docs/profiling.md."
    return _table(caption, "phase", profiles, [*phase_lines(profiles), step_line(profiles)])


def top_table(profiles: Sequence[Profile]) -> Table:
    """The operators that take the most time of their own, whichever strategy they take it in."""
    lines = sorted(operator_lines(profiles), key=lambda line: -line.longest)
    caption = "ms of self time in one step, callees apart, largest first; all lines together are the step."
    return _table(caption, "operator", profiles, _cut(lines))


def difference_table(profiles: Sequence[Profile]) -> Table | None:
    """The operators in which the strategies differ most; None where there is nothing to compare."""
    if len(profiles) < 2:
        return None
    caption = (
        f"ms of self time in one step, largest difference from {name(profiles[0])} first. {ABSENT}: it is not called. "
        f"{BOLD}"
    )
    return _table(caption, "operator", profiles, _cut(operator_lines(profiles)))


def modules_table(profiles: Sequence[Profile]) -> Table:
    """Time by module, the layers of a stack taken together."""
    order = "largest difference first" if len(profiles) > 1 else "largest first"
    caption = (
        f"ms in one step of each module's own operators, those of modules inside it apart, {order}. Layers (*) are "
        "taken together. A backward operator counts for the module whose forward operator it differentiates."
    )
    return _table(caption, "module", profiles, _cut(module_lines(profiles)))


def memory_table(profiles: Sequence[Profile]) -> Table | None:
    """Peaks and when they come; None where no profile recorded memory."""
    rows = []
    for profile in profiles:
        found = profile.memory
        if found is None:
            rows.append((_named(profile), Cell(formats.MISSING, profile.memory_reason or ""), *[Cell("")] * 2))
            continue
        when = next(
            (p.phase for p in found.phases if p.begin_seconds <= found.peak_seconds < p.end_seconds), "between phases"
        )
        held = Cell(formats.size(found.start_bytes))
        rows.append((_named(profile), held, Cell(formats.size(found.peak_bytes)), Cell(when)))
    if all(profile.memory is None for profile in profiles):
        return None
    columns = (
        Column("strategy", numeric=False),
        Column("between steps", "model, optimizer state, batch"),
        Column("peak"),
        Column("peak in", numeric=False),
    )
    method = next(profile.memory.method for profile in profiles if profile.memory is not None)
    source = (
        "the device's allocator" if method == "allocator" else "memory that torch allocates for tensors on the CPU"
    )
    return Table(f"In the last recorded step; {source}.", columns, tuple(rows))


def traces_table(profiles: Sequence[Profile], folders: Sequence[str]) -> Table:
    """The files, for trace viewers."""
    rows = [
        (
            name(profile),
            f"{folder}/{profile.trace}",
            formats.size(profile.trace_bytes),
            formats.count(profile.steps, "step") + (", with shapes and stacks" if profile.stacks else ""),
            _range(profile),
        )
        for profile, folder in zip(profiles, folders, strict=True)
    ]
    caption = "Paths are relative to this page. Open one in https://ui.perfetto.dev; see also docs/profiling.md."
    return plain(caption, ["strategy", "trace", "size", "recorded", "steps took"], rows)


def conditions_table(profiles: Sequence[Profile]) -> Table:
    """What surrounded the recordings."""
    fields: list[tuple[str, Callable[[Conditions], str]]] = [
        ("device", lambda c: f"{c.device_name} ({c.device})"),
        ("threads", lambda c: str(c.threads)),
        ("precision", lambda c: c.precision),
        ("attention", lambda c: c.attention),
        ("torch", lambda c: c.versions.get("torch", formats.MISSING)),
        ("code", lambda c: (c.code_commit or c.code_fingerprint)[:12] + (" with changes" if c.code_dirty else "")),
        ("platform", lambda c: f"Python {c.python}, {c.platform}"),
    ]
    rows = [
        (title, "; ".join(dict.fromkeys(read(profile.conditions) for profile in profiles))) for title, read in fields
    ]
    return plain("Where strategies differ, in their order.", ["condition", "value"], rows)


def _range(profile: Profile) -> str:
    low, high = min(profile.step_seconds), max(profile.step_seconds)
    return f"{formats.seconds(low)} to {formats.seconds(high)}"


def _named(profile: Profile) -> Cell:
    return Cell(name(profile), strategy=profile.cell.strategy)


def _cut(lines: Sequence[Line]) -> list[Line]:
    """The first lines, and all others as one."""
    if len(lines) <= SHOWN + 1:
        return list(lines)
    rest = lines[SHOWN:]
    return [*lines[:SHOWN], merged(rest, f"{len(rest)} others")]


def _table(caption: str, what: str, profiles: Sequence[Profile], lines: Sequence[Line]) -> Table:
    """Lines as rows: the time in each profile, and for each but the first the difference from it."""
    others = profiles[1:]
    columns = [
        Column(what, numeric=False),
        *(Column(name(profile), group="ms a step") for profile in profiles),
        *(Column(name(profile), group=f"more than {name(profiles[0])}") for profile in others),
    ]
    top = max((line.longest for line in lines if line.name != "step"), default=0.0)
    rows = []
    for line in lines:
        lengths = bars([None if line.name == "step" else seconds for seconds in line.seconds], top)
        notes = line.notes or ("",) * len(profiles)
        times = [
            Cell(ABSENT if seconds is None else formats.number(1000 * seconds, 2), note, bar, profile.cell.strategy)
            for seconds, note, bar, profile in zip(line.seconds, notes, lengths, profiles, strict=True)
        ]
        changes = [
            Cell(milliseconds(change), _share(change, profiles[0]), strong=decided)
            for change, decided in zip(line.differences, line.decided, strict=True)
        ]
        rows.append((Cell(line.name, line.detail), *times, *changes))
    return Table(caption, tuple(columns), tuple(rows))


def _share(change: float, first: Profile) -> str:
    """A difference as a share of the first profile's step, where that is something."""
    step = step_line([first]).longest
    share = change / step if step else 0.0
    return f"{formats.signed(100 * share, 1)}%" if abs(share) >= 0.0005 else ""
