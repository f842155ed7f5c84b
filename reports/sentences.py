"""The verdict in words: one sentence a strategy, made from the numbers and their intervals."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.metrics import Metric
from reports import formats
from reports.formats import metric
from reports.run import Task
from reports.statistics import Difference, Interval
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
    costs = []
    if row.cost is not None and row.cost.median_seconds is not None:
        costs.append(f"{formats.seconds(row.cost.median_seconds)} a step")
        costs += [f"{formats.size(row.cost.peak_bytes)} at its peak"] if row.cost.peak_bytes is not None else []
    if row.delta_bytes is not None:
        costs.append(f"{formats.size(row.delta_bytes)} a task")
    texts = ["; ".join(["the reference", *filter(None, (_levels(row.scores, names), ", ".join(costs)))])]
    if verdict.pair is not None and verdict.floor is not None:
        low, high = (formats.plain_ratio(math.exp(sign * verdict.floor)) for sign in (-1, 1))
        texts.append(
            f"Timed against itself it takes {formats.plain_ratio(verdict.pair.value)} of its own time; no ratio from "
            f"{low} to {high} is called different"
        )
    return _close([*texts, *_lacking(row, names)])


def _judged(row: Row, names: Mapping[str, Named]) -> str:
    compared = {task: score.difference for task, score in row.scores.items() if score.difference is not None}
    decided = [task for task, found in compared.items() if found.decided]
    alone = {task: score for task, score in row.scores.items() if score.difference is None and score.summary}
    first = [_difference(row.scores[task], names[task], first=task == decided[0]) for task in decided]
    texts = [", ".join(filter(None, (_join(first), *_costs(row, bool(decided)))))]
    for doubt in sorted({found.doubt for found in compared.values() if found.doubt is not None}, reverse=True):
        tasks = [task for task, found in compared.items() if found.doubt == doubt]
        parts = [_difference(row.scores[task], names[task], first=task == tasks[0]) for task in tasks]
        texts.append(f"Undecided, since {doubt}: {_join(parts)}")
    texts.append(f"Without a score of full fine-tuning to compare: {_levels(alone, names)}" if alone else "")
    return _close([*filter(None, texts), *_lacking(row, names)])


def _levels(scores: Mapping[str, Score], names: Mapping[str, Named]) -> str:
    """Scores task by task, the metric named once where it is one for all."""
    known = [(task, score) for task, score in scores.items() if score.summary is not None and score.headline]
    alike = len({score.headline for _, score in known}) == 1
    parts = []
    for index, (task, score) in enumerate(known):
        headline = metric(score.headline or "")
        mean = "" if score.summary is None else formats.score(headline, score.summary)[0]
        parts.append(f"{mean} on {names[task]}" if alike and index else f"{headline.label} {mean} on {names[task]}")
    return _join(parts)


def _difference(score: Score, name: Named, *, first: bool) -> str:
    """'2.4 points below full fine-tuning on questions (interval 1.9 to 2.9)', shorter where not the first."""
    found, headline = score.difference, metric(score.headline or "")
    if found is None:
        return ""
    side = "below" if found.mean < 0 else "above"
    notes = [_spread(headline, found)] if found.interval is not None else []
    if headline.higher_is_better is False and found.decided:
        notes.insert(0, "worse" if found.mean > 0 else "better")
    against = " full fine-tuning" if first else ""
    if found.mean == 0:
        return f"{f'equal to{against}' if first else 'equal'} on {name.spelled(*notes)}"
    return f"{_amount(headline, found, unit=first)} {side}{against} on {name.spelled(*notes)}"


def _spread(headline: Metric, found: Difference) -> str:
    """The interval; that of a decided difference in the direction of the sentence: 'below' goes with plain numbers."""
    if found.interval is None:
        return ""
    factor, decimals = formats.scale(headline), formats.difference_digits(headline, found)
    if not found.decided:
        return f"interval {formats.interval(found.interval, decimals, factor)}"
    ends = sorted(abs(end) for end in (found.interval.low, found.interval.high))
    if (ends[1] - ends[0]) * factor < 1e-9:
        return f"the same in all {found.n} seeds"
    return f"interval {formats.interval(Interval(*ends), decimals, factor)}"


def _amount(headline: Metric, found: Difference, *, unit: bool = True) -> str:
    decimals = formats.difference_digits(headline, found)
    text = formats.number(abs(found.mean) * formats.scale(headline), decimals)
    return (text + formats.unit(headline).removesuffix("s" if text == "1" else "")) if unit else text


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


def _lacking(row: Row, names: Mapping[str, Named]) -> list[str]:
    """What there is no result of: failed and outstanding cells with their tasks, and a failed cost cell."""
    failed = [
        f"{sum(score.failed.values())} on {names[task].spelled(*map(formats.status, score.failed))}"
        for task, score in row.scores.items()
        if score.failed
    ]
    waiting = [f"{s.outstanding} on {names[task]}" for task, s in row.scores.items() if s.outstanding]
    void = [f"{names[task]}" for task, s in row.scores.items() if s.seeds and s.summary is None]
    texts = [f"The metric is undefined for what it predicts on {_join(void)}"] if void else []
    texts += [f"Cells that failed: {_join(failed)}"] if failed else []
    texts += [f"Cells still to run: {_join(waiting)}"] if waiting else []
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
