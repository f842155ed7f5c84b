"""What a step computes and moves, and what a machine can: counts, rates, and the floor that both make. Torch-free."""

from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from bench.frozen import Frozen


class Floor(Frozen):
    """The least time of one step: all its products at one rate, or all its bytes at another, whichever is more.

    The roofline of Williams, Waterman and Patterson (2009): that of a machine which does both at once and loses
    nothing. How far above it a step lies is what a machine loses.
    """

    compute_seconds: float
    move_seconds: float

    @property
    def seconds(self) -> float:
        """The floor."""
        return max(self.compute_seconds, self.move_seconds)

    @property
    def bound(self) -> Literal["arithmetic", "bytes"]:
        """Which of the two it is."""
        return "arithmetic" if self.compute_seconds >= self.move_seconds else "bytes"


class Arithmetic(Frozen):
    """What one training step computes and must move at least, counted and not measured.

    flops            floating-point operations of products, in forward and in backward; a multiplication and its
                     addition are two. Element by element operations are left out
    weight_bytes     parameters and buffers read, in forward and in backward
    saved_bytes      what forward leaves for backward; it is written and read, so it moves twice
    gradient_bytes   gradients of parameters written and read, clipping included
    optimizer_bytes  state and trained parameters, read and written
    """

    forward_flops: int
    backward_flops: int
    weight_bytes: int
    saved_bytes: int
    gradient_bytes: int
    optimizer_bytes: int

    @property
    def flops(self) -> int:
        """All of a step."""
        return self.forward_flops + self.backward_flops

    @property
    def moved_bytes(self) -> int:
        """The least a step reads and writes, everything together."""
        return self.weight_bytes + 2 * self.saved_bytes + self.gradient_bytes + self.optimizer_bytes

    def floor(self, flops_per_second: float, bytes_per_second: float) -> Floor:
        """The least time of such a step at these rates (a roofline)."""
        return Floor(compute_seconds=self.flops / flops_per_second, move_seconds=self.moved_bytes / bytes_per_second)

    def utilisation(self, step_seconds: float, flops_per_second: float) -> float:
        """The share of a rate that the products of a step of this time achieve."""
        return self.flops / step_seconds / flops_per_second


class Calibration(Frozen):
    """The rates of a machine itself, measured at the start or the end of the cost cells of a run.

    matmul_flops_per_second  operations of a large square product, by precision
    matmul_sizes             the width of its matrices
    copied_bytes_per_second  bytes of a large copy, read and written; None where it could not be made
    failures                 what could not be measured, and why
    """

    schema_version: Literal[1] = 1
    moment: Literal["start", "end"]
    taken_utc: str
    device_name: str
    threads: int
    matmul_flops_per_second: dict[str, float]
    matmul_sizes: dict[str, int]
    copied_bytes_per_second: float | None
    failures: list[str] = Field(default=[])


def machine_rates(calibrations: Iterable[Calibration], precision: str) -> tuple[float | None, float | None]:
    """The best rates of a machine over its calibrations: operations and bytes a second; None where never measured."""
    taken = list(calibrations)
    products = [rate for one in taken if (rate := one.matmul_flops_per_second.get(precision)) is not None]
    copies = [one.copied_bytes_per_second for one in taken if one.copied_bytes_per_second is not None]
    return max(products, default=None), max(copies, default=None)


def floor_on_machine(
    arithmetic: Arithmetic, calibrations: Iterable[Calibration], precision: str
) -> tuple[Floor | None, str | None]:
    """The floor of a step on the machine calibrated, by the best it did; None and the reason without both rates."""
    rate, bandwidth = machine_rates(calibrations, precision)
    if rate is None or bandwidth is None:
        missing = "copy rate" if rate is not None else f"rate of {precision} products"
        return None, f"the machine's {missing} was not measured"
    return arithmetic.floor(rate, bandwidth), None
