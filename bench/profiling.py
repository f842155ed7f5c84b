"""The `profile` command: traces of a few steps of several strategies in one folder, for trace viewers and the page."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import strategies
from bench import encoders, overrides
from bench.cell import CostCell
from bench.errors import InputError
from bench.profiles import PROFILE, Profile, slug

WARMUP_STEPS = 2
# More than anybody looks at, and every step adds to the trace.
MOST_STEPS = 50


@dataclass(frozen=True)
class Request:
    """Everything `profile` was asked for, checked; see the options of the command line for what each means.

    `cells` holds a cell a strategy, in the order asked for; `folder` is made, and can be written.
    """

    cells: tuple[CostCell, ...]
    folder: Path
    steps: int
    model_folders: Mapping[str, Path] = field(default_factory=dict)
    device: str | None = None
    threads: int | None = None
    memory: bool = False
    stacks: bool = False


def plan(
    model: str,
    names: Sequence[str],
    shape: str,
    precision: str,
    steps: int,
    model_folders: Mapping[str, Path] | None = None,
) -> tuple[CostCell, ...]:
    """The cells to profile. Torch-free. Raises InputError or StrategyError for what cannot be one."""
    batch_size, length = overrides.parse_shape(shape)
    overrides.parse_precision(precision)
    if not 1 <= steps <= MOST_STEPS:
        raise InputError(f"--steps {steps}: profile between 1 and {MOST_STEPS} steps")
    pooling = encoders.find(model, model_folders).pooling
    chosen = [strategies.canonical(name) for name in names]
    folders = [slug(name) for name in chosen]
    twice = next((name for name, one in zip(chosen, folders, strict=True) if folders.count(one) > 1), None)
    if twice is not None:
        raise InputError(f"strategy {twice!r} is asked for twice; profile each strategy once")
    shared = {"model": model, "batch_size": batch_size, "length": length, "precision": precision, "pooling": pooling}
    # One step more than is recorded: the profiler throws its first one away.
    length_of_training = {"rounds": 1, "warmup_steps": WARMUP_STEPS, "steps_per_round": steps + 1}
    return tuple(CostCell.model_validate({**shared, **length_of_training, "strategy": name}) for name in chosen)


def prepare_folder(folder: Path | None, cells: Sequence[CostCell]) -> Path:
    """The folder to write to, made where it is not there; by default a new one under `profiles`.

    Raises InputError where it cannot be written, or holds a profile of one of the strategies already.
    """
    first = cells[0]
    stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    folder = folder or Path("profiles") / f"{first.model}-{first.batch_size}x{first.length}-{stamp}"
    taken = next((cell.strategy for cell in cells if (folder / slug(cell.strategy)).exists()), None)
    if taken is not None:
        raise InputError(f"{folder} already holds a profile of {taken}; name another folder with --to")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}; name another folder with --to") from None
    return folder


def profile(request: Request, say: Callable[[str], None]) -> list[Profile]:
    """Trace every strategy in turn, each in its own folder; `say` is told of each as it is done.

    Raises InputError where the device or the length is not one the model can have, or memory does not suffice;
    StrategyError where a strategy does not fit the model. Profiles taken before stay.
    """
    from bench.configurations import check_length
    from bench.environment import choose_device, prepare
    from bench.measure.subject import cost_config
    from bench.measure.trace import TraceOptions, record
    from bench.outcome import failure

    first = request.cells[0]
    encoder = encoders.find(first.model, request.model_folders)
    check_length(first.model, cost_config(first, encoder), first.length)
    device = choose_device(request.device)
    prepare(device, {first.precision}, request.threads)
    options = TraceOptions(memory=request.memory, stacks=request.stacks)
    found = []
    for cell in request.cells:
        folder = request.folder / slug(cell.strategy)
        folder.mkdir()
        try:
            found.append(record(cell, encoder, device, folder, request.steps, options))
        except (RuntimeError, MemoryError) as error:
            if failure(error).status != "out_of_memory":
                raise
            raise InputError(
                f"out of memory with {cell.strategy} at {cell.batch_size}x{cell.length}; take a smaller --shape"
            ) from None
        finally:
            if not (folder / PROFILE).exists():
                _discard(folder)
        say(f"{cell.strategy}: traced in {folder / found[-1].trace}")
    return found


def _discard(folder: Path) -> None:
    """Remove what a profile that failed has left, so that the same command can be given again."""
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
