"""Comparisons: what passes a gate, what breaks it, and what cannot be judged."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bench.record import Record
from reports.changes import Change, Judgement, Place, Standing, judge
from reports.compare import compare, parse_limit
from synthetic_run import LEVELS, Plan, make_run

Alter = Callable[[Record], Record | None]


def rescored(shift: float, strategy: str) -> Alter:
    """Moves the evaluation accuracy of one strategy."""

    def alter(record: Record) -> Record:
        if record.quality is None or record.cell.strategy != strategy:
            return record
        evaluation = record.quality.evaluation
        scores = {"accuracy": (evaluation.scores["accuracy"] or 0) + shift}
        quality = record.quality.model_copy(update={"evaluation": evaluation.model_copy(update={"scores": scores})})
        return record.model_copy(update={"quality": quality})

    return alter


def code(tmp_path: Path, alter: Alter, *limits: str) -> int:
    """The exit code of a run against an altered copy of itself."""
    before, after = make_run(tmp_path / "before"), make_run(tmp_path / "after", Plan(alter=alter))
    return compare([before, after], [parse_limit(text) for text in limits]).exit_code


def test_a_run_equals_itself(tmp_path: Path) -> None:
    assert code(tmp_path, lambda record: record, "accuracy=-1.0", "step_ratio=+5%", "peak_allocated_bytes=+1%") == 0


@pytest.mark.parametrize("plan", [Plan(), Plan(alter=lambda _: None)])
def test_a_run_compared_with_itself_is_said_to_be(plan: Plan, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", plan)
    copied = shutil.copytree(folder, tmp_path / "copied")
    other = make_run(tmp_path / "other", replace(plan, random_seed=8, created="2025-11-25T08:00:00Z"))
    text = compare([folder, folder, copied, other]).markdown()
    assert text.count("one and the same run") == 2
    assert "one and the same run" not in text[text.index("## other") :]


@pytest.mark.parametrize(("shift", "expected"), [(-0.02, 1), (0.02, 0), (-0.005, 0)])
def test_direction_and_size_decide(tmp_path: Path, shift: float, expected: int) -> None:
    # Five seeds that all moved by the same amount: an interval of no width, but enough of them.
    plan = Plan(seeds=(0, 1, 2, 3, 4))
    before = make_run(tmp_path / "before", plan)
    after = make_run(tmp_path / "after", replace(plan, alter=rescored(shift, "bitfit")))
    assert compare([before, after], [parse_limit("accuracy=-1.0")]).exit_code == expected


def test_a_cell_without_a_record_cannot_pass_a_gate(tmp_path: Path) -> None:
    def cut(record: Record) -> Record | None:
        return None if record.cell.strategy == "bitfit" else record

    assert code(tmp_path, cut, "accuracy=-1.0") == 3
    before, after = tmp_path / "before", tmp_path / "after"
    found = compare([before, after], [parse_limit("accuracy=-1.0")])
    assert "Without a record here, ok in the first run" in found.markdown()
    assert compare([before, after]).exit_code == 0


def test_a_damaged_line_is_named_in_a_comparison(tmp_path: Path) -> None:
    before, after = make_run(tmp_path / "before"), make_run(tmp_path / "after")
    path = after / "records.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:-1], lines[-1][:50]]) + "\n")
    text = compare([before, after], [parse_limit("accuracy=-1.0")]).markdown()
    assert f"line {len(lines)}" in text


def test_costs_of_different_models_are_not_judged(tmp_path: Path) -> None:
    def other(record: Record) -> Record:
        conditions = record.conditions.model_copy(update={"model_fingerprint": "f" * 64})
        return record.model_copy(update={"conditions": conditions})

    assert code(tmp_path, other, "step_ratio=+5%") == 3


@pytest.mark.parametrize(("jitter", "expected"), [(0.008, 1), (1.5, 3)])
def test_step_times_of_a_busy_machine_judge_nothing(
    jitter: float, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = Plan(quality=False, strategies=("full", "bitfit"), jitter=jitter)
    folders = []
    for name, ratio in (("before", 0.01), ("after", 1.0)):
        monkeypatch.setitem(LEVELS, "bitfit", (0.8, 0.8, 0.0, ratio, 0.6, 26_112))
        folders.append(make_run(tmp_path / name, plan))
    assert compare(folders, [parse_limit("step_ratio=+5%")]).exit_code == expected


def test_a_failed_cell_breaks_a_gate(tmp_path: Path) -> None:
    def fail(record: Record) -> Record:
        if record.cost is None or record.cell.strategy != "bitfit":
            return record
        return record.model_copy(update={"status": "out_of_memory", "reason": "no memory left", "cost": None})

    assert code(tmp_path, fail, "step_ratio=+5%") == 1


@pytest.mark.parametrize(
    ("after", "standing", "judgement"),
    [
        (0.9, "clear", "regressed"),
        (0.9, "noise", "cannot judge"),
        (0.9, "unclear", "cannot judge"),
        (0.61, "noise", "within limit"),
        (0.4, "clear", "improved"),
        (0.4, "noise", "within limit"),
    ],
)
def test_noise_excuses_nothing(after: float, standing: Standing, judgement: Judgement) -> None:
    change = Change("step_ratio", Place("minilm", "here", "bitfit"), 0.6, after, None, 5, standing)
    assert judge(change, parse_limit("step_ratio=+5%")).judgement == judgement
