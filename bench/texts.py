"""Texts to predict, as a person gives them. Torch-free."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.errors import InputError

STDIN = "-"

Given = tuple[str, ...]
"""One text, or the two of a pair."""


def gather(texts: Sequence[str], seconds: Sequence[str], source: str | None) -> list[Given]:
    """The texts of the command line, then those of `source`: a file, or '-' for standard input.

    `seconds` are the second texts of pairs: one for each of `texts`, or one for all. A line of `source` is one text,
    or two with a tab between them. Raises InputError where that does not come out even, for a text of nothing but
    spaces, for a file that cannot be read, and where there is no text at all.
    """
    found = [*_paired(texts, seconds), *(_lines(source) if source is not None else ())]
    if not found:
        raise InputError("there is no text to predict: give one with --text, or a file of them with --input")
    return found


def _paired(texts: Sequence[str], seconds: Sequence[str]) -> Iterator[Given]:
    if seconds and len(seconds) not in (1, len(texts)):
        raise InputError(
            f"{len(texts)} --text and {len(seconds)} --text-pair do not go together: give one pair for each text, "
            "or one for all"
        )
    for number, text in enumerate(texts):
        second = (seconds[number % len(seconds)],) if seconds else ()
        yield _checked((text, *second), f"--text {number + 1}")


def _lines(source: str) -> Iterator[Given]:
    where = "standard input" if source == STDIN else source
    try:
        content = sys.stdin.buffer.read() if source == STDIN else Path(source).read_bytes()
        lines = _split(content.decode("utf-8-sig"))
    except OSError as error:
        raise InputError(f"cannot read texts from {where}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{where} is not UTF-8 text: byte {error.start} is part of no character") from None
    for number, line in enumerate(lines, start=1):
        parts = tuple(line.split("\t"))
        if len(parts) > 2:
            raise InputError(f"{where}, line {number} holds {len(parts)} texts with tabs between them; two at most")
        yield _checked(parts, f"{where}, line {number}")


def _split(content: str) -> list[str]:
    """Lines as editors count them: `str.splitlines` would also divide at form feeds, U+0085 and U+2028."""
    lines = content.removesuffix("\n").split("\n") if content else []
    return [line.removesuffix("\r") for line in lines]


def _checked(text: Given, where: str) -> Given:
    if not all(part.strip() for part in text):
        raise InputError(f"{where}: {'a text of the pair' if len(text) == 2 else 'the text'} is empty")
    return text
