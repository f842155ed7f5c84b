"""What a training step would need and what fits, as a terminal shows it."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bench.arithmetic import Floor
from bench.measure.limits import TOLERANCE
from bench.planning import GIB, Plan, Question
from bench.results import MEMORY_PARTS


def tables(plans: Sequence[Plan], question: Question) -> Group:
    """The answers for a terminal: what a step needs and consists of, and what fits."""
    parts: list[RenderableType] = []
    for encoder in question.encoders:
        own = [one for one in plans if one.model == encoder.name]
        parts += [Text(f"{encoder.name}, a step of {question.step}: peak in MiB", style="bold"), _needs(own), Text()]
        parts += [
            Text(f"{encoder.name}, a step of {question.step}: arithmetic", style="bold"),
            _works(own, question),
            Text(),
        ]
        at = f"at length {question.length}"
        parts += [Text(f"{encoder.name}: largest batch {at}, by GiB of memory", style="bold")]
        parts += [_fits([(one.strategy, one.largest_batch) for one in own if one.memory]), Text()]
        at = f"in batches of {question.batch_size}"
        parts += [Text(f"{encoder.name}: longest sequence {at}, by GiB of memory", style="bold")]
        parts += [_fits([(one.strategy, one.longest) for one in own if one.memory]), Text()]
        parts += [Text(f"no forecast: {one.reason}") for one in own if one.memory is None]
        parts += [Text(note) for one in own for note in _doubts(one)]
    basis = f"{question.basis}."
    if question.card is not None:
        sheet = f"{question.card.source}, grade {question.card.grade}"
        basis += f" Floors take its peak rates ({sheet}), which no program reaches."
    return Group(*parts, Text(basis))


def _needs(plans: Sequence[Plan]) -> Table:
    drawn = Table("strategy", box=None, pad_edge=False)
    for name in ("trains", "peak", "of full", *MEMORY_PARTS, "peaks in"):
        drawn.add_column(name, justify="right")
    full = next((one.memory.peak_allocated_bytes for one in plans if one.strategy == "full" and one.memory), None)
    for one in plans:
        if one.memory is None or one.memory.attribution is None or one.encoder_trainable is None:
            continue
        peak, found = one.memory.peak_allocated_bytes, one.memory.attribution
        drawn.add_row(
            one.strategy,
            f"{one.encoder_trainable / one.encoder_total:.3%}",
            _mib(peak),
            "" if full is None else f"{peak / full:.2f}",
            *map(_mib, found.parts.values()),
            found.phase or "",
        )
    return drawn


def _works(plans: Sequence[Plan], question: Question) -> Table:
    """Products and bytes of a step and, of a card, the floor that its data sheet sets."""
    drawn = Table("strategy", box=None, pad_edge=False)
    floors = () if question.card is None else (f"at least, on {question.card.name}", "set by")
    for name in ("GFLOP", "of full", "forward", "moves at least, GiB", *floors):
        drawn.add_column(name, justify="right")
    full = next((one.arithmetic.flops for one in plans if one.strategy == "full" and one.arithmetic), None)
    for one in plans:
        if (found := one.arithmetic) is None:
            continue
        floor = (one.floor_reason or "", "") if one.floor is None else (_milliseconds(one.floor), one.floor.bound)
        drawn.add_row(
            one.strategy,
            f"{found.flops / 1e9:,.1f}",
            "" if full is None else f"{found.flops / full:.2f}",
            f"{found.forward_flops / found.flops:.0%}",
            f"{found.moved_bytes / GIB:,.2f}",
            *(floor if question.card else ()),
        )
    return drawn


def _milliseconds(floor: Floor) -> str:
    return f"{1000 * floor.seconds:,.1f} ms"


def _fits(rows: Sequence[tuple[str, dict[int, int]]]) -> Table:
    drawn = Table("strategy", box=None, pad_edge=False)
    for limit in rows[0][1] if rows else ():
        drawn.add_column(str(limit), justify="right")
    for strategy, fits in rows:
        drawn.add_row(strategy, *(f"{number:,}" if number else "none" for number in fits.values()))
    return drawn


def _mib(size: int) -> str:
    return f"{size / 2**20:,.0f}"


def _doubts(one: Plan) -> list[str]:
    """Where the last forecast was not what the curve said that limits are read from."""
    found = (("largest batch", one.verified), ("longest sequence", one.verified_length))
    return [
        f"{one.strategy}: the {what} is less sure: the last forecast was {ratio:.2f} of what others foretold of it"
        for what, ratio in found
        if ratio is not None and abs(ratio - 1) > TOLERANCE
    ]
