"""What surrounded a measurement: read right from the card's library, judged, refused, and never made up."""

import io
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console

from bench import cost, running, suite
from bench.cell import CostCell
from bench.encoders import Encoder
from bench.errors import InputError
from bench.measure.nvml import Card, card_by_uuid, find_card, others
from bench.measure.validity import (
    Watch,
    available_memory_bytes,
    disturbances,
    disturbed_rounds,
    refuse_busy_card,
    throttled,
    usable_cores,
)
from bench.results import MemoryPeak
from bench.timing import Surroundings, Validity
from fake_device import FakeDevice
from fake_nvml import QUIET_STATE, UUID, FakeNvml, NVMLError, quiet_card
from families import ENCODERS

OWN = os.getpid()
QUIET = Surroundings(load_average=1.0, available_memory_bytes=2**30)


def card(nvml: FakeNvml) -> Card:
    found, reason = card_by_uuid(nvml, UUID)
    assert found is not None, reason
    return found


def validity(*rounds: Surroundings, before: Surroundings = QUIET, after: Surroundings = QUIET) -> Validity:
    return Validity(cores=64, threads=2, card_reason=None, before=before, after=after, rounds=list(rounds))


def on_card(nvml: FakeNvml) -> Surroundings:
    return QUIET.model_copy(update={"card": card(nvml).state()})


def test_a_quiet_card_is_read_in_the_units_its_fields_name() -> None:
    assert card(quiet_card()).state() == QUIET_STATE
    assert card(quiet_card()).energy_joules() == 5000.0


def test_what_a_card_does_not_tell_is_null_and_never_0() -> None:
    state = card(FakeNvml()).state()
    told = {"sm_clock_mhz", "sm_clock_most_mhz", "memory_clock_mhz", "other_processes"}
    assert all(value is None for name, value in state if name not in told)
    assert card(FakeNvml()).energy_joules() is None


@pytest.mark.parametrize(
    ("bits", "named"),
    [
        (0x01 | 0x02 | 0x10 | 0x100, []),
        (0x04, ["power cap"]),
        (0x08 | 0x40, ["hardware slowdown", "temperature (hardware)"]),
        (0x20 | 0x80, ["temperature (driver)", "power brake"]),
    ],
)
@pytest.mark.parametrize("question", ["Event", "Throttle"])
def test_only_what_holds_clocks_down_is_throttling(bits: int, named: list[str], question: str) -> None:
    nvml = FakeNvml({f"nvmlDeviceGetCurrentClocks{question}Reasons": bits})
    assert card(nvml).state().throttle_reasons == named


@pytest.mark.parametrize(
    ("running", "expected"),
    [((), 0), ((OWN,), 0), ((OWN, 7), 1), ((7,), 0), ((7, 8), 1), ((OWN, 7, 7), 1)],
    ids=["none listed", "own", "own and another", "own by another number", "renamed and another", "listed twice"],
)
def test_this_process_is_not_its_own_neighbour(running: tuple[int, ...], expected: int) -> None:
    assert others([SimpleNamespace(pid=pid) for pid in running], OWN) == expected
    nvml = quiet_card()
    nvml.pids = running
    assert card(nvml).state().other_processes == expected


def test_an_instance_is_found_by_the_card_it_is_part_of() -> None:
    nvml = quiet_card(nvmlDeviceGetMigMode=[1, 1])
    nvml.uuid = f"MIG-{UUID}"
    assert card(nvml).state().mig is True


@pytest.mark.parametrize(("on_part", "others_there"), [((OWN,), 0), ((OWN, 9), 1)])
def test_of_a_split_card_only_the_own_part_has_neighbours_and_nobody_knows_its_energy(
    on_part: tuple[int, ...], others_there: int
) -> None:
    nvml = quiet_card(nvmlDeviceGetMigMode=[1, 1])
    nvml.uuid, nvml.pids, nvml.part_pids = f"MIG-{UUID}", (OWN, 7, 8), on_part
    assert card(nvml).state().other_processes == others_there
    assert card(nvml).energy_joules() is None
    nvml.uuid = f"GPU-{UUID}"
    assert card(nvml).state().other_processes is None, "on which part the others are is not known"
    assert card(nvml).energy_joules() is None


def test_no_card_comes_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_card(torch.device("cpu")) == (None, "cpu is no NVIDIA card here")
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert find_card(torch.device("cuda")) == (None, "the package nvidia-ml-py is not installed")
    assert card_by_uuid(FakeNvml(starts=False), UUID) == (None, "NVML does not start: Driver Not Loaded")
    assert card_by_uuid(FakeNvml(uuid="GPU-other"), UUID) == (None, f"NVML does not know card {UUID}: Not Found")


