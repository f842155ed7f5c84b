"""The verdict table: a row a strategy, a column a question, full fine-tuning as the reference row."""

from bench.metrics import Metric
from bench.record import CostCell, QualityCell
from reports import formats
from reports.formats import metric
from reports.palette import label
from reports.run import Model, Scored, Task, Timed
from reports.sentences import Marks
from reports.statistics import Difference
from reports.table import Cell, Column, Table, bars
from reports.verdict import Cost, Row, Score, Verdict


def verdict_table(verdict: Verdict, marks: Marks) -> Table:
    """The table of one model; what does not exist yet says so in words."""
    columns = [Column("strategy", numeric=False), Column("trains", "of the encoder")]
    rows = verdict.rows
    cells = [[Cell(label(row.name, row.strategy), strategy=row.strategy), _trains(row)] for row in rows]
    for task in verdict.model.tasks:
        columns += _task_columns(task, marks)
        for row, extra in zip(cells, _task_cells(task, rows), strict=True):
            row += extra
    if verdict.shape is not None:
        columns += _cost_columns(verdict)
        for row, extra in zip(cells, _cost_cells(rows), strict=True):
            row += extra
    if verdict.model.tasks:
        columns.append(Column("file", "a task, largest"))
        lengths = bars([row.delta_bytes for row in rows])
        for row, source, length in zip(cells, rows, lengths, strict=True):
            row.append(Cell(formats.size(source.delta_bytes), bar=length))
    reference = next((index for index, row in enumerate(rows) if row.is_reference), None)
    return Table(_caption(verdict), tuple(columns), tuple(map(tuple, cells)), reference)


def difference_cell(unit: Metric, found: Difference | None, *, is_reference: bool = False) -> Cell:
    """A difference with its interval; bold where it is decided, and said to be undecided where not."""
    if found is None:
        return Cell("reference" if is_reference else formats.MISSING)
    mean, interval = formats.difference(unit, found)
    if found.interval is None:
        return Cell(mean, "one seed, no interval")
    return Cell(mean, interval if found.decided else f"{interval}, undecided", strong=found.decided)


def step_cell(cost: Cost | None, length: float | None) -> Cell:
    """A step-time ratio with its interval and whether it clears the noise."""
    if cost is None:
        return Cell(formats.MISSING)
    record = cost.timed.record
    if record is None or record.status != "ok":
        return Cell(formats.MISSING, "outstanding" if record is None else formats.status(record.status))
    if cost.ratio is None:
        return (
            Cell(formats.MISSING, cost.why) if cost.why else Cell("1.00", formats.seconds(cost.median_seconds), length)
        )
    value, interval = formats.ratio(cost.ratio)
    verdict = cost.ratio.verdict
    decided = verdict in ("faster", "slower")
    note = interval or "one round, no interval"
    return Cell(value, note if decided else f"{note}, {verdict}", length, strong=decided)


def _caption(verdict: Verdict) -> str:
    n = max((len(score.seeds) for row in verdict.rows for score in row.scores.values()), default=0)
    parts = (
        [f"Scores in points, mean \N{PLUS-MINUS SIGN} standard deviation over {formats.count(n, 'seed')}"] if n else []
    )
    if n:
        parts.append("differences to full fine-tuning are paired by seed, bold where decided")
        parts.append("gap: how far the train sample is ahead of evaluation, the smaller the better")
    if verdict.floor is not None:
        parts.append(
            "a step time is faster or slower only beyond both its interval, which says how well the rounds of this "
            f"run agree, and the noise floor of {formats.floor(verdict.floor)}, by which full fine-tuning timed twice "
            "may differ from itself"
        )
    elif verdict.shape is not None:
        parts.append("noise floor of step times unknown: full fine-tuning has not been timed twice")
    others = [shape.label for shape in verdict.model.shapes if shape.label != verdict.shape]
    if others:
        parts.append(f"costs are of one step at {verdict.shape}; others have their section ({', '.join(others)})")
    parts += _sizes(verdict.model)
    if verdict.model.sweeps:
        names = ", ".join(sweep.name for sweep in verdict.model.sweeps)
        parts.append(f"of several training-set sizes the largest is shown, the others have their section ({names})")
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}." if parts else "Nothing measured yet."


