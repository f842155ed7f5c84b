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

import strategies
from bench import encoders
from bench.cell import CostCell
from bench.measure.memory import live_peak
from bench.measure.subject import ready
from benchmarks.pairs import paired

CPU = torch.device("cpu")
ROUNDS = {"bert-base": 7, "minilm": 15}


@pytest.mark.parametrize(
    ("model", "bitfit", "bq_b2"),
    [("bert-base", "time <= 0.66", "time <= 0.65"), ("minilm", "time <= 0.70", "time <= 0.65")],
)
def test_against_full_fine_tuning(model: str, bitfit: str, bq_b2: str, benchmark: BenchmarkFixture) -> None:
    """Goals near the floor: two thirds of the arithmetic are left, and an optimizer with next to nothing to do."""
    _compare(benchmark, model, "full", {"bitfit": bitfit, "bq_b2": bq_b2})


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


@pytest.mark.parametrize("model", ROUNDS)
def test_rivals_of_equal_size_against_bitfit(model: str, benchmark: BenchmarkFixture) -> None:
    """No goal: what adapters, LoRA and narrow storage cost beside BitFit, at its size."""
    pytest.importorskip("peft")
    names = ("adapter_houlsby", "adapter_pfeiffer", "lora", "bitfit+bf16", "bitfit+int8")
    _compare(benchmark, model, "bitfit", dict.fromkeys(names, "reported"))


def test_frozen_cached(benchmark: BenchmarkFixture) -> None:
    """Goal: with the encoder's outputs at hand a step of the frozen baseline is at least 1000 times faster.

    Hundred steps of it a turn, as they follow each other in training: a single one in between those of the whole
    encoder would be timed with nothing of it left in the processor's caches.
    """
    (frozen, _), (cached, _) = _step("bert-base", "frozen"), _step("bert-base", "frozen_cached")
    rivals = {"100 steps of frozen_cached": lambda: [cached() for _ in range(100)]}
    paired(benchmark, frozen, rivals, goal="100 steps of frozen_cached / frozen <= 0.1", rounds=ROUNDS["bert-base"])


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
    match = "bitfit" if strategies.is_sized(strategy) else None
    cell = CostCell(model=model, strategy=strategy, batch_size=8, length=128, attention_dropout=0.0, match=match)
    stepper, batch = ready(cell, encoders.find(model, {}), CPU)
    count = itertools.count()
    for step in itertools.islice(count, cell.warmup_steps):
        stepper(batch, step)
    peak = live_peak(stepper, batch, next(count)).bytes
    return lambda: stepper(batch, next(count)), peak
