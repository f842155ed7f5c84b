"""What a report says, in the order it says it: the one source of the page and of the Markdown file."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace

from reports import bias_change, figures, formats, step_tables, sweep_figures, tables
from reports import sweep as sweeping
from reports.cautions import cautions
from reports.cheaper import cheaper
from reports.claims import claims_table
from reports.deployment import deployment_table
from reports.formats import metric
from reports.machine import machine_table
from reports.memory_table import memory_table
from reports.palette import label
from reports.parts import Content, ModelPart, Picture, Sentence, SweepPart, TaskPart
from reports.run import Model, Run, Shape, Sweep, Task
from reports.search_table import search_table
from reports.sentences import Marks, Named, sentences
from reports.statistics import Summary
from reports.sweep_sentences import sentences as sweep_sentences
from reports.sweep_table import sweep_table
from reports.table import Table
from reports.verdict import Verdict, judge
from reports.verdict_table import verdict_table

CLAIMS = "Published claims, put to the test"
BARS = "Vertical bars: one standard deviation over seeds"
BRIGHTNESS = (
    "Mean absolute change of each bias in thousandths, mean over seeds. Brighter is more; every strategy has a colour "
    "scale of its own."
)


def build(run: Run) -> Content:
    """The content of a run's report, as far as the run has got."""
    marks = Marks(run.marks)
    several = len(run.models) > 1
    damaged = [f"{bad.path.name}, line {bad.number}: {bad.reason}" for bad in run.bad]
    return Content(
        title=run.manifest.title,
        facts=_facts(run),
        done=len(run.latest),
        planned=len(run.cells),
        models=tuple(_model(model, marks, run, named=several) for model in run.models),
        marks=tuple((symbol, mark) for mark, symbol in marks.symbols.items()),
        strategies=_strategies(run),
        failed=tables.failed_table(run),
        warnings=tables.warnings_table(run),
        damaged=(*damaged, *run.unreadable),
        outstanding=tuple(run.outstanding),
        machine=machine_table(run.calibrations),
        conditions=tables.conditions_table(run),
        fingerprints=tables.fingerprints_table(run),
        command=_command(run.manifest.command),
        suite_hash=run.manifest.suite_hash,
    )


def slug(text: str) -> str:
    """A text as part of a file name: small letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "unnamed"


def _facts(run: Run) -> tuple[str, ...]:
    """The one line of facts: model, device, precision, threads, commit, cells, date."""
    models = ", ".join(dict.fromkeys(model.name for model in run.models)) or "no model"
    precisions = ", ".join(dict.fromkeys(model.precision for model in run.models))
    facts = [models]
    if run.records:
        found = [record.conditions for record in run.records]
        facts += [
            _several([f"{one.device_name} ({one.device})" for one in found]),
            precisions,
            _several([formats.count(one.threads, "thread") for one in found]),
            "commit " + _several([_commit(one.code_commit, one.code_dirty) for one in found]),
        ]
    marked = sum(bool(record.marks) for record in run.records)
    failed = len(run.failed)
    facts.append(
        f"{formats.count(len(run.latest) - failed, 'cell')} ok, {failed} failed"
        + (f", {marked} with a sign that is explained below the table" if marked else "")
    )
    return (*facts, run.manifest.created_utc.replace("T", " ").replace("Z", " UTC"))


def _several(values: Sequence[str]) -> str:
    distinct = list(dict.fromkeys(values))
    return distinct[0] if len(distinct) == 1 else f"{', '.join(distinct[:2])}{' and more' if distinct[2:] else ''}"


def _commit(commit: str | None, dirty: bool | None) -> str:
    if commit is None:
        return "unknown"
    return commit[:10] + (" with local changes" if dirty else "")


def _command(words: Sequence[str]) -> str:
    """The command as a person would type it; manifests keep what followed the program's name."""
    return shlex.join(words if words[:1] == ["bitfit-bench"] else ["bitfit-bench", *words])


