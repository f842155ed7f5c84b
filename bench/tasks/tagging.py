"""Tagged sentences: their tag sets, and spans of words written as tags."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.errors import DataError
from bench.tasks.base import Example

BEGINS, GOES_ON, ENDS = frozenset("BSU"), frozenset("IEL"), frozenset("ESLU")


@dataclass(frozen=True)
class Sentence:
    """A tagged sentence: a tag and the row of the file for each word, and what it must not be divided from."""

    words: tuple[str, ...]
    tags: tuple[str, ...]
    rows: tuple[int, ...]
    group: str = ""


@dataclass(frozen=True)
class Part:
    """The sentences of one split, and what messages call its file."""

    place: str
    sentences: list[Sentence]


def tag_sets(train: Iterable[Sentence], *others: Iterable[Sentence]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The tags of the training sentences, and those that only the other sentences have; both sorted."""
    known = {tag for sentence in train for tag in sentence.tags}
    found = {tag for sentences in others for sentence in sentences for tag in sentence.tags}
    return tuple(sorted(known)), tuple(sorted(found - known))


def check_tags(path: Path, sentences: Iterable[Sentence], tags: Sequence[str]) -> None:
    """Raises DataError, naming the row of `path`, for a tag that is none of `tags`."""
    for sentence in sentences:
        for tag, row in zip(sentence.tags, sentence.rows, strict=True):
            if tag not in tags:
                raise DataError(f"{path}, row {row}: tag {tag!r} is none of {', '.join(tags)}")


def examples(sentences: Iterable[Sentence], tags: Sequence[str]) -> list[Example]:
    """Sentences as examples; a tag's number is its place in `tags`."""
    place = {tag: number for number, tag in enumerate(tags)}
    return [Example(s.words, tuple(place[tag] for tag in s.tags), s.group) for s in sentences]


def as_iob2(path: Path, sentences: Iterable[Sentence]) -> list[Sentence]:
    """The sentences with their tags in IOB2. Raises DataError, naming the row, for a tag of no span scheme."""
    found = []
    for sentence in sentences:
        for tag, row in zip(sentence.tags, sentence.rows, strict=True):
            prefix, _, kind = tag.partition("-")
            if tag != "O" and not (kind and prefix in BEGINS | GOES_ON | ENDS):
                raise DataError(f"{path}, row {row}: tag {tag!r} is neither O nor B- or I- and a type, as in B-PER")
        found.append(replace(sentence, tags=to_iob2(sentence.tags)))
    return found


def to_iob2(tags: Sequence[str]) -> tuple[str, ...]:
    """The spans of one sentence in IOB2, where B- begins every span and I- goes on with it.

    Takes IOB1 (Ramshaw and Marcus, 1995: B- only where a span adjoins another of its type), IOB2, and BIOES or
    BILOU, where S- or U- is a span of one word and E- or L- ends a longer one. What goes on with nothing begins.
    """
    found = []
    going_on = ""
    for tag in tags:
        prefix, _, kind = tag.partition("-")
        if kind:
            tag = f"{'I' if prefix in GOES_ON and kind == going_on else 'B'}-{kind}"
        found.append(tag)
        going_on = "" if prefix in ENDS else kind
    return tuple(found)
