"""What strategies cost: time and peak memory of a training step, as ratios.

Run it with `tox -e perf -- benchmarks/test_strategies.py`. Models are built from their configurations, batches are
8 x 128 random tokens, attention dropout is off, and every strategy has the same fused AdamW. Steps are timed in
turns, and a goal counts as met where the lower quartile of the ratios meets it. Memory is the peak of live tensors,
which is exact whatever else the machine does.
"""

import itertools
from collections.abc import Callable, Mapping

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from bench import encoders
from bench.cell import CostCell
from bench.measure.memory import live_peak
from bench.measure.subject import apply_fresh, cost_base, cost_stepper, random_batch
from benchmarks.pairs import paired

CPU = torch.device("cpu")
ROUNDS = {"bert-base": 7, "minilm": 15}


@pytest.mark.parametrize("model", ROUNDS)
def test_against_full_fine_tuning(model: str, benchmark: BenchmarkFixture) -> None:
    """No goal: two thirds of the arithmetic are left, and an optimizer with next to nothing to do."""
    _compare(benchmark, model, "full", {"bitfit": "none: reported", "bq_b2": "none: reported"})


@pytest.mark.parametrize(
    ("model", "uniform", "rowcol"),
    [
        ("bert-base", "time <= 1.08, memory <= 1.03", "time <= 1.05"),
        ("minilm", "time <= 1.12, memory <= 1.05", "time <= 1.05"),
    ],
)
def test_subsets_against_bitfit(model: str, uniform: str, rowcol: str, benchmark: BenchmarkFixture) -> None:
    """Goals: as many weights as BitFit has biases cost hardly more than those."""
    _compare(benchmark, model, "bitfit", {"random_uniform": uniform, "random_rowcol": rowcol})


def _compare(benchmark: BenchmarkFixture, model: str, reference: str, goals: Mapping[str, str]) -> None:
    """Time and weigh a step of `reference` and of the strategies that have goals, each beside its goal."""
    steps, peaks = {}, {}
    for strategy in (reference, *goals):
        steps[strategy], peaks[strategy] = _step(model, strategy)
    goal = "; ".join(f"{strategy} / {reference}: {goal}" for strategy, goal in goals.items())
    paired(benchmark, steps.pop(reference), steps, goal=goal, rounds=ROUNDS[model])
    benchmark.extra_info[f"{reference}, peak MiB"] = peaks[reference] / 2**20
    benchmark.extra_info |= {
        f"{strategy} / {reference}, peak": peaks[strategy] / peaks[reference] for strategy in goals
    }


def _step(model: str, strategy: str) -> tuple[Callable[[], object], int]:
    """A function that takes a training step, and the peak of live tensors in one, in bytes."""
    cell = CostCell(model=model, strategy=strategy, batch_size=8, length=128, attention_dropout=0.0)
    base = cost_base(cell, encoders.find(model, {}))
    batch = random_batch(cell, base.encoder.config.vocab_size, CPU)
    stepper = cost_stepper(apply_fresh(base, cell, CPU), cell, CPU)
    count = itertools.count()
    for step in itertools.islice(count, cell.warmup_steps):
        stepper(batch, step)
    peak = live_peak(stepper, batch, next(count))
    return lambda: stepper(batch, next(count)), peak