def _sizes(model: Model) -> list[str]:
    """To what size strategies were asked to come, and which of them could not come to it exactly."""
    found: list[tuple[str, Scored | Timed]] = [
        *((label(arm.name, arm.strategy), one) for task in model.tasks for arm in task.arms for one in arm.cells),
        *((label(one.cell.strategy, one.cell.strategy), one) for shape in model.shapes for one in shape.timed),
    ]
    asked = dict.fromkeys(size for _, one in found if (size := _asked(one.cell)) is not None)
    if not asked:
        return []
    counted = [(name, one.result.counts) for name, one in found if one.result is not None]
    shares = {name: c.encoder_size / c.budget for name, c in counted if c.budget and c.budget != c.encoder_size}
    missed = ", ".join(f"{name} has {formats.percent(share)} of it" for name, share in shares.items())
    return [f"sizes that can be chosen are that of {' or '.join(asked)}{f' ({missed})' if missed else ''}"]


def _asked(cell: QualityCell | CostCell) -> str | None:
    if cell.match is not None:
        return label(cell.match, cell.match)
    return None if cell.budget is None else f"{formats.percent(cell.budget)} of the encoder"


def _task_columns(task: Task, marks: Marks) -> list[Column]:
    group = marks.named(task).text
    headline = None if task.headline is None else metric(task.headline)
    return [
        Column("score", "" if headline is None else headline.label, group),
        Column("against full", "95% interval", group),
        Column("gap", "against full", group),
    ]


def _task_cells(task: Task, rows: tuple[Row, ...]) -> list[list[Cell]]:
    found = [row.scores.get(task.name) for row in rows]
    headline = metric(task.headline) if task.headline else None
    means = [score.summary.mean if score is not None and score.summary is not None else None for score in found]
    gaps = [score.gap.mean if score is not None and score.gap is not None else None for score in found]
    top = 1.0 if headline is not None and headline.unit == "fraction" else 0.0
    return [
        [_score_cell(headline, score, bar), _against_cell(headline, score), _gap_cell(headline, score, gap_bar)]
        for score, bar, gap_bar in zip(found, bars(means, top), bars(gaps), strict=True)
    ]


def _score_cell(headline: Metric | None, score: Score | None, length: float | None) -> Cell:
    if score is None or headline is None or score.summary is None:
        return Cell(formats.MISSING, missing(score))
    mean, spread = formats.score(headline, score.summary)
    note = f"\N{PLUS-MINUS SIGN} {spread}" if spread else "1 seed"
    return Cell(mean, "; ".join(filter(None, (note, missing(score)))), length)


def missing(score: Score | None) -> str:
    """Failed and outstanding cells in a few words."""
    if score is None:
        return ""
    counts = {formats.status(status): number for status, number in score.failed.items()}
    counts |= {"outstanding": score.outstanding} if score.outstanding else {}
    return ", ".join(f"{number} {word}".replace(" ", "\N{NO-BREAK SPACE}") for word, number in counts.items())


def _against_cell(headline: Metric | None, score: Score | None) -> Cell:
    if score is None or headline is None or score.summary is None:
        return Cell(formats.MISSING)
    return difference_cell(headline, score.difference, is_reference=score.is_reference)


def _gap_cell(headline: Metric | None, score: Score | None, length: float | None) -> Cell:
    if score is None or headline is None or score.gap is None:
        return Cell(formats.MISSING)
    mean, _ = formats.score(headline, score.gap)
    if score.gap_difference is None:
        return Cell(mean, bar=length)
    against = formats.difference(headline, score.gap_difference)[0]
    return Cell(mean, against if score.gap_difference.decided else f"{against}, undecided", length)


def _cost_columns(verdict: Verdict) -> list[Column]:
    group = f"one step at {verdict.shape}"
    return [Column("step time", "of full's", group), Column("peak memory", "and share of full's", group)]


def _cost_cells(rows: tuple[Row, ...]) -> list[list[Cell]]:
    ratios = [None if row.cost is None else _shown_ratio(row.cost) for row in rows]
    peaks = [None if row.cost is None else row.cost.peak_bytes for row in rows]
    return [
        [step_cell(row.cost, step), _memory_cell(row.cost, peak)]
        for row, step, peak in zip(rows, bars(ratios, 1.0), bars(peaks), strict=True)
    ]


def _shown_ratio(cost: Cost) -> float | None:
    if cost.ratio is not None:
        return cost.ratio.value
    return 1.0 if cost.result is not None and cost.why is None else None


def _memory_cell(cost: Cost | None, length: float | None) -> Cell:
    if cost is None or cost.peak_bytes is None:
        return Cell(formats.MISSING)
    ratio = "" if cost.memory_ratio is None else formats.plain_ratio(cost.memory_ratio)
    return Cell(formats.size(cost.peak_bytes), ratio, length)


def _trains(row: Row) -> Cell:
    number = "" if row.trainable is None else f"{row.trainable:,}"
    return Cell(formats.percent(row.trainable_fraction), number)