def test_the_card_of_a_device_is_asked_for_by_its_id(monkeypatch: pytest.MonkeyPatch) -> None:
    asked_of: list[Any] = []
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setitem(sys.modules, "pynvml", quiet_card())
    monkeypatch.setattr(torch, "zeros", lambda *_, device: asked_of.append(("zeros", device)))

    def properties(device: torch.device) -> Any:
        asked_of.append(("id", device))
        return SimpleNamespace(uuid=UUID)

    monkeypatch.setattr(torch.cuda, "get_device_properties", properties)
    device = torch.device("cuda", 1)
    found, reason = find_card(device)
    assert found is not None
    assert reason is None
    assert asked_of == [("zeros", device), ("id", device)], "this process is on the card before anybody is counted"


@pytest.mark.parametrize(
    ("pids", "percent", "said"),
    [
        ((OWN, 7), 0, "1 other process)"),
        ((OWN, 7, 8), 4, "2 other processes)"),
        ((OWN,), 87, "utilisation 87%, above 10%)"),
        ((OWN, 7), 87, "1 other process, utilisation 87%, above 10%)"),
    ],
)
def test_a_busy_card_is_refused_in_one_line(
    pids: tuple[int, ...], percent: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvml = quiet_card(nvmlDeviceGetUtilizationRates=SimpleNamespace(gpu=percent))
    nvml.pids = pids
    monkeypatch.setattr("bench.measure.validity.find_card", lambda _: (card(nvml), None))
    with pytest.raises(InputError) as caught:
        refuse_busy_card(torch.device("cuda", 0))
    assert f"cuda:0 is busy ({said}" in str(caught.value)
    assert "--allow-busy" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("percent", [0, 10])
def test_a_quiet_card_and_one_nobody_can_tell_of_are_not_refused(
    percent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvml = quiet_card(nvmlDeviceGetUtilizationRates=SimpleNamespace(gpu=percent))
    nvml.pids = (OWN,)
    monkeypatch.setattr("bench.measure.validity.find_card", lambda _: (card(nvml), None))
    assert refuse_busy_card(torch.device("cuda", 0)) is None
    monkeypatch.setattr("bench.measure.validity.find_card", lambda _: (card(FakeNvml()), None))
    assert refuse_busy_card(torch.device("cuda", 0)) is None
    monkeypatch.setattr("bench.measure.validity.find_card", lambda _: (card(tells_nothing()), None))
    assert refuse_busy_card(torch.device("cuda", 0)) == "its driver tells neither its processes nor its utilisation"
    monkeypatch.setattr("bench.measure.validity.find_card", lambda _: (None, "no NVML"))
    assert refuse_busy_card(torch.device("cpu")) is None, "no NVIDIA card"
    monkeypatch.setattr("bench.measure.validity.device_of", lambda _: FakeDevice())
    assert refuse_busy_card(torch.device("cuda", 0)) == "no NVML"


def tells_nothing() -> FakeNvml:
    """A card of which the library lists not even the processes."""

    def refuse(handle: str) -> list[Any]:
        raise NVMLError("Not Supported")

    nvml = FakeNvml()
    nvml.nvmlDeviceGetComputeRunningProcesses = refuse  # type: ignore[method-assign]
    return nvml


def test_a_run_says_once_that_its_card_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reason = "the package nvidia-ml-py is not installed"
    monkeypatch.setattr("bench.measure.validity.find_card", lambda _: (None, reason))
    monkeypatch.setattr("bench.measure.validity.device_of", lambda _: FakeDevice())

    def stop(*_: object) -> None:
        raise NextError

    monkeypatch.setattr("bench.harness.preflight", stop)
    request = running.Request(
        suite=suite.load("smoke"), cache_dir=tmp_path / "cache", runs_dir=tmp_path / "runs", device="cpu"
    )
    shown = io.StringIO()
    with pytest.raises(NextError):
        running.run(request, Console(file=shown, width=200))
    assert shown.getvalue().count(f"note: whether cpu is busy is not known: {reason}\n") == 1


class NextError(Exception):
    """Whatever comes after the check."""


@pytest.mark.parametrize(
    ("allow_busy", "skip", "raised"),
    [(False, None, InputError), (True, None, NextError), (False, "cost", NextError)],
    ids=["refused", "allowed", "nothing to time"],
)
def test_a_run_is_refused_before_it_leaves_a_folder(
    allow_busy: bool,
    skip: str | None,
    raised: type[Exception],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nvml = quiet_card()
    nvml.pids = (OWN, 7)
    monkeypatch.setattr("bench.measure.validity.find_card", lambda _: (card(nvml), None))

    def stop(*_: object) -> None:
        raise NextError

    monkeypatch.setattr("bench.harness.preflight", stop)
    chosen = suite.load("smoke")
    if skip is not None:
        chosen = chosen.model_copy(update={skip: []})
    request = running.Request(
        suite=chosen, cache_dir=tmp_path / "cache", runs_dir=tmp_path / "runs", device="cpu", allow_busy=allow_busy
    )
    with pytest.raises(raised):
        running.run(request, Console(file=io.StringIO()))
    assert not (tmp_path / "runs").exists()


def test_a_load_above_the_own_threads_marks_the_whole_group() -> None:
    loud = QUIET.model_copy(update={"load_average": 6.7})
    (found,) = disturbances([validity(QUIET), validity(QUIET, loud)])
    assert "load average up to 6.7 while 2 threads timed this group" in found
    own_threads = QUIET.model_copy(update={"load_average": 2.4})
    assert disturbances([validity(own_threads)]) == []
    unknown = QUIET.model_copy(update={"load_average": None})
    assert disturbances([validity(unknown, before=unknown, after=unknown)]) == []
    assert disturbances([]) == []


def test_a_shared_card_marks_the_whole_group() -> None:
    nvml = quiet_card()
    nvml.pids = (OWN, 7, 8)
    (found,) = disturbances([validity(QUIET), validity(on_card(nvml))])
    assert "shared with up to 2 other processes" in found


def test_throttling_marks_the_cell_in_whose_rounds_it_was_seen() -> None:
    hot = on_card(quiet_card(nvmlDeviceGetCurrentClocksEventReasons=0x44))
    cool = on_card(quiet_card())
    assert throttled(validity(cool, hot, cool, hot)) == [
        "the card was throttled in 2 of 4 rounds (2, 4): power cap, temperature (hardware)"
    ]
    assert throttled(validity(cool, before=hot, after=hot)) == [], "only timed rounds count"
    assert throttled(validity(QUIET)) == []


def test_a_round_is_disturbed_where_any_turn_of_it_ended_on_a_throttled_or_shared_card() -> None:
    hot, cool = on_card(quiet_card(nvmlDeviceGetCurrentClocksEventReasons=0x04)), on_card(quiet_card())
    nvml = quiet_card()
    nvml.pids = (OWN, 7)
    full, bitfit = validity(cool, hot, cool, cool), validity(cool, cool, cool, on_card(nvml))
    assert disturbed_rounds([full, bitfit]) == [1, 3]
    assert disturbed_rounds([validity(cool, QUIET, before=hot, after=hot)]) == []


def test_cores_are_those_this_process_may_run_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5}, raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    found = Watch(None, "no card").validity(QUIET, [QUIET], QUIET)
    assert (found.cores, found.threads) == (2, 1)
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert usable_cores() == 7


def test_available_memory_is_read_in_bytes_or_not_at_all(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    assert available_memory_bytes(meminfo) is None
    meminfo.write_text("MemTotal:       16000 kB\nMemFree:  1 kB\nMemAvailable:    8000 kB\n")
    assert available_memory_bytes(meminfo) == 8000 * 1024
    meminfo.write_text("MemTotal:       16000 kB\n")
    assert available_memory_bytes(meminfo) is None


def test_records_of_a_group_hold_what_was_seen_at_each_of_their_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    loads = iter(range(100))
    hot = on_card(quiet_card(nvmlDeviceGetCurrentClocksEventReasons=0x04)).card

    def look(_: Watch) -> Surroundings:
        load = next(loads)
        return QUIET.model_copy(update={"load_average": float(load), "card": hot if load == 4 else None})

    monkeypatch.setattr(Watch, "look", look)
    peak = MemoryPeak(
        method="live tensors", peak_allocated_bytes=1, peak_reserved_bytes=None, resident_high_water_bytes=None
    )
    monkeypatch.setattr(cost, "measure_peak", lambda *_: peak)
    full = CostCell(model="tiny", strategy="full", batch_size=2, length=8, rounds=2, steps_per_round=2)
    cells = [full, full.model_copy(update={"strategy": "frozen"})]
    tiny = Encoder("tiny", "A tiny BERT.", ENCODERS["bert"])
    outcomes = cost.run_group(cells, tiny, torch.device("cpu"), lambda *_: None)
    seen = []
    for cell in cells:
        result = outcomes[cell.key].cost
        assert result is not None
        assert result.validity is not None
        assert result.validity.card_reason == "cpu is no NVIDIA card here"
        assert result.validity.disturbed_rounds == [1], "that of one turn is that of the round, for every record"
        seen.append([moment.load_average for moment in result.validity.moments])
    # 0 before the group and 6 after it; the turn that is thrown away looks too.
    assert seen == [[0, 2, 5, 6], [0, 3, 4, 6]]
