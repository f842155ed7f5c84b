"""What the memory of a step consists of, and how well it was forecast: a table below the costs of a batch shape."""

from collections.abc import Mapping, Sequence

from bench.results import MEMORY_PARTS, CostResult, MemoryAttribution, MemoryPeak
from reports import formats
from reports.palette import label
from reports.run import Shape
from reports.table import Cell, Column, Table
from reports.verdict import place

CAPTION = (
    "The peak of a step and what it consists of at that moment: activations are what is then held of all that the "
    "forward pass leaves for the backward pass, workspace is what single operations need, residual what nothing of "
    "this explains. Beside it stands the peak of each phase of the step, by the allocator where it counts and by live "
    "tensors elsewhere. A forecast knows shapes alone."
)
BESIDE = (
    "On the device besides: what the allocator held beyond what it handed out, peak to peak, and what the process "
    "held beyond its allocator."
)


def memory_table(shape: Shape, order: Mapping[str, int]) -> Table | None:
    """Peak, its parts and the forecast of each strategy at one shape; None where no record tells of parts."""
    timed = sorted((one for one in shape.timed if not one.cell.replicate), key=lambda one: place(one.cell, order))
    known = [
        (one.cell.strategy, one.result, memory.peak_allocated_bytes, parts)
        for one in timed
        if one.result is not None
        and (memory := one.result.memory) is not None
        and (parts := memory.attribution) is not None
    ]
    if not known:
        return None
    most = max(peak for _, _, peak, _ in known)
    method = next(result.memory.method for _, result, _, _ in known if result.memory is not None)
    phases = list(dict.fromkeys(phase for _, r, _, _ in known if r.memory for phase in r.memory.by_phase_bytes))
    columns = (
        Column("strategy", numeric=False),
        Column("peak", method),
        *(Column(part, "", "of which") for part in MEMORY_PARTS),
        Column("peaks in", "", numeric=False),
        *(Column(phase, "", "most in") for phase in phases),
        Column("forecast", "over measured"),
    )
    rows = tuple(_row(*one, most, phases) for one in known)
    reasons = dict.fromkeys(r.forecast_reason for _, r, _, _ in known if r.forecast_reason is not None)
    captions = [CAPTION, *(f"No forecast: {reason}." for reason in reasons)]
    weighed = [result.memory for _, result, _, _ in known if result.memory is not None]
    if any(memory.fragmentation_bytes is not None for memory in weighed):
        columns += tuple(Column(title, "", "on the device besides") for title in ("fragmentation", "context"))
        rows = tuple((*row, *_beside(memory)) for row, memory in zip(rows, weighed, strict=True))
        unknown = dict.fromkeys(memory.context_reason for memory in weighed if memory.context_reason is not None)
        captions += [BESIDE, *(f"No context: {reason}." for reason in unknown)]
    return Table(" ".join(captions), columns, rows)


def _beside(memory: MemoryPeak) -> tuple[Cell, Cell]:
    """What an accelerator holds beside tensors."""
    fragmentation, context = (
        Cell(formats.MISSING if size is None else formats.size(size))
        for size in (memory.fragmentation_bytes, memory.context_bytes)
    )
    return fragmentation, context


def _row(
    strategy: str, result: CostResult, peak: int, parts: MemoryAttribution, most: int, phases: Sequence[str]
) -> tuple[Cell, ...]:
    by_phase = {} if result.memory is None else result.memory.by_phase_bytes
    forecast = formats.MISSING, ""
    if result.forecast is not None:
        expected = result.forecast.peak_allocated_bytes
        forecast = formats.size(expected), formats.number(expected / peak, 3)
    return (
        Cell(label(strategy, strategy), strategy=strategy),
        Cell(formats.size(peak), "", peak / most),
        *(Cell(formats.size(size)) for size in parts.parts.values()),
        Cell(parts.phase or formats.MISSING),
        *(Cell(formats.size(by_phase.get(phase))) for phase in phases),
        Cell(*forecast),
    )