def _strategies(run: Run) -> tuple[tuple[str, str, str], ...]:
    found: dict[str, str] = dict.fromkeys((cell.strategy for cell in run.cells), "")
    for record in run.records:
        found[record.cell.strategy] = found[record.cell.strategy] or record.descriptions.get("strategy", "")
    return tuple((name, label(name, name), text or "Nothing recorded yet.") for name, text in found.items())


def _model(model: Model, marks: Marks, run: Run, *, named: bool) -> ModelPart:
    verdict, claims = judge(model), claims_table(model, marks)
    order = {row.strategy: index for index, row in reversed(list(enumerate(verdict.rows)))}
    records = [record for record in run.records if record.cell.model == model.name]
    return ModelPart(
        title=f"{model.name}, {model.precision}" if named else "",
        description=next((r.descriptions["model"] for r in records if "model" in r.descriptions), ""),
        sentences=tuple(
            Sentence(label(row.name, row.strategy), row.strategy, text) for row, text in sentences(verdict, marks)
        ),
        cautions=cautions(verdict, marks),
        table=verdict_table(verdict, marks),
        claims=((CLAIMS, claims),) if claims is not None else (),
        pictures=_overview(verdict, marks),
        sweeps=tuple(_sweep(sweep, verdict, marks) for sweep in model.sweeps),
        tasks=tuple(_task(task, verdict, marks) for task in model.tasks),
        costs=tuple(part for shape in model.shapes for part in _costs(shape, order)),
        cheaper=tuple(part for shape in model.shapes if (part := cheaper(shape, order, run.calibrations)) is not None),
        deployment=deployment_table(verdict),
    )


def _costs(shape: Shape, order: Mapping[str, int]) -> list[tuple[str, Table]]:
    """Everything on the costs of one batch shape, each table with its title."""
    shown = [
        (shape.label, tables.cost_table(shape, order)),
        (f"{shape.label}: where a step goes", step_tables.phase_table(shape, order)),
        (f"{shape.label}: what its memory holds", memory_table(shape, order)),
        (f"{shape.label}: what surrounded it", step_tables.surroundings_table(shape)),
    ]
    return [(title, table) for title, table in shown if table is not None]


def _overview(verdict: Verdict, marks: Marks) -> tuple[Picture, ...]:
    """Score against memory and against step time, the score averaged where there are several tasks."""
    names, scores = figures.common_score(verdict)
    tasks = [task for task in verdict.model.tasks if task.name in names]
    return _against(verdict, scores, tasks, marks, slug(f"{verdict.model.name} {verdict.model.precision}"))


def _against(
    verdict: Verdict, scores: dict[str, Summary], tasks: Sequence[Task], marks: Marks, name: str
) -> tuple[Picture, ...]:
    axis = figures.score_axis(tasks)
    left = [label(row.name, row.strategy) for row in verdict.rows if row.name not in scores]
    absent = f" Not shown, for want of a score on every task: {', '.join(left)}." if left and scores else ""
    noted = "".join(f" {marks.named(task).spelled()}." for task in tasks if task.marks)
    reading = f" Dashed: the Pareto front.{noted}{absent}"
    pictures = []
    points = figures.memory_points(verdict, scores)
    if points:
        drawn = figures.against(points, "peak memory of a step, MiB", axis)
        pictures.append(Picture(f"{name}-score-against-memory", "Score against memory", f"{BARS}.{reading}", drawn))
    points = figures.step_points(verdict, scores)
    if points:
        drawn = figures.against(points, "step time, of full fine-tuning's", axis)
        both = f"{BARS}; horizontal: 95% interval of the ratio.{reading}"
        pictures.append(Picture(f"{name}-score-against-time", "Score against step time", both, drawn))
    return tuple(pictures)


