"""What a training step would need, with no accelerator and no weights: the command `plan`."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pydantic import Field

import strategies
from bench.arithmetic import Arithmetic, Floor
from bench.cards import SIZES_GIB, Card, floor_on_card
from bench.cell import Attention, CostCell, Precision, setting_of
from bench.configurations import check_length
from bench.encoders import Encoder
from bench.frozen import Frozen
from bench.measure.fake import NoShapesError
from bench.measure.forecast import Forecasts, forecasting
from bench.measure.limits import Curve, Phases
from bench.measure.subject import KIND, cost_config, cost_shapes
from bench.models import shape_only
from bench.results import MemoryPeak
from strategies.errors import StrategyError

GIB = 2**30
SHORTEST = 8


@dataclass(frozen=True)
class Question:
    """What is asked: of every encoder and strategy a step of this shape, and what fits into each of `limits_gib`.

    Of each limit `reserve_gib` stay free, for what is no tensor: the context of the device, the workspace of its
    kernels, and memory that its allocator cannot use. On a CPU (`accelerator` False) they may be 0. Of a `card` it is
    also asked how long a step takes there at least.
    """

    encoders: Sequence[Encoder]
    strategies: Sequence[str]
    batch_size: int
    length: int
    precision: Precision = "fp32"
    match: str | None = None
    budget: float | None = None
    accelerator: bool = True
    limits_gib: Sequence[int] = SIZES_GIB
    reserve_gib: float = 1.0
    card: Card | None = None
    attention: Attention | None = None
    gradient_checkpointing: bool = False

    @property
    def step(self) -> str:
        """What is a step of, in words: '32x128, fp32, checkpointing'."""
        setting = setting_of(self.attention, self.gradient_checkpointing)
        return ", ".join(filter(None, (f"{self.batch_size}x{self.length}", self.precision, setting)))

    @property
    def basis(self) -> str:
        """What the answers rest on, in a sentence without its full stop."""
        kernels = "an accelerator's" if self.accelerator else "a CPU's"
        kept = f"{self.reserve_gib:g} GiB of each limit are left to what is no tensor"
        return f"Forecast from shapes, with {kernels} kernels; {kept}"

    @property
    def usable_bytes(self) -> dict[int, int]:
        """Of each limit what tensors may take."""
        return {limit: round((limit - self.reserve_gib) * GIB) for limit in self.limits_gib}


class Step(Frozen):
    """The step that an answer is about."""

    strategy: str
    batch_size: int
    length: int
    precision: str
    attention: str | None = None
    gradient_checkpointing: bool = False


class Plan(Step):
    """What a step of one encoder and strategy needs, and by GiB of memory the largest shapes that fit.

    `largest_batch` is at the length asked for, `longest` at the batch; 0 says that not even one example, or the
    shortest sequence, fits. `verified` is what the last forecast at the largest batch of all says of the curve it was
    read from, as a ratio, and `verified_length` the same of the longest sequence; None where there was none to make.
    `forecasts` says how many shapes that took, `seconds` how long; None where there is no answer. `reason` says why
    there is no forecast. `floor` is the least time of a step on the card asked for, by its data sheet; `floor_reason`
    says why there is none.
    """

    model: str
    encoder_trainable: int | None
    encoder_total: int
    memory: MemoryPeak | None
    reason: str | None = None
    largest_batch: dict[int, int] = Field(default_factory=dict)
    longest: dict[int, int] = Field(default_factory=dict)
    verified: float | None = None
    verified_length: float | None = None
    arithmetic: Arithmetic | None = None
    floor: Floor | None = None
    floor_reason: str | None = None
    forecasts: int | None = None
    seconds: float | None = None


def check(question: Question) -> None:
    """Raises InputError where an encoder has not what is asked of it, StrategyError for an unknown strategy."""
    for strategy in (*question.strategies, *filter(None, [question.match])):
        strategies.check(strategy)
    for encoder in question.encoders:
        cell = cell_of(question, encoder, "full")
        config = cost_config(cell, encoder)
        check_length(encoder.name, config, question.length)
        cost_shapes(cell, config)


def plan(question: Question, on_plan: Callable[[Plan], None] = lambda _: None) -> list[Plan]:
    """Answer a question, encoder by encoder; `on_plan` is told each answer as soon as there is one.

    Raises InputError and StrategyError as `check` does.
    """
    check(question)
    plans = []
    for encoder in question.encoders:
        total = _encoder_total(question, encoder)
        for strategy in question.strategies:
            plans.append(_plan(question, encoder, strategy, total))
            on_plan(plans[-1])
    return plans


def cell_of(question: Question, encoder: Encoder, strategy: str) -> CostCell:
    """The cost cell of the step that is asked about."""
    sized = {"match": question.match, "budget": question.budget} if strategies.is_sized(strategy) else {}
    return CostCell.model_validate(
        {
            "model": encoder.name,
            "strategy": strategy,
            "batch_size": question.batch_size,
            "length": question.length,
            "pooling": encoder.pooling,
            "precision": question.precision,
            "attention": question.attention,
            "gradient_checkpointing": question.gradient_checkpointing,
            **sized,
        }
    )


def _encoder_total(question: Question, encoder: Encoder) -> int:
    """Parameters of an encoder before any strategy."""
    cell = cell_of(question, encoder, "full")
    model = shape_only(cost_config(cell, encoder), KIND, cell.labels, cell.pooling)
    return sum(parameter.numel() for parameter in model.encoder.parameters())


def _plan(question: Question, encoder: Encoder, strategy: str, encoder_total: int) -> Plan:
    began = time.perf_counter()
    cell = cell_of(question, encoder, strategy)
    about = {"encoder_total": encoder_total, **cell.model_dump(include=set(Plan.model_fields))}
    usable = question.usable_bytes
    try:
        with forecasting(cell, encoder, accelerator=question.accelerator) as step:
            memory = step.peak(cell.batch_size, cell.length)
            batches, lengths = _curves(cell, step, memory)
            verified, verified_length = (curve.verify(max(usable.values())) for curve in (batches, lengths))
    except (NoShapesError, StrategyError) as error:
        return Plan(**about, encoder_trainable=None, memory=None, reason=str(error))
    floor, floor_reason = _floor(question, step.arithmetic)
    longest = {limit: lengths.largest(size) for limit, size in usable.items()}
    return Plan(
        **about,
        encoder_trainable=step.encoder_trainable,
        memory=memory,
        largest_batch={limit: batches.largest(size) for limit, size in usable.items()},
        longest={limit: most if most >= SHORTEST else 0 for limit, most in longest.items()},
        verified=verified,
        verified_length=verified_length,
        arithmetic=step.arithmetic,
        floor=floor,
        floor_reason=floor_reason,
        # Both curves go through the shape that was asked for.
        forecasts=len(batches.known) + len(lengths.known) - 1,
        seconds=time.perf_counter() - began,
    )


def _curves(cell: CostCell, step: Forecasts, memory: MemoryPeak) -> tuple[Curve, Curve]:
    """Curves over the batch and, up to the longest text, over the length, through `memory` of the cell's own shape."""
    most = step.longest
    batches = Curve(lambda n: _phases(step.peak(n, cell.length)), known={cell.batch_size: _phases(memory)})
    known = {cell.length: _phases(memory)}
    lengths = Curve(lambda n: _phases(step.peak(cell.batch_size, n)), most, known, degree=2)
    batches.at(4 * cell.batch_size)
    lengths.at(*_around(cell.length, most))
    return batches, lengths


def _floor(question: Question, arithmetic: Arithmetic) -> tuple[Floor | None, str | None]:
    if question.card is None:
        return None, "no card was named"
    return floor_on_card(arithmetic, question.card, question.precision)


def _phases(memory: MemoryPeak) -> Phases:
    """What each phase of a forecast step needs."""
    if memory.attribution is None:
        raise RuntimeError("a forecast without its phases")
    return memory.attribution.peak_by_phase_bytes


def _around(length: int, most: int | None) -> tuple[int, int]:
    """Two other lengths for a curve through three: half, and the most positions there are, or twice as long.

    The most is often the answer, and then it is a forecast already. Where it is too near, both are shorter.
    """
    half = max(1, length // 2)
    if most is None or most > 8 * length:
        return half, 2 * length
    return (half, most) if 2 * most >= 3 * length else (max(1, length // 4), half)
