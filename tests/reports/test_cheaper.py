"""Is it really cheaper? Sentences and numbers follow from counts, ratios and rates, and say nothing without them."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bench.arithmetic import Arithmetic
from bench.record import Record
from bench.results import MemoryAttribution
from bench.store import RunStore
from reports import page
from reports.cheaper import cheaper
from reports.machine import drifts, machine_table, taken_on
from reports.parts import CheaperPart
from reports.run import load
from synthetic_run import ENCODER, Plan, calibration, make_run

PLAN = Plan(strategies=("full", "bitfit", "frozen"), quality=False, jitter=0.001)
GIGA = 10**9
FULL = Arithmetic(
    forward_flops=100 * GIGA,
    backward_flops=200 * GIGA,
    weight_bytes=10**8,
    saved_bytes=100 * 2**20,
    gradient_bytes=10**8,
    optimizer_bytes=10**8,
)
COUNTED = {
    "full": FULL,
    "bitfit": FULL.model_copy(
        update={
            "backward_flops": 101 * GIGA,
            "saved_bytes": 64 * 2**20,
            "gradient_bytes": 10**5,
            "optimizer_bytes": 10**5,
        }
    ),
    "frozen": FULL.model_copy(
        update={"backward_flops": 1000, "saved_bytes": 2**10, "gradient_bytes": 100, "optimizer_bytes": 100}
    ),
}


def counted(record: Record) -> Record:
    """The record with arithmetic that can be worked with by hand."""
    return with_counts(record, COUNTED[record.cell.strategy])


def with_counts(record: Record, arithmetic: Arithmetic | None, **changes: object) -> Record:
    cell, cost = record.cell, record.cost
    assert cell.kind == "cost"
    assert cost is not None
    if cell.replicate:
        return record
    return record.model_copy(update={"cost": cost.model_copy(update={"arithmetic": arithmetic, **changes})})


def of_old(record: Record) -> Record:
    return with_counts(record, None, arithmetic_reason=None)


def judged(folder: Path) -> CheaperPart:
    run = load(folder)
    (model,) = run.models
    found = cheaper(model.shapes[0], {"full": 0, "bitfit": 1, "frozen": 2}, run.calibrations)
    assert found is not None
    return found


def texts(folder: Path) -> dict[str, str]:
    return {sentence.strategy: sentence.text for sentence in judged(folder).sentences}


def changed(strategy: str, change: Callable[[Record], Record]) -> Callable[[Record], Record]:
    """An alteration of one strategy's record, after it was given its counts."""
    return lambda record: change(counted(record)) if record.cell.strategy == strategy else counted(record)


def test_bitfit_is_cheaper_and_the_sentence_says_what_remains(tmp_path: Path) -> None:
    text = texts(make_run(tmp_path / "run", replace(PLAN, alter=counted)))["bitfit"]
    assert text.startswith("Cheaper in time and memory, with 0.11% of the encoder's parameters. It takes 0.66")
    assert "of full fine-tuning's time (interval 0.6" in text
    assert "0.67 of its arithmetic: the forward pass (0.33) and the backward pass through frozen layers (0.34)" in text
    assert "gradients of weights (0.33) are saved" in text
    assert "It holds 0.60 of the memory: " in text
    assert "The forward pass leaves 64 MiB for the backward pass, 0.64 of full fine-tuning's" in text


def test_under_a_noise_floor_that_hides_everything_no_ratio_is_called_the_same(tmp_path: Path) -> None:
    text = texts(make_run(tmp_path / "run", replace(PLAN, alter=counted, jitter=0.6)))["bitfit"]
    assert re.search(r"With a noise floor of \d+% the measured ratio decides nothing\.", text)
    assert "the same" not in text


def test_a_frozen_encoder_keeps_the_forward_pass_alone(tmp_path: Path) -> None:
    text = texts(make_run(tmp_path / "run", replace(PLAN, alter=counted)))["frozen"]
    assert "0.33 of its arithmetic: the forward pass (0.33) remains; the backward pass (0.67) is saved" in text
    assert "The forward pass leaves next to nothing for the backward pass" in text
    assert "with 0% of the encoder's parameters" in text


