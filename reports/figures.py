"""The figures of a report, drawn with matplotlib's object interface: no global state, the same bytes every time.

Each function returns a `Figure`, which `reports.drawing` turns into text and files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports import formats
from reports.drawing import FAINT, INK, PAPER, SIZE, TEXT, canvas, label_points, name_axes, note_ends
from reports.formats import metric
from reports.palette import label, style
from reports.run import Arm, Task
from reports.sentences import short, spelled
from reports.statistics import Summary, summarize
from reports.verdict import Row, Verdict


@dataclass(frozen=True)
class Point:
    """A strategy in a score-against-cost figure; `low` and `high` bound the cost where it has an interval."""

    name: str
    strategy: str
    cost: float
    low: float | None
    high: float | None
    score: Summary


def common_score(verdict: Verdict) -> tuple[list[str], dict[str, Summary]]:
    """The tasks whose headline is a share, higher better, and each row's score averaged over them.

    The average is taken seed by seed, so that its spread is that of whole runs. Rows that lack a task are left out:
    their average would be of something else.
    """
    tasks = [task.name for task in verdict.model.tasks if _is_share(task.headline)]
    found: dict[str, Summary] = {}
    for row in verdict.rows:
        if not tasks or any(task not in row.scores for task in tasks):
            continue
        seeds = set.intersection(*(set(row.scores[task].seeds) for task in tasks))
        means = [_mean([row.scores[task].seeds[seed] for task in tasks]) for seed in sorted(seeds)]
        summary = summarize(means)
        if summary is not None:
            found[row.name] = summary
    return tasks, found


def memory_points(verdict: Verdict, scores: Mapping[str, Summary]) -> list[Point]:
    """Peak memory in MiB and score of every row that has both."""
    return [
        Point(row.name, row.strategy, row.cost.peak_bytes / 2**20, None, None, scores[row.name])
        for row in verdict.rows
        if row.name in scores and row.cost is not None and row.cost.peak_bytes is not None
    ]


def step_points(verdict: Verdict, scores: Mapping[str, Summary]) -> list[Point]:
    """Step-time ratio and score of every row that has both; full fine-tuning stands at 1."""
    points = []
    for row in verdict.rows:
        cost = row.cost
        if row.name not in scores or cost is None or cost.result is None:
            continue
        if cost.ratio is None and cost.why is None:
            points.append(Point(row.name, row.strategy, 1.0, None, None, scores[row.name]))
        elif cost.ratio is not None:
            interval = cost.ratio.interval
            low, high = (None, None) if interval is None else (interval.low, interval.high)
            points.append(Point(row.name, row.strategy, cost.ratio.value, low, high, scores[row.name]))
    return points


def pareto(points: Sequence[Point]) -> list[Point]:
    """The points that no other beats in score without costing more, from the cheapest on."""
    front: list[Point] = []
    for point in sorted(points, key=lambda p: (p.cost, -p.score.mean)):
        if not front or point.score.mean > front[-1].score.mean:
            front.append(point)
    return front


def against(points: Sequence[Point], cost_label: str, score_label: str) -> Figure:
    """Score against cost: error bars, the Pareto front, and every strategy's name at its point."""
    figure, axes = canvas()
    name_axes(axes, cost_label, score_label)
    stairs = staircase(pareto(points))
    axes.plot(*zip(*stairs, strict=True), color=FAINT, linewidth=1.3, linestyle=(0, (4, 3)), zorder=1)
    for point in points:
        _draw(axes, point)
    axes.set_xlim(0, 1.12 * max(point.high or point.cost for point in points))
    axes.margins(y=0.12)
    places = [(point.cost, 100 * point.score.mean) for point in points]
    spreads = [100 * (point.score.sd or 0.0) for point in points]
    label_points(axes, places, spreads, [label(point.name, point.strategy) for point in points], stairs)
    return figure


def staircase(front: Sequence[Point]) -> list[tuple[float, float]]:
    """The corners of the front as a path: the best score in points to be had at each cost or less."""
    corners: list[tuple[float, float]] = []
    for point in front:
        if corners:
            corners.append((point.cost, corners[-1][1]))
        corners.append((point.cost, 100 * point.score.mean))
    return corners


