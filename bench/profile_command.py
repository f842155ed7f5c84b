"""The command `profile`: where the time of a few training steps goes."""

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

# Read by the profiler's library when torch loads: else it tells when it starts and stops.
QUIET_PROFILER = {"KINETO_LOG_LEVEL": "9"}


def profile(
    model: Annotated[str, typer.Option(help="An encoder: a name or a folder; its weights are not needed.")] = "minilm",
    strategies: Annotated[
        str, typer.Option(help="Strategies, comma-separated; others are compared with the first.")
    ] = "full,bitfit",
    shape: Annotated[str, typer.Option(help="Batch size and length, such as 8x64.")] = "8x64",
    precision: Annotated[str, typer.Option(help="fp32, tf32 or bf16.")] = "fp32",
    steps: Annotated[int, typer.Option(help="Steps to record, after warm-up.")] = 3,
    memory: Annotated[bool, typer.Option("--memory", help="Record every allocation.")] = False,
    stacks: Annotated[bool, typer.Option("--stacks", help="Record shapes and Python stacks: larger.")] = False,
    to: Annotated[Path | None, typer.Option(help="Folder to write; default: a new one under ./profiles.")] = None,
    device: Annotated[str | None, typer.Option(help="Any device torch knows; default: the accelerator found.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
) -> None:
    """Trace a few training steps of strategies, for trace viewers, and show side by side where their time goes."""
    os.environ |= {name: value for name, value in QUIET_PROFILER.items() if name not in os.environ}
    from bench import overrides, profiling

    names, folders = overrides.model_folders([model])
    cells = profiling.plan((names or [model])[0], overrides.split(strategies) or [], shape, precision, steps, folders)
    request = profiling.Request(
        cells=cells,
        folder=profiling.prepare_folder(to, cells),
        steps=steps,
        model_folders=folders,
        device=device,
        threads=threads,
        memory=memory,
        stacks=stacks,
    )
    console = Console()
    profiling.profile(request, lambda line: console.print(line, markup=False, highlight=False, soft_wrap=True))
    from reports import profile_page

    written = profile_page.write(request.folder)
    for line in (
        f"page: {written}",
        f"traces: open one in https://ui.perfetto.dev, or run: tensorboard --logdir {request.folder}",
    ):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
