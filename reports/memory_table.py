"""What the memory of a step consists of, and how well it was forecast: a table below the costs of a batch shape."""

from collections.abc import Mapping

from bench.results import CostResult, MemoryPeak
from reports import formats
from reports.palette import label
from reports.run import Shape
from reports.table import Cell, Column, Table

PARTS = ("parameters", "gradients", "optimizer", "activations", "workspace", "residual")
CAPTION = (
    "The peak of a step and what it consists of: activations are what the forward pass leaves for the backward pass, "
    "workspace is what single operations need, residual what nothing of this explains. A forecast knows shapes alone."
)


def memory_table(shape: Shape, order: Mapping[str, int]) -> Table | None:
    """Peak, its parts and the forecast of each strategy at one shape; None where no record tells of parts."""
    last = len(order)
    timed = sorted(
        (one for one in shape.timed if not one.cell.replicate), key=lambda one: order.get(one.cell.strategy, last)
    )
    known = [
        (one.cell.strategy, one.result, one.result.memory)
        for one in timed
        if one.result is not None and one.result.memory is not None and one.result.memory.attribution is not None
    ]
    if not known:
        return None
    most = max(memory.peak_allocated_bytes for _, _, memory in known)
    columns = (
        Column("strategy", numeric=False),
        Column("peak", known[0][2].method),
        *(Column(part, "", "of which") for part in PARTS),
        Column("peaks in", "", numeric=False),
        Column("forecast", "over measured"),
    )
    rows = tuple(_row(strategy, result, memory, most) for strategy, result, memory in known)
    reasons = dict.fromkeys(r.forecast_reason for _, r, _ in known if r.forecast_reason is not None)
    return Table(" ".join([CAPTION, *(f"No forecast: {reason}." for reason in reasons)]), columns, rows)


def _row(strategy: str, result: CostResult, memory: MemoryPeak, most: int) -> tuple[Cell, ...]:
    parts, peak = memory.attribution, memory.peak_allocated_bytes
    forecast = formats.MISSING, ""
    if result.forecast is not None:
        expected = result.forecast.peak_allocated_bytes
        forecast = formats.size(expected), formats.number(expected / peak, 3)
    return (
        Cell(label(strategy, strategy), strategy=strategy),
        Cell(formats.size(peak), "", peak / most),
        *(Cell(formats.size(getattr(parts, f"{part}_bytes"))) for part in PARTS),
        Cell((parts.phase if parts is not None else None) or formats.MISSING),
        Cell(*forecast),
    )
