"""Splits: train, selection and evaluation, the same for every cell.

The order of examples is that of a hash of their text, a shuffle that depends on nothing but the data:
no random generator's version, no file order. Examples that share a group, or a text, stay together.

The splits share no text. Where an official evaluation file or a cut repeats a text of the training data,
the training data loses it; texts are compared without regard to case and spacing.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from bench.tasks.base import Example

SHUFFLE_SEED = 0
EVALUATION_EXAMPLES, EVALUATION_SHARE = 2000, 0.2
SELECTION_EXAMPLES, SELECTION_SHARE = 1000, 0.1


class Splits(NamedTuple):
    """The three splits of a task, each in the task's fixed shuffled order."""

    train: tuple[Example, ...]
    selection: tuple[Example, ...]
    evaluation: tuple[Example, ...]


def split_pool(pool: Sequence[Example]) -> Splits:
    """Splits of a task that has one pool: evaluation is 20% of it and at most 2,000, the rest as below."""
    evaluation, rest = _cut(shuffled(pool), min(EVALUATION_EXAMPLES, int(EVALUATION_SHARE * len(pool))))
    return split_official(rest, evaluation)


def split_official(train: Sequence[Example], evaluation: Sequence[Example]) -> Splits:
    """Splits of a task with its own evaluation data; selection is 10% of the training data and at most 1,000."""
    rest = _without(shuffled(train), evaluation)
    selection, rest = _cut(rest, min(SELECTION_EXAMPLES, int(SELECTION_SHARE * len(rest))))
    return Splits(tuple(_without(rest, selection)), tuple(selection), tuple(shuffled(evaluation)))


def shuffled(examples: Sequence[Example]) -> list[Example]:
    """The examples in the fixed shuffled order; repeated texts keep their order among themselves."""
    return sorted(examples, key=lambda example: _place(text_key(example)))


def text_key(example: Example) -> str:
    """The text of an example without regard to case and spacing: examples with one key are duplicates."""
    return json.dumps([" ".join(part.casefold().split()) for part in example.text], ensure_ascii=False)


def _place(key: str) -> bytes:
    return hashlib.sha256(f"{SHUFFLE_SEED} {key}".encode()).digest()


def _cut(examples: Sequence[Example], count: int) -> tuple[list[Example], list[Example]]:
    """Take at most `count` examples, in whole units, and return them and the rest, both in the order given."""
    sizes = Counter(map(_unit, examples))
    taken: set[str] = set()
    size = 0
    for unit in sorted(sizes, key=_place):
        if size + sizes[unit] <= count:
            taken.add(unit)
            size += sizes[unit]
    chosen = [example for example in examples if _unit(example) in taken]
    return chosen, [example for example in examples if _unit(example) not in taken]


def _unit(example: Example) -> str:
    """What must not be divided: the group, or where there is none, the text."""
    return example.group or text_key(example)


def _without(examples: Sequence[Example], others: Sequence[Example]) -> list[Example]:
    """The examples whose text none of the others has."""
    seen = {text_key(other) for other in others}
    return [example for example in examples if text_key(example) not in seen]
