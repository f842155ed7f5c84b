"""One split from whatever holds it: TSV, JSON lines, Parquet, or a folder written by `datasets.save_to_disk`.

All come out as rows of named values, each with its place for messages, in the order of the file. Nothing is
cached of JSON lines, Parquet and saved folders: what is on disk is what is read.
"""

import contextlib
import json
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from bench.errors import DataError
from bench.tasks.files import read_tsv, text_lines

if TYPE_CHECKING:
    from datasets import Dataset
    from pyarrow import Table

__all__ = ["Row", "Split", "check_shards", "find", "read_table", "read_text"]

Format = Literal["tsv", "jsonl", "parquet", "saved"]

# Where a split called `{}` may lie in a folder. The first Parquet form is how the hub names its shards.
PATTERNS: tuple[tuple[Format, str], ...] = (
    ("tsv", "{}.tsv"),
    ("jsonl", "{}.jsonl"),
    ("parquet", "{}-*-of-*.parquet"),
    ("parquet", "{}.parquet"),
    ("saved", "{}/state.json"),
)
SHARD = re.compile(r"(.*)-\d+-of-(\d+)\.\w+")
SAVED = "a saved data set"
HUB_METADATA = b"huggingface"


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
        check_shards(found[0].paths)
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

    Raises DataError where a file cannot be read, has no rows, or lacks a column or has two of its name, and, naming
    the row, for text that is not Unicode.
    """
    read: dict[Format, Callable[[Path, Sequence[str]], Iterator[Row]]] = {
        "jsonl": _read_jsonl,
        "parquet": _read_parquet,
        "saved": _read_saved,
    }
    for path in split.paths:
        yield from read[split.format](path, tuple(dict.fromkeys(columns)))


def check_shards(paths: Sequence[Path]) -> None:
    """Raises DataError where files named as shards, such as train-00000-of-00002.parquet, are not all among `paths`.

    A split with a shard missing would be a smaller data set of the same name.
    """
    totals: defaultdict[tuple[Path, str], dict[Path, int]] = defaultdict(dict)
    for path in paths:
        if match := SHARD.fullmatch(path.name):
            totals[path.parent, match[1]][path] = int(match[2])
    for (folder, _), told in totals.items():
        if set(told.values()) != {len(told)}:
            total = " or ".join(map(str, sorted(set(told.values()))))
            raise DataError(
                f"{folder} holds {len(told)} of {total} shards like {min(told).name}: fetch all of one version, and "
                "name them all"
            )


def _read_jsonl(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    for number, line in enumerate(text_lines(path), start=1):
        where = f"{path}, row {number}"
        try:
            values = _wanted_values(where, json.loads(line), columns)
        except json.JSONDecodeError as error:
            raise DataError(f"{where}: not JSON ({error.msg} at column {error.colno})") from None
        except RecursionError:
            raise DataError(f"{where}: lists or objects nested too deep to be read") from None
        except DataError:
            raise
        except ValueError:  # Python refuses to convert so many digits, which takes it long
            raise DataError(f"{where}: a number of more than {sys.get_int_max_str_digits()} digits") from None
        yield Row(where, values)


def _wanted_values(where: str, values: Any, columns: Sequence[str]) -> dict[str, Any]:
    """The values of the columns in an object of JSON."""
    if not isinstance(values, dict):
        raise DataError(f"{where}: not a JSON object with {', '.join(columns)}")
    _check_characters(where, list(values))
    _check_columns(where, columns, list(values))
    wanted = {column: values[column] for column in columns}
    _check_characters(where, list(wanted.values()))
    return wanted


def _read_parquet(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    import datasets
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(path)
        names = file.schema_arrow.names
    except Exception as error:  # what damaged files make these packages raise is any of a dozen errors
        raise _unreadable(path, "Parquet", error) from None
    _check_columns(str(path), columns, names)
    twice = [name for name in columns if names.count(name) > 1]
    if twice:
        raise DataError(f"{path}: two columns are called {twice[0]!r}")
    try:
        dataset = datasets.Dataset(_wanted_columns(file.read(columns=list(columns)), columns))
    except Exception as error:
        raise _unreadable(path, "Parquet", error) from None
    return _rows(path, "Parquet", dataset, columns)


def _wanted_columns(table: "Table", columns: Sequence[str]) -> "Table":
    """The columns and what the hub's metadata say of them: no other may keep a file from being read."""
    chosen = table.select(list(columns))
    told = (table.schema.metadata or {}).get(HUB_METADATA)
    if told is None:
        return chosen
    features = json.loads(told)["info"]["features"]
    kept = {"info": {"features": {name: features[name] for name in columns if name in features}}}
    return chosen.replace_schema_metadata({HUB_METADATA: json.dumps(kept)})