def _sweep(sweep: Sweep, verdict: Verdict, marks: Marks) -> SweepPart:
    judged = sweeping.judge(sweep, [row.name for row in verdict.rows])
    named = marks.named(replace(sweep.largest, name=sweep.name))
    searches = [(point.name, search_table(point)) for point in sweep.points[:-1]]
    return SweepPart(
        name=named.text,
        marks=sweep.largest.marks,
        sentences=tuple(
            Sentence(label(row.name, row.strategy), row.strategy, text) for row, text in sweep_sentences(judged)
        ),
        table=sweep_table(judged),
        pictures=_sweep_pictures(judged, named, slug(f"{verdict.model.name} {verdict.model.precision} {sweep.name}")),
        searches=tuple((f"Search for learning rates, {name}", found) for name, found in searches if found is not None),
    )


def _sweep_pictures(judged: sweeping.SweepVerdict, named: Named, name: str) -> tuple[Picture, ...]:
    """Score, difference and gap against size, as far as two sizes have scores."""
    scores = [[score for score in row.scores if score is not None and score.summary] for row in judged.rows]
    if max(map(len, scores), default=0) < 2:
        return ()
    noted = f" {named.spelled()}." if named.marks else ""
    band = f"Mean over seeds; the band is one standard deviation.{noted}"
    parts = [("score", "Score", band, sweep_figures.scores(judged))]
    if any(score.difference for row in scores for score in row):
        bars = f"Mean paired difference; bars: 95% interval.{noted}"
        parts.append(("difference", "Difference to full fine-tuning", bars, sweep_figures.differences(judged)))
    if any(score.gap for row in scores for score in row):
        parts.append(("gap", "Generalization gap", band, sweep_figures.gaps(judged)))
    return tuple(
        Picture(f"{name}-{what}-against-size", f"{title} against training-set size, {named.text}", caption, drawn)
        for what, title, caption, drawn in parts
    )


def _task(task: Task, verdict: Verdict, marks: Marks) -> TaskPart:
    order = {row.name: index for index, row in enumerate(verdict.rows)}
    task = replace(task, arms=tuple(sorted(task.arms, key=lambda arm: order[arm.name])))
    described = (record.descriptions["task"] for record in task.records if "task" in record.descriptions)
    shown: list[tuple[str, Table | None]] = [
        ("All metrics", tables.metrics_table(task)),
        ("Beyond the evaluation split", tables.extra_table(task)),
        ("Every seed", tables.seeds_table(task)),
        ("Search for learning rates", search_table(task)),
        ("Bias change", bias_change.role_table(task)),
    ]
    return TaskPart(
        name=marks.named(task).text,
        marks=task.marks,
        description=next(described, ""),
        tables=tuple((title, table) for title, table in shown if table is not None),
        pictures=_task_pictures(task, verdict, marks) if task.headline is not None else (),
    )


def _task_pictures(task: Task, verdict: Verdict, marks: Marks) -> tuple[Picture, ...]:
    name = slug(f"{verdict.model.name} {verdict.model.precision} {task.name}")
    title = marks.named(task).text
    noted = f" {marks.named(task).spelled()}." if task.marks else ""
    pictures = []
    if any(result.curve for arm in task.arms for _, result in arm.results):
        caption = f"Mean over seeds on a fixed subsample; the band is one standard deviation.{noted}"
        pictures.append(Picture(f"{name}-curves", f"Learning curves on {title}", caption, figures.curves(task)))
    if any(score.gap is not None for row in verdict.rows if (score := row.scores.get(task.name)) is not None):
        caption = f"Train-sample score, evaluation score and the gap between them, means over seeds.{noted}"
        drawn = figures.gaps(task, verdict.rows)
        pictures.append(Picture(f"{name}-gaps", f"Generalization gap on {title}", caption, drawn))
    if len(verdict.model.tasks) > 1 and task.headline and metric(task.headline).unit == "fraction":
        scores = {
            row.name: found
            for row in verdict.rows
            if task.name in row.scores and (found := row.scores[task.name].summary) is not None
        }
        pictures += _against(verdict, scores, [task], marks, name)
    if shown := bias_change.grids(task):
        drawn = bias_change.heat_maps(shown, task)
        pictures.append(Picture(f"{name}-bias-change", f"Bias change on {title}", f"{BRIGHTNESS}{noted}", drawn))
    return tuple(pictures)