def test_the_reference_is_held_against_the_machine(tmp_path: Path) -> None:
    text = texts(make_run(tmp_path / "run", replace(PLAN, alter=counted)))["full"]
    assert text.startswith("The reference: 300 GFLOP a step, 0.33 of it forward. It achieves ")
    assert "of the 920 GFLOP/s that this machine reaches in a large product" in text
    assert "Its floor at this machine's rates is 326 ms, set by arithmetic" in text


def test_without_calibration_there_is_no_floor_and_no_utilisation(tmp_path: Path) -> None:
    part = judged(make_run(tmp_path / "run", replace(PLAN, alter=counted, calibrated=False)))
    assert "the machine's own rate was not measured" in part.sentences[0].text
    assert {row[7].text for row in part.table.rows} == {"n/a"}
    assert {row[place].note for row in part.table.rows for place in (5, 6)} == {""}


def test_bytes_moved_are_held_against_the_copy_rate_whatever_sets_the_floor(tmp_path: Path) -> None:
    def timed(record: Record) -> Record:
        assert record.cost is not None
        step = record.cost.step.model_copy(update={"median_seconds": 0.5})
        return counted(record.model_copy(update={"cost": record.cost.model_copy(update={"step": step})}))

    part = judged(make_run(tmp_path / "run", replace(PLAN, alter=timed)))
    assert [column.title for column in part.table.columns[5:7]] == ["achieved", "moved a second"]
    full = part.table.rows[0]
    # 510 MB in half a second, on a machine that copies 24 GB in one.
    assert (full[6].text, full[6].note) == ("1.02 GB/s", "4.2%")
    assert full[7].note == "arithmetic"


