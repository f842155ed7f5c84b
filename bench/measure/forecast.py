"""Forecasts of one step at many shapes: its model, which has no values, is built once, and each shape is a step."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from bench.arithmetic import Arithmetic
from bench.audit import trainable_counts
from bench.cell import CostCell
from bench.configurations import positions
from bench.encoders import Encoder
from bench.measure.fake import CPU, fake_stepper
from bench.measure.flops import count_step
from bench.measure.memory import forecast_of
from bench.measure.subject import cost_config, random_batch
from bench.results import MemoryPeak
from bench.training import Stepper


@dataclass(frozen=True)
class Forecasts:
    """What steps of one cell need, whatever their shape; `arithmetic` is that of the cell's own shape."""

    cell: CostCell
    encoder: Encoder
    stepper: Stepper
    vocabulary: int
    arithmetic: Arithmetic

    @property
    def encoder_trainable(self) -> int:
        """Encoder values that the strategy trains."""
        return sum(trainable_counts(self.stepper.applied).values())

    @property
    def longest(self) -> int | None:
        """Tokens of the longest text that has positions, behind what the strategy puts before it; None without end."""
        most = positions(cost_config(self.cell, self.encoder))
        return None if most is None else most - self.stepper.applied.virtual_tokens

    def peak(self, batch_size: int, length: int) -> MemoryPeak:
        """The peak of a step of this shape: what `forecast_peak` says of it."""
        shaped = self.cell.model_copy(update={"batch_size": batch_size, "length": length})
        return forecast_of(self.stepper, random_batch(shaped, self.vocabulary, CPU))


@contextlib.contextmanager
def forecasting(cell: CostCell, encoder: Encoder, *, accelerator: bool = False) -> Iterator[Forecasts]:
    """Forecasts of a cell's steps, to be asked inside the context; `accelerator` is as in `fake_stepper`.

    Raises NoShapesError and StrategyError as `fake_stepper` does.
    """
    with fake_stepper(cell, encoder, accelerator=accelerator) as (stepper, batch):
        # The step that is counted is also the one that makes the optimizer's state.
        arithmetic = count_step(stepper, batch, 0)
        yield Forecasts(cell, encoder, stepper, cost_config(cell, encoder).vocab_size, arithmetic)
