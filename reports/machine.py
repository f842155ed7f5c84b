"""The machine's own rates at the start and the end of a run's cost cells, and whether it drifted between them."""

import itertools
from collections.abc import Iterator, Mapping, Sequence

from bench.arithmetic import Calibration
from bench.record import Record
from reports import formats
from reports.table import Table, plain

# Rates further apart than this are those of two machines, as far as anybody can tell.
DRIFT_LIMIT = 0.10


def taken_on(calibrations: Sequence[Calibration], record: Record | None) -> list[Calibration]:
    """The calibrations of the device that a record was made on, with as many threads."""
    if record is None:
        return []
    wanted = (record.conditions.device_name, record.conditions.threads)
    return [one for one in calibrations if (one.device_name, one.threads) == wanted]


def drifts(calibrations: Sequence[Calibration]) -> list[str]:
    """A line for each rate that changed by more than the limit from a start to its end, or could not be measured."""
    lines = [
        f"the machine's rate of {name} went from {before} to {after} ({formats.signed(100 * change, 0)}%) between the "
        f"start and the end of the cost cells, more than {DRIFT_LIMIT:.0%}: seconds of early and late cells do not "
        "compare, ratios within a round do"
        for start, end in _pairs(calibrations)
        for name, before, after, change in _changes(start, end)
        if abs(change) > DRIFT_LIMIT
    ]
    lines += [f"a rate of the machine was not measured: {text}" for one in calibrations for text in one.failures]
    return list(dict.fromkeys(lines))


def machine_table(calibrations: Sequence[Calibration]) -> Table | None:
    """Every calibration of a run; None where there is none."""
    if not calibrations:
        return None
    precisions = sorted({name for one in calibrations for name in one.matmul_flops_per_second})
    titles = ["taken", "at the", "device", "threads", *(f"{name} products" for name in precisions), "copies"]
    rows = [
        [
            one.taken_utc,
            f"{one.moment} of the cost cells",
            one.device_name,
            str(one.threads),
            *(_product(one, name) for name in precisions),
            bytes_a_second(one.copied_bytes_per_second),
        ]
        for one in calibrations
    ]
    caption = (
        "What the machine itself can do: a large square product, and a large copy, its bytes read and written added "
        "up; the best of several."
    )
    unpaired = len(calibrations) - 2 * len(list(_pairs(calibrations)))
    if unpaired:
        caption += " Where the end is missing, the cost cells were interrupted or are still running."
    return plain(caption, titles, rows)


def _pairs(calibrations: Sequence[Calibration]) -> Iterator[tuple[Calibration, Calibration]]:
    """Each start with the end that follows it; a run that was interrupted has starts without one."""
    for before, after in itertools.pairwise(calibrations):
        same = (before.device_name, before.threads) == (after.device_name, after.threads)
        if (before.moment, after.moment) == ("start", "end") and same:
            yield before, after


def _changes(start: Calibration, end: Calibration) -> Iterator[tuple[str, str, str, float]]:
    """Name, rate before, rate after and relative change of everything both measured."""
    ours: Mapping[str, float] = start.matmul_flops_per_second
    for name, before in ours.items():
        after = end.matmul_flops_per_second.get(name)
        if after is not None:
            yield f"{name} products", f"{formats.flops(before)}/s", f"{formats.flops(after)}/s", after / before - 1
    one, two = start.copied_bytes_per_second, end.copied_bytes_per_second
    if one is not None and two is not None:
        yield "copies", bytes_a_second(one), bytes_a_second(two), two / one - 1


def _product(one: Calibration, precision: str) -> str:
    rate = one.matmul_flops_per_second.get(precision)
    return formats.MISSING if rate is None else f"{formats.flops(rate)}/s, width {one.matmul_sizes[precision]:,}"


def bytes_a_second(rate: float | None) -> str:
    """A rate of bytes, '24.0 GB/s', or 'n/a'."""
    return formats.MISSING if rate is None else f"{formats.si(rate)}B/s"
