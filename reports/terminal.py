"""The verdict table for a terminal: as wide as it is, and as clear without colour."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table as Grid
from rich.text import Text

from reports import formats, run
from reports.cautions import cautions
from reports.palette import label
from reports.run import Model
from reports.sentences import Marks
from reports.sweep import judge as judge_sweep
from reports.sweep_sentences import sentences as sweep_sentences
from reports.table import Cell, Column, Table, group_spans
from reports.verdict import Verdict, judge
from reports.verdict_table import verdict_table


def verdict(folder: Path) -> RenderableType:
    """The verdict of a run folder, model by model, with its marks and what failed or is still to run.

    Raises InputError where `folder` is no run.
    """
    found = run.load(folder)
    marks = Marks(found.marks)
    parts: list[RenderableType] = []
    for model in found.models:
        parts.append(Text(f"{found.manifest.title}: {model.name}, {model.precision}", style="bold"))
        judged = judge(model)
        parts.append(Stacked(verdict_table(judged, marks)))
        parts += [Text(caution) for caution in cautions(judged, marks)]
        parts += _sweeps(model, judged)
    parts += [Text(f"{symbol} {mark}") for mark, symbol in marks.symbols.items()]
    for record in found.failed:
        name = label(record.cell.strategy, record.cell.strategy)
        parts.append(Text(f"{formats.status(record.status)}: {name}: {record.reason} ({record.key})"))
    if found.outstanding:
        parts.append(Text(f"{len(found.latest)} of {len(found.cells)} cells done"))
    return Group(*parts)


def _sweeps(model: Model, judged: Verdict) -> list[RenderableType]:
    """What becomes of each strategy as the training set grows, task by task."""
    lines: list[RenderableType] = []
    for sweep in model.sweeps:
        lines += [Text(), Text(f"{sweep.name} against training-set size", style="bold")]
        found = sweep_sentences(judge_sweep(sweep, [row.name for row in judged.rows]))
        lines += [Text(f"{label(row.name, row.strategy)}: {text}") for row, text in found]
    return lines


@dataclass(frozen=True)
class Stacked:
    """A table in as many stacked parts as the console's width needs, each with the column that names the rows."""

    source: Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The parts, an empty line after each, and the caption."""
        if not self.source.columns:
            yield Text(self.source.caption)
            return
        for chosen in _parts(self.source, options.max_width):
            yield _grid(self.source, [0, *chosen])
            yield Text()
        yield Text(self.source.caption, style="dim")


def _parts(source: Table, width: int) -> list[list[int]]:
    """Column numbers of each part; columns under one heading stay together where they fit."""
    widths = [_width(source, index) for index in range(len(source.columns))]
    parts: list[list[int]] = [[]]
    start = 1
    for _, span in group_spans(source.columns[1:]):
        together = list(range(start, start + span))
        start += span
        fits = widths[0] + sum(widths[index] for index in together) <= width
        for block in [together] if fits else [[index] for index in together]:
            if parts[-1] and sum(widths[index] for index in (0, *parts[-1], *block)) > width:
                parts.append([])
            parts[-1] += block
    return parts


def _width(source: Table, index: int) -> int:
    """Width of a column with the two spaces after it: its longest line, or longest word of a heading."""
    column = source.columns[index]
    words = f"{column.group} {column.title} {column.note}".split()
    lines = [line for row in source.rows for line in (row[index].text, *row[index].note.split(", "))]
    return 2 + max(map(len, [*words, *lines]), default=0)


def _grid(source: Table, chosen: Sequence[int]) -> Grid:
    grid = Grid(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    shown = ""
    for index in chosen:
        column = source.columns[index]
        group = "" if column.group == shown else column.group
        shown = column.group
        heading, width = _heading(group, column), _width(source, index) - 2
        grid.add_column(heading, justify="right" if column.numeric else "left", width=width)
    for row in source.rows:
        grid.add_row(*(_cell(row[index]) for index in chosen))
    return grid


def _heading(group: str, column: Column) -> Text:
    heading = Text(f"{group}\n" if group else "", style="bold")
    heading.append(column.title)
    if column.note:
        heading.append(f"\n{column.note}", style="dim not bold")
    return heading


def _cell(cell: Cell) -> Text:
    text = Text(cell.text, style="bold" if cell.strong else "")
    for line in cell.note.split(", ") if cell.note else ():
        text.append(f"\n{line}", style="dim not bold")
    return text
