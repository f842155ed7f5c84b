"""The machine's own rates: measured, written beside the records, read back; a run of cost cells has a pair of them."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bench import harness
from bench.cell import CostCell
from bench.measure import calibration
from bench.measure.calibration import calibrate
from bench.measure.memory import peak_of_step
from bench.record import Manifest
from bench.session import Options, Session
from bench.store import CALIBRATIONS, RunStore, suite_hash
from fake_device import FakeDevice
from silent import Silent

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small matrices and copies, few samples: rates that mean little, in no time."""
    monkeypatch.setattr(calibration, "SECONDS", 0.0)
    monkeypatch.setattr(calibration, "SAMPLE_SECONDS", 1e-4)
    monkeypatch.setattr(calibration, "LARGEST", calibration.SMALLEST)
    monkeypatch.setattr(calibration, "COPIED_BYTES", {"cpu": 2**16})


def store_of(folder: Path, cells: list[CostCell]) -> RunStore:
    keys = suite_hash([cell.key for cell in cells])
    return RunStore.create(
        folder, Manifest(suite="s", suite_hash=keys, cells=list(cells), created_utc="2026-01-01T00:00:00Z", command=[])
    )


def test_rates_are_taken_at_every_precision_asked_for() -> None:
    found = calibrate(CPU, {"fp32", "bf16"}, "start")
    assert set(found.matmul_flops_per_second) == {"fp32", "bf16"}
    assert all(rate > 1e6 for rate in found.matmul_flops_per_second.values())
    assert found.matmul_sizes == {"fp32": 256, "bf16": 256}
    assert found.copied_bytes_per_second is not None
    assert found.copied_bytes_per_second > 1e6
    assert found.failures == []
    assert found.threads == torch.get_num_threads()


def test_a_rate_is_the_work_over_the_best_of_the_times(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0.5, 0.25, 0.125, 0.5, 0.5])
    monkeypatch.setattr(calibration, "_seconds", lambda *_: next(times))
    monkeypatch.setattr(calibration, "SAMPLE_SECONDS", 1.0)
    found = calibrate(CPU, set(), "start")
    assert found.copied_bytes_per_second == 2 * 2**16 / 0.125


def test_products_and_copies_are_timed_between_synchronisations(monkeypatch: pytest.MonkeyPatch) -> None:
    device = FakeDevice()
    mm, copy = torch.mm, torch.Tensor.copy_

    def product(*given: Any, **named: Any) -> torch.Tensor:
        device.calls.append("product")
        return mm(*given, **named)

    def copied(*given: Any, **named: Any) -> torch.Tensor:
        device.calls.append("copy")
        return copy(*given, **named)

    def clock() -> float:
        device.calls.append("clock")
        return float(len(device.calls))

    monkeypatch.setattr(torch, "mm", product)
    monkeypatch.setattr(torch.Tensor, "copy_", copied)
    monkeypatch.setattr(calibration, "device_of", lambda _: device)
    monkeypatch.setattr(calibration, "time", SimpleNamespace(perf_counter=clock))
    calibrate(CPU, {"fp32"}, "start")
    said = " ".join(device.calls)
    for work in ("product", "copy"):
        assert said.count(work) > calibration.LEAST_SAMPLES
        timed = rf"(clock )?synchronize clock ({work} )+synchronize clock ?"
        # The first product is thrown away: it pays for what wakes up.
        (found,) = re.findall(rf"{'product ' if work == 'product' else ''}((?:{timed})+)", said)[:1]
        assert found[0].count(work) == said.count(work) - (work == "product")


def test_a_rate_that_cannot_be_had_is_left_out_and_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("no memory left\nfor anything")

    monkeypatch.setattr(torch, "ones", full)
    found = calibrate(CPU, {"fp32"}, "end")
    assert found.copied_bytes_per_second is None
    assert found.failures == ["copies: no memory left"]
    assert "fp32" in found.matmul_flops_per_second


def test_calibrations_come_back_as_written_and_damaged_ones_are_named(tmp_path: Path) -> None:
    store = store_of(tmp_path / "run", [])
    assert store.calibrations() == ([], []), "a run of old has none"
    start, end = calibrate(CPU, {"fp32"}, "start"), calibrate(CPU, {"fp32"}, "end")
    store.append_calibration(start)
    with (store.folder / CALIBRATIONS).open("a", encoding="utf-8") as file:
        file.write('{"schema_version": 2}\nnot json\n')
    store.append_calibration(end)
    found, bad = store.calibrations()
    assert found == [start, end]
    assert [(line.number, line.reason[:16]) for line in bad] == [(2, "schema version 2"), (3, "not JSON (Expect")]


def test_a_run_of_cost_cells_is_calibrated_before_and_after_and_counts_their_arithmetic(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.cost.measure_peak", peak_of_step)
    shape = {"model": "tiny", "batch_size": 2, "length": 8, "rounds": 1, "steps_per_round": 1, "warmup_steps": 1}
    pairs = [("full", 0), ("bitfit", 0), ("frozen_cached", 0), ("full", 1)]
    cells = [CostCell.model_validate(shape | {"strategy": name, "replicate": again}) for name, again in pairs]
    store = store_of(tmp_path / "run", cells)
    session = Session(Options(device=CPU, cache_dir=tmp_path, model_folders={"tiny": tiny_folder}))
    assert harness.run(store, session, Silent()).failed == 0
    found, _ = store.calibrations()
    assert [one.moment for one in found] == ["start", "end"]
    assert list(found[0].matmul_flops_per_second) == ["fp32"]
    results = [store.latest()[cell.key].cost for cell in cells]
    full, bitfit, cached, again = (result for result in results if result is not None)
    assert full.arithmetic is not None
    assert bitfit.arithmetic is not None
    assert cached.arithmetic is not None, "its steps look at values, so they are counted with weights"
    assert cached.arithmetic.flops < 0.01 * full.arithmetic.flops
    assert full.arithmetic.forward_flops == bitfit.arithmetic.forward_flops
    assert full.arithmetic.backward_flops > 1.5 * bitfit.arithmetic.backward_flops
    assert (again.arithmetic, again.arithmetic_reason) == (None, "counted once, with replicate 0")
    harness.run(store, session, Silent())
    assert len(store.calibrations()[0]) == 2, "nothing was left to measure"
