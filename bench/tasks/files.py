"""Reading the user's data files: a `datasets` builder does the reading, every row is checked before.

The builder is used directly because `load_dataset` reports each load to a server. What it reads is kept
under the cache folder by the hash of the content, so a changed file is never mistaken for its old self.
Row numbers in messages count lines of the file from 1.
"""

import difflib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.errors import DataError, InputError

__all__ = ["data_folder", "file_content", "holds", "named_folder", "read_tsv", "text_lines"]


def data_folder(data_dir: Path | None, task: str, layout: str) -> Path:
    """The user's data folder. Raises DataError, naming the expected `layout`, where none is given or it is none."""
    if data_dir is None:
        raise DataError(f"task {task!r} needs a data folder: give --data-dir D with {layout}")
    if not data_dir.is_dir():
        raise DataError(f"the data folder {data_dir} does not exist: task {task!r} needs D with {layout}")
    return data_dir


def holds(data_dir: Path | None, task: str, layout: str, *patterns: str) -> bool:
    """Whether the user's data folder has what one of the patterns stands for; one that ends in / stands for folders.

    Where it has not, or none is given, the hub may serve. Raises DataError where what is given is no folder.
    """
    return data_dir is not None and any(
        found for pattern in patterns for found in data_folder(data_dir, task, layout).glob(pattern)
    )


def named_folder(root: Path, wanted: str, task: str, what: str, layout: str) -> Path:
    """The folder of `root` called `wanted`, or its only one where that is empty; `what` says what a folder is.

    Raises DataError, naming the expected `layout` or the nearest name, where there is no such folder.
    """
    names = sorted(path.name for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    if not names:
        raise DataError(f"{root} holds no {what}: task {task!r} needs {layout}")
    if not wanted and len(names) > 1:
        raise DataError(f"{root} holds {len(names)} {what}s: name one, as in '{task}:{names[0]}'")
    if wanted and wanted not in names:
        near = difflib.get_close_matches(wanted, names, n=1) or names
        raise DataError(f"{root} holds no {what} {wanted!r}: did you mean '{task}:{near[0]}'?")
    return root / (wanted or names[0])


def text_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 file, without their ends and a byte order mark.

    Raises DataError where the file is missing, empty or not UTF-8.
    """
    content = file_content(path)
    if not content.strip():
        raise DataError(f"{path} is empty")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}, row {row}: not UTF-8; save the file as UTF-8") from None
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    return lines[:-1] if not lines[-1] else lines


def read_tsv(
    path: Path, columns: Sequence[str], header: bool, cache_dir: Path, *, short_rows: bool = False
) -> Iterator[tuple[int, dict[str, str | None]]]:
    """Rows of a tab-separated file without quoting, as (row number, column -> text).

    With `header` the first line names the columns, of which `columns` must be there; else `columns` are all
    of them. Rows of another width are refused; with `short_rows` a narrower one gives None for what it lacks.
    Raises DataError for a missing column, such a row and whatever `text_lines` does.
    """
    lines = text_lines(path)
    names = lines[0].split("\t") if header else list(columns)
    for name in columns:
        if name not in names:
            raise DataError(f"{path}, row 1: the header has no column {name!r}; it has {', '.join(names)}")
    if len(lines) == header:
        raise DataError(f"{path} has a header and no rows")
    for number, line in enumerate(lines, start=1):
        _check_width(path, number, line, len(names), short=short_rows)
    rows = _read(path, cache_dir, names, sep="\t", quoting=3, keep_default_na=False, skiprows=int(header))
    _check_count(path, len(rows[columns[0]]), len(lines) - header, "rows")
    chosen = zip(*(rows[name] for name in columns), strict=True)
    for number, values in enumerate(chosen, start=1 + header):
        yield number, dict(zip(columns, values, strict=True))


def file_content(path: Path) -> bytes:
    """The bytes of a file. Raises DataError where it is missing or cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path} is missing") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None


def _check_width(path: Path, number: int, line: str, width: int, *, short: bool = False) -> None:
    found = line.count("\t") + 1
    if found > width or (found < width and not short):
        raise DataError(f"{path}, row {number}: {found} columns, expected {width} separated by tabs")
    if "\r" in line or "\0" in line:
        raise DataError(f"{path}, row {number}: a carriage return or NUL inside the row; remove it")


def _check_count(path: Path, found: int, expected: int, what: str) -> None:
    if found != expected:
        raise DataError(f"{path}: {found} {what} read, {expected} in the file; look for stray line ends in it")


def _read(path: Path, cache_dir: Path, columns: Sequence[str], **options: Any) -> Mapping[str, Any]:
    """Let the CSV builder of `datasets` read one file; all columns are strings."""
    import datasets
    from datasets.packaged_modules.csv.csv import Csv

    datasets.disable_progress_bars()
    try:
        (cache_dir / "datasets").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write to the cache {cache_dir}: {error.strerror}; see --cache-dir") from None
    reader = Csv(
        cache_dir=str(cache_dir / "datasets"),
        hash=hashlib.sha256(path.read_bytes()).hexdigest()[:16],
        data_files={"train": [str(path)]},
        column_names=list(columns),
        features=datasets.Features({name: datasets.Value("string") for name in columns}),
        encoding="utf-8-sig",
        **options,
    )
    reader.download_and_prepare()
    rows: Mapping[str, Any] = reader.as_dataset(split="train")[:]
    return rows