def _draw(axes: Axes, point: Point) -> None:
    """One strategy's marker with its error bars."""
    colour, marker = style(point.strategy).colour, style(point.strategy).marker
    x, y = point.cost, 100 * point.score.mean
    left, right = x - (point.low or x), (point.high or x) - x
    axes.errorbar(
        [x],
        [y],
        xerr=[[left], [right]],
        yerr=[100 * (point.score.sd or 0.0)],
        fmt="none",
        ecolor=colour,
        elinewidth=1.3,
        zorder=3,
    )
    axes.plot([x], [y], marker, color=colour, markersize=7, markeredgecolor=PAPER, markeredgewidth=0.8, zorder=4)


def curves(task: Task) -> Figure:
    """Evaluation score over training for every strategy: mean over seeds and a band of one standard deviation."""
    headline = metric(task.headline or "")
    figure, axes = canvas()
    name_axes(axes, "training examples seen", f"{headline.label} on {spelled(task)}")
    ends: list[tuple[float, float, str, str]] = []
    for arm in task.arms:
        seen, mean, spread = curve(arm, formats.scale(headline))
        if not len(seen):
            continue
        look = style(arm.strategy)
        axes.fill_between(seen, mean - spread, mean + spread, color=look.colour, alpha=0.15, linewidth=0, zorder=2)
        axes.plot(seen, mean, color=look.colour, marker=look.marker, markersize=4, linewidth=1.5, zorder=3)
        ends.append((float(seen[-1]), float(mean[-1]), label(arm.name, arm.strategy), look.colour))
    axes.set_xlim(left=0)
    note_ends(axes, ends)
    return figure


def curve(arm: Arm, factor: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Examples seen, mean score and its standard deviation (0 for one seed) at every curve point that has a score."""
    at: dict[int, list[float]] = {}
    for _, result in arm.results:
        for point in result.curve:
            if point.evaluation_score is not None:
                at.setdefault(point.examples_seen, []).append(factor * point.evaluation_score)
    seen = sorted(at)
    summaries = [found for place in seen if (found := summarize(at[place])) is not None]
    means = np.array([found.mean for found in summaries])
    return np.array(seen), means, np.array([found.sd or 0.0 for found in summaries])


def gaps(task: Task, rows: Sequence[Row]) -> Figure:
    """Train-sample and evaluation score of every strategy on one line, the gap between them written beside it."""
    headline = metric(task.headline or "")
    factor = formats.scale(headline)
    shown = [row for row in rows if task.name in row.scores and row.scores[task.name].gap is not None]
    figure, axes = canvas(height=max(SIZE[1] * 0.5, 0.36 * len(shown) + 1.0))
    name_axes(axes, f"{headline.label} on {spelled(task)}\nhollow: train sample, filled: evaluation")
    for place, row in enumerate(reversed(shown)):
        score, look = row.scores[task.name], style(row.strategy)
        if score.summary is None or score.gap is None:
            continue
        low, wide = factor * score.summary.mean, factor * score.gap.mean
        axes.plot([low, low + wide], [place, place], color=look.colour, linewidth=2.2, alpha=0.55, zorder=2)
        for x, inside in ((low + wide, PAPER), (low, look.colour)):
            axes.plot(
                [x], [place], look.marker, color=look.colour, markersize=7, markerfacecolor=inside, markeredgewidth=1.4
            )
        beyond = max(low, low + wide)
        text = formats.signed(wide, 1 if headline.unit == "fraction" else 3)
        axes.annotate(text, (beyond, place), (9, 0), textcoords="offset points", va="center", color=INK, fontsize=TEXT)
    axes.set_yticks(range(len(shown)), [label(row.name, row.strategy) for row in reversed(shown)], parse_math=False)
    axes.set_ylim(-0.7, len(shown) - 0.3)
    axes.margins(x=0.18)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return figure


def score_axis(tasks: Sequence[Task]) -> str:
    """What the score axis of a cost figure shows, marks included: the figure is also a file of its own."""
    kinds = dict.fromkeys(metric(task.headline).label for task in tasks if task.headline)
    what = next(iter(kinds)) if len(kinds) == 1 else "headline score"
    if len(tasks) == 1:
        return f"{what} on {spelled(tasks[0])}"
    names = ", ".join(map(spelled, tasks))
    if len(names) <= 48:
        return f"{what}, mean of\n{names}"
    marks = dict.fromkeys(short(mark) for task in tasks for mark in task.marks)
    return "\n".join(filter(None, (f"{what}, mean of {len(tasks)} tasks", "; ".join(marks))))


def _is_share(headline: str | None) -> bool:
    if headline is None:
        return False
    found = metric(headline)
    return found.unit == "fraction" and found.higher_is_better is True


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known and len(known) == len(values) else None
