"""Rows of the files users bring: CSV, TSV, JSON lines and Parquet, with the number of each row for messages.

Text stays text: 'NA' and 'null' are words. Rows of text files are numbered by the line they begin in, from 1, so
a header is row 1 and a quoted field may span lines; rows of Parquet are counted from 1.
"""

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bench.errors import DataError
from bench.tasks.files import text_lines
from bench.tasks.sources import Split, read_table


@dataclass(frozen=True)
class Row:
    """One row: where it stands, and its values by column."""

    path: Path
    number: int
    values: Mapping[str, Any]

    @property
    def where(self) -> str:
        """File and row, as messages begin."""
        return f"{self.path}, row {self.number}"


def read_rows(path: Path, kind: str, columns: Sequence[str]) -> Iterator[Row]:
    """The rows of a file of kind csv, tsv, jsonl or parquet, each with at least `columns`.

    Raises DataError, naming file and row, for a missing column, a row of another width than the header, what is not
    of this kind, a file without rows, and whatever `text_lines` does.
    """
    found = False
    for row in READERS[kind](path, columns):
        found = True
        yield row
    if not found:
        raise DataError(f"{path} has no rows")


def _csv(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    # Lines end in \n alone by now: a reader that sees other ends would number rows differently.
    lines = io.StringIO("\n".join(text_lines(path)), newline="\n")
    return _table(path, _csv_fields(path, csv.reader(lines, strict=True)), columns)


def _csv_fields(path: Path, reader: Any) -> Iterator[tuple[int, list[str]]]:
    while True:
        begin = reader.line_num + 1
        try:
            yield begin, next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(
                f"{path}, row {begin}: not CSV ({error}); is a quote left open, or one inside a field not doubled?"
            ) from None


def _tsv(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    return _table(path, ((n, line.split("\t")) for n, line in enumerate(text_lines(path), start=1)), columns)


def _table(path: Path, rows: Iterator[tuple[int, list[str]]], columns: Sequence[str]) -> Iterator[Row]:
    """Rows below a header that names the columns."""
    number, names = next(rows)
    _check_columns(f"{path}, row {number}: the header", names, columns)
    twice = [name for name in columns if names.count(name) > 1]
    if twice:
        raise DataError(f"{path}, row {number}: the header names {twice[0]!r} twice")
    for number, fields in rows:
        if len(fields) != len(names):
            raise DataError(f"{path}, row {number}: {len(fields)} columns, expected {len(names)} as in the header")
        yield Row(path, number, dict(zip(names, fields, strict=True)))


def _jsonl(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    return _from_source("jsonl", path, columns)


def _parquet(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    return _from_source("parquet", path, columns)


def _from_source(kind: Literal["jsonl", "parquet"], path: Path, columns: Sequence[str]) -> Iterator[Row]:
    for number, row in enumerate(read_table(Split(kind, (path,)), columns), start=1):
        yield Row(path, number, row.values)


def _check_columns(what: str, names: Sequence[str] | Mapping[str, Any], columns: Sequence[str]) -> None:
    for column in columns:
        if column not in names:
            raise DataError(f"{what} has no column {column!r}; it has {', '.join(map(repr, names))}")


READERS: Mapping[str, Callable[[Path, Sequence[str]], Iterator[Row]]] = {
    "csv": _csv,
    "tsv": _tsv,
    "jsonl": _jsonl,
    "parquet": _parquet,
}
