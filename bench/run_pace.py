"""How fast the finished cells of a run went, and how long others would take at their pace."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.cell import Cell, CostCell, QualityCell, TrainingCell
from bench.errors import InputError
from bench.record import Record
from bench.results import QualityResult
from bench.store import RunStore
from bench.task_sizes import Sizes, published
from bench.workload import Work, scored_examples, timed_steps


@dataclass(frozen=True)
class Pace:
    """The finished cells of a run, by what makes cells take equally long a step.

    `machines` names what it ran on; `accelerator` says whether any of that was one. `besides` has, by the key of a
    cost cell, the seconds it took beside its steps: to build models, weigh it in a process of its own, and forecast.
    """

    folder: Path
    machines: list[str]
    accelerator: bool
    cells: dict[str, list[Record]]
    besides: dict[str, float] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> "Pace":
        """Raises InputError where `folder` is no run or no cell of it is finished."""
        records = RunStore.open(folder).latest().values()
        finished = [record for record in records if record.status == "ok"]
        if not finished:
            raise InputError(f"{folder} has no finished cell to go by")
        cells: dict[str, list[Record]] = {}
        for record in finished:
            cells.setdefault(_alike(record.cell), []).append(record)
        conditions = [record.conditions for record in finished]
        machines = sorted({f"{one.device_name} with {one.threads} threads" for one in conditions})
        return cls(folder, machines, any(one.device != "cpu" for one in conditions), cells, _besides(records))

    def sizes(self, cell: TrainingCell) -> Sizes | None:
        """The splits of a cell's task, as the run had them where it had all that the cell wants, else as published."""
        for record in (one for group in self.cells.values() for one in group):
            then, result = record.cell, record.quality
            if result is None or not isinstance(then, QualityCell) or then.task != cell.task:
                continue
            had = (
                (cell.train_examples, then.train_examples, result.train_examples),
                (cell.selection_examples, then.selection_examples, result.selection.examples),
                (_evaluated(cell), then.evaluation_examples, result.evaluation.examples),
            )
            if all(_enough(*split) for split in had):
                return Sizes(had[0][2], had[1][2], had[2][2], f"the run {self.folder}")
        return published(cell.task)

    def seconds(self, work: Work) -> tuple[float | None, str | None]:
        """The time of one cell of `work` by the cells like it, the median of them; None and why without any."""
        found = self.cells.get(_alike(work.cell), [])
        if work.steps is None or not found:
            return None, work.reason or f"no cell like it is finished in {self.folder}"
        return statistics.median(self._scaled(record, work, work.steps) for record in found), None

    def _scaled(self, record: Record, work: Work, steps: int) -> float:
        """The seconds a record's cell would have taken with as many steps and scored examples as `work` has."""
        if record.cost is not None:
            return steps * record.cost.step.median_seconds + self.besides[record.key]
        return _trained(record, work, steps)


def _evaluated(cell: TrainingCell) -> int | None:
    """The bound of a cell on its evaluation split; a trial does not look at it."""
    return cell.evaluation_examples if isinstance(cell, QualityCell) else 1


def _enough(wanted: int | None, bound: int | None, had: int) -> bool:
    """Whether a split that a run had `had` examples of, under a bound or none, shows how many `wanted` come to."""
    return bound is None or had < bound or (wanted is not None and wanted <= had)


def _alike(cell: Cell) -> str:
    """What cells share whose steps take equally long on one machine: all but seeds, rates and how much they do."""
    if isinstance(cell, CostCell):
        return cell.step.model_copy(update={"mask_seed": 0}).key
    fixed: dict[str, object] = {
        "seed": 0,
        "mask_seed": 0,
        "learning_rate": 1.0,
        "warmup_fraction": 0.1,
        "patience": None,
    }
    fixed |= {"epochs": None, "steps": 1, "train_examples": None, "evaluation_examples": None}
    if isinstance(cell, QualityCell):
        # What they score is scaled; of a trial nobody took the time of its scoring.
        fixed |= {"selection_examples": None, "curve_points": 10, "curve_examples": 500}
    return cell.model_copy(update=fixed).key


def _besides(records: Iterable[Record]) -> dict[str, float]:
    """Seconds of finished cost cells beside their steps, by key.

    The wall time of a group is shared evenly by its records, whatever their steps took. So what it has beyond all of
    their steps is shared here, by those that were weighed: the second full fine-tuning takes little but its steps.
    """
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        if isinstance(record.cell, CostCell):
            groups.setdefault((record.cell.group, record.started_utc), []).append(record)
    return {key: seconds for group in groups.values() for key, seconds in _shares(group).items()}


def _shares(group: Sequence[Record]) -> dict[str, float]:
    """What `_besides` says of one group, cells that failed in it included in its wall time."""
    steps = {
        record.key: timed_steps(record.cell) * record.cost.step.median_seconds
        for record in group
        if record.cost is not None and isinstance(record.cell, CostCell)
    }
    rest = max(0.0, sum(record.wall_seconds for record in group) - sum(steps.values()))
    again = {record.key for record in group if isinstance(record.cell, CostCell) and record.cell.replicate}
    sharing = [key for key in steps if key not in again] or list(steps)
    return dict.fromkeys(steps, 0.0) | {key: rest / len(sharing) for key in sharing}


def _trained(record: Record, work: Work, steps: int) -> float:
    """What a cell that trained would have taken: its wall time, with steps and scored examples more or fewer."""
    cell, result = record.cell, record.quality or record.trial
    if result is None or isinstance(cell, CostCell):
        raise RuntimeError(f"{record.key} is finished and has no result")
    pace = result.training_seconds / result.steps
    seconds = record.wall_seconds + (steps - result.steps) * pace
    if isinstance(result, QualityResult) and work.scored is not None:
        seconds += (work.scored - scored_examples(cell, result.steps, _had(result))) * _scoring_pace(result)
    return max(seconds, steps * pace)


def _had(result: QualityResult) -> Sizes:
    return Sizes(result.train_examples, result.selection.examples, result.evaluation.examples, "the record")


def _scoring_pace(result: QualityResult) -> float:
    """Seconds an example took in the scoring at the end."""
    scored = (result.evaluation, result.selection, result.train_sample, result.gap_sample, *result.extra.values())
    return result.scoring_seconds / sum(one.examples for one in scored if one is not None)
