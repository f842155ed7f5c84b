"""The `run` command: from a suite to a run folder with its records and its report."""

import os
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from bench import harness, runs
from bench.cell import CostCell, QualityCell
from bench.device import device_of
from bench.environment import choose_device, prepare
from bench.errors import Exit
from bench.measure.validity import refuse_busy_card
from bench.progress import Display
from bench.record import title
from bench.session import Options, Session
from bench.store import RunStore
from bench.suite import Suite
from reports import formats, page, terminal

REPORT_SECONDS = 20.0


@dataclass(frozen=True)
class Request:
    """Everything `run` was asked for; see the options of the command line for what each means."""

    suite: Suite
    cache_dir: Path
    runs_dir: Path
    device: str | None = None
    threads: int | None = None
    data_dir: Path | None = None
    run_dir: Path | None = None
    new: bool = False
    retry_failed: bool = False
    accept_changed: bool = False
    keep_deltas: bool = False
    predict_test: bool = False
    allow_busy: bool = False
    memory_snapshot: bool = False
    offline: bool = False
    model_folders: Mapping[str, Path] | None = None
    command: Sequence[str] = ()


def run(request: Request, console: Console) -> Exit:
    """Run the suite or what is left of it; the report is rewritten as cells finish, and at the end."""
    device = choose_device(request.device)
    cells = request.suite.cells(accelerator=device.type != "cpu", folders=request.model_folders)
    prepare(device, {cell.precision for cell in cells}, request.threads)
    if not request.allow_busy and any(isinstance(cell, CostCell) for cell in cells):
        unknown = refuse_busy_card(device)
        if unknown is not None:
            _say(console, f"note: whether {device} is busy is not known: {unknown}")
    timeout, keeps_history = request.suite.timeout_minutes, device_of(device).keeps_history
    session = Session(
        Options(
            device=device,
            cache_dir=request.cache_dir,
            data_dir=request.data_dir,
            offline=request.offline,
            model_folders=request.model_folders or {},
            own_tasks=request.suite.own_tasks,
            timeout_seconds=None if timeout is None else 60 * timeout,
            keep_deltas=request.keep_deltas,
            predict_test=request.predict_test,
            memory_snapshots=request.memory_snapshot and keeps_history,
        )
    )
    if request.memory_snapshot and not keeps_history:
        _say(console, f"note: {device} keeps no history of its memory, so no snapshots are written")
    found = formats.count(len(cells), "cell")
    name = title(request.suite.name, cells, request.command)
    _say(console, f"{name}: {found} on {device}; loading models and data")
    harness.preflight(cells, session)
    store, resumed = runs.open_run(
        request.suite.name,
        cells,
        runs_dir=request.runs_dir,
        run_dir=request.run_dir,
        new=request.new,
        retry_failed=request.retry_failed,
        command=request.command,
    )
    with store.lock():
        if resumed and not request.accept_changed:
            harness.check_unchanged(store, session)
        for bad in store.read()[1]:
            _say(console, f"warning: {bad}")
        if request.predict_test:
            for line in _not_predicted(store, session):
                _say(console, f"note: {line}")
        _say(console, f"{'resuming' if resumed else 'run folder'} {store.folder}")
        return _run(store, session, console, retry_failed=request.retry_failed)


def _say(console: Console, line: str) -> None:
    """Print a line as it is, however long and whatever brackets it holds."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def _not_predicted(store: RunStore, session: Session) -> Iterator[str]:
    """What somebody who asked for predictions of official test rows will not get."""
    tasks = dict.fromkeys(cell.task for cell in store.manifest.cells if isinstance(cell, QualityCell))
    without = [task for task in tasks if not session.test_files(task)]
    if without:
        yield f"no official test file to predict: {', '.join(without)}"
    finished = [r for r in store.latest().values() if r.quality is not None and not r.quality.test_examples]
    if any(isinstance(r.cell, QualityCell) and session.test_files(r.cell.task) for r in finished):
        yield "cells that finished without --predict-test have no test predictions; --new begins a run where all have"


def _run(store: RunStore, session: Session, console: Console, *, retry_failed: bool) -> Exit:
    left = runs.to_do(store, retry_failed=retry_failed)
    done = len(store.manifest.cells) - len(left)
    try:
        with Display(console, left, done, throttled(lambda: page.write(store.folder, figures=False))) as display:
            summary = harness.run(store, session, display, retry_failed=retry_failed)
    except KeyboardInterrupt:
        console.print("\ninterrupted; writing the report", highlight=False)
        page.write(store.folder)
        again = shlex.join([*program(), *(word for word in store.manifest.command if word != "--new")])
        console.print(f"what is finished is kept in {store.folder}", highlight=False, soft_wrap=True)
        console.print(f"to go on, give the same command again: {again}", markup=False, highlight=False, soft_wrap=True)
        return Exit.INTERRUPTED
    console.print("drawing figures and writing the report", highlight=False)
    written = page.write(store.folder)
    console.print(terminal.verdict(store.folder))
    console.print(f"report: {written}", highlight=False, soft_wrap=True)
    if summary.failed:
        console.print(f"{summary.failed} cells failed; the report says why. Try them again with --retry-failed")
    return Exit.REGRESSION_OR_FAILED_CELLS if summary.failed else Exit.OK


def program() -> list[str]:
    """How this program was started, as far as a person would type it: under tox by way of its environment."""
    environment = os.environ.get("TOX_ENV_NAME")
    return ["tox", "-e", environment, "--"] if environment else ["bitfit-bench"]


def throttled(action: Callable[[], object], seconds: float = REPORT_SECONDS) -> Callable[[], None]:
    """`action`, done at once at the first call and then at most once in `seconds`; calls between do nothing."""
    last: list[float] = []

    def call() -> None:
        if not last or time.monotonic() - last[0] >= seconds:
            action()
            last[:] = [time.monotonic()]

    return call
