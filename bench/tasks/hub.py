"""Data sets on the Hugging Face hub, at pinned revisions: their Parquet files, fetched into the cache.

The files are read by `bench.tasks.sources` like any in a folder; no code of a data set is ever run.
"""

from collections.abc import Sequence
from pathlib import Path

from bench.errors import DataError, InputError
from bench.tasks.base import Source
from bench.tasks.sources import Split, find

Repository = tuple[str, str]  # a data set's id and a revision of it

GLUE: Repository = ("nyu-mll/glue", "bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c")
SQUAD: Repository = ("rajpurkar/squad", "7b6d24c440a36b6815f21b70d25016731768db1f")
CONLL_2003: Repository = ("lhoestq/conll2003", "19edcb426bfd625c275c17b9a99b2239243f4377")
UNIVERSAL_DEPENDENCIES: Repository = (
    "universal-dependencies/universal_dependencies",
    "0aea309eeadf22549ceca852f17e4e5d4d2073dc",
)


def fetch_for(task: str, lacking: str, layout: str, repository: Repository, config: str, source: Source) -> Path:
    """As `fetch`, for a task of which the user's data folder lacks the files, `lacking`.

    Raises DataError, which also names the `layout` that the data folder could have, where they cannot be had.
    """
    missing = "no --data-dir is given" if source.data_dir is None else f"{source.data_dir} has no {lacking}"
    try:
        return fetch(repository, config, source.cache_dir, source.offline)
    except InputError as error:
        raise DataError(f"task {task!r}: {missing}, and {error}; or give --data-dir D with {layout}") from None


def split_of(folder: Path, name: str) -> Split:
    """The files of a split in a fetched folder. Raises DataError where there are none, or not all."""
    split = find(folder, (name,))
    if split is None:
        raise DataError(f"{folder} holds no split {name!r}: the data set has none, or it was not fetched to its end")
    return split


def folder_of(root: Path, names: Sequence[str]) -> Path:
    """The one folder of a fetched data set that holds all of these splits. Raises DataError for none or several."""
    folders = sorted({path.parent for path in root.rglob("*.parquet")})
    found = [folder for folder in folders if all(find(folder, (name,)) for name in names)]
    if len(found) != 1:
        raise DataError(
            f"{root} holds {len(found)} folders with the Parquet files of {' and '.join(names)}, expected 1: "
            "the data set is laid out in another way, or it was not fetched to its end"
        )
    return found[0]


def fetch(repository: Repository, config: str, cache_dir: Path, offline: bool = False) -> Path:
    """Folder with the Parquet files of one configuration of a data set; an empty `config` stands for all.

    With `offline` only what is cached is used and the network is never reached for. Raises InputError where
    the files cannot be had.
    """
    import huggingface_hub
    from huggingface_hub import utils

    identifier, revision = repository
    utils.disable_progress_bars()  # type: ignore[attr-defined]
    utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # it tells of each retry
    try:
        root = huggingface_hub.snapshot_download(
            identifier,
            repo_type="dataset",
            revision=revision,
            allow_patterns=[f"{config}/*.parquet" if config else "*.parquet"],
            cache_dir=cache_dir / "hub",
            local_files_only=offline,
        )
    except Exception as error:  # the hub's client lets errors of several HTTP libraries through
        raise InputError(_refused(identifier, revision, config, offline, error)) from None
    folder = Path(root) / config
    if not folder.is_dir():
        raise InputError(_refused(identifier, revision, config, offline, None))
    return folder


def _refused(identifier: str, revision: str, config: str, offline: bool, error: Exception | None) -> str:
    what = (f"{config!r} of " if config else "") + f"{identifier} (revision {revision[:8]})"
    if offline:
        return f"{what} is not cached and the network is off: run once online"
    root = _root_cause(error)
    reason = f": {root}" if root else ": there is no such file, or it is not cached and the hub cannot be reached"
    return f"{what} cannot be fetched from the hub{reason}"


def _root_cause(error: BaseException | None) -> str:
    """The first line of what went wrong in the first place: the client wraps it in advice of many lines."""
    while error is not None and (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return next(iter(str(error).splitlines()), type(error).__name__) if error is not None else ""
