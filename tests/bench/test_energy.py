"""Energy of timed steps: counters that wrap, cannot be read, or are too coarse; never a 0 that stands for nothing."""

from pathlib import Path

import pytest
import torch

from bench.measure.energy import Meter, energy_of, find_meter, rapl_meter
from bench.measure.nvml import card_by_uuid
from bench.timing import Energy
from fake_nvml import UUID, FakeNvml, quiet_card

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
COUNTER = Meter("NVML", 0.1, lambda: [0.0], lambda begin, end: end[0] - begin[0])


def zone(folder: Path, number: str, name: str, microjoules: int, most: int = 999_999_999) -> Path:
    """A zone of the powercap file system."""
    path = folder / f"intel-rapl:{number}"
    path.mkdir()
    (path / "name").write_text(f"{name}\n")
    (path / "max_energy_range_uj").write_text(f"{most}\n")
    (path / "energy_uj").write_text(f"{microjoules}\n")
    return path


def spend(path: Path, microjoules: int) -> None:
    counter = path / "energy_uj"
    most = int((path / "max_energy_range_uj").read_text())
    counter.write_text(f"{(int(counter.read_text()) + microjoules) % (most + 1)}\n")


def test_rapl_adds_packages_and_memory_and_counts_nothing_twice(tmp_path: Path) -> None:
    zones = [
        zone(tmp_path, "0", "package-0", 5_000_000),
        zone(tmp_path, "0:0", "core", 1_000_000),
        zone(tmp_path, "0:1", "dram", 0),
        zone(tmp_path, "1", "package-1", 999_000_000),  # near its range: it wraps
        zone(tmp_path, "2", "psys", 0),
    ]
    meter = find_meter(CPU, None, tmp_path)
    assert isinstance(meter, Meter)
    assert meter.source == "RAPL"
    begin = meter.read()
    for path in zones:
        spend(path, 2_000_000)
    assert meter.since(begin) == pytest.approx(6.0), "two packages and the memory of one, 2 J each"
    (zones[0] / "energy_uj").unlink()
    assert meter.since(begin) is None


def test_no_counter_comes_with_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_meter(CPU, None, tmp_path) == f"no RAPL counter in {tmp_path}"
    counter = zone(tmp_path, "0", "package-0", 1) / "energy_uj"
    counter.write_text("not a number")
    assert "RAPL counters cannot be read" in str(rapl_meter(tmp_path))

    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied", str(counter))

    monkeypatch.setattr("bench.measure.energy._number", refuse)
    assert rapl_meter(tmp_path) == f"RAPL counters are for root alone here: no permission to read {counter}"
    assert find_meter(torch.device("mps"), None) == "no energy counter of mps is known without NVML"
    split = card_by_uuid(quiet_card(nvmlDeviceGetMigMode=[1, 1]), UUID)[0]
    assert str(find_meter(CUDA, split)).startswith("the card is split into MIG instances")
    assert find_meter(CUDA, card_by_uuid(FakeNvml(), UUID)[0]) == "the card does not count its energy"


def test_a_card_counts_in_joules() -> None:
    nvml = quiet_card()
    meter = find_meter(CUDA, card_by_uuid(nvml, UUID)[0])
    assert isinstance(meter, Meter)
    assert meter.source == "NVML"
    begin = meter.read()
    nvml.figures["nvmlDeviceGetTotalEnergyConsumption"] += 12_500
    assert meter.since(begin) == pytest.approx(12.5)
    del nvml.figures["nvmlDeviceGetTotalEnergyConsumption"]
    assert meter.since(begin) is None


def test_energy_per_step_is_over_all_timed_steps() -> None:
    energy, reason = energy_of(COUNTER, [30.0, 50.0], [4.0, 5.0], steps=10)
    assert energy == Energy(source="NVML", joules_by_round=[30.0, 50.0], steps_per_round=10)
    assert energy.joules_per_step == pytest.approx(4.0)
    assert reason is None


def test_energy_that_cannot_be_known_is_null_with_a_reason() -> None:
    assert energy_of("no counter here", [None, None], [1.0, 1.0], steps=5) == (None, "no counter here")
    assert energy_of(COUNTER, [30.0, None], [4.0, 5.0], steps=10) == (None, "NVML could not be read in every round")
    energy, reason = energy_of(COUNTER, [3.0, 3.0], [0.2, 0.2], steps=10)
    assert energy is None
    assert reason == "0.4 s of timed steps are too short for NVML, whose counter moves every 0.1 s"
    fine = Meter("RAPL", 0.001, COUNTER.read, COUNTER.joules)
    assert energy_of(fine, [3.0, 3.0], [0.2, 0.2], steps=10)[0] is not None
