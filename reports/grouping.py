"""What tells the cells of a run apart, and what they are grouped by in a report."""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

from bench.record import CostCell, QualityCell

# What differs between the seeds of one strategy on one task, and what a strategy may set for itself. Every other
# field of a quality cell belongs to the task: two values of it are two tasks, two rows of the same table never.
POOLED = ("seed", "mask_seed")
OWN = (
    "learning_rate",
    "epochs",
    "steps",
    "batch_size",
    "warmup_fraction",
    "weight_decay",
    "clip_norm",
    "hidden_dropout",
    "attention_dropout",
    "budget",
    "match",
)
IDENTITY = ("kind", "model", "precision", "task", "strategy")
# What the name of a batch shape tells of its cells.
SHAPED = ("batch_size", "length", "attention", "gradient_checkpointing")
# Tasks that differ in this alone are one task at several sizes: a sweep.
SIZE = "train_examples"

Key = TypeVar("Key")
Item = TypeVar("Item")


class HasCell(Protocol):
    """Whatever belongs to a cell."""

    @property
    def cell(self) -> QualityCell | CostCell:
        """The cell."""


T = TypeVar("T", bound=HasCell)


def variants(cells: Sequence[QualityCell | CostCell], fields: Iterable[str]) -> list[str]:
    """What tells each cell from the others: those of `fields` in which they differ, 'learning_rate=0.001'."""
    differing = [name for name in fields if len({getattr(cell, name) for cell in cells}) > 1]
    return [", ".join(f"{name}={getattr(cell, name)}" for name in differing) for cell in cells]


def label(name: str, variant: str) -> str:
    """A name with what tells its variant from others, if anything does."""
    return f"{name} [{variant}]" if variant else name


def by_variant(members: Sequence[T], fields: Sequence[str]) -> list[tuple[str, list[T]]]:
    """Members by what tells their cells apart among `fields`, in words; all under '' where nothing does."""
    labels = dict(zip(map(id, members), variants([one.cell for one in members], fields), strict=True))
    return group(members, lambda one: labels[id(one)])


def group(items: Iterable[Item], key: Callable[[Item], Key]) -> list[tuple[Key, list[Item]]]:
    """Items by key, both in the order first met."""
    groups: dict[Key, list[Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return list(groups.items())
