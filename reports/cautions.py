"""What a reader must know before believing the figures of a verdict, in a line each."""

from collections import Counter

from reports import formats
from reports.formats import metric
from reports.run import Shape, Task
from reports.sentences import Marks
from reports.statistics import UNUSABLE_FLOOR, share_half_width
from reports.verdict import Verdict, against, best_arm

# A score that is known no better than this, in points of 100, tells few strategies apart.
COARSE_POINTS = 5.0
# Fewer than anybody fine-tunes an encoder with in earnest: the rate has hardly warmed up and come down.
FEW_STEPS = 30


def cautions(verdict: Verdict, marks: Marks) -> tuple[str, ...]:
    """Everything of one model that its figures do not show by themselves."""
    tasks = verdict.model.tasks
    scores = (
        line for task in tasks for rule in (few_steps, few_examples, nothing_learned) for line in rule(task, marks)
    )
    return (*scores, *passed_over(verdict), *unusable_times(verdict.shape, verdict.floor))


def few_steps(task: Task, marks: Marks) -> tuple[str, ...]:
    """A line where no cell trained for FEW_STEPS optimizer steps; else nothing."""
    most = max((result.steps for arm in task.arms for _, result in arm.results), default=FEW_STEPS)
    if most >= FEW_STEPS:
        return ()
    return (
        f"On {marks.named(task).text} each cell trained for {formats.count(most, 'step')} at most, fewer than anybody "
        "fine-tunes with in earnest: the scores say that the program runs, and little of the strategies.",
    )


def nothing_learned(task: Task, marks: Marks) -> tuple[str, ...]:
    """A line where full fine-tuning is not told from a frozen encoder, whose head alone trains; else nothing."""
    full, frozen = best_arm(task, "full"), best_arm(task, "frozen")
    if full is None or frozen is None or task.headline is None:
        return ()
    headline = metric(task.headline)
    lead = against(full, frozen, lambda result: result.headline_score, headline)
    if lead is None or lead.interval is None or (lead.decided and headline.merit(lead.mean) > headline.merit(0.0)):
        return ()
    mean, interval = formats.difference(headline, lead)
    return (
        f"On {marks.named(task).text} training the encoder gains nothing that can be told: full fine-tuning against a "
        f"frozen encoder is {mean} ({interval}). Differences between strategies there, those of gaps included, say "
        "little of the strategies.",
    )


def few_examples(task: Task, marks: Marks) -> tuple[str, ...]:
    """A line where the evaluation split is too small to know one score to within COARSE_POINTS; else nothing.

    Intervals over seeds cannot show it: every seed is scored on the same examples.
    """
    found = [result for arm in task.arms for _, result in arm.results]
    known = [(result.evaluation.examples, score) for result in found if (score := result.headline_score) is not None]
    if task.headline is None or not known or metric(task.headline).unit != "fraction":
        return ()
    lowest = metric(task.headline).lowest
    span = 1.0 - lowest
    # As shares of the metric's range, whatever a record holds.
    widths = [(span * share_half_width(min(max((s - lowest) / span, 0.0), 1.0), n), n) for n, s in known]
    width, examples = max(widths)
    if 100 * width <= COARSE_POINTS:
        return ()
    counted = formats.count(examples, "example")
    return (
        f"{marks.named(task).text} is scored on {counted}: one score may lie up to {100 * width:.0f} points off what "
        "many more would give, whatever the seeds say, which are all scored on the same ones.",
    )


def passed_over(verdict: Verdict) -> tuple[str, ...]:
    """A line for each batch shape before the one that the costs are of: nothing was measured there."""
    return tuple(
        f"No cell at {shape.label} has a result ({_without_result(shape)}): step times and memory are those of "
        f"{verdict.shape}."
        for shape in verdict.passed_over
    )


def _without_result(shape: Shape) -> str:
    found = Counter("to run" if one.record is None else formats.status(one.record.status) for one in shape.timed)
    return ", ".join(f"{number} {status}" for status, number in found.items())


def unusable_times(shape: str | None, floor: float | None) -> tuple[str, ...]:
    """A line where the noise floor of a batch shape is too high for any step time to be decided; else nothing."""
    if floor is None or floor <= UNUSABLE_FLOOR:
        return ()
    return (
        f"Step times at {shape} decide nothing in this run: with a noise floor of {formats.floor(floor)}, above "
        f"{formats.floor(UNUSABLE_FLOOR)}, even a strategy that saves all gradients of weights would not stand out "
        "from full fine-tuning. Time them again on a machine that does nothing else, with more rounds.",
    )