def test_rates_of_another_machine_are_not_taken(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", replace(PLAN, alter=counted))
    run = load(folder)
    assert len(taken_on(run.calibrations, run.records[0])) == 2
    elsewhere = [calibration(PLAN, device_name="another"), calibration(PLAN, threads=64)]
    assert taken_on(elsewhere, run.records[0]) == []
    assert taken_on(run.calibrations, None) == []


def test_what_is_left_of_a_peak_is_named_where_it_was_attributed(tmp_path: Path) -> None:
    def attributed(record: Record) -> Record:
        cost = record.cost
        assert cost is not None
        assert cost.memory is not None
        peak = cost.memory.peak_allocated_bytes
        parts = dict.fromkeys(("gradients", "optimizer", "activations", "workspace", "residual"), 0)
        found = MemoryAttribution(
            **{f"{kind}_bytes": size for kind, size in parts.items()},
            parameters_bytes=peak // 2,
            phase="backward",
            peak_by_phase_bytes={},
        )
        memory = cost.memory.model_copy(update={"attribution": found})
        return record.model_copy(update={"cost": cost.model_copy(update={"memory": memory})})

    text = texts(make_run(tmp_path / "run", replace(PLAN, alter=changed("bitfit", attributed))))["bitfit"]
    assert "0.60 of the memory: a peak of 211 MiB, of which 106 MiB weights. The forward pass leaves" in text


@pytest.mark.parametrize(
    ("arithmetic", "said"),
    [
        (
            {"backward_flops": 30 * GIGA},
            "gradients of weights, and the backward pass where nothing below trains (0.57) are",
        ),
        ({"forward_flops": 1000, "backward_flops": 1000}, "next to nothing remains; both passes (1.00) are saved"),
        ({"backward_flops": 230 * GIGA}, "remain, 0.10 more than full fine-tuning computes"),
        ({"backward_flops": 200 * GIGA}, "remain, nothing is saved"),
    ],
)
def test_what_remains_follows_from_the_counts(arithmetic: dict[str, int], said: str, tmp_path: Path) -> None:
    def alter(record: Record) -> Record:
        return with_counts(record, FULL.model_copy(update=arithmetic))

    assert said in texts(make_run(tmp_path / "run", replace(PLAN, alter=changed("bitfit", alter))))["bitfit"]


@pytest.mark.parametrize(("backward", "said"), [(20, "above what"), (180, "below what"), (99, "within the noise")])
def test_a_measured_ratio_is_held_against_the_counted_one(backward: int, said: str, tmp_path: Path) -> None:
    def alter(record: Record) -> Record:
        return with_counts(record, FULL.model_copy(update={"backward_flops": backward * GIGA}))

    plan = replace(PLAN, alter=changed("bitfit", alter), jitter=0.02)
    assert said in texts(make_run(tmp_path / "run", plan))["bitfit"]


def test_records_of_old_say_nothing_and_a_mixture_says_what_is_missing(tmp_path: Path) -> None:
    run = load(make_run(tmp_path / "old", replace(PLAN, alter=of_old, calibrated=False)))
    assert cheaper(run.models[0].shapes[0], {}, run.calibrations) is None
    assert run.calibrations == ()
    built = page.write(run.folder, figures=False).read_text(encoding="utf-8")
    assert "Is it really cheaper?" not in built
    assert "own rates" not in built
    mixed = texts(make_run(tmp_path / "mixed", replace(PLAN, alter=changed("bitfit", of_old))))
    assert "Its arithmetic was not counted (the record is from before it was)" in mixed["bitfit"]
    no_full = texts(make_run(tmp_path / "no-full", replace(PLAN, alter=changed("full", of_old))))
    assert "The arithmetic of full fine-tuning was not counted" in no_full["bitfit"]


def test_a_peak_that_was_not_measured_is_no_number(tmp_path: Path) -> None:
    def weightless(record: Record) -> Record:
        return with_counts(record, COUNTED["bitfit"], memory=None, memory_reason="the step ran out of memory")

    text = texts(make_run(tmp_path / "run", replace(PLAN, alter=changed("bitfit", weightless))))["bitfit"]
    assert text.startswith("Cheaper in time, with")
    assert "Peak memory was not measured (the step ran out of memory)" in text


def test_a_drift_beyond_the_limit_is_a_warning_of_the_run(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", replace(PLAN, alter=counted))
    assert drifts(load(folder).calibrations) == [], "2% is less than the limit"
    start = calibration(PLAN)
    slower = calibration(PLAN, moment="end", matmul_flops_per_second={"fp32": 6.9e11})
    (line,) = drifts([start, slower])
    assert line.startswith(
        "the machine's rate of fp32 products went from 920 GFLOP/s to 690 GFLOP/s (\N{MINUS SIGN}25%)"
    )
    assert drifts([start]) == [], "no end to compare with"
    assert drifts([slower, start]) == [], "an end before a start belongs to another time"
    failing = calibration(PLAN, moment="end", copied_bytes_per_second=None, failures=["copies: no memory"])
    assert drifts([start, failing]) == ["a rate of the machine was not measured: copies: no memory"]


@pytest.mark.parametrize("file", ["report.html", "report.md"])
def test_page_and_markdown_show_verdict_rates_and_drift(file: str, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", replace(PLAN, alter=counted, calibrated=False))
    assert machine_table(load(folder).calibrations) is None
    store = RunStore.open(folder)
    store.append_calibration(calibration(PLAN))
    store.append_calibration(calibration(PLAN, moment="end", copied_bytes_per_second=1.2e10))
    page.write(folder, figures=False)
    text = (folder / file).read_text(encoding="utf-8")
    assert "Is it really cheaper?" in text
    assert text.index("Is it really cheaper?") < text.index("Cost at" if file.endswith("md") else "Cost in detail")
    assert "own rates" in text
    assert "24.0 GB/s" in text
    assert "rate of copies went from 24.0 GB/s to 12.0 GB/s" in text
    assert f"{ENCODER}" not in text, "numbers are for people"
