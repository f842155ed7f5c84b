"""Verdict rows: for one model, what each strategy scores, costs and loses against full fine-tuning."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from bench.metrics import Metric
from bench.record import CostCell
from bench.results import CostResult, QualityResult
from reports.formats import metric
from reports.run import REFERENCE, Arm, Model, Shape, Task, Timed
from reports.statistics import (
    Difference,
    Ratio,
    Summary,
    noise_floor,
    paired_difference,
    round_ratio,
    summarize,
)

Value = Callable[[QualityResult], float | None]


@dataclass(frozen=True)
class Score:
    """One strategy on one task. Differences are ours minus full fine-tuning's, over shared seeds.

    `seeds` and `gaps` hold the score in the headline metric and the generalization gap of each seed;
    `failed` counts cells without a result by status, `outstanding` those that have not run.
    """

    headline: str | None
    seeds: Mapping[int, float | None]
    gaps: Mapping[int, float | None]
    difference: Difference | None
    gap_difference: Difference | None
    failed: Mapping[str, int]
    outstanding: int
    is_reference: bool

    @property
    def summary(self) -> Summary | None:
        """Headline score over the seeds."""
        return summarize(self.seeds.values())

    @property
    def gap(self) -> Summary | None:
        """Generalization gap over the seeds."""
        return summarize(self.gaps.values())


@dataclass(frozen=True)
class Cost:
    """One strategy at one batch shape. `why` says why there is no ratio where there could be one."""

    timed: Timed
    ratio: Ratio | None
    why: str | None
    memory_ratio: float | None

    @property
    def result(self) -> CostResult | None:
        """What the cell measured."""
        return self.timed.result

    @property
    def median_seconds(self) -> float | None:
        """Median step time."""
        return None if self.result is None else self.result.step.median_seconds

    @property
    def peak_bytes(self) -> int | None:
        """Peak allocated bytes; None where they were not measured."""
        return None if self.result is None or self.result.memory is None else self.result.memory.peak_allocated_bytes


@dataclass(frozen=True)
class Row:
    """One strategy. `name` is the strategy's, with its settings where it ran at several; None is what is not known.

    `delta_bytes` is the largest over tasks: the size depends on the head.
    """

    name: str
    strategy: str
    trainable: int | None
    trainable_fraction: float | None
    scores: Mapping[str, Score]
    cost: Cost | None
    delta_bytes: int | None

    @property
    def is_reference(self) -> bool:
        """Whether this is full fine-tuning."""
        return self.strategy == REFERENCE


@dataclass(frozen=True)
class Verdict:
    """All rows of one model, full fine-tuning first, then from the best score to the worst.

    `shape` is the batch shape the costs belong to, `pair` the A/A ratio measured with it; `passed_over` are the shapes
    before it, no cell of which has a result.
    """

    model: Model
    rows: tuple[Row, ...]
    shape: str | None
    pair: Ratio | None
    passed_over: tuple[Shape, ...]

    @property
    def floor(self) -> float | None:
        """Noise floor of step-time ratios, on the log scale."""
        return noise_floor(self.pair)


def judge(model: Model) -> Verdict:
    """The verdict of one model; costs are those of the first batch shape at which anything was measured."""
    passed_over, chosen = _chosen(model.shapes)
    costs = () if chosen is None else shape_costs(chosen)
    first = {cost.timed.cell.strategy: cost for cost in reversed(costs) if not cost.timed.cell.replicate}
    references = {task.name: reference_arm(task) for task in model.tasks}
    names: dict[str, str] = {arm.name: arm.strategy for task in model.tasks for arm in task.arms}
    names |= {strategy: strategy for strategy in reversed(first) if strategy not in names.values()}
    rows = [_row(name, strategy, model, references, first.get(strategy)) for name, strategy in names.items()]
    return Verdict(
        model,
        tuple(sorted(rows, key=_rank)),
        None if chosen is None else chosen.label,
        None if chosen is None else aa_ratio(chosen),
        passed_over,
    )


def _chosen(shapes: Sequence[Shape]) -> tuple[tuple[Shape, ...], Shape | None]:
    """The first shape with a result, behind those passed over for it; the very first where none has one."""
    for place, shape in enumerate(shapes):
        if any(timed.result is not None for timed in shape.timed):
            return tuple(shapes[:place]), shape
    return (), shapes[0] if shapes else None


def reference_arm(task: Task) -> Arm | None:
    """Full fine-tuning on the task."""
    return best_arm(task, REFERENCE)


def best_arm(task: Task, strategy: str) -> Arm | None:
    """A strategy on the task; of several settings, the one that did best on the selection split."""
    arms = [arm for arm in task.arms if arm.strategy == strategy]
    if len(arms) < 2 or task.headline is None:
        return arms[0] if arms else None
    headline = metric(task.headline)

    def selection(arm: Arm) -> float:
        found = summarize(result.selection.scores.get(result.headline) for _, result in arm.results)
        return headline.merit(None if found is None else found.mean)

    return max(arms, key=selection)


def against(arm: Arm, reference: Arm | None, value: Value, unit: Metric) -> Difference | None:
    """`value`, in `unit`, of an arm minus the reference arm's, paired by seed; None where there is no other."""
    if reference is None or arm is reference:
        return None
    examples = [result.evaluation.examples for _, result in (*arm.results, *reference.results)]
    return paired_difference(arm.by_seed(value), reference.by_seed(value), grain=grain(unit, examples))


