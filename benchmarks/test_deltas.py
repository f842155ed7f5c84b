"""Deltas in use: how long an encoder in memory takes to change from one task to another.

Run it with `tox -e perf -- benchmarks/test_deltas.py`.
"""

import time
from pathlib import Path

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import strategies
from bench.configurations import configure
from bench.encoders import TABLE
from bench.models import TaskModel, build_model, config_encoder
from strategies import delta, loading
from strategies.interface import Context

SEEDS = (0, 1)


@pytest.fixture(scope="module")
def model() -> TaskModel:
    """BERT-base with random weights."""
    encoder = config_encoder(configure(TABLE["bert-base"].config or {}, None, None), "classification", "cls")
    return build_model(encoder, "classification", 2, "cls", seed=0)


@pytest.mark.parametrize("strategy", ["bitfit", "layernorm", "random_uniform", "full"])
def test_swap(benchmark: BenchmarkFixture, model: TaskModel, strategy: str, tmp_path: Path) -> None:
    """One delta off, another on, both read beforehand. Goal: at most 5 ms for BitFit on BERT-base."""
    base = build_model(model.encoder, "classification", 2, "cls", seed=1)
    paths = {seed: tmp_path / str(seed) for seed in SEEDS}
    for seed, path in paths.items():
        applied = strategies.resolve(strategy)(
            build_model(model.encoder, "classification", 2, "cls", seed), _context()
        )
        delta.save(path, applied.finished(), delta.DeltaInfo(strategy, 0, "made-up", "made-up"))
    begin = time.perf_counter()
    switch = loading.Switch({str(seed): loading.prepare(path, base, "made-up") for seed, path in paths.items()})
    reading = (time.perf_counter() - begin) / len(paths)

    def swap() -> None:
        switch.to("0")
        switch.to("1")

    swap()
    benchmark.pedantic(swap, rounds=20)  # type: ignore[no-untyped-call]
    if benchmark.stats is None:
        raise RuntimeError("nothing was timed: benchmarks are switched off")
    seconds = float(np.median(benchmark.stats.stats.data)) / 2
    benchmark.extra_info |= {
        "goal": "a swap of BitFit takes at most 5 ms",
        "a swap, ms": 1000 * seconds,
        "reading and checking a delta once, ms": 1000 * reading,
    }
    switch.off()


def _context() -> Context:
    return Context(np.random.default_rng(0))
