"""Is it really cheaper? What of full fine-tuning's time and memory a strategy leaves, and what is left of it.

A strategy that trains a thousandth of the parameters does not take a thousandth of the time. Every sentence here is
made from counted operations and bytes, which say what must be left, beside the ratios that were measured.
"""

import math
from collections.abc import Mapping, Sequence

from bench.arithmetic import Arithmetic, Calibration, Floor, floor_on_machine, machine_rates
from reports import formats
from reports.machine import bytes_a_second, taken_on
from reports.palette import label
from reports.parts import CheaperPart, Sentence
from reports.run import REFERENCE, Shape
from reports.statistics import UNUSABLE_FLOOR
from reports.table import Cell, Column, Table, bars
from reports.verdict import Cost, place, shape_costs

# Shares of full fine-tuning below this are not worth a word.
TOLD = 0.005
# Peaks are counted to within a few percent.
SAME_MEMORY = 0.03
# Of a step's forward arithmetic, how much of it backward repeats where gradients go through every layer.
THROUGHOUT = 0.95
KINDS = {
    "parameters": "weights",
    "gradients": "gradients",
    "optimizer": "optimizer state",
    "activations": "activations",
    "workspace": "workspace",
}


def cheaper(shape: Shape, order: Mapping[str, int], calibrations: Sequence[Calibration]) -> CheaperPart | None:
    """The verdict on every strategy of one batch shape, by `order`; None where no arithmetic was counted."""
    costs = [cost for cost in shape_costs(shape) if not cost.timed.cell.replicate]
    costs.sort(key=lambda cost: place(cost.timed.cell, order))
    if not any(_counted(cost) for cost in costs):
        return None
    full = next((cost for cost in costs if cost.timed.cell.strategy == REFERENCE and cost.result is not None), None)
    sentences = tuple(
        Sentence(label(name, name), name, _reference(cost, calibrations) if cost is full else _judged(cost, full))
        for cost in costs
        if cost.result is not None and (name := cost.timed.cell.strategy)
    )
    return CheaperPart(shape.label, sentences, _table(costs, full, calibrations, shape.label))


def _counted(cost: Cost | None) -> Arithmetic | None:
    return None if cost is None or cost.result is None else cost.result.arithmetic


def _share(cost: Cost) -> float | None:
    """The trainable share of the encoder."""
    return None if cost.result is None else cost.result.counts.encoder_trainable / cost.result.counts.encoder_total


def _reference(cost: Cost, calibrations: Sequence[Calibration]) -> str:
    """Full fine-tuning: what it computes, how fast that was, and how far from its floor."""
    counted = _counted(cost)
    if counted is None or cost.median_seconds is None:
        return f"The reference. {_uncounted(cost)}"
    forward = formats.plain_ratio(counted.forward_flops / counted.flops)
    texts = [f"The reference: {formats.flops(counted.flops)} a step, {forward} of it forward"]
    rate, _ = _rates(cost, calibrations)
    achieved = counted.flops / cost.median_seconds
    if rate is None:
        texts.append(f"It achieves {formats.flops(achieved)}/s; the machine's own rate was not measured")
    else:
        used = formats.plain_ratio(counted.utilisation(cost.median_seconds, rate))
        texts.append(
            f"It achieves {formats.flops(achieved)}/s, {used} of the "
            f"{formats.flops(rate)}/s that this machine reaches in a large product"
        )
    floor, _ = _floor(cost, counted, calibrations)
    if floor is not None:
        times = formats.plain_ratio(cost.median_seconds / floor.seconds)
        texts.append(
            f"Its floor at this machine's rates is {formats.seconds(floor.seconds)}, set by {floor.bound}; "
            f"a step takes {formats.seconds(cost.median_seconds)}, {times} times that"
        )
    return _close(texts)


def _judged(cost: Cost, full: Cost | None) -> str:
    return _close([_lead(cost), *_time(cost, full), *_memory(cost, full)])


