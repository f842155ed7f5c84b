"""GLUE's official test files from the user's folder, in the original TSV layout: unlabelled rows, to be predicted."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from bench.errors import DataError
from bench.tasks.base import Example, Source, Unread
from bench.tasks.files import read_tsv, text_lines
from bench.tasks.glue_layouts import DIAGNOSTIC, DIAGNOSTIC_FOLDERS, Layout


def official_rows(layout: Layout, source: Source) -> Sequence[Example]:
    """The rows of the test file that belongs to the evaluation split; empty where the user's folder has none."""
    return _unread(layout, source, [f"{layout.folder}/test.tsv", f"{layout.folder}/test_matched.tsv"])


def extra_official_rows(layout: Layout, source: Source) -> dict[str, Sequence[Example]]:
    """The rows of further test files by name, of those the user's folder has: mismatched, and the diagnostic set."""
    places = {name: [f"{layout.folder}/test_{name}.tsv"] for name in layout.extra}
    if layout.diagnostic:
        places[DIAGNOSTIC] = [f"{folder}/{name}.tsv" for folder in DIAGNOSTIC_FOLDERS for name in ("diagnostic", "AX")]
    found = {name: _unread(layout, source, files) for name, files in places.items()}
    return {name: rows for name, rows in found.items() if not isinstance(rows, tuple)}


def _unread(layout: Layout, source: Source, files: Sequence[str]) -> Sequence[Example]:
    """The first of `files` that is there, to be read when looked at."""
    paths = [source.data_dir / "glue" / file for file in files] if source.data_dir is not None else []
    found = next((path for path in paths if path.is_file()), None)
    return () if found is None else Unread(partial(_read, found, layout, source.cache_dir))


def _read(path: Path, layout: Layout, cache_dir: Path) -> list[Example]:
    """Every row in the file's order; one with an empty sentence too, since each needs a prediction.

    The first column is the index, whatever its name. Raises DataError where it does not count from 0.
    """
    index = text_lines(path)[0].split("\t")[0]
    placeholder = 0 if layout.labels else 0.0
    found: list[Example] = []
    for number, row in read_tsv(path, (index, *layout.tsv.text), True, cache_dir):
        if row[index] != str(len(found)):
            raise DataError(f"{path}, row {number}: index {row[index]!r}, expected {len(found)}")
        found.append(Example(tuple((row[column] or "").strip() for column in layout.tsv.text), placeholder))
    return found
