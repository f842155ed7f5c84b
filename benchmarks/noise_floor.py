"""The noise floor of this machine, with the strategies timed one after the other and in turns.

    python -m benchmarks.noise_floor --shape 8x128

Full fine-tuning is timed twice among other strategies: once with all rounds of a strategy before those of the next, as
a plain benchmark does, and once in turns in rotating order, as the harness does. The ratio of the two, which ought to
be 1, and its noise floor are told for both ways, over a few repetitions that alternate.
"""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench import encoders, overrides
from bench.cell import CostCell
from bench.device import device_of
from bench.environment import choose_device, prepare
from bench.measure.nvml import find_card
from bench.measure.time import Instruments, Timing, time_group
from bench.measure.validity import Watch
from reports import formats
from reports.statistics import Ratio, noise_floor, round_ratio

STRATEGIES = ("full", "bitfit", "bq_b2", "random_uniform", "full", "frozen")


def main(
    model: Annotated[str, typer.Option(help="An encoder by name.")] = "minilm",
    shape: Annotated[str, typer.Option(help="Batch size and length.")] = "8x128",
    rounds: Annotated[int, typer.Option(min=2)] = 5,
    steps: Annotated[int, typer.Option(min=1, help="Timed steps a round.")] = 3,
    repetitions: Annotated[int, typer.Option(min=1)] = 5,
    device: Annotated[str | None, typer.Option(help="Any device torch knows.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
) -> None:
    """Print the A/A ratio and the noise floor of both ways to time."""
    batch_size, length = overrides.parse_shape(shape)
    encoder, chosen = encoders.find(model), choose_device(device)
    prepare(chosen, {"fp32"}, threads)
    cells = [
        CostCell(
            model=model,
            strategy=strategy,
            replicate=int(strategy in STRATEGIES[:place]),
            batch_size=batch_size,
            length=length,
            pooling=encoder.pooling,
            attention_dropout=0.0,
            rounds=rounds,
            steps_per_round=steps,
        )
        for place, strategy in enumerate(STRATEGIES)
    ]
    instruments = Instruments(device_of(chosen), Watch(*find_card(chosen)).look, None)
    found: dict[str, list[Ratio]] = {"one after the other": [], "in turns": []}
    for _ in track(range(repetitions), console=Console(stderr=True)):
        alone = [time_group([cell], encoder, instruments, lambda _: None) for cell in cells]
        found["one after the other"].append(_pair(cells, {key: one for timed in alone for key, one in timed.items()}))
        found["in turns"].append(_pair(cells, time_group(cells, encoder, instruments, lambda _: None)))
    console = Console()
    where = f"{model} at {shape}, {rounds} rounds of {steps} steps, {torch.get_num_threads()} threads, {chosen}"
    console.print(where, highlight=False)
    console.print(_table(found))


def _pair(cells: Sequence[CostCell], timings: dict[str, Timing]) -> Ratio:
    """Full fine-tuning against itself. Raises RuntimeError where a timing failed."""
    first, second = (timings[cell.key] for cell in cells if cell.strategy == "full")
    ratio = round_ratio(second.step_seconds, first.step_seconds)
    if ratio is None:
        raise RuntimeError(f"full fine-tuning could not be timed: {first.failure or second.failure}")
    return ratio


def _table(found: dict[str, list[Ratio]]) -> Table:
    table = Table("timed", "A/A ratio, median", "lowest", "highest", "noise floor, median", "lowest", "highest")
    for name, ratios in found.items():
        values = [ratio.value for ratio in ratios]
        floors = [floor for ratio in ratios if (floor := noise_floor(ratio)) is not None]
        row = [f"{value:.3f}" for value in (np.median(values), min(values), max(values))]
        table.add_row(
            name, *row, *(formats.floor(float(value)) for value in (np.median(floors), min(floors), max(floors)))
        )
    return table


if __name__ == "__main__":
    typer.run(main)
