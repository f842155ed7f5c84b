"""The largest batch, or the longest sequence, that fits: from the forecasts of a few shapes.

Each phase of a step needs memory that grows in a straight line with the batch, and with the length as a square where
attention is not fused. So a curve through two or three forecasts says what any other shape needs, and one more
forecast, at the largest shape found, says whether it does.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

Phases = dict[str, int]
"""Peak bytes of each phase of a step."""

TOLERANCE = 0.01
MOST = 2**20


@dataclass
class Curve:
    """What a step needs against a number that its shape has, by the forecasts made so far.

    forecast  number -> peak bytes by phase; takes about a second
    most      the largest number there is, or None
    """

    forecast: Callable[[int], Phases]
    most: int | None = None
    known: dict[int, Phases] = field(default_factory=dict)

    def at(self, *numbers: int) -> None:
        """Make forecasts at these numbers, where there are none yet."""
        for number in numbers:
            if number not in self.known:
                self.known[number] = self.forecast(number)

    def needs(self, number: int) -> float:
        """Bytes at a number: of every phase what the polynomial through its forecasts says, and the most of that."""
        if number in self.known:
            return max(self.known[number].values())
        numbers = sorted(self.known)
        phases = self.known[numbers[0]]
        degree = len(numbers) - 1
        return max(
            float(np.polyval(np.polyfit(numbers, [self.known[n][phase] for n in numbers], degree), number))
            for phase in phases
        )

    def largest(self, limit_bytes: int) -> int:
        """The largest number that fits; 0 where none does, and at most `most` or a million."""
        low, high = 0, self.most or MOST
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.needs(middle) <= limit_bytes else (low, middle - 1)
        return low

    def verify(self, limit_bytes: int) -> float | None:
        """Make one more forecast, at the largest number that fits; returns forecast over curve, None where none fits.

        Where they differ by more than TOLERANCE the curve goes through this forecast from now on, in the place of the
        smallest number's.
        """
        number = self.largest(limit_bytes)
        if number == 0 or number in self.known:
            return None
        expected = self.needs(number)
        found = self.forecast(number)
        ratio = max(found.values()) / expected
        if abs(ratio - 1) > TOLERANCE:
            self.known.pop(min(self.known))
            self.known[number] = found
        return ratio