def _lead(cost: Cost) -> str:
    """Whether it is cheaper, and in what."""
    speed = None if cost.ratio is None else cost.ratio.verdict
    size = None if cost.memory_ratio is None else cost.memory_ratio - 1
    gains = ["time"] * (speed == "faster") + ["memory"] * (size is not None and size < -SAME_MEMORY)
    losses = ["time"] * (speed == "slower") + ["memory"] * (size is not None and size > SAME_MEMORY)
    found = [f"cheaper in {_join(gains)}"] * bool(gains) + [f"dearer in {_join(losses)}"] * bool(losses)
    found += ["memory the same"] * (size is not None and abs(size) <= SAME_MEMORY)
    if speed in ("undecided", "below the noise"):
        found.append("time within the noise" if speed == "below the noise" else "time undecided")
    text = ", ".join(found) or "nothing to compare it with"
    return f"{text[0].upper()}{text[1:]}, with {formats.percent(_share(cost))} of the encoder's parameters"


def _time(cost: Cost, full: Cost | None) -> list[str]:
    """Measured against counted, and what of the arithmetic remains."""
    measured = f"Step time was not compared ({cost.why or 'full fine-tuning was not timed'})"
    if cost.ratio is not None:
        value, interval = formats.ratio(cost.ratio)
        spread = f" (interval {interval})" if interval else " (one round, no interval)"
        measured = f"It takes {value} of full fine-tuning's time{spread}"
    ours, theirs = _counted(cost), _counted(full)
    if ours is None:
        return [measured, _uncounted(cost)]
    if theirs is None or theirs.flops == 0:
        return [measured, "The arithmetic of full fine-tuning was not counted"]
    ratio = ours.flops / theirs.flops
    text = f"{formats.plain_ratio(ratio)} of its arithmetic: {_remaining(ours, theirs, cost)}"
    joint = " and" if cost.ratio is not None else "; it takes"
    return [f"{measured}{joint} {text}", *_beyond(cost, ratio, ours.moved_bytes / theirs.moved_bytes)]


def _remaining(ours: Arithmetic, full: Arithmetic, cost: Cost) -> str:
    """What of full fine-tuning's arithmetic is left and what is saved, in shares of it."""
    forward, backward = ours.forward_flops / full.flops, ours.backward_flops / full.flops
    share, again = _share(cost), cost.timed.cell.gradient_checkpointing
    frozen = " through frozen layers" if share is not None and share < 0.5 else ""
    frozen += " and what it computes again" if again else ""
    kept = [f"the forward pass ({formats.plain_ratio(forward)})"] * (forward >= TOLD)
    kept += [f"the backward pass{frozen} ({formats.plain_ratio(backward)})"] * (backward >= TOLD)
    left = f"{_join(kept)} {'remain' if len(kept) > 1 else 'remains'}" if kept else "next to nothing remains"
    saved = 1 - forward - backward
    if saved <= -TOLD:
        return f"{left}, {formats.plain_ratio(-saved)} more than full fine-tuning computes"
    if saved < TOLD:
        return f"{left}, nothing is saved"
    if forward < TOLD:
        what = "both passes"
    elif backward < TOLD:
        what = "the backward pass"
    elif ours.backward_flops >= (THROUGHOUT + again) * ours.forward_flops:
        what = "gradients of weights"
    else:
        what = "gradients of weights, and the backward pass where nothing below trains"
    return f"{left}; {what} ({formats.plain_ratio(saved)}) {'are' if what[0] in 'bg' else 'is'} saved"


