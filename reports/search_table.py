"""How learning rates were chosen: every rate a search tried, what it scored on the selection split, and the budget."""

from collections.abc import Sequence
from statistics import fmean

import numpy as np

from bench.metrics import Metric
from bench.results import Searched, Tried
from reports import formats
from reports.formats import metric
from reports.palette import label
from reports.run import Arm, Task
from reports.table import Cell, Column, Table

METHODS = {"grid": "a full grid", "halving": "successive halving"}


def search_table(task: Task) -> Table | None:
    """A row a strategy; None where no learning rate of the task was searched."""
    found = [(arm, _search_of(arm)) for arm in task.arms]
    if task.headline is None or all(search is None for _, search in found):
        return None
    columns = (
        Column("strategy", numeric=False),
        Column("chosen", "learning rate"),
        Column("tried", "rate: selection score", numeric=False),
        Column("trainings", "in the search"),
        Column(_unit(task), "in the search"),
        Column("time", "in the search"),
    )
    rows = tuple(_row(arm, search, metric(task.headline)) for arm, search in found)
    return Table(_caption([search for _, search in found if search is not None]), columns, rows)


def rate(value: float) -> str:
    """A learning rate as people write it: 2.4e-2."""
    return np.format_float_scientific(value, trim="-", exp_digits=1)


def _unit(task: Task) -> str:
    return next((one.cell.length_unit for arm in task.arms for one in arm.cells), "epochs")


def _search_of(arm: Arm) -> Searched | None:
    return next((result.search for _, result in arm.results if result.search is not None), None)


def _row(arm: Arm, search: Searched | None, headline: Metric) -> tuple[Cell, ...]:
    name = Cell(label(arm.name, arm.strategy), strategy=arm.strategy)
    if search is None:
        fixed = next((one.cell.learning_rate for one in arm.cells if isinstance(one.cell.learning_rate, float)), None)
        chosen = Cell(
            formats.MISSING if fixed is None else rate(fixed), "" if fixed is None else "given, not searched"
        )
        return (name, chosen, *[Cell(formats.MISSING)] * 4)
    seconds = [one.training_seconds for one in search.tried if one.training_seconds is not None]
    return (
        name,
        Cell(rate(search.learning_rate), strong=True),
        Cell("; ".join(_scores(search.tried, headline))),
        Cell(str(len(search.tried))),
        _spent_cell(search.tried),
        Cell(formats.seconds(sum(seconds))),
    )


def _spent_cell(tried: Sequence[Tried]) -> Cell:
    """Epochs or steps trained, and the budget where trials that stopped early left some of it."""
    spent, given = sum(one.spent for one in tried), sum(one.length for one in tried)
    return Cell(f"{spent:g}", "" if spent == given else f"of {given:g}, stopped early")


def _scores(tried: Sequence[Tried], headline: Metric) -> list[str]:
    """'1e-4: 91.2' for each rate, its mean over the search's seeds; rounds of different lengths apart."""
    grouped: dict[tuple[float, float], list[Tried]] = {}
    for one in tried:
        grouped.setdefault((one.length, one.learning_rate), []).append(one)
    lengths = {length for length, _ in grouped}
    texts = []
    unit = "epochs" if all(one.steps is None for one in tried) else "steps"
    for (length, value), group in grouped.items():
        scores = [one.selection_score for one in group if one.selection_score is not None]
        states = {formats.status(one.status) for one in group if one.status != "ok"} or {"no score"}
        outcome = formats.value(headline, fmean(scores)) if len(scores) == len(group) else ", ".join(sorted(states))
        texts.append(f"{rate(value)}: {outcome}" + (f" ({length:g} {unit})" if len(lengths) > 1 else ""))
    return texts


def _caption(searches: list[Searched]) -> str:
    methods = " and ".join(METHODS[method] for method in dict.fromkeys(search.method for search in searches))
    seeds = sorted({one.seed for search in searches for one in search.tried})
    budgets = sorted({round(sum(one.length for one in search.tried), 6) for search in searches})
    equal = "the same for every strategy searched" if len(budgets) == 1 else "NOT the same for every strategy"
    return (
        f"Learning rates chosen on the selection split by {methods}, trained at seed {', '.join(map(str, seeds))}; "
        f"the budget is {equal}. The evaluation split is not looked at."
    )
