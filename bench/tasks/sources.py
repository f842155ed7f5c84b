"""One split from whatever holds it: TSV, JSON lines, Parquet, or a folder written by `datasets.save_to_disk`.

All come out as rows of named values, each with its place for messages, in the order of the file. Nothing is
cached of JSON lines, Parquet and saved folders: what is on disk is what is read.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from bench.errors import DataError
from bench.tasks.files import read_tsv, text_lines

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["Row", "Split", "find", "read_table", "read_text"]

Format = Literal["tsv", "jsonl", "parquet", "saved"]

# Where a split called `{}` may lie in a folder. The first Parquet form is how the hub names its shards.
PATTERNS: tuple[tuple[Format, str], ...] = (
    ("tsv", "{}.tsv"),
    ("jsonl", "{}.jsonl"),
    ("parquet", "{}-*-of-*.parquet"),
    ("parquet", "{}.parquet"),
    ("saved", "{}/state.json"),
)
SHARDS = re.compile(r"-of-(\d+)\.parquet$")


class Row(NamedTuple):
    """One row: where it stands, for messages, and its values by column."""

    where: str
    values: dict[str, Any]


@dataclass(frozen=True)
class Split:
    """A split that was found: its files (of a saved folder its `state.json`) and how they are written."""

    format: Format
    paths: tuple[Path, ...]

    @property
    def place(self) -> str:
        """What to call it in messages: the file, the first of its shards, or the saved folder."""
        return str(self.paths[0].parent if self.format == "saved" else self.paths[0])


def find(folder: Path, names: Sequence[str]) -> Split | None:
    """The split that `folder` holds under one of `names`, or None.

    Raises DataError where it is there twice, or where one of its shards is missing.
    """
    found = []
    for name in names:
        for kind, pattern in PATTERNS:
            paths = tuple(sorted(folder.glob(pattern.format(name))))
            if paths:
                found.append(Split(kind, paths))
    if len(found) > 1:
        raise DataError(f"{found[0].place} and {found[1].place} hold the same split: leave one of them")
    if found:
        _check_shards(folder, found[0].paths)
    return found[0] if found else None


def read_text(
    split: Split, columns: Sequence[str], cache_dir: Path, *, header: bool = True, short_rows: bool = False
) -> Iterator[Row]:
    """Rows of a TSV file, all values text; see `bench.tasks.files.read_tsv` for the rest."""
    for path in split.paths:
        for number, values in read_tsv(path, columns, header, cache_dir, short_rows=short_rows):
            yield Row(f"{path}, row {number}", values)


def read_table(split: Split, columns: Sequence[str]) -> Iterator[Row]:
    """Rows of any other form, with the values it holds; classes known by name come as their name.

    Raises DataError where a file cannot be read, has no rows or lacks a column.
    """
    read: dict[Format, Callable[[Path, Sequence[str]], Iterator[Row]]] = {
        "jsonl": _read_jsonl,
        "parquet": _read_parquet,
        "saved": _read_saved,
    }
    for path in split.paths:
        yield from read[split.format](path, columns)


def _check_shards(folder: Path, paths: Sequence[Path]) -> None:
    """A split with a shard missing would be a smaller data set of the same name."""
    told = {int(match[1]) for path in paths if (match := SHARDS.search(path.name))}
    if told and told != {len(paths)}:
        total = " or ".join(map(str, sorted(told)))
        raise DataError(
            f"{folder} holds {len(paths)} of {total} shards like {paths[0].name}: fetch all of one version"
        )


def _read_jsonl(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    for number, line in enumerate(text_lines(path), start=1):
        where = f"{path}, row {number}"
        try:
            values = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{where}: not JSON ({error.msg} at column {error.colno})") from None
        if not isinstance(values, dict):
            raise DataError(f"{where}: not a JSON object with {', '.join(columns)}")
        _check_columns(where, columns, list(values))
        yield Row(where, {column: values[column] for column in columns})


def _read_parquet(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    import datasets
    from pyarrow import parquet

    try:
        table = parquet.ParquetFile(path).read()
    except (OSError, ValueError) as error:
        raise _unreadable(path, "Parquet", error) from None
    return _rows(str(path), datasets.Dataset(table), columns)


def _read_saved(state: Path, columns: Sequence[str]) -> Iterator[Row]:
    import datasets

    folder = state.parent
    try:
        dataset = datasets.load_from_disk(str(folder))
    except IndexError:  # an empty data set is saved without a file, and `datasets` then looks for one
        raise DataError(f"{folder} holds no rows") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unreadable(folder, "a saved data set", error) from None
    return _rows(str(folder), dataset.with_format(None), columns)


def _rows(place: str, dataset: "Dataset", columns: Sequence[str]) -> Iterator[Row]:
    """Rows of a loaded data set; a class that its features name is given by that name, whatever its number there.

    Classes in lists are too. A number that no name stands for stays a number.
    """
    _check_columns(place, columns, dataset.column_names)
    if not len(dataset):
        raise DataError(f"{place} holds no rows")
    named = {name: names for name in columns if (names := _class_names(dataset.features[name]))}
    chosen = dataset.select_columns(list(columns))[:]
    for number, values in enumerate(zip(*(chosen[name] for name in columns), strict=True), start=1):
        row = dict(zip(columns, values, strict=True))
        for name, names in named.items():
            row[name] = _by_name(row[name], names)
        yield Row(f"{place}, row {number}", row)


def _class_names(feature: Any) -> list[str] | None:
    """The names of the classes in a column of classes or of lists of them; None for any other."""
    return getattr(getattr(feature, "feature", feature), "names", None)


def _by_name(value: Any, names: Sequence[str]) -> Any:
    if isinstance(value, list):
        return [_by_name(each, names) for each in value]
    return names[value] if value is not None and 0 <= value < len(names) else value


def _check_columns(where: str, columns: Sequence[str], found: Sequence[str]) -> None:
    for name in columns:
        if name not in found:
            raise DataError(f"{where}: there is no column {name!r}; it has {', '.join(found) or 'none'}")


def _unreadable(path: Path, what: str, error: Exception) -> DataError:
    reason = next(iter(str(error).splitlines()), type(error).__name__)
    return DataError(f"{path} cannot be read as {what}: {reason}")
