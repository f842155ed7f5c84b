"""How many encoder values a strategy whose size can be chosen should train."""

import numpy as np

import strategies
from bench.cell import CostCell, QualityCell, TrialCell
from bench.models import TaskModel, shape_only
from bench.results import Counts
from bench.tasks.base import HeadKind
from strategies.interface import Context


def budget_of(cell: QualityCell | TrialCell | CostCell, model: TaskModel, kind: HeadKind) -> int | None:
    """The budget of a cell on `model`, an untouched task model of the cell's architecture, or None.

    Raises StrategyError where the strategy to match cannot be applied to it, or trains nothing of the encoder.
    """
    if cell.budget is not None:
        return max(1, round(cell.budget * sum(parameter.numel() for parameter in model.encoder.parameters())))
    if cell.match is None:
        return None
    outputs = model.head.out.out_features
    same = shape_only(model.encoder.config, kind, outputs, cell.pooling)
    size = strategies.resolve(cell.match)(same, Context(np.random.default_rng(0))).expected.size
    if not size:
        raise strategies.StrategyError(
            f"strategy {cell.match!r} trains nothing of the encoder, so no size can match it; match another one"
        )
    return size


def unmet(counts: Counts) -> tuple[str, ...]:
    """What to say where a strategy could not be given just the size asked for: sizes come in steps."""
    size = counts.encoder_size
    if counts.budget is None or counts.budget == size:
        return ()
    return (f"its size is {size:,} encoder values, {size / counts.budget:.1%} of its budget of {counts.budget:,}",)
