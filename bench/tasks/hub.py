"""Data sets on the Hugging Face hub, at pinned revisions: their Parquet files, fetched into the cache.

The files are read by `bench.tasks.sources` like any in a folder; no code of a data set is ever run.
"""

from pathlib import Path

from bench.errors import InputError

GLUE = ("nyu-mll/glue", "bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c")


def fetch(repository: tuple[str, str], config: str, cache_dir: Path, offline: bool = False) -> Path:
    """Folder with the Parquet files of one configuration of a data set, `repository` its id and revision.

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
            allow_patterns=[f"{config}/*.parquet"],
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
    what = f"{config!r} of {identifier} (revision {revision[:8]})"
    if offline:
        return f"{what} is not cached and the network is off: run once online"
    root = _root_cause(error)
    reason = f": {root}" if root else ": it is not in the cache and the hub cannot be reached"
    return f"{what} cannot be fetched from the hub{reason}"


def _root_cause(error: BaseException | None) -> str:
    """The first line of what went wrong in the first place: the client wraps it in advice of many lines."""
    while error is not None and (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return next(iter(str(error).splitlines()), type(error).__name__) if error is not None else ""
