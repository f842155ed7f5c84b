"""The page: `report.html` with everything in it, `report.md` beside it, and the figures as files."""

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from reports import content, drawing, markdown, palette, run
from reports.files import write_atomic
from reports.glossary import GLOSSARY
from reports.parts import Content, Picture

PAGE, TEXT, FIGURES = "report.html", "report.md", "figures"


def write(folder: Path, figures: bool = True) -> Path:
    """Render the report of a run folder into it and return the page's path.

    With `figures` false the page still shows every figure, but no figure files are written and the Markdown refers
    to none: for the rewrites while a run goes on. Raises InputError where `folder` is no run or cannot be written.
    """
    built = content.build(run.load(folder))
    if figures:
        for picture in _pictures(built):
            drawing.write(picture.figure, folder / FIGURES, picture.name)
    write_atomic(folder / TEXT, markdown.report(built, pictures=figures).encode())
    write_atomic(folder / PAGE, html(built).encode())
    return folder / PAGE


def html(built: Content) -> str:
    """The page as text: no script, no request to anywhere."""
    strategies = {name: f"strategy-{index}" for index, (name, _, _) in enumerate(built.strategies, start=1)}
    tasks = [(model.title, task.name) for model in built.models for task in model.tasks]
    sweeps = [(model.title, sweep.name) for model in built.models for sweep in model.sweeps]
    return (
        environment()
        .get_template("report.html")
        .render(
            content=built,
            anchors=strategies,
            anchors_of={task: index for index, task in enumerate(tasks, start=1)},
            sweep_anchors={sweep: index for index, sweep in enumerate(sweeps, start=1)},
            marked=[{task.name: task.marks for task in model.tasks} for model in built.models],
            glossary=GLOSSARY,
        )
    )


def _pictures(built: Content) -> list[Picture]:
    overview = [picture for model in built.models for picture in model.pictures]
    swept = [picture for model in built.models for sweep in model.sweeps for picture in sweep.pictures]
    return overview + swept + [p for model in built.models for task in model.tasks for p in task.pictures]


@cache
def environment() -> Environment:
    """The templates of every page, and what they may call."""
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["svg"] = _svg
    made.globals["outline"] = lambda strategy: palette.outline(palette.style(strategy).marker)
    made.globals["colour"] = lambda strategy: palette.style(strategy).colour
    return made


def _svg(picture: Picture) -> Markup:
    """A figure as an element. It is safe as markup: matplotlib escapes every text it writes."""
    return Markup(drawing.inline(drawing.svg(picture.figure, picture.name), f"{picture.title}. {picture.caption}"))  # noqa: S704
