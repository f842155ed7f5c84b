"""A table as plain data, which page, Markdown and terminal each render in their own way."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Cell:
    """One cell. `note` is secondary (an interval, a count); `bar` is a length from 0 to 1 drawn behind the text.

    `strategy` gives the cell that strategy's marker and colour. `strong` marks a decided difference, so that it is
    told from an undecided one without colour.
    """

    text: str
    note: str = ""
    bar: float | None = None
    strategy: str = ""
    strong: bool = False


@dataclass(frozen=True)
class Column:
    """One column. Neighbours that share `group` stand under one heading; `note` says unit and meaning."""

    title: str
    note: str = ""
    group: str = ""
    numeric: bool = True


@dataclass(frozen=True)
class Table:
    """A table whose first column names the rows. `reference` is the index of the row others are compared with."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    reference: int | None = None

    @property
    def groups(self) -> list[tuple[str, int]]:
        """Headings above the columns with the number of columns each spans; empty without any."""
        spans = group_spans(self.columns)
        return spans if any(name for name, _ in spans) else []


def group_spans(columns: Sequence[Column]) -> list[tuple[str, int]]:
    """Each run of columns under one heading with its length; a column without a heading is a run of its own."""
    spans: list[tuple[str, int]] = []
    for column in columns:
        if spans and column.group and spans[-1][0] == column.group:
            spans[-1] = (column.group, spans[-1][1] + 1)
        else:
            spans.append((column.group, 1))
    return spans


def plain(caption: str, titles: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table of texts."""
    columns = tuple(Column(title, numeric=False) for title in titles)
    return Table(caption, columns, tuple(tuple(Cell(text) for text in row) for row in rows))


def bars(values: Sequence[float | None], top: float = 0.0) -> list[float | None]:
    """Values as bar lengths: shares of the largest of them or of `top`; None where there is no value."""
    known = [abs(value) for value in values if value is not None]
    largest = max([*known, top], default=0.0)
    return [None if value is None or largest == 0 else abs(value) / largest for value in values]
