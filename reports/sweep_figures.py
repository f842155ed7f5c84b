"""Figures of a sweep: score, difference to full fine-tuning and generalization gap against the training-set size."""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from reports import formats
from reports.drawing import FAINT, canvas, name_axes, note_ends
from reports.formats import metric
from reports.palette import label, style
from reports.sentences import spelled
from reports.statistics import Summary
from reports.sweep import SweepRow, SweepVerdict
from reports.verdict import Score

ACROSS = "training examples, logarithmic"
# Labels of two sizes closer than this share of the axis would run into each other.
NEAREST_LABELS = 0.09
# Strategies stand side by side at a size, so many shares of the axis apart, lest one's interval hide another's.
APART = 0.011
# Room left and right of the sizes, for strategies that stand beside them.
MARGIN = 0.06


def scores(verdict: SweepVerdict) -> Figure:
    """Score against size: mean over seeds and a band of one standard deviation for every strategy."""
    return _bands(verdict, lambda score: score.summary, _what(verdict))


def gaps(verdict: SweepVerdict) -> Figure:
    """Generalization gap against size: mean over seeds and a band of one standard deviation for every strategy."""
    return _bands(verdict, lambda score: score.gap, f"gap in {_what(verdict)}")


def differences(verdict: SweepVerdict) -> Figure:
    """Difference to full fine-tuning against size, with its paired interval where there is one."""
    figure, axes = _canvas(verdict, f"{_what(verdict)},\nagainst full fine-tuning")
    factor = formats.scale(metric(verdict.headline or ""))
    axes.axhline(0, color=FAINT, linewidth=1.3, linestyle=(0, (4, 3)), zorder=1)
    rows = [row for row in verdict.rows if any(s is not None and s.difference is not None for s in row.scores)]
    ends: list[tuple[float, float, str, str]] = []
    for number, row in enumerate(rows):
        known = [(size, s.difference) for size, s in _known(verdict, row) if s.difference is not None]
        sizes = _beside([size for size, _ in known], axes, number - (len(rows) - 1) / 2)
        means = [factor * found.mean for _, found in known]
        spans = [0.0 if found.interval is None else factor * found.interval.half_width for _, found in known]
        look = style(row.strategy)
        axes.errorbar(sizes, means, yerr=spans, fmt="none", ecolor=look.colour, elinewidth=1.1, alpha=0.75, zorder=2)
        axes.plot(sizes, means, color=look.colour, marker=look.marker, markersize=4.5, linewidth=1.5, zorder=3)
        ends.append((sizes[-1], means[-1], label(row.name, row.strategy), look.colour))
    note_ends(axes, ends)
    return figure


def _bands(verdict: SweepVerdict, value: Callable[[Score], Summary | None], up: str) -> Figure:
    figure, axes = _canvas(verdict, up)
    factor = formats.scale(metric(verdict.headline or ""))
    ends: list[tuple[float, float, str, str]] = []
    for row in verdict.rows:
        known = [(size, found) for size, score in _known(verdict, row) if (found := value(score)) is not None]
        if not known:
            continue
        sizes = [size for size, _ in known]
        means = factor * np.array([found.mean for _, found in known])
        spread = factor * np.array([found.sd or 0.0 for _, found in known])
        look = style(row.strategy)
        axes.fill_between(sizes, means - spread, means + spread, color=look.colour, alpha=0.15, linewidth=0, zorder=2)
        axes.plot(sizes, means, color=look.colour, marker=look.marker, markersize=4, linewidth=1.5, zorder=3)
        ends.append((float(sizes[-1]), float(means[-1]), label(row.name, row.strategy), look.colour))
    note_ends(axes, ends)
    return figure


def _canvas(verdict: SweepVerdict, up: str) -> tuple[Figure, Axes]:
    """Axes over the logarithm of the sizes, with a tick at each of them."""
    sizes = [size for size in verdict.sizes if size is not None]
    figure, axes = canvas()
    name_axes(axes, ACROSS, up)
    axes.set_xscale("log")
    margin = (sizes[-1] / sizes[0]) ** MARGIN
    axes.set_xlim(sizes[0] / margin, sizes[-1] * margin)
    axes.xaxis.set_major_locator(FixedLocator(sizes))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(sizes, _tick_labels(sizes))
    return figure, axes


def _tick_labels(sizes: Sequence[int]) -> list[str]:
    """A label for each size, the largest always; '' where it would run into the next one."""
    places = np.log(sizes)
    nearest = NEAREST_LABELS * (places[-1] - places[0])
    labels: list[str] = []
    left = np.inf
    for place, size in zip(places[::-1], sizes[::-1], strict=True):
        shown = left - place >= nearest
        labels.append(f"{size:,}" if shown else "")
        left = place if shown else left
    return labels[::-1]


def _known(verdict: SweepVerdict, row: SweepRow) -> list[tuple[int, Score]]:
    both = zip(verdict.sizes, row.scores, strict=True)
    return [(size, score) for size, score in both if size is not None and score is not None]


def _beside(sizes: Sequence[int], axes: Axes, steps: float) -> list[float]:
    """The sizes moved sideways by so many steps on the logarithmic axis."""
    low, high = axes.get_xlim()
    return [float(size * (high / low) ** (APART * steps)) for size in sizes]


def _what(verdict: SweepVerdict) -> str:
    """The score and the task with its marks in short: a figure is also a file of its own."""
    task = verdict.sweep.largest
    return f"{metric(verdict.headline or '').label} on {spelled(task)}".replace(task.name, verdict.sweep.name)
