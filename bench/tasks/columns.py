"""Column files: a word a row with its annotations beside it, and a blank line between sentences.

This is the family of CoNLL-2003 files and CoNLL-U. Columns are separated by tabs where the first row holds one, else
by spaces. Rows that begin with -DOCSTART- are skipped, and so are comments: before the first word of a sentence,
what begins with '# ', or with '#' and has one column. (So '#' itself can begin a sentence in files with tabs only.)
In CoNLL-U, ranges of multi-word tokens and empty nodes are left out; the words they stand for are kept.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.errors import DataError
from bench.tasks.files import text_lines
from bench.tasks.tagging import Sentence

DOCUMENT = "-DOCSTART-"
RANGE_OR_EMPTY_NODE = re.compile(r"[0-9]+[-.][0-9]+")
SPACES = re.compile(r"[ \t]+")

Rows = list[tuple[int, list[str]]]


@dataclass(frozen=True)
class Layout:
    """Which columns hold the words and the tags, counted from 1, or backwards from -1, the last.

    width      how many columns there are; 0 for as many as the first row has
    numbered   whether the first column numbers the tokens, as CoNLL-U does
    blank_tag  how the file writes that a word has no tag
    """

    words: int
    tags: int
    width: int = 0
    numbered: bool = False
    blank_tag: str = ""


def conllu(words: int, tags: int) -> Layout:
    """The layout of CoNLL-U; column 2 holds the words, 4 their universal tags, 5 those of the treebank."""
    return Layout(words, tags, width=10, numbered=True, blank_tag="_")


def read_columns(path: Path, layout: Layout) -> list[Sentence]:
    """The sentences of a column file.

    Raises DataError, naming file and row, for a row of another width, a column that is not there, an empty word,
    a word without a tag, what is no token number where there are such, a file without sentences, and whatever
    `text_lines` does.
    """
    found = []
    width = layout.width
    for rows in _blocks(text_lines(path), layout.numbered):
        width = width or _width(path, rows[0], layout)
        words = [_word(path, number, fields, width, layout) for number, fields in rows]
        kept = [(*word, number) for word, (number, _) in zip(words, rows, strict=True) if word is not None]
        if layout.numbered:
            _check_numbers(path, [row for word, row in zip(words, rows, strict=True) if word is not None])
        if kept:
            forms, tags, numbers = zip(*kept, strict=True)
            found.append(Sentence(forms, tags, numbers))
    if not found:
        raise DataError(f"{path} holds no sentences")
    return found


def _blocks(lines: list[str], numbered: bool) -> Iterator[Rows]:
    """The rows of each sentence, with their numbers, split into columns."""
    block: Rows = []
    tabbed: bool | None = True if numbered else None
    for number, line in enumerate(lines, start=1):
        comment = line.startswith("#") and (numbered or line.startswith("# ") or len(line.split()) == 1)
        if not line.strip(" \t") or line.startswith(DOCUMENT):
            if block:
                yield block
            block = []
        elif not (comment and (numbered or not block)):
            tabbed = "\t" in line if tabbed is None else tabbed
            block.append((number, line.split("\t") if tabbed else SPACES.split(line.strip(" \t"))))
    if block:
        yield block


def _check_numbers(path: Path, rows: Rows) -> None:
    """Words of a sentence are numbered from 1; a lost blank line would join two sentences without a sign."""
    for expected, (number, fields) in enumerate(rows, start=1):
        if int(fields[0]) != expected:
            raise DataError(
                f"{path}, row {number}: token number {fields[0]}, expected {expected}; is a blank line between "
                "sentences missing, or a row?"
            )


def _width(path: Path, row: tuple[int, list[str]], layout: Layout) -> int:
    """The width of the first row, which must reach the columns asked for."""
    number, fields = row
    for column in (layout.words, layout.tags):
        if abs(column) > len(fields):
            raise DataError(f"{path}, row {number}: no column {column}; the row has {len(fields)}")
    return len(fields)


def _word(path: Path, number: int, fields: list[str], width: int, layout: Layout) -> tuple[str, str] | None:
    """The word and the tag of a row, checked; None for a row that is no word."""
    where = f"{path}, row {number}"
    if len(fields) != width:
        raise DataError(f"{where}: {len(fields)} columns, expected {width}")
    if any("\r" in field or "\0" in field for field in fields):
        raise DataError(f"{where}: a carriage return or NUL inside the row; remove it")
    if layout.numbered and RANGE_OR_EMPTY_NODE.fullmatch(fields[0]):
        return None
    if layout.numbered and not fields[0].isdecimal():
        raise DataError(f"{where}: {fields[0]!r} is no token number")
    word, tag = (fields[column - (column > 0)] for column in (layout.words, layout.tags))
    if not word.strip():
        raise DataError(f"{where}: the word is empty")
    if tag.strip() in ("", layout.blank_tag):
        raise DataError(f"{where}: the word {word!r} has no tag")
    return word, tag.strip()
