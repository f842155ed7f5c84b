"""How long a suite takes, as a terminal shows it."""

from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from bench.suite_planning import SuiteTime


def table(time: "SuiteTime") -> Group:
    """A row for the cells of each model, subject and strategy, the sum, and in words what it rests on."""
    drawn = Table("cells", "model", "of", "strategy", box=None, pad_edge=False)
    for name in ("steps", "time"):
        drawn.add_column(name, justify="right")
    for part in time.parts:
        drawn.add_row(
            f"{part.cells} {part.kind}",
            # A folder or a task of one's own may be called what rich takes for markup.
            *map(Text, (part.model, part.subject, part.strategy)),
            "unknown" if part.steps is None else f"{part.steps:,}",
            "unknown" if part.seconds is None else duration(part.seconds),
        )
    reasons: dict[str, int] = {}
    for part in time.parts:
        if part.reason is not None:
            reasons[part.reason] = reasons.get(part.reason, 0) + part.cells
    known = any(part.seconds is not None for part in time.parts)
    all_told = f"{'In all' if not reasons else 'What is known:'} {duration(time.seconds)}" if known else "Not known"
    return Group(
        Text(f"{time.suite}: how long it takes", style="bold"),
        drawn,
        Text(),
        Text(f"{all_told}, {time.basis}."),
        *(Text(f"Not counted: {cells} cells: {reason}.") for reason, cells in reasons.items()),
        *(Text(f"Note: {note}.") for note in time.notes),
    )


def duration(seconds: float) -> str:
    """Seconds in the unit a person would use, with two or three digits."""
    units = (("days", 86400), ("h", 3600), ("min", 60))
    unit, size = next(((unit, size) for unit, size in units if seconds >= 2 * size), ("s", 1))
    return f"{seconds / size:.3g} {unit}"
