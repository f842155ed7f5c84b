"""Scores as files write them."""

import math
from typing import Any

import numpy as np

HIGHEST = float(np.finfo(np.float32).max)


def finite(value: Any) -> float | None:
    """The number that a value holds or writes out; None for what is none, or none that single precision holds.

    Models compute their loss in single precision: a larger score would be infinite there.
    """
    try:
        number = math.nan if isinstance(value, bool) or "_" in str(value) else float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if abs(number) <= HIGHEST else None
