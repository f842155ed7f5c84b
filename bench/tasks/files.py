"""Reading the user's data files: the `datasets` builders do the reading, every row is checked before.

The builders are used directly because `load_dataset` reports each load to a server. What they read is kept
under the cache folder by the hash of the content, so a changed file is never mistaken for its old self.
Row numbers in messages count lines of the file from 1.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.errors import DataError, InputError

__all__ = ["data_folder", "read_conllu", "read_tsv", "text_lines"]

CONLLU = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")


def data_folder(data_dir: Path | None, task: str, layout: str) -> Path:
    """The user's data folder. Raises DataError, naming the expected `layout`, where none is given or it is none."""
    if data_dir is None:
        raise DataError(f"task {task!r} needs a data folder: give --data-dir D with {layout}")
    if not data_dir.is_dir():
        raise DataError(f"the data folder {data_dir} does not exist: task {task!r} needs D with {layout}")
    return data_dir


def text_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 file, without their ends and a byte order mark.

    Raises DataError where the file is missing, empty or not UTF-8.
    """
    content = _content(path)
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
    rows = _read("csv", path, cache_dir, names, sep="\t", quoting=3, keep_default_na=False, skiprows=int(header))
    _check_count(path, len(rows[columns[0]]), len(lines) - header, "rows")
    chosen = zip(*(rows[name] for name in columns), strict=True)
    for number, values in enumerate(chosen, start=1 + header):
        yield number, dict(zip(columns, values, strict=True))


def read_conllu(path: Path, tags: Sequence[str], cache_dir: Path) -> list[tuple[tuple[str, ...], tuple[int, ...]]]:
    """Sentences of a CoNLL-U file as (words, indices of their universal tags in `tags`).

    Ranges of multi-word tokens and empty nodes are left out. Raises DataError for a row that is no token,
    a tag that is none of `tags` and whatever `text_lines` does.
    """
    lines = text_lines(path)
    words = 0
    for number, line in enumerate(lines, start=1):
        if line.strip() and not line.startswith("#"):
            words += _check_token(path, number, line, tags)
    if not words:
        raise DataError(f"{path} holds no sentences")
    rows = _read("conll", path, cache_dir, CONLLU, delimiter="\t", comment_prefix="#")
    found = []
    for numbers, forms, upos in zip(rows["id"], rows["form"], rows["upos"], strict=True):
        kept = [place for place, number in enumerate(numbers) if number.isdigit()]
        if kept:
            found.append((tuple(forms[p] for p in kept), tuple(tags.index(upos[p]) for p in kept)))
    _check_count(path, sum(len(sentence) for sentence, _ in found), words, "words")
    return found


def _content(path: Path) -> bytes:
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


def _check_token(path: Path, number: int, line: str, tags: Sequence[str]) -> bool:
    """Check one token line; tell whether it is a word."""
    _check_width(path, number, line, len(CONLLU))
    fields = dict(zip(CONLLU, line.split("\t"), strict=True))
    if not fields["id"].isdigit():
        if not fields["id"].replace("-", ".", 1).replace(".", "", 1).isdigit():
            raise DataError(f"{path}, row {number}: {fields['id']!r} is no token number")
        return False
    if fields["upos"] not in tags:
        raise DataError(f"{path}, row {number}: tag {fields['upos']!r} is none of {', '.join(tags)}")
    if not fields["form"].strip():
        raise DataError(f"{path}, row {number}: the word is empty")
    return True


def _check_count(path: Path, found: int, expected: int, what: str) -> None:
    if found != expected:
        raise DataError(f"{path}: {found} {what} read, {expected} in the file; look for stray line ends in it")


def _read(builder: str, path: Path, cache_dir: Path, columns: Sequence[str], **options: Any) -> Mapping[str, Any]:
    """Let the `datasets` builder named so read one file; all columns are strings, or lists of them."""
    import datasets
    from datasets.packaged_modules.conll.conll import Conll
    from datasets.packaged_modules.csv.csv import Csv

    datasets.disable_progress_bars()
    kind = Conll if builder == "conll" else Csv
    value = datasets.Value("string")
    try:
        (cache_dir / "datasets").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write to the cache {cache_dir}: {error.strerror}; see --cache-dir") from None
    reader = kind(
        cache_dir=str(cache_dir / "datasets"),
        hash=hashlib.sha256(path.read_bytes()).hexdigest()[:16],
        data_files={"train": [str(path)]},
        column_names=list(columns),
        features=datasets.Features({name: datasets.List(value) if kind is Conll else value for name in columns}),
        encoding="utf-8-sig",
        **options,
    )
    reader.download_and_prepare()
    rows: Mapping[str, Any] = reader.as_dataset(split="train")[:]
    return rows
