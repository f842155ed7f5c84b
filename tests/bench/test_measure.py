"""The instruments: live bytes add up to what tensors need, and every cell of a group is timed in every round."""

import io
import itertools
import json
import os
import statistics
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import strategies
from bench import cost, encoders, forecasts
from bench.cell import CostCell
from bench.device import device_of
from bench.encoders import Encoder
from bench.measure.live import LiveTensors, model_tensors, optimizer_tensors
from bench.measure.memory import MemoryFailureError, forecast_peak, live_peak, main, measure_peak, peak_of_step
from bench.measure.subject import apply_fresh, cost_base, cost_stepper, counts, random_batch
from bench.measure.time import Instruments, Timing, time_group, turn_order
from bench.measure.validity import Watch
from bench.models import TaskModel
from bench.results import MemoryPeak
from bench.training import Stepper
from strategies.interface import Applied, Context

CPU = torch.device("cpu")
INSTRUMENTS = Instruments(device_of(CPU), Watch(None, None).look, meter=None)
TINY = Encoder(
    "tiny",
    "A tiny BERT.",
    {
        "model_type": "bert",
        "vocab_size": 50,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
    },
)
FULL = CostCell(model="tiny", strategy="full", batch_size=2, length=8, rounds=3, steps_per_round=2, warmup_steps=1)


def cell(strategy: str, **fields: int) -> CostCell:
    return FULL.model_copy(update={"strategy": strategy, **fields})


def test_live_bytes_rise_and_fall_with_tensors() -> None:
    tracker = LiveTensors()
    with tracker:
        first = torch.zeros(256, dtype=torch.float32)
        second = first + 1
        view = second[:10]
        assert tracker.live_bytes == 2048
        del second
        assert tracker.live_bytes == 2048, "a view keeps its storage alive"
        del view
        assert tracker.live_bytes == 1024
        first.add_(1)
        assert tracker.live_bytes == 1024
    assert tracker.peak().bytes >= 2048


