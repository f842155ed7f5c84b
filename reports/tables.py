"""The detail tables of a report: every metric of a task, every seed, the costs in full, failures and conditions."""

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import partial

from bench.metrics import Metric
from bench.record import CostCell, QualityCell, Record
from bench.results import CostResult, MemoryPeak, QualityResult
from reports import formats
from reports.cautions import unusable_times
from reports.formats import metric
from reports.machine import drifts
from reports.palette import label
from reports.run import Arm, Run, Shape, Task
from reports.statistics import noise_floor, summarize
from reports.table import Cell, Column, Table, bars, plain
from reports.verdict import Cost, Value, aa_ratio, against, place, reference_arm, shape_costs
from reports.verdict_table import difference_cell, step_cell


def metrics_table(task: Task) -> Table:
    """Every score of a task as mean and standard deviation over seeds."""
    if task.headline is None:
        return Table("No cell of this task has a result yet.", (), ())
    headline = metric(task.headline)
    columns = [Column("strategy", numeric=False)]
    columns += [Column(metric(name).label, "", "evaluation") for name in task.metrics]
    columns += [
        Column("loss", "", "evaluation"),
        Column(headline.label, "", "selection"),
        Column(headline.label, "", "train sample"),
        Column("score", "", "generalization gap"),
        Column("against full", "95% interval", "generalization gap"),
        Column("loss", "", "generalization gap"),
        Column("against full", "loss, 95% interval", "generalization gap"),
        Column("training", "wall time"),
    ]
    reference = reference_arm(task)
    rows = [(_name(arm), *_metric_cells(arm, reference, task, headline)) for arm in task.arms]
    caption = "Mean and standard deviation over seeds; scores in points where they are shares."
    return Table(f"{caption} {_sizes(task)}", tuple(columns), tuple(rows))


def _sizes(task: Task) -> str:
    """How many examples stand behind the scores, as counted when they were made."""
    results = [result for arm in task.arms for _, result in arm.results]
    counted = {
        "training": {result.train_examples for result in results},
        "selection": {result.selection.examples for result in results},
        "evaluation": {result.evaluation.examples for result in results},
    }
    known = {name: " or ".join(f"{size:,}" for size in sorted(sizes)) for name, sizes in counted.items() if sizes}
    return "Examples: " + ", ".join(f"{sizes} {name}" for name, sizes in known.items()) + "." if known else ""


def _metric_cells(arm: Arm, reference: Arm | None, task: Task, headline: Metric) -> list[Cell]:
    loss, duration = metric("loss"), metric("training_seconds")
    cells = [
        _mean_cell(arm, metric(name), lambda result, name=name: result.evaluation.scores.get(name))  # type: ignore[misc]
        for name in task.metrics
    ]
    return [
        *cells,
        _mean_cell(arm, loss, lambda result: result.evaluation.loss),
        _mean_cell(arm, headline, lambda result: result.selection.scores.get(result.headline)),
        _mean_cell(arm, headline, lambda result: result.train_sample.scores.get(result.headline)),
        _mean_cell(arm, headline, lambda result: result.gap),
        _against(arm, reference, headline, lambda result: result.gap),
        _mean_cell(arm, loss, lambda result: result.loss_gap),
        _against(arm, reference, loss, lambda result: result.loss_gap),
        _mean_cell(arm, duration, lambda result: result.training_seconds),
    ]


def extra_table(task: Task) -> Table | None:
    """Scores on the task's further labelled sets, and how far they lie below evaluation; None where it has none."""
    found = [record.quality for record in task.records if record.quality is not None]
    sets = {name: (quality.extra_headline(name), quality.extra[name]) for quality in found for name in quality.extra}
    if not sets:
        return None
    columns = [Column("strategy", numeric=False)]
    columns += [column for name, (headline, _) in sets.items() for column in _extra_columns(name, metric(headline))]
    reference = reference_arm(task)
    rows = []
    for arm in task.arms:
        cells = [
            cell
            for name, (headline, _) in sets.items()
            for value in (partial(_extra_score, name), partial(_domain_gap, name))
            for cell in (_mean_cell(arm, metric(headline), value), _against(arm, reference, metric(headline), value))
        ]
        rows.append((_name(arm), *cells))
    sizes = ", ".join(f"{name} {formats.count(scores.examples, 'example')}" for name, (_, scores) in sets.items())
    caption = (
        f"Labelled sets that no decision saw, scored once at the end ({sizes}). Mean and standard deviation over "
        "seeds; both scores of a gap are in the metric of the set."
    )
    return Table(caption, tuple(columns), tuple(rows))


