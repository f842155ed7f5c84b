"""How far training moved the biases: a heat map of layers and roles for every strategy, and a table of the roles.

All figures are mean absolute changes in thousandths, means over seeds. Layers count from 0, next to the embeddings.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.results import BiasChange, QualityResult
from reports import formats
from reports.drawing import DARK, INK, LIGHT, PAPER, TEXT, name_axes, panels
from reports.palette import label
from reports.run import Arm, Task
from reports.sentences import spelled
from reports.statistics import summarize
from reports.table import Cell, Column, Table

UNIT = 1e-3
OUTSIDE = "\N{EN DASH}"
# Perceptually uniform, and the same to the eye under the common colour blindnesses.
COLOURS = colormaps["cividis"]
PRINTED_COLUMNS = 8
ROW_INCHES, MARGIN_INCHES = 0.21, 0.5


@dataclass(frozen=True)
class Grid:
    """The changes of one strategy on one task.

    layers  columns, from 0 on; None for biases outside the layers, last
    values  (roles, layers), in thousandths; NaN where the strategy trains no such bias
    """

    name: str
    roles: tuple[str, ...]
    layers: tuple[int | None, ...]
    values: np.ndarray


def grids(task: Task) -> list[Grid]:
    """A grid for every strategy that has bias changes, in the task's order of strategies."""
    return [_grid(arm) for arm in task.arms if _changes(arm)]


def _grid(arm: Arm) -> Grid:
    found: dict[tuple[str, int | None], list[float]] = {}
    for change in _changes(arm):
        found.setdefault((change.role, change.layer), []).append(change.mean_absolute_change / UNIT)
    roles = tuple(dict.fromkeys(role for role, _ in found))
    layers = {layer for _, layer in found}
    columns = (*sorted(layer for layer in layers if layer is not None), *(layer for layer in layers if layer is None))
    means = [[np.mean(found.get((role, layer), [np.nan])) for layer in columns] for role in roles]
    return Grid(label(arm.name, arm.strategy), roles, columns, np.array(means))


def _changes(arm: Arm) -> list[BiasChange]:
    return [change for _, result in arm.results for change in result.bias_change or ()]


def heat_maps(shown: Sequence[Grid], task: Task) -> Figure:
    """A panel for every grid, below each other, each with a colour scale of its own that begins at 0."""
    figure, axes = panels([MARGIN_INCHES + ROW_INCHES * len(grid.roles) for grid in shown])
    for grid, panel in zip(shown, axes, strict=True):
        _draw(figure, panel, grid)
        name_axes(panel, f"layer ({OUTSIDE}: outside the layers)" if None in grid.layers else "layer")
    # The figure is also a file of its own, so it says what it shows.
    name_axes(axes[-1], f"{axes[-1].get_xlabel()}\nmean absolute change in thousandths on {spelled(task)}")
    return figure


def _draw(figure: Figure, axes: Axes, grid: Grid) -> None:
    top = float(np.nanmax(grid.values)) or 1.0
    known = np.ma.masked_invalid(grid.values)
    mesh = axes.pcolormesh(known, cmap=COLOURS, vmin=0, vmax=top, edgecolors=PAPER, linewidth=0.8)
    axes.set_title(grid.name, loc="left", color=INK, fontsize=TEXT, fontweight="bold", parse_math=False)
    places = [place + 0.5 for place in range(max(grid.values.shape))]
    axes.set_yticks(places[: len(grid.roles)], [_spoken(role) for role in grid.roles], parse_math=False)
    axes.invert_yaxis()
    step = 1 + len(grid.layers) // 14
    named = [
        (place, OUTSIDE if layer is None else str(layer))
        for place, layer in zip(places, grid.layers, strict=False)
        if layer is None or layer % step == 0
    ]
    axes.set_xticks(*zip(*named, strict=True))
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    if len(grid.layers) <= PRINTED_COLUMNS:
        _print_values(axes, grid, top)
    else:
        bar = figure.colorbar(mesh, ax=axes, pad=0.02, aspect=5 * len(grid.roles))
        bar.ax.tick_params(length=2, color=INK, labelcolor=INK, labelsize=TEXT)
        bar.outline.set_visible(False)


def _print_values(axes: Axes, grid: Grid, top: float) -> None:
    """Write each value into its field, dark on light and light on dark."""
    for (row, column), value in np.ndenumerate(grid.values):
        if np.isnan(value):
            continue
        red, green, blue, _ = COLOURS(value / top)
        ink = DARK if 0.3 * red + 0.59 * green + 0.11 * blue > 0.46 else LIGHT
        text = formats.significant(value, 2, most=3)
        axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", color=ink, fontsize=TEXT)


def role_table(task: Task) -> Table | None:
    """Change by role, the mean over its layers, for every strategy that has bias changes; None where none has."""
    arms = [arm for arm in task.arms if _changes(arm)]
    if not arms:
        return None
    roles = list(dict.fromkeys(change.role for arm in arms for change in _changes(arm)))
    columns = (Column("strategy", numeric=False), *(Column(_spoken(role)) for role in roles))
    rows = tuple(
        (Cell(label(arm.name, arm.strategy), strategy=arm.strategy), *(_role_cell(arm, role) for role in roles))
        for arm in arms
    )
    caption = (
        "Mean absolute change of the biases of each role in thousandths, mean over layers; mean and standard "
        "deviation over seeds. n/a: the strategy trains no such bias."
    )
    return Table(caption, columns, rows)


def _role_cell(arm: Arm, role: str) -> Cell:
    found = summarize(arm.by_seed(lambda result: _over_layers(result, role)).values())
    if found is None:
        return Cell(formats.MISSING)
    spread = "1 seed" if found.sd is None else f"\N{PLUS-MINUS SIGN} {formats.significant(found.sd, 2)}"
    return Cell(formats.significant(found.mean, 3), spread)


def _over_layers(result: QualityResult, role: str) -> float | None:
    values = [change.mean_absolute_change / UNIT for change in result.bias_change or () if change.role == role]
    return float(np.mean(values)) if values else None


def _spoken(role: str) -> str:
    return role.replace("_", " ")
