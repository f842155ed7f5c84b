"""How long a suite takes, before it is run: at a card's peak rates, or going by a run that was made."""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from pydantic import computed_field

from bench.arithmetic import Arithmetic
from bench.cards import Card, floor_on_card
from bench.cell import Cell, CostCell, Planned, TrainingCell
from bench.configurations import check_length
from bench.encoders import Encoder
from bench.frozen import Frozen
from bench.measure.fake import NoShapesError
from bench.measure.flops import arithmetic_of
from bench.measure.subject import cost_config
from bench.run_pace import Pace
from bench.task_sizes import Sizes, published
from bench.workload import Work, workload
from strategies.errors import StrategyError

FindEncoder = Callable[[str], Encoder]


class Part(Frozen):
    """What the cells of one model, subject and strategy take together.

    `subject` is a task, or the shape and setting of cost cells. `steps` and `seconds` are None where `reason` says
    why.
    """

    kind: Literal["cost", "quality", "trial"]
    model: str
    subject: str
    strategy: str
    cells: int
    steps: int | None
    seconds: float | None
    reason: str | None = None


class SuiteTime(Frozen):
    """How long a suite takes. `basis` says what the seconds rest on, `notes` what they leave out."""

    suite: str
    basis: str
    parts: list[Part]
    notes: list[str]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def seconds(self) -> float:
        """Of all parts that are known."""
        return sum(part.seconds for part in self.parts if part.seconds is not None)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def unknown_cells(self) -> int:
        """Cells of the other parts."""
        return sum(part.cells for part in self.parts if part.seconds is None)


class Estimate(NamedTuple):
    """Seconds of one cell, or None and the reason why they are not known."""

    seconds: float | None
    reason: str | None = None


def on_card(
    suite: str, cells: Sequence[Planned], card: Card, find: FindEncoder, *, tokens: int | None = None
) -> SuiteTime:
    """The time of all steps and of scoring at the peak rates of a card.

    Each batch of a quality cell counts as long as `tokens`, or where that is None as the cell's own `max_length`.
    `find` gives the encoder of a model's name. Raises InputError where an encoder has too few positions.
    """
    counted: dict[str, tuple[Arithmetic | None, str | None]] = {}

    def estimate(work: Work) -> Estimate:
        cell = work.cell if isinstance(work.cell, CostCell) else as_cost_cell(work.cell, tokens)
        key = cell.model_copy(update={"replicate": 0}).key
        if key not in counted:
            counted[key] = _count(cell, find(cell.model))
        arithmetic, reason = counted[key]
        if arithmetic is None:
            return Estimate(None, reason)
        step, reason = floor_on_card(arithmetic, card, cell.precision)
        if step is None:
            return Estimate(None, reason)
        forward = step.compute_seconds * arithmetic.forward_flops / arithmetic.flops / cell.batch_size
        return Estimate((work.steps or 0) * step.seconds + (work.scored or 0) * forward)

    long = "max_length" if tokens is None else f"{tokens} tokens"
    less = "; shorter texts take less, and --tokens says how long they are" if tokens is None else ""
    basis = (
        f"at the peak rates of {card.name}, which no program reaches ({card.source}, grade {card.grade}), with every "
        f"batch of a task as long as {long}{less}"
    )
    works = workload(cells, _sizes)
    notes = [*_size_notes(works), "left out: loading, tokenizing, audits, extra sets, and all else that is no product"]
    return SuiteTime(suite=suite, basis=basis, parts=_parts(works, estimate), notes=[*notes, *_patience(works)])


def as_cost_cell(cell: TrainingCell, tokens: int | None = None) -> CostCell:
    """The cost cell whose step is that of a quality cell, at its `max_length` or a length of `tokens`."""
    shared = {name: getattr(cell, name) for name in CostCell.model_fields.keys() & type(cell).model_fields.keys()}
    own = {"kind": "cost", "length": tokens or cell.max_length, "mask_seed": 0}
    return CostCell.model_validate(shared | own)


