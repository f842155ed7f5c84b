"""The study's claims, put to the test: which hold on the tasks of a run, which fail, and which it cannot decide.

The claims and their figures are those of BitFit (Ben Zaken et al., ACL 2022, arXiv 2106.10199): differences of
averages over GLUE's development sets with BERT-base. The figures are recalled, not read from the paper.
"""

from dataclasses import dataclass, replace
from typing import Literal

from bench.metrics import Metric
from bench.results import QualityResult
from reports import formats
from reports.formats import metric
from reports.run import Arm, Model, Task
from reports.sentences import Marks
from reports.statistics import Difference, Interval
from reports.table import Cell, Column, Table
from reports.verdict import against, best_arm

Outcome = Literal["holds", "fails", "undecided"]

CAPTION = (
    "A claim holds or fails on a task where the 95% interval of the paired difference says so, each cell taken by "
    "itself: of twenty that are in truth even, one is decided by chance. Below the outcome: by how many points the "
    "strategy named first is ahead, for the gap by how many its gap is smaller. Published: the same over GLUE with "
    "BERT-base, as recalled."
)


def _score(result: QualityResult) -> float | None:
    return result.headline_score


def _gap(result: QualityResult) -> float | None:
    return result.gap


@dataclass(frozen=True)
class Claim:
    """A published statement on two strategies: the first is ahead of the second, or at most `margin` behind it.

    text       the statement
    published  by how many points the first was ahead; None where no figure was given
    of_gap     whether generalization gaps are compared, of which the smaller one is ahead; else headline scores
    margin     how far behind the first may be, as a share: 0.01 is a point
    """

    text: str
    first: str
    second: str
    published: float | None
    of_gap: bool = False
    margin: float = 0.0

    def judge(self, lead: Difference) -> Outcome:
        """What a lead of the first over the second says of the claim."""
        beyond = Difference(lead.mean + self.margin, _moved(lead.interval, self.margin), lead.n)
        if not beyond.decided:
            return "undecided"
        return "holds" if beyond.mean > 0 else "fails"


CLAIMS = (
    Claim("BitFit keeps the score of full fine-tuning: at most 1 point below", "bitfit", "full", 0.1, margin=0.01),
    Claim("bQ+b2 nearly keeps the score of BitFit: at most 2 points below", "bq_b2", "bitfit", -1.3, margin=0.02),
    Claim("BitFit beats as many random parameters", "bitfit", "random_uniform", 3.9),
    Claim("BitFit beats as many parameters in random rows and columns", "bitfit", "random_rowcol", 2.9),
    Claim("bQ+b2 beats a random subset of BitFit's size", "bq_b2", "random_uniform", 2.6),
    Claim("A random subset beats a frozen encoder", "random_uniform", "frozen", 16.4),
    Claim("The generalization gap of BitFit is smaller", "bitfit", "full", None, of_gap=True),
)


def claims_table(model: Model, marks: Marks) -> Table | None:
    """Every claim whose two strategies have a score in common, on every task; None where there is no such claim."""
    leads = {claim: [_lead(claim, task) for task in model.tasks] for claim in CLAIMS}
    columns = (
        Column("claim", numeric=False),
        Column("published", "points"),
        *(Column(marks.named(task).text, _unit(task), numeric=False) for task in model.tasks),
    )
    rows = tuple(
        (Cell(claim.text), Cell(_published(claim)), *map(_cell, [claim] * len(found), found, model.tasks))
        for claim, found in leads.items()
        if any(lead is not None for lead in found)
    )
    return Table(CAPTION, columns, rows) if rows else None


def _lead(claim: Claim, task: Task) -> Difference | None:
    """By how much the first strategy is ahead of the second on a task; None where they share no seed.

    Those of another size than the study's do not count.
    """
    sized = replace(task, arms=tuple(filter(_has_usual_size, task.arms)))
    first, second = best_arm(sized, claim.first), best_arm(sized, claim.second)
    if first is None or second is None or task.headline is None:
        return None
    found = against(first, second, _gap if claim.of_gap else _score, metric(task.headline))
    less_wins = claim.of_gap or metric(task.headline).higher_is_better is False
    if found is None or not less_wins:
        return found
    turned = None if found.interval is None else Interval(-found.interval.high, -found.interval.low)
    return Difference(-found.mean, turned, found.n)


def _has_usual_size(arm: Arm) -> bool:
    """Whether a strategy trains as many numbers as the study had it train: random subsets as many as BitFit."""
    return all(one.cell.budget is None and one.cell.match in (None, "bitfit") for one in arm.cells)


def _cell(claim: Claim, lead: Difference | None, task: Task) -> Cell:
    headline = metric(task.headline or "")
    if lead is None or (claim.margin and headline.unit != "fraction"):
        return Cell(formats.MISSING)
    outcome = claim.judge(lead)
    return Cell(outcome, _figures(headline, lead), strong=outcome != "undecided")


def _figures(headline: Metric, lead: Difference) -> str:
    mean, interval = formats.difference(headline, lead)
    return f"{mean} ({interval})" if interval else f"{mean}, one seed"


def _published(claim: Claim) -> str:
    return "no figure" if claim.published is None else formats.signed(claim.published, 1)


def _unit(task: Task) -> str:
    return "" if task.headline is None else metric(task.headline).label


def _moved(interval: Interval | None, by: float) -> Interval | None:
    return None if interval is None else Interval(interval.low + by, interval.high + by)