def seeds_table(task: Task) -> Table:
    """The headline score of every seed, with the selection score behind it."""
    seeds = sorted({cell.cell.seed for arm in task.arms for cell in arm.cells})
    columns = (Column("strategy", numeric=False), *(Column(f"seed {seed}") for seed in seeds))
    rows = tuple((_name(arm), *(_seed_cell(arm, seed, task.headline) for seed in seeds)) for arm in task.arms)
    drawn = any(len(arm.cells) > len({one.cell.seed for one in arm.cells}) for arm in task.arms)
    caption = "Evaluation score of each seed, and the score on the selection split."
    if drawn:
        caption += " Where a strategy drew several times for a seed: mean and standard deviation over its draws."
    return Table(caption, columns, rows)


def cost_table(shape: Shape, order: Mapping[str, int]) -> Table:
    """Step times and memory of one batch shape in full, strategies by `order`, the A/A pair side by side."""
    costs = sorted(shape_costs(shape), key=lambda cost: place(cost.timed.cell, order))
    columns = (
        Column("strategy", numeric=False),
        Column("median", "", "step time"),
        Column("quartiles", "", "step time"),
        Column("95th percentile", "", "step time"),
        Column("of full's", "in the same round", "step time"),
        Column("peak allocated", "", "memory"),
        Column("peak reserved", "", "memory"),
        Column("resident", "high-water", "memory"),
        Column("counted by", "", "memory", numeric=False),
    )
    medians = bars([cost.median_seconds for cost in costs])
    peaks = bars([cost.peak_bytes for cost in costs])
    rows = [_cost_row(*each) for each in zip(costs, medians, peaks, strict=True)]
    steps = sorted({cost.result.step.steps for cost in costs if cost.result is not None})
    timed = f"{' or '.join(map(str, steps))} timed steps each" if steps else "nothing timed yet"
    caption = f"One training step at {shape.label}: {timed}, cells interleaved. Memory is measured apart from time."
    warned = unusable_times(shape.label, noise_floor(aa_ratio(shape)))
    return Table(" ".join([caption, *warned]), columns, tuple(rows))


def failed_table(run: Run) -> Table:
    """Every cell that ran without a result, and why."""
    rows = [(describe(record), formats.status(record.status), record.reason or "") for record in run.failed]
    return plain(f"{formats.count(len(rows), 'cell')} without a result.", ("cell", "status", "reason"), rows)


def warnings_table(run: Run) -> Table:
    """Every distinct warning and the cells that gave it."""
    cells: dict[str, list[str]] = {}
    for record in run.records:
        for warning in record.warnings:
            cells.setdefault(warning, []).append(describe(record))
    rows = [(text, _few(names)) for text, names in cells.items()]
    rows += [(text, "the run") for text in drifts(run.calibrations)]
    return plain(f"{formats.count(len(rows), 'distinct warning')}.", ("warning", "cells"), rows)


def conditions_table(run: Run) -> Table:
    """What surrounded the measurements; where records differ, every value with the number of its records."""
    names = ["device", "device_name", "driver", "threads", "wait_policy", "precision", "attention"]
    names += ["python", "platform", "code_commit", "code_dirty", "code_fingerprint"]
    rows = [(name.replace("_", " "), _values(run.records, name)) for name in names]
    packages = {package for record in run.records for package in record.conditions.versions}
    rows += [
        (package, tally(record.conditions.versions.get(package) for record in run.records))
        for package in sorted(packages)
    ]
    return plain("The same for every record unless a number of records is given.", ("condition", "value"), rows)


def fingerprints_table(run: Run) -> Table:
    """Which data and which model each part of the matrix used."""
    seen: dict[tuple[str, str], str] = {}
    for record in run.records:
        kind = "weights" if record.cell.kind == "quality" else "configuration (costs)"
        seen.setdefault((f"{record.cell.model}, {kind}", record.conditions.model_fingerprint), "model")
        if isinstance(record.cell, QualityCell) and record.conditions.data_fingerprint is not None:
            seen.setdefault((record.cell.task, record.conditions.data_fingerprint), "data")
    rows = [(kind, name, fingerprint) for (name, fingerprint), kind in seen.items()]
    return plain("Fingerprints of models and data.", ("of", "name", "fingerprint"), rows)


def describe(record: Record) -> str:
    """A cell in a few words: model, task or shape, strategy, seed, and the training examples it was bounded to."""
    cell = record.cell
    if not isinstance(cell, CostCell):
        size = "" if cell.train_examples is None else f", {formats.count(cell.train_examples, 'example')}"
        mask = "" if cell.mask_seed in (0, cell.seed) else f", mask seed {cell.mask_seed}"
        return f"{cell.model}, {cell.task}, {cell.strategy}, seed {cell.seed}{mask}{size}"
    again = " (again)" if cell.replicate else ""
    shape = f"{cell.batch_size} \N{MULTIPLICATION SIGN} {cell.length}"
    return ", ".join(filter(None, (f"{cell.model}, cost at {shape}", cell.setting, f"{cell.strategy}{again}")))


