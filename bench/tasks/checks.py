"""What every loaded task is held against: splits that are there, and labels that differ within each."""

from collections.abc import Sequence
from dataclasses import replace

from bench.errors import DataError
from bench.tasks.base import SELECTION, TRAIN, Example, TaskData


def checked(data: TaskData) -> TaskData:
    """The task, with a note where the selection split that was cut from its training data has one label only.

    Raises DataError, naming the file, for a split or an extra set that is empty or has one label only.
    """
    _check_sizes(data)
    cut = SELECTION not in data.places
    for split, examples in (data.splits | dict(data.extra)).items():
        if _varied(examples):
            continue
        if split != SELECTION or not cut:
            raise _refusal(data, split, f"has {len(examples)} examples for {split}, all with the same label")
        # What is rare in training may have no place in a tenth of it, and runs that choose nothing do not need any.
        note = (
            f"the selection split, {len(examples)} of the training examples, has one label only: do not choose by it"
        )
        data = replace(data, notes=(*data.notes, note))
    return data


def _check_sizes(data: TaskData) -> None:
    empty = [split for split, examples in data.splits.items() if not examples]
    if empty:
        at_fault = next((split for split in reversed(empty) if split in data.places), TRAIN)
        found = ", ".join(f"{len(examples)} {split}" for split, examples in data.splits.items())
        problem = (
            f"is too small to split: {found} examples are left; it needs at least 11 different training examples that "
            "evaluation does not repeat, and groups far smaller than a tenth of them"
        )
        raise _refusal(data, at_fault, problem)
    for name, examples in data.extra.items():
        if not examples:
            raise _refusal(data, name, f"has nothing in its set {name!r} that the training data does not hold")


def _varied(examples: Sequence[Example]) -> bool:
    """Where all labels are equal there is nothing to learn, and nothing to be told apart."""
    return len({label for example in examples for label in _labels(example)}) > 1


def _labels(example: Example) -> tuple[object, ...]:
    if example.answers:
        return example.answers
    return example.label if isinstance(example.label, tuple) else (example.label,)


def _refusal(data: TaskData, split: str, problem: str) -> DataError:
    """An error about a split, which begins with its file; what was cut from the training data has that one's."""
    place = data.places.get(split) or data.places.get(TRAIN)
    return DataError(f"{place}: task {data.name!r} {problem}" if place else f"task {data.name!r} {problem}")