def _beyond(cost: Cost, arithmetic: float, moved: float) -> list[str]:
    """How the measured ratio lies to the counted one, where interval and noise floor tell them apart."""
    if cost.ratio is None or cost.ratio.interval is None:
        return []
    floor = cost.ratio.floor
    if floor is not None and floor > UNUSABLE_FLOOR:
        return [f"With a noise floor of {formats.floor(floor)} the measured ratio decides nothing"]
    if arithmetic > 0 and floor is not None and abs(math.log(cost.ratio.value / arithmetic)) <= floor:
        return ["Measured and counted are the same within the noise"]
    if cost.ratio.interval.includes(arithmetic):
        return ["The interval includes what the arithmetic leaves"]
    apart = formats.plain_ratio(abs(cost.ratio.value - arithmetic))
    side, rest, speed = ("above", "less", "slower") if cost.ratio.value > arithmetic else ("below", "more", "faster")
    return [
        f"Measured it is {apart} {side} what the arithmetic leaves: work beside the products shrinks {rest} than they "
        f"do, or they run {speed}; the least bytes it moves are {formats.plain_ratio(moved)} of full fine-tuning's"
    ]


def _memory(cost: Cost, full: Cost | None) -> list[str]:
    """The peak against full fine-tuning's, and what it consists of."""
    result = cost.result
    if result is None or result.memory is None:
        return [f"Peak memory was not measured ({'' if result is None else result.memory_reason})"]
    ratio = "" if cost.memory_ratio is None else f"It holds {formats.plain_ratio(cost.memory_ratio)} of the memory: "
    texts = _largest(cost)
    if texts:
        held = [f"{ratio or 'Memory: '}a peak of {formats.size(cost.peak_bytes)}, of which {_join(texts)}"]
    else:
        held = [f"{ratio}{formats.size(cost.peak_bytes)} at its peak"] if ratio else []
    return held + _kept(cost, full)


def _largest(cost: Cost) -> list[str]:
    """The largest parts of the peak, three at most."""
    if cost.result is None or cost.result.memory is None or cost.result.memory.attribution is None:
        return []
    sizes = {kind: cost.result.memory.attribution.parts[kind] for kind in KINDS}
    largest = sorted(sizes, key=sizes.__getitem__, reverse=True)[:3]
    peak = cost.result.memory.peak_allocated_bytes
    return [f"{formats.size(sizes[kind])} {KINDS[kind]}" for kind in largest if sizes[kind] >= 0.05 * peak]


def _kept(cost: Cost, full: Cost | None) -> list[str]:
    """What forward leaves for backward, against full fine-tuning's; a peak later in the step holds less of it."""
    ours, theirs = _counted(cost), _counted(full)
    if ours is None:
        return []
    against = None if theirs is None or not theirs.saved_bytes else ours.saved_bytes / theirs.saved_bytes
    if against is not None and against < TOLD:
        return ["The forward pass leaves next to nothing for the backward pass"]
    share = "" if against is None else f", {formats.plain_ratio(against)} of full fine-tuning's"
    return [f"The forward pass leaves {formats.size(ours.saved_bytes)} for the backward pass{share}"]


def _uncounted(cost: Cost) -> str:
    reason = None if cost.result is None else cost.result.arithmetic_reason
    return f"Its arithmetic was not counted ({reason or 'the record is from before it was'})"


def _rates(cost: Cost, calibrations: Sequence[Calibration]) -> tuple[float | None, float | None]:
    """What the machine that timed a cell does a second: operations of large products, and copied bytes."""
    return machine_rates(taken_on(calibrations, cost.timed.record), cost.timed.cell.precision)


def _floor(cost: Cost, counted: Arithmetic, calibrations: Sequence[Calibration]) -> tuple[Floor | None, str | None]:
    return floor_on_machine(counted, taken_on(calibrations, cost.timed.record), cost.timed.cell.precision)