def _count(cell: CostCell, encoder: Encoder) -> tuple[Arithmetic | None, str | None]:
    check_length(encoder.name, cost_config(cell, encoder), cell.length)
    try:
        return arithmetic_of(cell, encoder, accelerator=True), None
    except (NoShapesError, StrategyError) as error:
        return None, str(error)


def like_run(suite: str, cells: Sequence[Planned], pace: Pace) -> SuiteTime:
    """The time of a suite at the pace of a run's finished cells of the same models, tasks, strategies and settings."""
    works = workload(cells, pace.sizes)
    basis = (
        f"at the pace of the run {pace.folder} on {' and on '.join(pace.machines)}: what cells of the same model, "
        "task, strategy and settings took, their steps and scored examples made as many as these"
    )
    parts = _parts(works, lambda work: Estimate(*pace.seconds(work)))
    return SuiteTime(suite=suite, basis=basis, parts=parts, notes=[*_timed(works), *_patience(works)])


def _sizes(cell: TrainingCell) -> Sizes | None:
    """The published sizes of a cell's task; where they are not known, the bound that the cell sets itself."""
    found = published(cell.task)
    if found is not None or cell.train_examples is None:
        return found
    return Sizes(
        cell.train_examples, cell.selection_examples or 0, cell.evaluation_examples or 0, "the suite's bounds"
    )


def _size_notes(works: Sequence[Work]) -> list[str]:
    """Where the number of examples of each task comes from."""
    found: dict[str, dict[str, None]] = {}
    for cell in (work.cell for work in works):
        if not isinstance(cell, CostCell):
            sizes = _sizes(cell)
            basis = "not known, so their scoring is left out" if sizes is None else sizes.basis
            found.setdefault(basis, {})[cell.task] = None
    return [f"examples of {', '.join(tasks)}: {basis}" for basis, tasks in found.items()]


def _timed(works: Sequence[Work]) -> list[str]:
    """How the time of cost cells is told from a run, where there are any."""
    note = (
        "cost cells: steps at their own median, and a share each of what their group took beside steps, to build "
        "models, weigh them and forecast; left out: the machine's own rates, taken before and after"
    )
    return [note] if any(isinstance(work.cell, CostCell) for work in works) else []


def _patience(works: Sequence[Work]) -> list[str]:
    waits = any(not isinstance(work.cell, CostCell) and work.cell.patience is not None for work in works)
    return ["cells with patience may stop earlier: their steps are the most they take"] if waits else []


def _parts(works: Sequence[Work], estimate: Callable[[Work], Estimate]) -> list[Part]:
    """Work of one kind, model, subject and strategy together; a part of which anything is not known is not known."""
    found: dict[tuple[str, str, str, str], list[tuple[Work, Estimate]]] = {}
    for work in works:
        cell = work.cell
        known = estimate(work) if work.steps is not None else Estimate(None, work.reason)
        found.setdefault((cell.kind, cell.model, _subject(cell), cell.strategy), []).append((work, known))
    return [_part(together) for together in found.values()]


def _subject(cell: Cell) -> str:
    """The task of a cell that trains, else what it is a step of."""
    if not isinstance(cell, CostCell):
        return cell.task
    return ", ".join(filter(None, (f"{cell.batch_size}x{cell.length}", cell.setting)))


def _part(together: Sequence[tuple[Work, Estimate]]) -> Part:
    cell = together[0][0].cell
    reason = next((known.reason for _, known in together if known.seconds is None), None)
    steps = [None if work.steps is None else work.count * work.steps for work, _ in together]
    seconds = [None if known.seconds is None else work.count * known.seconds for work, known in together]
    return Part(
        kind=cell.kind,
        model=cell.model,
        subject=_subject(cell),
        strategy=cell.strategy,
        cells=sum(work.count for work, _ in together),
        steps=None if None in steps else sum(filter(None, steps)),
        seconds=None if None in seconds else sum(filter(None, seconds)),
        reason=reason,
    )
