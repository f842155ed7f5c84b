"""A report as Markdown: the page's content in tables that any viewer shows."""

from collections.abc import Sequence

from reports import formats
from reports.glossary import GLOSSARY
from reports.parts import Content, ModelPart, Picture, Sentence
from reports.table import Cell, Table


def report(content: Content, *, pictures: bool) -> str:
    """The whole report; with `pictures` it refers to the PNG files in `figures/` beside it."""
    parts = [f"# {escape(content.title)}", escape(" · ".join(content.facts))]
    if content.done < content.planned:
        parts.append(f"**{content.done} of {content.planned} cells done.**")
    for model in content.models:
        parts += _verdict(model, pictures)
    parts += [f"{escape(symbol)} {escape(mark)}" for symbol, mark in content.marks]
    for model in content.models:
        parts += _proof(model, pictures)
    parts += _rest(content)
    return "\n\n".join(part for part in parts if part) + "\n"


def table(source: Table) -> str:
    """A Markdown table; headings above columns and notes below values are written into their cells."""
    if not source.columns:
        return escape(source.caption)
    titles = [": ".join(filter(None, (column.group, column.title))) for column in source.columns]
    titles = [f"{title} ({c.note})" if c.note else title for title, c in zip(titles, source.columns, strict=True)]
    lines = [_line(titles), _line(["---:" if column.numeric else ":---" for column in source.columns], raw=True)]
    lines += [_line([_text(cell) for cell in row], raw=True) for row in source.rows]
    return escape(source.caption) + "\n\n" + "\n".join(lines)


def escape(text: str) -> str:
    """Text that Markdown shows as it is, in a table too."""
    for character in "\\`*_[]<>|#":
        text = text.replace(character, f"\\{character}")
    return " ".join(text.split())


def _text(cell: Cell) -> str:
    text = f"**{escape(cell.text)}**" if cell.strong else escape(cell.text)
    return f"{text} ({escape(cell.note)})" if cell.note else text


def _line(cells: Sequence[str], *, raw: bool = False) -> str:
    return "| " + " | ".join(cell if raw else escape(cell) for cell in cells) + " |"


def _verdict(model: ModelPart, pictures: bool) -> list[str]:
    parts = [f"## {escape(model.title) or 'Verdict'}", escape(model.description)]
    parts += [_sentences(model.sentences), *_cautions(model.cautions), table(model.table)]
    for title, source in model.claims:
        parts += [f"### {title}", table(source)]
    return [*parts, *(_pictures(model.pictures) if pictures else [])]


def _cautions(cautions: Sequence[str]) -> list[str]:
    return [f"**Caution:** {escape(text)}" for text in cautions]


def _sentences(sentences: Sequence[Sentence]) -> str:
    return "\n".join(f"- **{escape(s.label)}:** {escape(s.text)}" for s in sentences)


def _proof(model: ModelPart, pictures: bool) -> list[str]:
    parts = []
    suffix = f" ({escape(model.title)})" if model.title else ""
    for sweep in model.sweeps:
        parts += [f"## {escape(sweep.name)} against training-set size{suffix}", *map(escape, sweep.marks)]
        parts += [_sentences(sweep.sentences), table(sweep.table), *(_pictures(sweep.pictures) if pictures else [])]
        for title, source in sweep.searches:
            parts += [f"### {escape(title)}", table(source)]
    for task in model.tasks:
        parts += [f"## Task {escape(task.name)}{suffix}", escape(task.description), *map(escape, task.marks)]
        for title, source in task.tables:
            parts += [f"### {title}", table(source)]
        parts += _pictures(task.pictures) if pictures else []
    for part in model.cheaper:
        parts += [f"## Is it really cheaper? {escape(part.shape)}{suffix}", _sentences(part.sentences)]
        parts += [table(part.table)]
    for title, source in model.costs:
        parts += [f"## Cost at {escape(title)}{suffix}", table(source)]
    if model.deployment is not None:
        parts += [f"## Many tasks on one encoder{suffix}", table(model.deployment)]
    return parts


def _rest(content: Content) -> list[str]:
    parts = []
    for title, source in (("Failed cells", content.failed), ("Warnings", content.warnings)):
        parts += [f"## {title}", table(source) if source.rows else "None."]
    for title, lines in (("Damaged records", content.damaged), ("Outstanding cells", content.outstanding)):
        if lines:
            parts += [f"## {title}", formats.count(len(lines), "entry", "entries") + "."]
            parts.append("\n".join(f"- {escape(line)}" for line in lines))
    if content.machine is not None:
        parts += ["## The machine's own rates", table(content.machine)]
    parts += ["## Conditions", table(content.conditions), table(content.fingerprints)]
    parts += [
        "## How to reproduce it",
        "    " + content.command.replace("\n", " "),
        f"Suite hash: `{content.suite_hash}`",
    ]
    trains = "\n".join(
        f"- **{escape(name)}** ({escape(code)}): {escape(text)}" for code, name, text in content.strategies
    )
    words = "\n".join(f"- **{word}**: {text}" for word, text in GLOSSARY.items())
    return [*parts, "## What each strategy trains", trains, "## Glossary", words]


def _pictures(pictures: Sequence[Picture]) -> list[str]:
    return [
        f"![{escape(p.title)}](figures/{p.name}.png)\n\n*{escape(p.title)}.* {escape(p.caption)}" for p in pictures
    ]
