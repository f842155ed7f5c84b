"""The largest member of a family whose training step fits: the question `plan --family`."""

import contextlib
import time
from collections.abc import Callable, Sequence

from pydantic import Field
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bench.encoders import Encoder
from bench.families import Family
from bench.measure.fake import NoShapesError
from bench.measure.memory import forecast_peak
from bench.planning import Question, Step, cell_of, check
from strategies.errors import StrategyError


class Largest(Step):
    """By GiB of memory the largest member of a family whose step fits; None where not even the first one does.

    `peak_bytes` holds the forecasts this was read from, by member; `reason` says why there are none. What lies
    between them was not forecast: members need more in the order of the family. `left_out` says of members on the way
    that the strategy cannot be applied to why that is: the answer is the largest of the others. `seconds` is how long
    the answer took; None where there is none.
    """

    family: str
    largest: dict[int, str | None] = Field(default_factory=dict)
    peak_bytes: dict[str, int] = Field(default_factory=dict)
    left_out: dict[str, str] = Field(default_factory=dict)
    reason: str | None = None
    seconds: float | None = None


def largest_members(
    family: Family, question: Question, on_answer: Callable[[Largest], None] = lambda _: None
) -> list[Largest]:
    """For each strategy the largest member that fits each limit, at the batch and length asked for.

    The members are the question's encoders, the one that needs least first. `on_answer` is told each answer as soon
    as there is one. Raises InputError and StrategyError as `planning.check` does.
    """
    check(question)
    answers = []
    for strategy in question.strategies:
        answers.append(_largest(family, question, strategy))
        on_answer(answers[-1])
    return answers


def _largest(family: Family, question: Question, strategy: str) -> Largest:
    began = time.perf_counter()
    peaks: dict[str, int] = {}
    left_out: dict[str, str] = {}

    def needs(encoder: Encoder) -> int:
        if encoder.name not in peaks:
            cell = cell_of(question, encoder, strategy)
            try:
                found = forecast_peak(cell, encoder, accelerator=question.accelerator)
            except StrategyError as error:
                left_out[encoder.name] = str(error)
                raise
            peaks[encoder.name] = found.peak_allocated_bytes
        return peaks[encoder.name]

    def largest(limit_bytes: int) -> str | None:
        # A member that the strategy refuses shows as one when the search comes to it; then the others are searched.
        while True:
            members = [one for one in question.encoders if one.name not in left_out]
            with contextlib.suppress(StrategyError):
                count = fitting(members, needs, limit_bytes)
                return members[count - 1].name if count else None

    step = cell_of(question, question.encoders[0], strategy).model_dump(include=set(Step.model_fields))
    about: dict[str, object] = {"family": family.name, **step}
    try:
        names = {limit: largest(size) for limit, size in question.usable_bytes.items()}
    except NoShapesError as error:
        return Largest.model_validate(about | {"reason": str(error)})
    if not peaks:
        return Largest.model_validate(about | {"reason": next(iter(left_out.values())), "left_out": left_out})
    in_order = {one.name: peaks[one.name] for one in question.encoders if one.name in peaks}
    found = {"largest": names, "peak_bytes": in_order, "left_out": left_out, "seconds": time.perf_counter() - began}
    return Largest.model_validate(about | found)


def fitting(members: Sequence[Encoder], needs: Callable[[Encoder], int], limit_bytes: int) -> int:
    """How many members fit, of some that need more and more; a binary search, for `needs` takes a second or so."""
    low, high = 0, len(members)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if needs(members[middle - 1]) <= limit_bytes else (low, middle - 1)
    return low


def table(family: Family, answers: Sequence[Largest], question: Question) -> Group:
    """The answers for a terminal."""
    drawn = Table("strategy", box=None, pad_edge=False)
    for limit in question.limits_gib:
        drawn.add_column(str(limit), justify="right")
    for one in answers:
        if one.reason is None:
            drawn.add_row(one.strategy, *(name or "none" for name in one.largest.values()))
    series = ", ".join(encoder.name for encoder in question.encoders)
    parts: list[RenderableType] = [
        Text(f"{family.name}: largest member at {question.step}, by GiB of memory", style="bold"),
        drawn,
        *(Text(f"no forecast of {one.strategy}: {one.reason}") for one in answers if one.reason is not None),
        *(Text(note) for one in answers if one.reason is None for note in _left_out(one)),
        Text(),
        Text(f"The family: {series}; {family.source}, grade {family.grade}."),
        Text(f"{question.basis}."),
    ]
    return Group(*parts)


def _left_out(answer: Largest) -> list[str]:
    return [f"{name} is left out of {answer.strategy}: {reason}" for name, reason in answer.left_out.items()]
