"""How many examples tasks have, as published, for plans made without the data. Torch-free.

What a run really has is a little less: training data loses the texts that evaluation repeats.
"""

from typing import Literal, NamedTuple

from bench.tasks.splits import EVALUATION_EXAMPLES, EVALUATION_SHARE, SELECTION_EXAMPLES, SELECTION_SHARE


class Published(NamedTuple):
    """Examples of a task's training and evaluation files; `evaluation` of None: both are cut from one pool.

    Grades: C, counted in the data by this project; R, recalled from the publication and not looked up again.
    """

    train: int
    evaluation: int | None
    source: str
    grade: Literal["C", "R"]


class Sizes(NamedTuple):
    """Examples of the three splits, and where that is known from."""

    train: int
    selection: int
    evaluation: int
    basis: str


GLUE = "GLUE: training and development sets (Wang et al., 2018)"
TABLE = {
    "cola": Published(8551, 1043, GLUE, "R"),
    "sst2": Published(67349, 872, GLUE, "R"),
    "mrpc": Published(3668, 408, GLUE, "R"),
    "qqp": Published(363846, 40430, GLUE, "R"),
    "stsb": Published(5749, 1500, GLUE, "R"),
    "mnli": Published(392702, 9815, GLUE, "R"),
    "qnli": Published(104743, 5463, GLUE, "R"),
    "rte": Published(2490, 277, GLUE, "R"),
    "wnli": Published(635, 71, GLUE, "R"),
    "squad": Published(87599, 10570, "SQuAD 1.1: training and development sets (Rajpurkar et al., 2016)", "R"),
    "pos": Published(12544, 2001, "Universal Dependencies, English EWT: training and development sets", "R"),
    "pos-xpos": Published(12544, 2001, "Universal Dependencies, English EWT: training and development sets", "R"),
    "questions": Published(5382, None, "the pinned archive, without duplicates", "C"),
    "reviews": Published(10072, None, "the pinned archive, ratings of 0.5 and more", "C"),
    "relevance": Published(10923, None, "the pinned archive", "C"),
    "pos-synthetic": Published(3000, 1000, "the program's own grammar", "C"),
}


def published(task: str) -> Sizes | None:
    """The splits of a task of the table; None for any other, and for one with an argument: that is other data."""
    found = TABLE.get(task)
    if found is None:
        return None
    train, evaluation = found.train, found.evaluation
    if evaluation is None:
        evaluation = min(EVALUATION_EXAMPLES, int(EVALUATION_SHARE * train))
        train -= evaluation
    selection = min(SELECTION_EXAMPLES, int(SELECTION_SHARE * train))
    return Sizes(train - selection, selection, evaluation, f"{found.source}, grade {found.grade}")
