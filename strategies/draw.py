"""Random coordinates of weight matrices: drawn uniformly, or as whole rows and columns."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Axis = Literal["row", "column"]
Shapes = Mapping[str, tuple[int, int]]


@dataclass(frozen=True)
class Drawn:
    """Coordinates of one matrix.

    indices  flat row-major coordinates: int64, sorted, unique
    axis     None for single coordinates; else they fill whole slices along it, of which only the last one, that
             with the largest number, may stop early
    """

    indices: NDArray[np.int64]
    axis: Axis | None = None


def uniform(generator: np.random.Generator, shapes: Shapes, count: int) -> dict[str, Drawn]:
    """Draw `count` coordinates uniformly and without replacement over all matrices; those drawn empty are left out."""
    sizes = [rows * columns for rows, columns in shapes.values()]
    ends = np.cumsum(sizes, dtype=np.int64)
    flat = np.sort(generator.choice(int(ends[-1]), count, replace=False, shuffle=False))
    parts = np.split(flat, np.searchsorted(flat, ends[:-1]))
    starts = ends - np.asarray(sizes)
    return {
        name: Drawn((part - start).astype(np.int64))
        for name, part, start in zip(shapes, parts, starts, strict=True)
        if part.size
    }


def rows_or_columns(generator: np.random.Generator, shapes: Shapes, count: int) -> dict[str, Drawn]:
    """Draw `count` coordinates as slices: each matrix gets its share by size, and one orientation by a fair coin."""
    shares = share([rows * columns for rows, columns in shapes.values()], count)
    drawn: dict[str, Drawn] = {}
    for (name, shape), quota in zip(shapes.items(), shares, strict=True):
        axis: Axis = "row" if generator.integers(2) == 0 else "column"
        if quota:
            drawn[name] = Drawn(_slices(generator, shape, quota, axis), axis)
    return drawn


def share(sizes: list[int], count: int) -> list[int]:
    """Divide `count` in proportion to `sizes`, exactly, by largest remainder; ties go to the earlier one."""
    total = sum(sizes)
    shares = [count * size // total for size in sizes]
    by_remainder = sorted(range(len(sizes)), key=lambda i: -(count * sizes[i] % total))
    for index in by_remainder[: count - sum(shares)]:
        shares[index] += 1
    return shares


def _slices(generator: np.random.Generator, shape: tuple[int, int], quota: int, axis: Axis) -> NDArray[np.int64]:
    """Flat coordinates of randomly drawn slices of one matrix, `quota` of them."""
    rows, columns = shape
    lines, length = (rows, columns) if axis == "row" else (columns, rows)
    chosen = np.sort(generator.choice(lines, -(-quota // length), replace=False)).astype(np.int64)
    along = np.arange(length, dtype=np.int64)
    grid = chosen[:, None] * columns + along if axis == "row" else along * columns + chosen[:, None]
    return np.sort(grid.reshape(-1)[:quota])