def test_the_peak_of_a_linear_step_is_what_arithmetic_says() -> None:
    width, batch = 64, 512
    model = nn.Linear(width, width, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    inputs = torch.randn(batch, width)
    tracker = LiveTensors()
    with tracker:
        tracker.watch([*model_tensors(model), *optimizer_tensors(optimizer), inputs])
        hidden = model(inputs)
        hidden.sum().backward()
    floats = width * width + batch * width  # the weight and the inputs, there from the start
    floats += batch * width + 1  # the outputs and their sum
    floats += 1 + width * width  # gradients: of the sum, and of the weight; that of the outputs is a view of the first
    assert tracker.peak().bytes == pytest.approx(4 * floats, rel=0.01)


def test_peak_memory_of_strategies_is_ordered_as_their_needs() -> None:
    shape = {"batch_size": 8, "length": 32}
    peaks = {}
    for name in ("full", "bitfit", "frozen"):
        peaks[name] = peak_of_step(cell(name, **shape), TINY, CPU).peak_allocated_bytes
    assert peaks["frozen"] < peaks["bitfit"] < peaks["full"]
    parameters = counts(apply_fresh(cost_base(FULL, TINY), FULL, CPU), cost_base(FULL, TINY)).encoder_total
    assert peaks["full"] > 4 * 4 * parameters, "weights, gradients and two moments"


def test_a_fresh_process_finds_the_same_peak() -> None:
    minilm = CostCell(model="minilm", strategy="frozen", batch_size=1, length=8, pooling="mean")
    found = measure_peak(minilm, encoders.TABLE["minilm"], CPU)
    here = peak_of_step(minilm, encoders.TABLE["minilm"], CPU)
    assert found.peak_allocated_bytes == here.peak_allocated_bytes
    assert found.method == "live tensors"
    assert found.peak_reserved_bytes is None


def test_every_cell_is_timed_in_every_round_and_the_order_rotates() -> None:
    cells = [FULL, cell("bitfit"), cell("full", replicate=1)]
    begun: list[str] = []
    timings = time_group(cells, TINY, INSTRUMENTS, lambda turn: begun.append(turn.key))
    assert len(begun) == 9
    assert begun[:3] == [c.key for c in turn_order(cells, 0)]
    assert begun[3] != begun[0]
    for one in cells:
        assert timings[one.key].step_seconds.shape == (3, 2)
        assert (timings[one.key].step_seconds > 0).all()
    assert timings[FULL.key].order == [begun[3 * number : 3 * number + 3].index(FULL.key) for number in range(3)]
    assert sorted(timings[FULL.key].order) == [0, 1, 2]


def test_cells_of_another_attention_or_with_checkpointing_are_no_group() -> None:
    asked: tuple[dict[str, Any], ...] = ({}, {"attention": "eager"}, {"gradient_checkpointing": True})
    groups = [{cell(name).model_copy(update=fields).group for name in ("full", "bitfit")} for fields in asked]
    assert [len(group) for group in groups] == [1, 1, 1]
    assert len(set.union(*groups)) == 3


def test_a_strategy_that_fails_does_not_stop_its_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.cost.measure_peak", lambda *_: peak_of_step(FULL, TINY, CPU))
    biasless = Encoder(
        "llama", "No biases.", dict(TINY.config or {}) | {"model_type": "llama", "num_key_value_heads": 2}
    )
    cells = [c.model_copy(update={"pooling": "last"}) for c in (FULL, cell("bitfit"), cell("full", replicate=1))]
    outcomes = cost.run_group(cells, biasless, CPU, lambda *_: None)
    assert [outcomes[c.key].status for c in cells] == ["ok", "error", "ok"]
    assert "bias" in str(outcomes[cells[1].key].reason)
    result = outcomes[cells[0].key].cost
    assert result is not None
    assert result.step.median_seconds == pytest.approx(
        statistics.median(outcomes[cells[0].key].arrays["step_seconds"].ravel().tolist())
    )
    assert result.step.steps == 6


def test_a_budget_that_is_not_met_exactly_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.cost.measure_peak", lambda *_: peak_of_step(FULL, TINY, CPU))
    # Two adapters of 33 b + 16 values, b in between: b of 5 gives 362, where BitFit trains 384.
    cells = [
        FULL.model_copy(update={"strategy": s, "match": "bitfit"}) for s in ("adapter_pfeiffer", "random_uniform")
    ]
    outcomes = cost.run_group(cells, TINY, CPU, lambda *_: None)
    adapters, exact = (outcomes[one.key] for one in cells)
    assert "its size is 362 encoder values, 94.3% of its budget of 384" in adapters.warnings
    assert not any("of its budget" in warning for warning in exact.warnings)


def test_the_phases_of_a_step_lie_within_it_and_their_medians_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.cost.measure_peak", lambda *_: peak_of_step(FULL, TINY, CPU))
    (outcome,) = cost.run_group([FULL], TINY, CPU, lambda *_: None).values()
    steps, phases = (outcome.arrays[name].astype(float) for name in ("step_seconds", "phase_seconds"))
    assert phases.shape == (3, 2, 4)
    assert (phases > 0).all()
    assert (phases.sum(axis=2) <= steps).all()
    assert outcome.cost is not None
    found = outcome.cost.step
    assert found.phases is not None
    medians = [statistics.median(phases[:, :, phase].ravel().tolist()) for phase in range(4)]
    kept = [found.phases.forward, found.phases.backward, found.phases.clipping, found.phases.optimizer]
    assert kept == pytest.approx(medians)
    assert found.phases.total == pytest.approx(sum(medians))
    assert found.p99_seconds is not None
    assert found.p95_seconds <= found.p99_seconds <= steps.max()


def turns(seconds: list[float], timings: dict[str, Timing]) -> dict[str, Timing]:
    """The timings as if each step had taken these seconds."""
    for timing in timings.values():
        timing.turns = [
            replace(turn, step_seconds=seconds, phase_seconds=[[0.1] * 4] * len(seconds)) for turn in timing.turns
        ]
    return timings


def test_quantiles_of_a_record_are_those_of_its_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = [float(second) for second in range(1, 102)]
    monkeypatch.setattr(cost, "time_group", lambda *given: turns(seconds, time_group(*given)))
    monkeypatch.setattr(cost, "measure_peak", peak_of_step)
    result = cost.run_group([FULL], TINY, CPU, lambda *_: None)[FULL.key].cost
    assert result is not None
    step = result.step
    # A hundred steps between the least and the most, three times over.
    assert (step.quartile1_seconds, step.median_seconds, step.quartile3_seconds) == (26, 51, 76)
    assert (step.p95_seconds, step.p99_seconds) == (96, 100)


@pytest.mark.parametrize(("far", "warned"), [(1.1, False), (1.4, True)])
def test_steps_that_spread_widely_are_warned_of(far: float, warned: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "time_group", lambda *given: turns([1.0, 1.0, far, far], time_group(*given)))
    monkeypatch.setattr(cost, "measure_peak", peak_of_step)
    (outcome,) = cost.run_group([FULL], TINY, CPU, lambda *_: None).values()
    said = "step times spread widely: interquartile range 33% of the median; the machine was not quiet"
    assert [warning for warning in outcome.warnings if "spread" in warning] == ([said] if warned else [])


@pytest.mark.parametrize("can_reset", [True, False])
def test_resident_memory_is_the_most_of_one_step(can_reset: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, honest = [], Stepper.__call__

    def reset() -> bool:
        calls.append("reset")
        return can_reset

    def resident(field: str) -> int:
        calls.append(field)
        return {"VmRSS": 5, "VmHWM": 7}[field]

    def step(stepper: Stepper, *given: Any) -> torch.Tensor:
        calls.append("step")
        return honest(stepper, *given)

    monkeypatch.setattr("bench.measure.memory.reset_high_water", reset)
    monkeypatch.setattr("bench.measure.memory.resident_bytes", resident)
    monkeypatch.setattr(Stepper, "__call__", step)
    found = peak_of_step(FULL, TINY, CPU)
    asked = ["VmHWM"] if can_reset else []
    assert calls == ["VmRSS", "step", "step", "reset", "step", *asked, "step"]
    assert (found.resident_before_bytes, found.resident_high_water_bytes) == (5, 7 if can_reset else None)


def test_a_batch_is_the_same_for_every_strategy() -> None:
    first, second = random_batch(FULL, 50, CPU), random_batch(cell("bitfit"), 50, CPU)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert first["input_ids"].shape == (2, 8)


def test_each_cell_has_early_and_late_turns_and_the_pair_stands_apart() -> None:
    cells = [cell(name) for name in ("full", "bitfit", "bq_b2", "layernorm", "random_uniform", "frozen", "x")]
    cells = [c.model_copy(update={"rounds": 5}) for c in [*cells, cell("full", replicate=1)]]
    places = [[turn_order(cells, number).index(c) for c in cells] for number in range(5)]
    for number, order in enumerate(places):
        assert sorted(order) == list(range(8)), number
        assert (order[0] - order[-1]) % 8 == 4, "the pair is half a round apart"
    for one in zip(*places, strict=True):
        assert min(one) <= 1
        assert max(one) >= 6


@pytest.mark.parametrize(("names", "rounds"), [(3, 6), (4, 4), (5, 10), (6, 13), (8, 20)])
def test_with_more_rounds_than_cells_each_stands_at_every_place_equally_often(names: int, rounds: int) -> None:
    cells = [cell(f"strategy {number}", rounds=rounds) for number in range(names - 1)]
    cells.append(cells[0].model_copy(update={"replicate": 1}))
    orders = [turn_order(cells, number) for number in range(rounds)]
    for place in range(names):
        often = [sum(order[place] == one for order in orders) for one in cells]
        assert sum(often) == rounds
        assert max(often) - min(often) <= rounds % names, "equally often in each whole turn of the rounds"
        assert max(often) - min(often) <= 1
    assert all(one != other for one, other in itertools.pairwise(orders))
    apart = {(order.index(cells[0]) - order.index(cells[-1])) % names for order in orders}
    assert apart <= {names // 2, -(-names // 2)}, "the pair is half a round apart"


def test_a_cell_that_trains_the_wrong_values_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = strategies.resolve

    def leaky(name: str) -> Any:
        def apply(model: nn.Module, context: Context) -> Applied:
            applied = honest(name)(model, context)
            model.get_submodule("encoder.embeddings.word_embeddings").requires_grad_(True)
            return applied

        return apply

    monkeypatch.setattr(strategies, "resolve", leaky)
    outcomes = cost.run_group([cell("bitfit")], TINY, CPU, lambda cell, what: None)
    (outcome,) = outcomes.values()
    assert outcome.status == "audit_failed"
    assert "word_embeddings" in str(outcome.reason)


def test_the_memory_of_this_code_is_measured_whatever_folder_it_is_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "__init__.py").write_text("raise RuntimeError('another copy')")
    monkeypatch.chdir(tmp_path)
    known = CostCell(model="minilm", strategy="frozen", batch_size=1, length=8)
    assert measure_peak(known, encoders.find("minilm"), CPU).peak_allocated_bytes > 2**20


def test_what_did_not_fit_says_what_it_would_have_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    def scarce(base: TaskModel, own: CostCell, *arguments: Any) -> Applied:
        if own.strategy == "bitfit":
            raise torch.OutOfMemoryError("tried to allocate 2 GiB")
        return apply_fresh(base, own, *arguments)

    monkeypatch.setattr("bench.measure.time.apply_fresh", scarce)
    monkeypatch.setattr("bench.cost.measure_peak", lambda *_: peak_of_step(FULL, TINY, CPU))
    cells = [FULL, cell("bitfit"), cell("full", replicate=1)]
    outcomes = cost.run_group(cells, TINY, CPU, lambda *_: None)
    failed = outcomes[cells[1].key]
    assert failed.status == "out_of_memory"
    expected = forecast_peak(cells[1], TINY).peak_allocated_bytes / 2**20
    assert failed.reason == (
        f"tried to allocate 2 GiB; forecast: tensors of {expected:,.0f} MiB at the peak of a step"
    )
    done = outcomes[FULL.key].cost
    assert done is not None
    assert done.forecast is not None
    assert done.memory is not None
    assert done.forecast.peak_allocated_bytes == pytest.approx(done.memory.peak_allocated_bytes, rel=0.03)


def test_what_cannot_fit_is_not_begun_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = [FULL, cell("bitfit"), cell("full", replicate=1)]
    model = sum(p.nbytes for p in cost_base(FULL, TINY).parameters())
    needs = {own.key: forecast_peak(own, TINY).peak_allocated_bytes for own in cells}
    begun, weighed, made = [], [], []

    def weigh(own: CostCell, *_: object) -> MemoryPeak:
        weighed.append(own.key)
        return peak_of_step(own, TINY, CPU)

    def forecast(own: CostCell, *arguments: Any, **named: Any) -> MemoryPeak:
        made.append(own.key)
        return forecast_peak(own, *arguments, **named)

    monkeypatch.setattr(cost, "measure_peak", weigh)
    monkeypatch.setattr(forecasts, "forecast_peak", forecast)
    monkeypatch.setattr(forecasts, "available_memory_bytes", lambda: needs[FULL.key] + model - 1)
    outcomes = cost.run_group(cells, TINY, CPU, lambda own, _: begun.append(own.key))
    assert [outcomes[own.key].status for own in cells] == ["out_of_memory", "ok", "out_of_memory"]
    available, taken, needed = ((size / 2**20) for size in (needs[FULL.key] + model - 1, model, needs[FULL.key]))
    assert outcomes[FULL.key].reason == (
        f"not begun: {available:,.0f} MiB of memory are available, {taken:,.0f} MiB of which go to the model that a "
        f"step's is copied from; forecast: tensors of {needed:,.0f} MiB at the peak of a step"
    )
    assert set(begun) == {cells[1].key}
    assert weighed == [cells[1].key]
    assert made == [own.key for own in cells[:2]], "once each, and once for both full fine-tunings"
    begun.clear()
    monkeypatch.setattr(forecasts, "available_memory_bytes", lambda: 1)
    assert {one.status for one in cost.run_group(cells, TINY, CPU, lambda own, _: begun.append(own.key)).values()} == {
        "out_of_memory"
    }
    assert begun == []
    monkeypatch.setattr(forecasts, "available_memory_bytes", lambda: None)
    assert cost.run_group(cells[1:2], TINY, CPU, lambda *_: None)[cells[1].key].status == "ok"


@pytest.mark.parametrize("strategy", ["frozen_cached", "shira"])
def test_what_has_no_forecast_is_held_against_that_of_frozen(strategy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    own = cell(strategy, batch_size=8, length=32)
    still = {"strategy": "frozen", "hidden_dropout": 0.0, "attention_dropout": 0.0}
    least = forecast_peak(own.model_copy(update=still), TINY).peak_allocated_bytes
    assert least <= first_step_peak(own), "a lower bound"
    model = sum(p.nbytes for p in cost_base(own, TINY).parameters())
    begun: list[CostCell] = []
    monkeypatch.setattr(forecasts, "available_memory_bytes", lambda: least + model - 1)
    (outcome,) = cost.run_group([own], TINY, CPU, lambda one, _: begun.append(one)).values()
    assert begun == []
    assert outcome.status == "out_of_memory"
    said = str(outcome.reason)
    assert f"; no forecast: strategy '{strategy}' needs more than shapes: " in said
    assert said.endswith(f"; that of frozen, a lower bound: tensors of {least / 2**20:,.0f} MiB at the peak of a step")
    monkeypatch.setattr(forecasts, "available_memory_bytes", lambda: least + model)
    monkeypatch.setattr(cost, "measure_peak", peak_of_step)
    (outcome,) = cost.run_group([own], TINY, CPU, lambda one, _: begun.append(one)).values()
    assert outcome.status == "ok"


def first_step_peak(own: CostCell) -> int:
    """Bytes of live tensors in the first step of a cell, when nothing is cached yet."""
    stepper = cost_stepper(apply_fresh(cost_base(own, TINY), own, CPU), own, CPU)
    return live_peak(stepper, random_batch(own, 50, CPU), 0).bytes


def test_what_is_stored_in_fewer_bytes_is_held_against_a_model_stored_so(monkeypatch: pytest.MonkeyPatch) -> None:
    own = cell("frozen_cached+bf16")
    wide = forecast_peak(cell("frozen", hidden_dropout=0, attention_dropout=0), TINY).peak_allocated_bytes
    model = sum(p.nbytes for p in cost_base(own, TINY).parameters())
    monkeypatch.setattr(forecasts, "available_memory_bytes", lambda: wide + model - 1)
    monkeypatch.setattr(cost, "measure_peak", peak_of_step)
    assert cost.run_group([own], TINY, CPU, lambda *_: None)[own.key].status == "ok"


def test_a_step_that_cannot_fit_is_not_counted_with_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    own = cell("frozen_cached")
    monkeypatch.setattr(cost, "measure_peak", peak_of_step)
    available = iter([2**40])
    monkeypatch.setattr(forecasts, "available_memory_bytes", lambda: next(available, 1))
    monkeypatch.setattr(cost, "arithmetic_with_weights", lambda *_: pytest.fail("a step was taken"))
    result = cost.run_group([own], TINY, CPU, lambda *_: None)[own.key].cost
    assert result is not None
    assert result.arithmetic is None
    said = str(result.arithmetic_reason)
    assert said.startswith("strategy 'frozen_cached' needs more than shapes: aten.nonzero")
    assert "; not counted with weights: 0 MiB of memory are available, " in said


def test_an_error_of_a_step_itself_is_no_lack_of_values(monkeypatch: pytest.MonkeyPatch) -> None:
    def planted(*_: object, **__: object) -> None:
        raise RuntimeError("a bug of ours")

    monkeypatch.setattr(cost, "measure_peak", peak_of_step)
    monkeypatch.setattr("bench.measure.flops.count_step", planted)
    result = cost.run_group([FULL], TINY, CPU, lambda *_: None)[FULL.key].cost
    assert result is not None
    assert (result.arithmetic, result.arithmetic_reason) == (None, "a bug of ours")
    monkeypatch.setattr("bench.measure.fake.random_batch", planted)
    result = cost.run_group([FULL], TINY, CPU, lambda *_: None)[FULL.key].cost
    assert result is not None
    assert (result.forecast, result.forecast_reason) == (None, "a bug of ours")


def test_what_did_not_fit_and_has_no_forecast_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def scarce(*_: object) -> Applied:
        raise torch.OutOfMemoryError("tried to allocate 2 GiB")

    def unable(*_: object, **__: object) -> MemoryPeak:
        raise RuntimeError("nobody knows")

    monkeypatch.setattr("bench.measure.time.apply_fresh", scarce)
    monkeypatch.setattr(forecasts, "forecast_peak", unable)
    (outcome,) = cost.run_group([FULL], TINY, CPU, lambda *_: None).values()
    assert outcome.status == "out_of_memory"
    assert outcome.reason == "tried to allocate 2 GiB; no forecast: nobody knows"


def test_an_unforeseen_failure_while_weighing_costs_that_figure_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def weigh(own: CostCell, *_: object) -> MemoryPeak:
        if own.strategy == "bitfit":
            raise KeyError("nobody reckoned with it")
        return peak_of_step(own, TINY, CPU)

    monkeypatch.setattr(cost, "measure_peak", weigh)
    outcomes = cost.run_group([FULL, cell("bitfit")], TINY, CPU, lambda *_: None)
    assert [outcome.status for outcome in outcomes.values()] == ["ok", "ok"]
    full, bitfit = (outcome.cost for outcome in outcomes.values())
    assert full is not None
    assert full.memory is not None
    assert bitfit is not None
    assert bitfit.memory is None
    assert bitfit.memory_reason == "KeyError: 'nobody reckoned with it'"
    assert bitfit.forecast is not None
    assert bitfit.arithmetic is not None


def test_what_a_library_prints_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    printing = subprocess.CompletedProcess("", 0, "warning: something\n{}", "")
    monkeypatch.setattr("subprocess.run", lambda *_, **__: printing)
    with pytest.raises(MemoryFailureError, match="answered with what is no peak: 'warning: something"):
        measure_peak(FULL, TINY, CPU)


def test_the_fresh_process_keeps_its_output_for_the_answer(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def peak(*_: object) -> MemoryPeak:
        os.write(1, b"a library speaks")
        return MemoryPeak(
            method="live tensors", peak_allocated_bytes=1, peak_reserved_bytes=None, resident_high_water_bytes=None
        )

    known = CostCell(model="minilm", strategy="frozen", batch_size=1, length=8)
    request = {"cell": known.model_dump(), "folder": None, "device": "cpu", "threads": None}
    told = io.StringIO(json.dumps(request | {"free_bytes": None, "snapshot": None}))
    monkeypatch.setattr("sys.stdin", told)
    monkeypatch.setattr("bench.measure.memory.peak_of_step", peak)
    kept = os.dup(1)
    try:
        main()
    finally:
        os.dup2(kept, 1)
        os.close(kept)
    out, err = capfd.readouterr()
    assert MemoryPeak.model_validate_json(out).peak_allocated_bytes == 1
    assert err == "a library speaks"