def _read_saved(state: Path, columns: Sequence[str]) -> Iterator[Row]:
    import datasets

    folder = state.parent
    try:
        dataset = datasets.load_from_disk(str(folder)).with_format(None)
    except IndexError:  # an empty data set is saved without a file, and `datasets` then looks for one
        raise DataError(f"{folder} holds no rows") from None
    except Exception as error:
        raise _unreadable(folder, SAVED, error) from None
    _check_columns(str(folder), columns, dataset.column_names)
    return _rows(folder, SAVED, dataset, columns)


def _rows(path: Path, what: str, dataset: "Dataset", columns: Sequence[str]) -> Iterator[Row]:
    """Rows of a loaded data set; a class that its features name is given by that name, whatever its number there.

    Classes in lists are too. A number that no name stands for stays a number.
    """
    if not len(dataset):
        raise DataError(f"{path} holds no rows")
    named = {name: names for name in columns if (names := _class_names(dataset.features[name]))}
    _check_characters(str(path), named)
    chosen = _values(path, what, dataset.select_columns(list(columns)))
    for number, values in enumerate(zip(*(chosen[name] for name in columns), strict=True), start=1):
        row = dict(zip(columns, values, strict=True))
        for name, names in named.items():
            row[name] = _by_name(row[name], names)
        yield Row(f"{path}, row {number}", row)


def _values(path: Path, what: str, dataset: "Dataset") -> dict[str, list[Any]]:
    """All values by column. Raises DataError, naming the row where text is not UTF-8, where they cannot be read."""
    number = 0
    try:
        values: dict[str, list[Any]] = dataset[:]
    except UnicodeDecodeError:
        with contextlib.suppress(UnicodeDecodeError):
            for number in range(len(dataset)):
                dataset[number]
        raise DataError(f"{path}, row {number + 1}: not UTF-8") from None
    except Exception as error:
        raise _unreadable(path, what, error) from None
    return values


def _class_names(feature: Any) -> list[str] | None:
    """The names of the classes in a column of classes or of lists of them; None for any other."""
    return getattr(getattr(feature, "feature", feature), "names", None)


def _by_name(value: Any, names: Sequence[str]) -> Any:
    if isinstance(value, list):
        return [_by_name(each, names) for each in value]
    return names[value] if value is not None and 0 <= value < len(names) else value


def _check_characters(where: str, value: Any) -> None:
    """Half of a character, as JSON can write it, is no text: it can be neither hashed, printed nor written."""
    try:
        json.dumps(value, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError as error:
        half = ascii(error.object[error.start])
        raise DataError(f"{where}: {half} is half of a surrogate pair and no character") from None


def _check_columns(where: str, columns: Sequence[str], found: Sequence[str]) -> None:
    for name in columns:
        if name not in found:
            raise DataError(f"{where}: there is no column {name!r}; it has {', '.join(found) or 'none'}")


def _unreadable(path: Path, what: str, error: Exception) -> DataError:
    reason = next(iter(str(error).splitlines()), type(error).__name__)
    return DataError(f"{path} cannot be read as {what}: {reason}")
