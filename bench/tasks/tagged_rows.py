"""Tagged sentences from rows that hold a sentence each, its words and its tags in lists, as on the hub.

`bench.tasks.columns` reads the other family of files, where a row holds a word.
"""

from collections.abc import Mapping, Sequence
from reprlib import repr as shown
from typing import Any

from bench.errors import DataError
from bench.tasks.rows import Row
from bench.tasks.tagging import Sentence

NO_TAG = ("", "_")


def aligned(row: Row, columns: Mapping[str, str]) -> list[list[Any]]:
    """The lists in the columns of a row; the keys say what they hold, for messages.

    Raises DataError, naming file and row, for what is no list, and for lists of different lengths.
    """
    values = [row.values[column] for column in columns.values()]
    if not all(isinstance(value, list) for value in values):
        raise DataError(f"{row.where}: {' and '.join(columns)} must be lists")
    if len({len(value) for value in values}) > 1:
        counted = (f"{len(value)} {what}" for what, value in zip(columns, values, strict=True))
        raise DataError(f"{row.where}: {' and '.join(counted)}")
    return values


def tagged(row: Row, words: Sequence[Any], tags: Sequence[str], group: str = "") -> Sentence:
    """The sentence of a row. Raises DataError, naming file and row, for no words and for a word that is not text."""
    if not words:
        raise DataError(f"{row.where}: no words")
    for place, word in enumerate(words, start=1):
        if not isinstance(word, str) or not word.strip():
            raise DataError(f"{row.where}: word {place} is {shown(word)}, expected text that is not empty")
    return Sentence(tuple(words), tuple(tags), (row.number,) * len(words), group)


def tag_names(row: Row, tags: Sequence[Any]) -> list[str]:
    """Tags that have to be told by name; what the file does not name has come as a number.

    Raises DataError, naming file and row, for such a number and for a missing tag.
    """
    for place, tag in enumerate(tags, start=1):
        if tag is None or (isinstance(tag, str) and tag.strip() in NO_TAG):
            raise DataError(f"{row.where}: word {place} has no tag")
        if not isinstance(tag, str):
            raise DataError(f"{row.where}: tag {shown(tag)} of word {place} is none of those that the file names")
    return [tag.strip() for tag in tags]
