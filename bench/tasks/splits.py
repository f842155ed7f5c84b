"""Splits: train, selection and evaluation, the same for every cell.

The order of examples is that of a hash of their text, a shuffle that depends on nothing but the data:
no random generator's version, no file order. Examples that share a group, or a text, stay together.

The splits share no text. Where an official evaluation file or a cut repeats a text of the training data,
the training data loses it; texts are compared without regard to case and spacing. The selection split has
the classes in the shares they have in the training data, so that what is chosen on it is not chosen on a
lucky draw; for scores their tenths stand in for classes.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from bench.tasks.base import Example
from strategies.draw import share

SHUFFLE_SEED = 0
EVALUATION_EXAMPLES, EVALUATION_SHARE = 2000, 0.2
SELECTION_EXAMPLES, SELECTION_SHARE = 1000, 0.1
SCORE_BINS = 10


class Splits(NamedTuple):
    """The three splits of a task, each in the task's fixed shuffled order."""

    train: tuple[Example, ...]
    selection: tuple[Example, ...]
    evaluation: tuple[Example, ...]


def split_pool(pool: Sequence[Example]) -> Splits:
    """Splits of a task that has one pool: evaluation is 20% of it and at most 2,000, the rest as below."""
    order = shuffled(pool)
    count = min(EVALUATION_EXAMPLES, int(EVALUATION_SHARE * len(pool)))
    evaluation, rest = _cut(order, [0] * len(order), {0: count})
    return split_official(rest, evaluation)


def split_official(train: Sequence[Example], evaluation: Sequence[Example]) -> Splits:
    """Splits of a task with its own evaluation data; selection is 10% of the training data and at most 1,000."""
    order = _without(shuffled(train), evaluation)
    classes = strata(order)
    count = min(SELECTION_EXAMPLES, int(SELECTION_SHARE * len(order)))
    selection, rest = _cut(order, classes, quotas(Counter(classes), count))
    return Splits(tuple(_without(rest, selection)), tuple(selection), tuple(shuffled(evaluation)))


def split_given(train: Sequence[Example], selection: Sequence[Example], evaluation: Sequence[Example]) -> Splits:
    """Splits of a task with data for all three; the earlier ones lose the texts that a later one repeats."""
    chosen = _without(shuffled(selection), evaluation)
    return Splits(tuple(_without(shuffled(train), [*chosen, *evaluation])), tuple(chosen), tuple(shuffled(evaluation)))


def extra_set(examples: Sequence[Example], splits: Splits) -> tuple[Example, ...]:
    """A further labelled set in the fixed shuffled order, without the texts that training or selection hold.

    The set gives way, not the training data: it may be absent elsewhere, and must not change what is trained on.
    """
    return tuple(_without(shuffled(examples), [*splits.train, *splits.selection]))


def strata(examples: Sequence[Example]) -> list[int]:
    """What the selection split is balanced over: an example's class, the tenth its score lies in, or nothing."""
    classes = [example.label for example in examples if isinstance(example.label, int)]
    if len(classes) == len(examples):
        return classes
    scores = [example.label for example in examples if isinstance(example.label, float)]
    if len(scores) == len(examples):
        edges = np.quantile(scores, np.linspace(0, 1, SCORE_BINS + 1)[1:-1])
        return [int(place) for place in np.searchsorted(edges, scores)]
    return [0] * len(examples)


def quotas(sizes: Mapping[int, int], count: int) -> dict[int, int]:
    """`count` shared out over strata in proportion to their sizes; what rounding leaves goes to the largest rests."""
    ordered = sorted(sizes)
    return dict(zip(ordered, share([sizes[stratum] for stratum in ordered], count), strict=True))


def shuffled(examples: Sequence[Example]) -> list[Example]:
    """The examples in the fixed shuffled order; repeated texts keep their order among themselves."""
    return sorted(examples, key=lambda example: _place(example.text_key))


def _place(key: str) -> bytes:
    return hashlib.sha256(f"{SHUFFLE_SEED} {key}".encode()).digest()


def _cut(
    examples: Sequence[Example], classes: Sequence[int], room: Mapping[int, int]
) -> tuple[list[Example], list[Example]]:
    """Take whole units while every class they hold has room, and return them and the rest, in the order given.

    `classes` names the class of each example, `room` how many of each class may be taken.
    """
    units: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for example, own in zip(examples, classes, strict=True):
        units[_unit(example)][own] += 1
    left = Counter(room)
    taken: set[str] = set()
    # Not the order that is kept: rows of a class whose room is used up early would then crowd the head of the rest.
    for unit in sorted(units, key=lambda unit: _place(f"cut {unit}")):
        if units[unit] <= left:
            taken.add(unit)
            left -= units[unit]
    chosen = [example for example in examples if _unit(example) in taken]
    return chosen, [example for example in examples if _unit(example) not in taken]


def _unit(example: Example) -> str:
    """What must not be divided: the group, or where there is none, the text."""
    return example.group or example.text_key


def _without(examples: Sequence[Example], others: Sequence[Example]) -> list[Example]:
    """The examples whose text none of the others has."""
    seen = {other.text_key for other in others}
    return [example for example in examples if example.text_key not in seen]
