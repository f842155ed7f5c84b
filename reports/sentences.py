"""The verdict in words: one sentence a strategy, made from the numbers and their intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.metrics import Metric
from reports import formats
from reports.formats import metric
from reports.run import Task
from reports.statistics import Difference
from reports.verdict import Cost, Row, Score, Verdict

SYMBOLS = "†‡§¶#"


@dataclass(frozen=True)
class Named:
    """A task's name with the symbols of its marks, and the marks in short."""

    text: str
    marks: tuple[str, ...]

    def spelled(self, *notes: str) -> str:
        """The name with, in brackets, what the symbols mean and whatever else there is to note."""
        brackets = "; ".join([*self.marks, *notes])
        return f"{self.text} ({brackets})" if brackets else self.text

    def __str__(self) -> str:
        return self.spelled()


class Marks:
    """The marks of a run with a symbol each: what must stand wherever a marked result does."""

    def __init__(self, marks: Sequence[str]) -> None:
        self.symbols = {mark: _symbol(index) for index, mark in enumerate(marks)}

    def named(self, task: Task) -> Named:
        """A task's name as it must be written in this run."""
        return Named(
            " ".join([task.name, *(self.symbols[mark] for mark in task.marks)]), tuple(map(short, task.marks))
        )


def spelled(task: Task) -> str:
    """A task's name with its marks in brackets, for where no symbols are explained."""
    return Named(task.name, tuple(map(short, task.marks))).spelled()


def short(mark: str) -> str:
    """The part of a mark before its explanation: 'synthetic data' of 'synthetic data: made up by a grammar'."""
    return mark.partition(":")[0].strip()


def sentences(verdict: Verdict, marks: Marks) -> list[tuple[Row, str]]:
    """Each row with its sentence, which follows the strategy's name and a colon."""
    names = {task.name: marks.named(task) for task in verdict.model.tasks}
    return [
        (row, _reference(row, verdict, names) if row.is_reference else _judged(row, names)) for row in verdict.rows
    ]


def _reference(row: Row, verdict: Verdict, names: Mapping[str, Named]) -> str:
    scored = [(task, score) for task, score in row.scores.items() if score.summary is not None]
    alike = len({score.headline for _, score in scored}) == 1
    parts = [f"{_level(s, named=not alike or not i)} on {names[task]}" for i, (task, s) in enumerate(scored)]
    costs = []
    if row.cost is not None and row.cost.median_seconds is not None:
        costs.append(f"{formats.seconds(row.cost.median_seconds)} a step")
        costs += [f"{formats.size(row.cost.peak_bytes)} at its peak"] if row.cost.peak_bytes is not None else []
    if row.delta_bytes is not None:
        costs.append(f"{formats.size(row.delta_bytes)} a task")
    texts = ["; ".join(["the reference", *filter(None, (_join(parts), ", ".join(costs)))])]
    if verdict.pair is not None and verdict.floor is not None:
        apart = formats.floor(abs(verdict.pair.value - 1))
        texts.append(
            f"Timed against itself it differs by {apart}; no step time within {formats.floor(verdict.floor)} "
            "of it is called different"
        )
    return _close([*texts, *_gaps_in_data(row, names)])


def _judged(row: Row, names: Mapping[str, Named]) -> str:
    decided: list[str] = []
    others: list[str] = []
    for task, score in row.scores.items():
        found, name = score.difference, names[task]
        if found is not None and found.decided:
            decided.append(_decided(score, found, name, first=not decided))
        elif found is not None:
            others.append(_undecided(score, found, name))
        elif score.summary is not None:
            others.append(f"{_level(score)} on {name}, where full fine-tuning has no score to compare with")
    first = ", ".join(filter(None, (_join(decided), *_costs(row, bool(decided)))))
    return _close([*filter(None, (first, *others)), *_gaps_in_data(row, names)])


def _level(score: Score, *, named: bool = True) -> str:
    if score.summary is None or score.headline is None:
        return ""
    headline = metric(score.headline)
    mean, _ = formats.score(headline, score.summary)
    return f"{headline.label} {mean}" if named else mean


