"""The command `export-benchmark`: step times of a run for the tools of pytest-benchmark."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def export_benchmark(
    folder: Annotated[Path, typer.Argument(help="A run folder with cost cells.")],
    to: Annotated[Path, typer.Option(help="File to write, such as steps.json.")],
    force: Annotated[bool, typer.Option("--force", help="Replace the file where it exists.")] = False,
) -> None:
    """Write the step times of a run's cost cells as pytest-benchmark's JSON, for its `compare` and histograms."""
    from reports import benchmark_export

    found = benchmark_export.write(folder, to, replace=force)
    console = Console()
    for line in (
        *(f"note: {note}" for note in found.notes),
        f"{found.benchmarks} benchmarks written; run: pytest-benchmark compare {to}",
    ):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
