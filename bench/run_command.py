"""The command `run`: what may be asked of it, and what of that changes the suite."""

import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console

from bench.errors import Exit

RUNS = Path("runs")
# Read by the hub's client and by `datasets` when they load: nothing they do by themselves may reach for the network.
OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}


def run(
    suite: Annotated[str, typer.Argument(help="A suite's name (see `list suites`) or a TOML file.")] = "embedded",
    models: Annotated[str | None, typer.Option(help="Encoders, comma-separated: names or folders.")] = None,
    tasks: Annotated[str | None, typer.Option(help="Tasks, comma-separated: names or ./my-task.toml.")] = None,
    strategies: Annotated[str | None, typer.Option(help="Strategies, comma-separated.")] = None,
    seeds: Annotated[str | None, typer.Option(help="Seeds: a list such as 0,1,2 or a range such as 0-4.")] = None,
    mask_seeds: Annotated[
        str | None, typer.Option(help="Draws of random strategies, for each seed; by default one, the seed's own.")
    ] = None,
    train_examples: Annotated[int | None, typer.Option(min=1, help="Training examples a task.")] = None,
    train_sizes: Annotated[
        str | None, typer.Option(help="Training-set sizes to sweep, comma-separated: 100,300,all.")
    ] = None,
    selection_examples: Annotated[int | None, typer.Option(min=1, help="Selection examples a task.")] = None,
    evaluation_examples: Annotated[int | None, typer.Option(min=1, help="Evaluation examples a task.")] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over the training examples.")] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Optimizer steps, whatever the training-set size; instead of epochs.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Examples a step, in quality cells.")] = None,
    learning_rate: Annotated[
        list[str] | None, typer.Option(help="STRATEGY=RATE, may be repeated; a bare RATE holds for every strategy.")
    ] = None,
    match: Annotated[
        str | None, typer.Option(help="Strategy whose size those take whose size can be chosen, such as bitfit.")
    ] = None,
    budget: Annotated[
        float | None, typer.Option(help="Their size as a share of the encoder's parameters; instead of --match.")
    ] = None,
    precision: Annotated[str | None, typer.Option(help="fp32, tf32 or bf16.")] = None,
    device: Annotated[str | None, typer.Option(help="Any device torch knows; default: the accelerator found.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder with glue/, ud/, ner/ and squad/; see docs/suites.md.")
    ] = None,
    cache_dir: Annotated[Path | None, typer.Option(help="Where archives are kept (XDG default).")] = None,
    runs_dir: Annotated[Path, typer.Option(help="Where run folders are made.")] = RUNS,
    run_dir: Annotated[Path | None, typer.Option(help="The run folder itself, to begin or to resume.")] = None,
    new: Annotated[bool, typer.Option("--new", help="Begin a new run even where one is unfinished.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run failed cells again.")] = False,
    accept_changed: Annotated[
        bool, typer.Option("--accept-changed", help="Resume although code, data or versions changed.")
    ] = False,
    keep_deltas: Annotated[bool, typer.Option("--keep-deltas", help="Keep the deltas in the run folder.")] = False,
    predict_test: Annotated[
        bool, typer.Option("--predict-test", help="Predict the official test rows too; see `export`.")
    ] = False,
    allow_busy: Annotated[
        bool, typer.Option("--allow-busy", help="Time steps although other work runs on the GPU.")
    ] = False,
    memory_snapshot: Annotated[
        bool, typer.Option("--memory-snapshot", help="Write what the GPU's allocator did in a step of each cost cell.")
    ] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Never reach for the network.")] = False,
    skip: Annotated[str | None, typer.Option(help="Leave out the 'cost' or the 'quality' cells.")] = None,
) -> None:
    """Run a suite, or resume its unfinished run, and render the report."""
    signal.signal(signal.SIGTERM, _interrupt)
    console = Console()
    os.environ |= OFFLINE if offline else {}
    from bench import archives, overrides
    from bench import suite as suites

    names, folders = overrides.model_folders(overrides.split(models))
    shared = {
        "models": names,
        "strategies": overrides.split(strategies),
        "precision": precision,
        "match": match,
        "budget": budget,
    }
    own = {
        "tasks": overrides.split(tasks),
        "seeds": overrides.parse_seeds(seeds),
        "mask_seeds": overrides.parse_seeds(mask_seeds, "--mask-seeds"),
        "train_examples": train_examples,
        "train_sizes": overrides.parse_sizes(train_sizes),
        "selection_examples": selection_examples,
        "evaluation_examples": evaluation_examples,
        "epochs": epochs,
        "steps": steps,
        "batch_size": batch_size,
    }
    chosen = overrides.apply(suites.load(suite), skip=skip, quality=shared | own, cost=shared, rates=learning_rate)
    if tasks is not None:
        line = f"settings of suite {chosen.name} for these tasks: {overrides.settings_of(chosen)}"
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    chosen.cells(accelerator=True, folders=folders)  # What is wrong with a suite is said before torch loads.
    from bench.running import Request
    from bench.running import run as start

    request = Request(
        suite=chosen,
        cache_dir=cache_dir or archives.default_cache_dir(),
        runs_dir=runs_dir,
        device=device,
        threads=threads,
        data_dir=data_dir,
        run_dir=run_dir,
        new=new,
        retry_failed=retry_failed,
        accept_changed=accept_changed,
        keep_deltas=keep_deltas,
        predict_test=predict_test,
        allow_busy=allow_busy,
        memory_snapshot=memory_snapshot,
        offline=offline,
        model_folders=folders,
        command=sys.argv[1:],
    )
    try:
        code = start(request, console)
    except KeyboardInterrupt:
        console.print("interrupted before any cell ran", highlight=False)
        code = Exit.INTERRUPTED
    raise typer.Exit(code)


def _interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    """Treat a polite request to end like Ctrl-C: finish cleanly and say how to go on."""
    raise KeyboardInterrupt
