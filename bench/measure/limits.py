"""The largest batch, or the longest sequence, that fits: from the forecasts of a few shapes.

Each phase of a step needs memory that grows in a straight line with the batch, and with the length as a square where
attention is not fused. So a curve through two or three forecasts says what any other shape needs, and one more
forecast, at the largest shape found, says whether it does. Where it does not, the curve goes through that one too, and
what it says then is verified in its turn.
"""

import bisect
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

Phases = dict[str, int]
"""Peak bytes of each phase of a step."""

TOLERANCE = 0.01
MOST = 2**20
MORE_VERIFICATIONS = 2
"""How many more forecasts are made at most where the first one to verify a curve is not what it says."""


@dataclass
class Curve:
    """What a step needs against a number that its shape has, by the forecasts made so far.

    forecast  number -> peak bytes by phase; takes about a second
    most      the largest number there is, or None
    degree    of the polynomial that each phase follows; between more forecasts than that takes, each stretch has the
              polynomial through those nearest to it
    """

    forecast: Callable[[int], Phases]
    most: int | None = None
    known: dict[int, Phases] = field(default_factory=dict)
    degree: int = 1

    def at(self, *numbers: int) -> None:
        """Make forecasts at these numbers, where there are none yet."""
        for number in numbers:
            if number not in self.known:
                self.known[number] = self.forecast(number)

    def needs(self, number: int) -> float:
        """Bytes at a number: of every phase what the polynomial through its forecasts says, and the most of that."""
        if number in self.known:
            return max(self.known[number].values())
        near = self._around(number)
        degree = len(near) - 1
        return max(
            float(np.polyval(np.polyfit(near, [self.known[n][phase] for n in near], degree), number))
            for phase in self.known[near[0]]
        )

    def _around(self, number: int) -> list[int]:
        """Those of the known numbers whose polynomial holds at a number: the ones it lies between, and their like."""
        numbers = sorted(self.known)
        window = min(self.degree + 1, len(numbers))
        first = bisect.bisect(numbers, number) - 1 - (window - 1) // 2
        first = min(max(first, 0), len(numbers) - window)
        return numbers[first : first + window]

    def largest(self, limit_bytes: int) -> int:
        """The largest number that fits; 0 where none does, and at most `most` or a million."""
        low, high = 0, self.most or MOST
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.needs(middle) <= limit_bytes else (low, middle - 1)
        return low

    def verify(self, limit_bytes: int) -> float | None:
        """Make one more forecast, at the largest number that fits, and up to two more where the curve was off.

        Each that differs from the curve by more than TOLERANCE becomes a part of it, and then what fits is verified
        anew. Returns what the last of them says, as a ratio to the curve before it, or 1 where the curve, once mended,
        points to a number that has its forecast. None where none was made: nothing fits, or what fits has its own.
        """
        ratio = None
        for _ in range(1 + MORE_VERIFICATIONS):
            number = self.largest(limit_bytes)
            if number == 0:
                return ratio
            if number in self.known:
                return None if ratio is None else 1.0
            expected = self.needs(number)
            found = self.forecast(number)
            ratio = max(found.values()) / expected
            self.known[number] = found
            if abs(ratio - 1) <= TOLERANCE:
                break
        return ratio
