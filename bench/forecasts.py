"""What the steps of a group need, told before any of them is taken, and which of them cannot fit."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch

import strategies
from bench.cell import CostCell
from bench.configurations import ATTENTION_DROPOUT, HIDDEN_DROPOUT
from bench.encoders import Encoder
from bench.errors import first_line
from bench.measure.fake import NoShapesError
from bench.measure.memory import MemoryFailureError, forecast_peak
from bench.measure.subject import cost_config, cost_shapes
from bench.measure.validity import available_memory_bytes
from bench.results import MemoryPeak
from strategies.errors import StrategyError
from strategies.table import STORES

FORESEEN = (torch.OutOfMemoryError, MemoryFailureError, NoShapesError, StrategyError, MemoryError)

Weight = tuple[MemoryPeak | None, str | None]
"""A peak, or None and the reason why there is none."""


class Forecast(NamedTuple):
    """The forecast of a cell, and the least its step needs: that same peak, or the one of `frozen` in its place.

    Whatever a strategy trains, it runs the frozen encoder at least; `least` is None where not even that is known.
    `copied_bytes` is the model that a step's is copied from, which stays beside it.
    """

    own: Weight
    least: MemoryPeak | None
    copied_bytes: int

    @property
    def words(self) -> str:
        """What the step needs, for a person, or why that is not known."""
        peak, reason = self.own
        needs = "" if self.least is None else f"tensors of {_mebibytes(self.least.peak_allocated_bytes)} at the peak"
        if peak is not None:
            return f"forecast: {needs} of a step"
        return f"no forecast: {reason}" + (f"; that of frozen, a lower bound: {needs} of a step" if needs else "")


def forecasts_of(cells: Sequence[CostCell], encoder: Encoder, device: torch.device) -> dict[str, Forecast]:
    """The forecast of each cell by key; replicates share one."""
    made: dict[str, Forecast] = {}
    copied = sum(p.nbytes for p in cost_shapes(cells[0], cost_config(cells[0], encoder)).parameters())
    for cell in cells:
        key = cell.model_copy(update={"replicate": 0}).key
        if key not in made:
            own = _forecast(cell, encoder, device)
            made[key] = Forecast(own, own[0] or _forecast(_least(cell, encoder), encoder, device)[0], copied)
        made[cell.key] = made[key]
    return made


def _least(cell: CostCell, encoder: Encoder) -> CostCell:
    """The cell that needs least of all with the shape of `cell`: nothing trains but the head, and nothing is dropped.

    What is stored in fewer bytes stays so.
    """
    config = cost_config(cell, encoder)
    stored = (str(part) for part in strategies.parse(cell.strategy) if part.entry.order == STORES)
    dropout = {"hidden_dropout": HIDDEN_DROPOUT, "attention_dropout": ATTENTION_DROPOUT}
    changed: dict[str, object] = {"strategy": "+".join(("frozen", *stored)), "budget": None, "match": None}
    changed |= {field: 0.0 for field, names in dropout.items() if any(hasattr(config, name) for name in names)}
    return cell.model_copy(update=changed)


def _forecast(cell: CostCell, encoder: Encoder, device: torch.device) -> Weight:
    try:
        return forecast_peak(cell, encoder, accelerator=device.type != "cpu"), None
    except Exception as error:
        return None, unforeseen(error)


def too_large(
    cells: Sequence[CostCell], device: torch.device, forecasts: Mapping[str, Forecast]
) -> dict[CostCell, torch.OutOfMemoryError]:
    """The cells whose tensors alone need more memory than there is; on a CPU only, others refuse by themselves.

    A kernel that promised more memory than it has would end the whole run instead of the step.
    """
    if device.type != "cpu":
        return {}
    found = {cell: shortage(forecasts[cell.key]) for cell in cells}
    return {cell: torch.OutOfMemoryError(f"not begun: {short}") for cell, short in found.items() if short is not None}


def shortage(forecast: Forecast) -> str | None:
    """Why a step on the CPU cannot fit into its memory; None where it may, or where nobody can tell."""
    available = available_memory_bytes()
    if available is None or forecast.least is None:
        return None
    if forecast.least.peak_allocated_bytes + forecast.copied_bytes <= available:
        return None
    return (
        f"{_mebibytes(available)} of memory are available, {_mebibytes(forecast.copied_bytes)} of which go to "
        "the model that a step's is copied from"
    )


def unforeseen(error: Exception) -> str:
    """Why a figure is missing, with the kind of an error that nobody reckoned with."""
    known = isinstance(error, FORESEEN) or type(error) is RuntimeError
    return first_line(error) if known else f"{type(error).__name__}: {first_line(error)}"


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"