def _decided(score: Score, found: Difference, name: Named, *, first: bool) -> str:
    headline = metric(score.headline or "")
    side = f"{_side(found.mean)} full fine-tuning" if first else _side(found.mean)
    amount = _amount(headline, found, unit=first)
    notes = [_spread(headline, found)]
    if headline.higher_is_better is False:
        notes.insert(0, "worse" if found.mean > 0 else "better")
    return f"{amount} {side} on {name.spelled(*notes)}"


def _undecided(score: Score, found: Difference, name: Named) -> str:
    headline = metric(score.headline or "")
    amount = f"{_amount(headline, found)} {_side(found.mean)} full fine-tuning" if found.mean else "equal"
    if found.interval is None:
        return f"Undecided on {name}: {amount}, but one shared seed gives no interval"
    decimals = formats.difference_digits(headline, found)
    interval = formats.interval(found.interval, decimals, formats.scale(headline))
    return f"Undecided on {name}: {amount}, but the interval over {found.n} seeds, {interval}, includes 0"


def _spread(headline: Metric, found: Difference) -> str:
    """The interval in the direction of the sentence, so that 'below' is followed by positive numbers."""
    if found.interval is None:
        return "no interval"
    factor, decimals = formats.scale(headline), formats.difference_digits(headline, found)
    ends = sorted(abs(end) * factor for end in (found.interval.low, found.interval.high))
    if ends[1] - ends[0] < 1e-9:
        return f"the same in all {found.n} seeds"
    return f"interval {formats.number(ends[0], decimals)}{formats.TO}{formats.number(ends[1], decimals)}"


def _amount(headline: Metric, found: Difference, *, unit: bool = True) -> str:
    decimals = formats.difference_digits(headline, found)
    text = formats.number(abs(found.mean) * formats.scale(headline), decimals)
    return text + formats.unit(headline) if unit else text


def _side(difference: float) -> str:
    return "below" if difference < 0 else "above"


def _costs(row: Row, named: bool) -> list[str]:
    """Clauses on step time, memory, parameters and file; `named` says that full fine-tuning was mentioned."""
    of_whom = "its" if named else "full fine-tuning's"
    parts = [] if row.cost is None else _step(row.cost, of_whom)
    if row.cost is not None and row.cost.memory_ratio is not None:
        whose = "its" if named or parts else of_whom
        parts.append(f"{formats.plain_ratio(row.cost.memory_ratio)} of {whose} memory")
    if row.trainable_fraction is not None:
        parts.append(f"{formats.percent(row.trainable_fraction)} of the encoder's parameters")
    if row.delta_bytes is not None:
        parts.append(f"{formats.size(row.delta_bytes)} a task")
    return parts


def _step(cost: Cost, of_whom: str) -> list[str]:
    if cost.ratio is None:
        return [] if cost.why is None else [f"step time not compared ({cost.why})"]
    value = formats.plain_ratio(cost.ratio.value)
    if cost.ratio.verdict == "below the noise" and cost.ratio.floor is not None:
        return [f"{of_whom} step time within the noise ({value}, floor {formats.floor(cost.ratio.floor)})"]
    if cost.ratio.verdict == "undecided":
        spread = formats.ratio(cost.ratio)[1] or "one round gives no interval"
        return [f"{of_whom} step time undecided ({value}, {spread})"]
    return [f"{value} of {of_whom} step time" if cost.ratio.value < 1 else f"{value} times {of_whom} step time"]


def _gaps_in_data(row: Row, names: Mapping[str, Named]) -> list[str]:
    """What is missing: failed and outstanding cells, task by task, and a failed cost cell."""
    texts = []
    for task, score in row.scores.items():
        if score.failed:
            reasons = ", ".join(formats.status(status) for status in score.failed)
            texts.append(f"{formats.count(sum(score.failed.values()), 'cell')} failed on {names[task]} ({reasons})")
        if score.outstanding:
            texts.append(f"{formats.count(score.outstanding, 'cell')} outstanding on {names[task]}")
    record = None if row.cost is None else row.cost.timed.record
    if record is not None and record.status != "ok":
        texts.append(f"The cost cell failed ({formats.status(record.status)})")
    return texts


def _join(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else "".join(parts)


def _close(texts: Sequence[str]) -> str:
    return " ".join(f"{text}." for text in texts) if texts else "Nothing measured yet."


def _symbol(index: int) -> str:
    return SYMBOLS[index % len(SYMBOLS)] * (1 + index // len(SYMBOLS))
