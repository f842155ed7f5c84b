"""GPU cards are found however their names are written, and a floor is the larger of two times."""

import subprocess
import sys

import pytest

from bench.arithmetic import Arithmetic, Calibration, floor_on_machine
from bench.cards import cards, find, floor_on_card
from bench.errors import InputError

STEP = Arithmetic(
    forward_flops=10**12,
    backward_flops=2 * 10**12,
    weight_bytes=10**9,
    saved_bytes=2 * 10**9,
    gradient_bytes=10**9,
    optimizer_bytes=4 * 10**9,
)


def calibration(**fields: object) -> Calibration:
    known: dict[str, object] = {
        "moment": "start",
        "taken_utc": "2026-01-01T00:00:00+00:00",
        "device_name": "a CPU",
        "threads": 2,
        "matmul_flops_per_second": {"fp32": 1e11},
        "matmul_sizes": {"fp32": 1024},
        "copied_bytes_per_second": 2e10,
    }
    return Calibration.model_validate(known | fields)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("h200", "H200"),
        ("NVIDIA H100", "H100 SXM"),
        ("NVIDIA H100 80GB HBM3", "H100 SXM"),
        ("NVIDIA A100-SXM4-80GB", "A100 80 GB"),
        ("rtx4090", "RTX 4090"),
        ("NVIDIA GeForce RTX-3090", "RTX 3090"),
        ("a100 80gb", "A100 80 GB"),
        ("Tesla T4", "T4"),
        ("l4", "L4"),
        ("L40s", "L40S"),
        ("A10", "A10"),
        ("v100_sxm2 32 gb", "V100 SXM2 32 GB"),
        ("AMD Instinct MI300X", "MI300X"),
    ],
)
def test_a_card_is_found_however_its_name_is_written(written: str, name: str) -> None:
    assert find(written).name == name


def test_a_card_of_two_sizes_must_be_told_apart() -> None:
    with pytest.raises(InputError, match="A100 40 GB, A100 80 GB; name one"):
        find("A100")
    assert find("A100 40 GB").bytes_per_second < find("A100 80 GB").bytes_per_second


@pytest.mark.parametrize(
    ("written", "near"),
    [
        ("RTX 4080", "RTX 4090"),
        ("H300", "H200"),
        ("L40", "L40S"),
        ("H100 PCIe", "H100 SXM"),
        ("H100 96GB", "H100 SXM"),
    ],
)
def test_an_unknown_card_is_answered_with_the_nearest_names(written: str, near: str) -> None:
    with pytest.raises(InputError, match=f"unknown GPU '{written}'; nearest: .*{near}"):
        find(written)


@pytest.mark.parametrize("written", ["", "---", "abacus of wood", "NVIDIA"])
def test_a_name_like_no_card_is_answered_in_one_line_that_names_some(written: str) -> None:
    with pytest.raises(InputError, match="unknown GPU") as caught:
        find(written)
    assert "\n" not in str(caught.value)
    assert any(card.name in str(caught.value) for card in cards())


@pytest.mark.parametrize(
    ("name", "shown_mib"),
    [("T4", 15360), ("A10", 23028), ("A100 80 GB", 81920), ("H100 SXM", 81559), ("H200", 143771), ("RTX 4090", 24564)],
)
def test_the_memory_of_a_card_is_what_its_driver_shows_within_a_gib(name: str, shown_mib: int) -> None:
    assert abs(find(name).memory_gib - shown_mib / 1024) < 1


def test_every_card_has_figures_with_a_source_and_a_grade() -> None:
    assert len({card.name for card in cards()}) == len(cards())
    for card in cards():
        assert card.source
        assert card.grade in "CSR"
        assert 0.9 * card.sold_gb <= card.memory_gib <= card.sold_gb < 300
        assert 1e11 < card.bytes_per_second < 1e13
        assert all(1e12 < rate < 1e16 for rate in card.flops_per_second.values())
        assert card.rate("bf16") or "fp16" in card.flops_per_second


def test_the_floor_is_the_products_or_the_bytes_whichever_takes_longer() -> None:
    h200 = find("H200")
    slow, _ = floor_on_card(STEP, h200, "fp32")
    fast, _ = floor_on_card(STEP, h200, "bf16")
    assert slow is not None
    assert fast is not None
    assert slow.seconds == pytest.approx(3e12 / 67e12)
    assert slow.bound == "arithmetic"
    assert STEP.moved_bytes == 10 * 10**9
    assert fast.move_seconds == pytest.approx(10e9 / 4800e9)
    assert fast.compute_seconds == pytest.approx(3e12 / 989e12)
    assert fast.seconds == max(fast.move_seconds, fast.compute_seconds)


def test_no_rate_no_floor_but_a_reason() -> None:
    floor, reason = floor_on_card(STEP, find("T4"), "bf16")
    assert floor is None
    assert reason == "no bf16 rate is known of T4, only fp32, fp16"


def test_the_floor_of_a_machine_takes_the_best_it_did() -> None:
    slower = calibration(moment="end", matmul_flops_per_second={"fp32": 5e10}, copied_bytes_per_second=4e10)
    floor, reason = floor_on_machine(STEP, [calibration(), slower], "fp32")
    assert reason is None
    assert floor is not None
    assert floor.compute_seconds == pytest.approx(30.0)
    assert floor.move_seconds == pytest.approx(0.25)
    assert STEP.utilisation(60.0, 1e11) == pytest.approx(0.5)
    assert floor_on_machine(STEP, [slower], "bf16") == (None, "the machine's rate of bf16 products was not measured")
    without = calibration(copied_bytes_per_second=None, failures=["copies: no memory"])
    assert floor_on_machine(STEP, [without], "fp32") == (None, "the machine's copy rate was not measured")


def test_cards_and_floors_need_no_torch() -> None:
    code = "import sys; sys.modules['torch'] = None; import bench.cards; bench.cards.find('t4')"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