def _table(costs: Sequence[Cost], full: Cost | None, calibrations: Sequence[Calibration], shape: str) -> Table:
    columns = (
        Column("strategy", numeric=False),
        Column("parameters", "of the encoder's"),
        Column("products", "and share of full's", "arithmetic"),
        Column("backward", "share of its own", "arithmetic"),
        Column("step time", "of full's", "measured"),
        Column("achieved", "of the machine's rate", "measured"),
        Column("moved a second", "at least; of the copy rate", "measured"),
        Column("floor", "set by", "at the machine's rates"),
        Column("step", "times the floor", "at the machine's rates"),
        Column("moved", "at least; of full's", "bytes"),
        Column("kept for backward", "of full's", "bytes"),
        Column("peak", "of full's", "bytes"),
    )
    lengths = bars([None if (counted := _counted(cost)) is None else counted.flops for cost in costs])
    rows = tuple(_row(cost, full, calibrations, length) for cost, length in zip(costs, lengths, strict=True))
    caption = (
        f"One step at {shape}. Counted: operations of products, a multiplication and its addition as two, and the "
        "least bytes a step reads and writes. The floor takes all products at this machine's measured rate of a large "
        "product, or all bytes at its copy rate, whichever is longer; data that stays in a cache may beat the latter."
    )
    reference = next((index for index, cost in enumerate(costs) if cost is full), None)
    return Table(caption, columns, rows, reference)


def _row(cost: Cost, full: Cost | None, calibrations: Sequence[Calibration], length: float | None) -> tuple[Cell, ...]:
    name = Cell(label(cost.timed.cell.strategy, cost.timed.cell.strategy), strategy=cost.timed.cell.strategy)
    counted, theirs = _counted(cost), _counted(full)
    measured = "" if cost.ratio is None else formats.plain_ratio(cost.ratio.value)
    time = Cell(formats.seconds(cost.median_seconds), measured)
    peak = Cell(
        formats.size(cost.peak_bytes), "" if cost.memory_ratio is None else formats.plain_ratio(cost.memory_ratio)
    )
    share = Cell(formats.percent(_share(cost)))
    if counted is None:
        missing = Cell(formats.MISSING)
        why = Cell(formats.MISSING, "" if cost.result is None else cost.result.arithmetic_reason or "")
        return (name, share, why, missing, time, missing, missing, missing, missing, missing, missing, peak)
    full_moved, full_saved = (None, None) if theirs is None else (theirs.moved_bytes, theirs.saved_bytes)
    return (
        name,
        share,
        Cell(formats.flops(counted.flops), _of(counted.flops, None if theirs is None else theirs.flops), length),
        Cell(formats.number(counted.backward_flops / counted.flops, 2) if counted.flops else formats.MISSING),
        time,
        *_speed_cells(cost, counted, calibrations),
        Cell(formats.size(counted.moved_bytes), _of(counted.moved_bytes, full_moved)),
        Cell(formats.size(counted.saved_bytes), _of(counted.saved_bytes, full_saved)),
        peak,
    )


def _speed_cells(cost: Cost, counted: Arithmetic, calibrations: Sequence[Calibration]) -> tuple[Cell, ...]:
    """Operations and bytes a second with their shares of the machine's, the floor, and how many times it a step is."""
    seconds = cost.median_seconds
    if seconds is None:
        return (Cell(formats.MISSING),) * 4
    rate, copies = _rates(cost, calibrations)
    used = "" if rate is None else formats.percent(counted.utilisation(seconds, rate))
    speed = Cell(f"{formats.flops(counted.flops / seconds)}/s", used)
    copied = "" if copies is None else formats.percent(counted.moved_bytes / seconds / copies)
    moved = Cell(bytes_a_second(counted.moved_bytes / seconds), copied)
    floor, reason = _floor(cost, counted, calibrations)
    if floor is None:
        return speed, moved, Cell(formats.MISSING, reason or ""), Cell(formats.MISSING)
    times = formats.plain_ratio(seconds / floor.seconds) if floor.seconds > 0 else formats.MISSING
    return speed, moved, Cell(formats.seconds(floor.seconds), floor.bound), Cell(times)


def _of(ours: int, theirs: int | None) -> str:
    return formats.plain_ratio(ours / theirs) if theirs else ""


def _join(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else "".join(parts)


def _close(texts: Sequence[str]) -> str:
    return " ".join(f"{text}." for text in texts)
