"""Run folders: which one a command works in, what is left to do there, and whether it may go on. Torch-free."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench.cell import CostCell, Planned
from bench.errors import InputError
from bench.record import Conditions, Manifest, Record
from bench.store import MANIFEST, RunStore
from bench.suite import identity

COMPARED = (
    "code_fingerprint",
    "data_fingerprint",
    "model_fingerprint",
    "device_name",
    "driver",
    "threads",
    "attention",
    "python",
)
# Known only of cells that predicted test rows, and of threads that were told how to wait: where one side was not,
# nothing could have changed, or nobody can tell.
COMPARED_IF_BOTH = ("test_fingerprint", "wait_policy")


def now_utc() -> str:
    """The time as records write it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def open_run(
    suite: str,
    cells: Sequence[Planned],
    *,
    runs_dir: Path,
    run_dir: Path | None = None,
    new: bool = False,
    retry_failed: bool = False,
    command: Sequence[str] = (),
) -> tuple[RunStore, bool]:
    """The folder to work in and whether it is resumed.

    `run_dir` names it; else the latest run of the same resolved suite is resumed if it is unfinished (or,
    with `retry_failed`, has failed cells), and a new one begins otherwise. Raises InputError for a folder
    that holds another suite's run or cannot be written, and where there is nothing to retry.
    """
    identifier = identity(list(cells))
    manifest = Manifest(
        suite=suite, suite_hash=identifier, cells=list(cells), created_utc=now_utc(), command=list(command)
    )
    if run_dir is not None and (run_dir / MANIFEST).exists():
        if new:
            raise InputError(f"{run_dir} already holds a run; --new needs a folder without one")
        store = RunStore.open(run_dir)
        if store.manifest.suite_hash != identifier:
            raise InputError(
                f"{run_dir} holds a run of {store.manifest.suite} with other cells "
                f"(suite {store.manifest.suite_hash}, asked for {identifier}); name another --run-dir"
            )
        return store, True
    if run_dir is None and not new:
        latest = _latest(runs_dir, identifier)
        if latest is not None and to_do(latest, retry_failed=retry_failed):
            return latest, True
        if retry_failed:
            what = "there is no run of this suite" if latest is None else f"nothing failed in {latest.folder}"
            raise InputError(f"nothing to retry: {what}; leave out --retry-failed to begin a new run")
    return RunStore.create(run_dir or _fresh(runs_dir, suite), manifest), False


def to_do(store: RunStore, *, retry_failed: bool) -> list[Planned]:
    """Cells of the run without a readable record, and with `retry_failed` those whose last record is a failure."""
    latest = store.latest()
    return [
        cell
        for cell in store.manifest.cells
        if cell.key not in latest or (retry_failed and latest[cell.key].status != "ok")
    ]


def changed(record: Record, now: Conditions) -> list[str]:
    """What differs between the conditions of a finished cell and those of now, among what may change a number."""
    then = record.conditions
    what = _named(record)
    both = [name for name in COMPARED_IF_BOTH if None not in (getattr(then, name), getattr(now, name))]
    differences = [
        f"{what.get(name, name.replace('_', ' '))} {_short(getattr(then, name))} -> {_short(getattr(now, name))}"
        for name in (*COMPARED, *both)
        if getattr(then, name) != getattr(now, name)
    ]
    names = sorted(then.versions.keys() | now.versions.keys())
    differences += [
        f"{name} {then.versions.get(name)} -> {now.versions.get(name)}"
        for name in names
        if then.versions.get(name) != now.versions.get(name)
    ]
    return differences


def _named(record: Record) -> dict[str, str]:
    """What a fingerprint is of, by the name of the field that holds it."""
    cell = record.cell
    named = {"code_fingerprint": "the program's code", "model_fingerprint": f"model {cell.model}"}
    if not isinstance(cell, CostCell):
        named |= {
            "data_fingerprint": f"data of task {cell.task}",
            "test_fingerprint": f"test files of task {cell.task}",
        }
    return named


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else text[:12]


def _latest(runs_dir: Path, identifier: str) -> RunStore | None:
    """The latest run of the suite with this identity. A damaged manifest is passed over: it can't be resumed."""
    found = []
    for path in runs_dir.glob(f"*/{MANIFEST}"):
        try:
            store = RunStore.open(path.parent)
        except InputError:
            continue
        if store.manifest.suite_hash == identifier:
            found.append(store)
    return max(found, key=lambda store: (store.manifest.created_utc, store.folder.name), default=None)


def _fresh(runs_dir: Path, suite: str) -> Path:
    """A folder name no run has yet."""
    stem = f"{suite}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    names = [stem, *(f"{stem}-{number}" for number in range(2, 100))]
    return next(runs_dir / name for name in names if not (runs_dir / name).exists())