def grain(unit: Metric, examples: Collection[int]) -> float:
    """How far apart neighbouring scores in `unit` lie on splits of so many examples; 0 where they are no shares.

    It is that of a share of examples; those of words, F1 and correlations lie no farther apart than about this.
    """
    return 1 / min(examples) if examples and unit.unit == "fraction" else 0.0


def score(arm: Arm, reference: Arm | None, headline: str | None) -> Score:
    """One arm against the reference arm of the same task, whose headline metric is `headline`."""
    unit = metric(headline or "")
    return Score(
        headline,
        arm.by_seed(_headline),
        arm.by_seed(_gap),
        against(arm, reference, _headline, unit),
        against(arm, reference, _gap, unit),
        Counter(cell.record.status for cell in arm.cells if cell.record is not None and cell.record.status != "ok"),
        sum(cell.record is None for cell in arm.cells),
        arm is reference,
    )


def place(cell: CostCell, order: Mapping[str, int]) -> tuple[int, int]:
    """Where a cell stands among those of its shape: strategies by `order`, the rest behind, A/A pairs together."""
    return order.get(cell.strategy, len(order)), cell.replicate


def shape_costs(shape: Shape) -> tuple[Cost, ...]:
    """Every cell of one batch shape against full fine-tuning, the second full fine-tuning included."""
    floors: dict[str, float | None] = {}
    for timed in shape.timed:
        if timed.result is not None:
            floors.setdefault(timed.result.group, noise_floor(_aa(shape, timed.result.group)))
    return tuple(_cost(timed, shape, floors) for timed in shape.timed)


def aa_ratio(shape: Shape) -> Ratio | None:
    """Full fine-tuning against itself at this shape; None where it was not timed twice in one group."""
    groups = dict.fromkeys(timed.result.group for timed in shape.timed if timed.result is not None)
    return next((pair for group in groups if (pair := _aa(shape, group)) is not None), None)


def _cost(timed: Timed, shape: Shape, floors: Mapping[str, float | None]) -> Cost:
    if timed.result is None:
        return Cost(timed, None, None, None)
    group, full = timed.result.group, _full(shape, 0)
    memory_ratio = _memory_ratio(timed.result, None if full is None else full.result)
    together = _full(shape, 0, group)
    if timed is together:
        return Cost(timed, None, None, memory_ratio)
    if together is None:
        return Cost(timed, None, "full fine-tuning was not timed in the same rounds", memory_ratio)
    if timed.seconds is None or together.seconds is None:
        return Cost(timed, None, "the raw step times cannot be read", memory_ratio)
    found = round_ratio(timed.seconds, together.seconds, floors[group], _disturbed(timed, together))
    return Cost(timed, found, None if found else "the raw step times share no usable round", memory_ratio)


def _full(shape: Shape, replicate: int, group: str | None = None) -> Timed | None:
    """Full fine-tuning with a result, in a group where one is named."""
    for timed in shape.timed:
        cell, result = timed.cell, timed.result
        if cell.strategy != REFERENCE or cell.replicate != replicate or result is None:
            continue
        if group in (None, result.group):
            return timed
    return None


def _aa(shape: Shape, group: str) -> Ratio | None:
    first, second = _full(shape, 0, group), _full(shape, 1, group)
    if first is None or second is None or first.seconds is None or second.seconds is None:
        return None
    return round_ratio(second.seconds, first.seconds, disturbed=_disturbed(first, second))


def _disturbed(*pair: Timed) -> set[int]:
    """The rounds in which something disturbed the group that these were timed in."""
    known = (one.result.validity for one in pair if one.result is not None)
    return {number for validity in known if validity is not None for number in validity.disturbed_rounds}


def _memory_ratio(ours: CostResult, full: CostResult | None) -> float | None:
    """Peak against full's, where both count the same thing."""
    if full is None or ours.memory is None or full.memory is None or ours.memory.method != full.memory.method:
        return None
    return ours.memory.peak_allocated_bytes / full.memory.peak_allocated_bytes


def _row(name: str, strategy: str, model: Model, references: Mapping[str, Arm | None], cost: Cost | None) -> Row:
    arms = [(task, arm) for task in model.tasks for arm in task.arms if arm.name == name]
    results = [result for _, arm in arms for _, result in arm.results]
    counts = [result.counts for result in results]
    if cost is not None and cost.result is not None:
        counts.append(cost.result.counts)
    return Row(
        name,
        strategy,
        counts[0].encoder_trainable if counts else None,
        counts[0].encoder_trainable / counts[0].encoder_total if counts else None,
        {task.name: score(arm, references[task.name], task.headline) for task, arm in arms},
        cost,
        max((result.delta_bytes for result in results), default=None),
    )


def _rank(row: Row) -> tuple[bool, bool, float]:
    """Full first, then by mean difference to full over tasks (or mean score without one), the unknown last."""
    differences = [_merit(s, s.difference.mean) for s in row.scores.values() if s.difference is not None]
    known = differences or [_merit(s, s.summary.mean) for s in row.scores.values() if s.summary is not None]
    return not row.is_reference, not known, -sum(known) / len(known) if known else 0.0


def _merit(score: Score, value: float) -> float:
    return metric(score.headline or "").merit(value)


def _headline(result: QualityResult) -> float | None:
    return result.headline_score


def _gap(result: QualityResult) -> float | None:
    return result.gap
