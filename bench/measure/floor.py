"""The roofline: no step takes less time than its products at the peak rate, or its bytes at the peak bandwidth.

Williams, Waterman, Patterson: Roofline (2009). The floor is that of a machine which does both at once and loses
nothing; how far above it a step lies is what a machine loses. Torch-free.
"""

from collections.abc import Iterable

from bench.arithmetic import Arithmetic, Calibration, Floor, machine_rates
from bench.cards import Card
from bench.cell import Precision


def floor_on_card(arithmetic: Arithmetic, card: Card, precision: Precision) -> tuple[Floor | None, str | None]:
    """The floor of a step on a card, by its data sheet; None and the reason where its rate is not known."""
    rate = card.rate(precision)
    if rate is None:
        known = ", ".join(card.flops_per_second)
        return None, f"no {precision} rate is known of {card.name}, only {known}"
    return arithmetic.floor(rate, card.bytes_per_second), None


def floor_on_machine(
    arithmetic: Arithmetic, calibrations: Iterable[Calibration], precision: Precision
) -> tuple[Floor | None, str | None]:
    """The floor of a step on the machine calibrated, by the best it did; None and the reason without both rates."""
    rate, bandwidth = machine_rates(calibrations, precision)
    if rate is None or bandwidth is None:
        missing = "copy rate" if rate is not None else f"rate of {precision} products"
        return None, f"the machine's {missing} was not measured"
    return arithmetic.floor(rate, bandwidth), None


def utilisation(arithmetic: Arithmetic, step_seconds: float, flops_per_second: float) -> float:
    """The share of a rate that the products of a step of this time achieve."""
    return arithmetic.flops / step_seconds / flops_per_second
