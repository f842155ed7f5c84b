"""The parts of a report as plain data, which page and Markdown each render in their own way."""

from dataclasses import dataclass

from matplotlib.figure import Figure

from reports.table import Table


@dataclass(frozen=True)
class Picture:
    """A figure with its file name (no ending), what it shows in one line, and how to read it."""

    name: str
    title: str
    caption: str
    figure: Figure


@dataclass(frozen=True)
class Sentence:
    """The verdict on one strategy: its name for people, and the words that follow it."""

    label: str
    strategy: str
    text: str


@dataclass(frozen=True)
class TaskPart:
    """All there is on one task: its marks in full, what it is, what its scores do not say, tables and pictures."""

    name: str
    marks: tuple[str, ...]
    description: str
    tables: tuple[tuple[str, Table], ...]
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class SweepPart:
    """All there is on one task over its training-set sizes; `searches` are those of the sizes but the largest."""

    name: str
    marks: tuple[str, ...]
    sentences: tuple[Sentence, ...]
    table: Table
    pictures: tuple[Picture, ...]
    searches: tuple[tuple[str, Table], ...]


@dataclass(frozen=True)
class CheaperPart:
    """Whether strategies are really cheaper at one batch shape: a sentence each, and the numbers."""

    shape: str
    sentences: tuple[Sentence, ...]
    table: Table


@dataclass(frozen=True)
class ModelPart:
    """All there is on one model: the verdict first, the published claims it bears on, then what proves it."""

    title: str
    description: str
    sentences: tuple[Sentence, ...]
    cautions: tuple[str, ...]
    table: Table
    claims: tuple[tuple[str, Table], ...]
    pictures: tuple[Picture, ...]
    sweeps: tuple[SweepPart, ...]
    tasks: tuple[TaskPart, ...]
    costs: tuple[tuple[str, Table], ...]
    cheaper: tuple[CheaperPart, ...]
    deployment: Table | None


@dataclass(frozen=True)
class Content:
    """A whole report. `marks` are (symbol, mark) pairs, `strategies` (strategy, name for people, sentence).

    `machine` are the rates of the machine itself; None where they were not taken.
    """

    title: str
    facts: tuple[str, ...]
    done: int
    planned: int
    models: tuple[ModelPart, ...]
    marks: tuple[tuple[str, str], ...]
    strategies: tuple[tuple[str, str, str], ...]
    failed: Table
    warnings: Table
    damaged: tuple[str, ...]
    outstanding: tuple[str, ...]
    machine: Table | None
    conditions: Table
    fingerprints: Table
    command: str
    suite_hash: str
