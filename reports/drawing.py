"""The canvas of every figure: its look, the labels on it, and how it becomes SVG text and files."""

import io
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from xml.sax.saxutils import quoteattr

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.ticker import MaxNLocator

from reports.files import write_atomic
from reports.labels import Box, place, spread

# Colours that stand for a role; a page replaces each by a variable of its theme.
INK, FAINT, RULE, PAPER = "#1c2127", "#8b939e", "#e4e7eb", "#ffffff"
# Text on a coloured field, which no theme changes: near black and near white.
DARK, LIGHT = "#0b0e11", "#fcfdfe"
VARIABLES = {INK: "var(--ink)", FAINT: "var(--faint)", RULE: "var(--rule)", PAPER: "var(--paper)"}
SIZE = (4.6, 3.5)
TEXT = 8.5
FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"

_MARKER, _CLEARANCE = 6.0, 2.0

Place = tuple[float, float]


def canvas(height: float = SIZE[1]) -> tuple[Figure, Axes]:
    """An empty figure of the house style, `height` in inches, and its axes."""
    figure, (axes,) = panels([height])
    return figure, axes


def panels(heights: Sequence[float]) -> tuple[Figure, list[Axes]]:
    """An empty figure of the house style with axes below each other, one for each height in inches."""
    figure = Figure(figsize=(SIZE[0], sum(heights)), dpi=100, layout="constrained", facecolor=PAPER)
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(len(heights), 1, height_ratios=heights)
    return figure, [_styled(figure.add_subplot(grid[row], facecolor=PAPER)) for row in range(len(heights))]


def _styled(axes: Axes) -> Axes:
    """The axes in the house style."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
    axes.grid(color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=3, pad=3, color=FAINT, labelcolor=INK, labelsize=TEXT)
    return axes


def name_axes(axes: Axes, across: str, up: str = "") -> None:
    """Write what the axes show; names are plain text, so a dollar sign is a dollar sign."""
    axes.set_xlabel(across, color=INK, fontsize=TEXT, parse_math=False)
    axes.set_ylabel(up, color=INK, fontsize=TEXT, parse_math=False)


def label_points(
    axes: Axes, points: Sequence[Place], spreads: Sequence[float], texts: Sequence[str], path: Sequence[Place] = ()
) -> None:
    """Write each text at its point, clear of all points, their vertical error bars, each other and a `path` of steps.

    Limits of the axes must be set before: this fixes the layout. A label that has to stand off gets a line.
    """
    figure = _settle(axes)
    pixels = [(float(x), float(y)) for x, y in axes.transData.transform(points)]
    obstacles = [_around(point, point, _MARKER) for point in pixels]
    bars = [((x, y - half), (x, y + half)) for (x, y), half in zip(points, spreads, strict=True)]
    for line in [*bars, *pairwise(path)]:
        start, end = axes.transData.transform(line)
        obstacles.append(_around(tuple(start), tuple(end), _CLEARANCE))
    extent = axes.get_window_extent()
    boxes = place(pixels, _sizes(figure, texts), Box(extent.x0, extent.y0, extent.width, extent.height), obstacles)
    for (x, y), box, text in zip(pixels, boxes, texts, strict=True):
        wide, high = figure.bbox.width, figure.bbox.height
        middle = box.bottom + box.height / 2
        centred = box.left < x < box.left + box.width
        near = x if centred else min((box.left, box.left + box.width), key=lambda edge: abs(edge - x))
        if abs(near - x) + (abs(middle - y) if not centred else 0) > 16 or (centred and abs(middle - y) > 22):
            ends = ([x / wide, near / wide], [y / high, middle / high])
            axes.plot(*ends, color=FAINT, linewidth=0.7, transform=figure.transFigure, zorder=2, clip_on=False)
        figure.text(
            (box.left + box.width / 2) / wide,
            middle / high,
            text,
            ha="center",
            va="center",
            color=INK,
            fontsize=TEXT,
            parse_math=False,
        )


def note_ends(axes: Axes, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Write the name of each line right of the axes at the height where it ends: (x, y, name, colour)."""
    if not ends:
        return
    figure = _settle(axes)
    heights = [float(axes.transData.transform((x, y))[1]) for x, y, _, _ in ends]
    tallest = max(height for _, height in _sizes(figure, [name for *_, name, _ in ends]))
    extent = axes.get_window_extent()
    centres = spread(heights, tallest, extent.y0 - 0.06 * extent.height, extent.y1)
    right = axes.get_xlim()[1]
    outside = [extent.x1 + share * extent.width for share in (0.045, 0.055)]
    for (x, y, name, colour), centre in zip(ends, centres, strict=True):
        (tip, height), (start, _) = (axes.transData.inverted().transform((pixel, centre)) for pixel in outside)
        axes.plot([x, tip], [y, height], color=colour, linewidth=0.7, alpha=0.6, clip_on=False, zorder=1)
        axes.text(start, height, name, va="center", color=INK, fontsize=TEXT, clip_on=False, parse_math=False)
    axes.set_xlim(right=right)
    figure.set_layout_engine("constrained")


def svg(figure: Figure, name: str) -> str:
    """The figure as an SVG document, the same text for the same figure and name."""
    buffer = io.StringIO()
    metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata=metadata)
    return re.sub(r"'DejaVu Sans'(, [^;\"]*)?", FONTS, buffer.getvalue())


def inline(document: str, description: str) -> str:
    """An SVG document as an element for a page: themed colours, no fixed size, a description, no unused ids."""
    start = document.index("<svg")
    body = document[document.index(">", start) + 1 :]
    box = re.search(r'viewBox="([^"]*)"', document[start:])
    body = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>", "", body, flags=re.DOTALL)
    used = set(re.findall(r"""#([^"')]+)""", body))
    body = re.sub(r' id="([^"]+)"', lambda found: found.group(0) if found.group(1) in used else "", body)
    body = body.replace("xlink:href", "href").replace(f" font-family: {FONTS};", "")
    for colour, variable in VARIABLES.items():
        body = body.replace(colour, variable)
    head = f'<svg viewBox="{box.group(1) if box else ""}" role="img" aria-label={quoteattr(description)}>'
    return head + body


def write(figure: Figure, folder: Path, name: str) -> None:
    """Write the figure as `name`.svg and `name`.png into `folder`."""
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=200)
    write_atomic(folder / f"{name}.svg", svg(figure, name).encode())
    write_atomic(folder / f"{name}.png", picture.getvalue())


def _around(start: Place, end: Place, clearance: float) -> Box:
    """The box around a level or upright line, `clearance` wider on every side."""
    (left, right), (bottom, top) = sorted((start[0], end[0])), sorted((start[1], end[1]))
    return Box(left - clearance, bottom - clearance, right - left + 2 * clearance, top - bottom + 2 * clearance)


def _settle(axes: Axes) -> Figure:
    """Compute the layout and keep it, so that places on the canvas are final."""
    figure = axes.get_figure(root=True)
    if figure is None:
        raise ValueError("these axes belong to no figure")
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure


def _sizes(figure: Figure, texts: Sequence[str]) -> list[tuple[float, float]]:
    """Width and height of each text in pixels, with a little air."""
    canvas = figure.canvas
    if not isinstance(canvas, FigureCanvasAgg):
        raise ValueError("the figure has no canvas to measure text with")
    renderer = canvas.get_renderer()  # type: ignore[no-untyped-call]
    font = FontProperties(family="DejaVu Sans", size=TEXT)
    measured = (renderer.get_text_width_height_descent(text, font, False) for text in texts)
    return [(width + 3, height + 3) for width, height, _ in measured]
