"""Tables of everything the suite knows by name. Torch-free."""

import difflib
from collections.abc import Callable

from rich.table import Table

import strategies
from bench import encoders, suite, tasks
from bench.errors import InputError
from bench.metrics import METRICS

Rows = list[tuple[str, str]]
# What a task's argument chooses; docs/suites.md says where its files lie.
ARGUMENTS = {
    "treebank": "the same on a treebank by name, such as UD_English-EWT",
    "dataset": "the same on a data set by the name of its folder",
    "train+evaluation": "trained on one file and evaluated on the other, by name",
}


def _suites() -> Rows:
    return [(name, suite.load(name).description) for name in suite.available()]


def _strategies() -> Rows:
    rows = []
    for name, entry in strategies.TABLE.items():
        rows.append((name if entry.alone else f"...+{name}", entry.sentence))
        if entry.words:
            rows.append((f"{name}:...", f"words joined by '+': {', '.join(entry.words)}"))
        if entry.size:
            rows.append((f"{name}:{entry.size.default:g}", f"its {entry.size.word}"))
        if entry.layered:
            rows.append((f"{name}@0-5", "in layers 0 to 5 only"))
    return rows


def _tasks() -> Rows:
    rows = []
    for name, entry in tasks.TABLE.items():
        rows.append((name, entry.sentence))
        if entry.argument:
            rows.append((f"{name}:<{entry.argument}>", ARGUMENTS[entry.argument]))
    return rows


def _models() -> Rows:
    return [(name, encoder.sentence) for name, encoder in encoders.TABLE.items()]


def _metrics() -> Rows:
    direction = {True: "higher is better", False: "lower is better", None: "neither direction is a merit"}
    return [(m.name, f"{m.label} ({m.unit}; {direction[m.higher_is_better]})") for m in METRICS.values()]


LISTS: dict[str, Callable[[], Rows]] = {
    "suites": _suites,
    "tasks": _tasks,
    "strategies": _strategies,
    "models": _models,
    "metrics": _metrics,
}


def table(what: str) -> Table:
    """A table of the things of one kind. Raises InputError for an unknown kind."""
    if what not in LISTS:
        near = difflib.get_close_matches(what, LISTS, n=1)
        raise InputError(f"cannot list {what!r}; " + (f"did you mean {near[0]!r}?" if near else ", ".join(LISTS)))
    drawn = Table(box=None, show_header=False, pad_edge=False)
    drawn.add_column(no_wrap=True, style="bold")
    drawn.add_column()
    for name, sentence in LISTS[what]():
        drawn.add_row(name, sentence)
    return drawn
