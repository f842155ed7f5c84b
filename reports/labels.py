"""Where to put the labels of points in a figure so that none hides another, a point or an error bar."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# Directions tried around a point, the most readable first, as shares of the label's own width and height.
DIRECTIONS = ((0.0, -0.5), (-0.5, 0.0), (-0.5, -1.0), (-1.0, -0.5), (0.0, 0.0), (0.0, -1.0), (-1.0, 0.0), (-1.0, -1.0))
DISTANCES = (7.0, 12.0, 20.0, 30.0, 42.0)


@dataclass(frozen=True)
class Box:
    """A rectangle, its left lower corner first."""

    left: float
    bottom: float
    width: float
    height: float

    def overlaps(self, other: "Box") -> bool:
        """Whether the two share an area."""
        return (
            self.left < other.left + other.width
            and other.left < self.left + self.width
            and self.bottom < other.bottom + other.height
            and other.bottom < self.bottom + self.height
        )

    def within(self, other: "Box") -> bool:
        """Whether this lies wholly inside `other`."""
        return (
            self.left >= other.left
            and self.bottom >= other.bottom
            and self.left + self.width <= other.left + other.width
            and self.bottom + self.height <= other.bottom + other.height
        )


def place(
    points: Sequence[tuple[float, float]],
    sizes: Sequence[tuple[float, float]],
    area: Box,
    obstacles: Iterable[Box] = (),
) -> list[Box]:
    """A box for each point's label, in the points' order and unit.

    Boxes lie as near to their point as they can without touching another label or an obstacle. Where that fails
    all labels go into one column at the right edge, in the order of their points' heights: readable whenever their
    heights together fit the area.
    """
    blocked = list(obstacles)
    placed: dict[int, Box] = {}
    # Crowded points first: a lone point finds room anywhere.
    for index in sorted(range(len(points)), key=lambda i: _room(points, i)):
        found = _beside(points[index], sizes[index], area, [*blocked, *placed.values()])
        if found is None:
            return _column(points, sizes, area)
        placed[index] = found
    return [placed[index] for index in range(len(points))]


def spread(wanted: Sequence[float], height: float, low: float, high: float) -> list[float]:
    """Centres as near to the wanted ones as they can be while `height` apart, within low and high where they fit."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    centres = [0.0] * len(wanted)
    floor = low + height / 2
    for index in order:
        centres[index] = floor = max(wanted[index], floor)
        floor += height
    ceiling = high - height / 2
    for index in reversed(order):
        centres[index] = ceiling = min(centres[index], ceiling)
        ceiling -= height
    return centres


def _room(points: Sequence[tuple[float, float]], index: int) -> float:
    x, y = points[index]
    distances = sorted((x - a) ** 2 + (y - b) ** 2 for i, (a, b) in enumerate(points) if i != index)
    return distances[0] if distances else 0.0


def _beside(point: tuple[float, float], size: tuple[float, float], area: Box, blocked: Sequence[Box]) -> Box | None:
    (x, y), (width, height) = point, size
    for distance in DISTANCES:
        for across, up in DIRECTIONS:
            # A share of -0.5 centres the label on the point in that direction, so it needs no distance there.
            left = x + across * width + (0.0 if across == -0.5 else distance * (1 if across == 0 else -1))
            bottom = y + up * height + (0.0 if up == -0.5 else distance * (1 if up == 0 else -1))
            box = Box(left, bottom, width, height)
            if box.within(area) and not any(box.overlaps(other) for other in blocked):
                return box
    return None


def _column(points: Sequence[tuple[float, float]], sizes: Sequence[tuple[float, float]], area: Box) -> list[Box]:
    tallest = max(height for _, height in sizes)
    centres = spread([y for _, y in points], tallest, area.bottom, area.bottom + area.height)
    right = area.left + area.width
    return [
        Box(right - width, centre - height / 2, width, height)
        for (width, height), centre in zip(sizes, centres, strict=True)
    ]