def _name(arm: Arm) -> Cell:
    return Cell(label(arm.name, arm.strategy), strategy=arm.strategy)


def _mean_cell(arm: Arm, unit: Metric, value: Value) -> Cell:
    found = summarize(arm.by_seed(value).values())
    if found is None:
        return Cell(formats.MISSING)
    if unit.unit == "seconds":
        return Cell(formats.seconds(found.mean))
    mean, spread = formats.score(unit, found)
    return Cell(mean, f"\N{PLUS-MINUS SIGN} {spread}" if spread else "1 seed")


def _extra_columns(name: str, unit: Metric) -> tuple[Column, ...]:
    return (
        Column("score", unit.label, name),
        Column("against full", "95% interval", name),
        Column("gap", "evaluation is ahead by", name),
        Column("gap", "against full, 95% interval", name),
    )


def _against(arm: Arm, reference: Arm | None, unit: Metric, value: Value) -> Cell:
    """The paired difference of `value` to full fine-tuning's."""
    return difference_cell(unit, against(arm, reference, value, unit), is_reference=arm is reference)


def _extra_score(name: str, result: QualityResult) -> float | None:
    return result.extra_score(name)


def _domain_gap(name: str, result: QualityResult) -> float | None:
    return result.domain_gap(name)


def _seed_cell(arm: Arm, seed: int, headline: str | None) -> Cell:
    here = [cell for cell in arm.cells if cell.cell.seed == seed]
    results = [cell.result for cell in here if cell.result is not None]
    if not results or headline is None:
        records = [cell.record for cell in here]
        states = {"outstanding" if record is None else formats.status(record.status) for record in records}
        return Cell(formats.MISSING, ", ".join(sorted(states)))
    evaluation = summarize(result.evaluation.scores.get(headline) for result in results)
    selection = summarize(result.selection.scores.get(headline) for result in results)
    notes = [] if selection is None else [f"selection {formats.value(metric(headline), selection.mean)}"]
    if evaluation is not None and evaluation.n > 1:
        _, spread = formats.score(metric(headline), evaluation)
        notes.insert(0, f"± {spread}, {evaluation.n} draws")
    return Cell(formats.value(metric(headline), None if evaluation is None else evaluation.mean), "; ".join(notes))


def _cost_row(cost: Cost, median: float | None, peak: float | None) -> tuple[Cell, ...]:
    cell = cost.timed.cell
    again = " (again, A/A)" if cell.replicate else ""
    name = Cell(label(cell.strategy, cell.strategy) + again, strategy=cell.strategy)
    ratio = step_cell(cost, None)
    if cost.result is None:
        return (name, *[Cell(formats.MISSING)] * 3, ratio, *[Cell(formats.MISSING)] * 4)
    step = cost.result.step
    quartiles = f"{formats.seconds(step.quartile1_seconds)} to {formats.seconds(step.quartile3_seconds)}"
    return (
        name,
        Cell(formats.seconds(step.median_seconds), bar=median),
        Cell(quartiles),
        Cell(formats.seconds(step.p95_seconds)),
        ratio,
        *_memory_cells(cost.result, peak),
    )


def _memory_cells(result: CostResult, peak: float | None) -> tuple[Cell, ...]:
    memory = result.memory
    if memory is None:
        return (*[Cell(formats.MISSING)] * 3, Cell(formats.MISSING, result.memory_reason or ""))
    return (
        Cell(formats.size(memory.peak_allocated_bytes), bar=peak),
        Cell(formats.size(memory.peak_reserved_bytes)),
        Cell(formats.size(memory.resident_high_water_bytes), _before(memory)),
        Cell(memory.method),
    )


def _before(memory: MemoryPeak) -> str:
    """What the process held before the model was built, where that is known."""
    before = memory.resident_before_bytes
    return "" if before is None else f"{formats.size(before)} before the model"


def _values(records: Iterable[Record], name: str) -> str:
    return tally(getattr(record.conditions, name) for record in records)


def tally(values: Iterable[object]) -> str:
    """One value as it is; several with the number of records that have each."""
    counted = Counter(formats.MISSING if value is None else str(value) for value in values)
    if len(counted) == 1:
        return next(iter(counted))
    return "; ".join(f"{value} ({formats.count(number, 'record')})" for value, number in counted.most_common())


def _few(names: list[str], most: int = 6) -> str:
    shown = "; ".join(names[:most])
    return f"{shown}; and {len(names) - most} more" if len(names) > most else shown
