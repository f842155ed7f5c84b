"""Extra sets in a quality cell: scored once, with the task's metrics, and blind to every decision."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench import harness, quality, tasks
from bench.cell import QualityCell
from bench.errors import DataError, InputError
from bench.outcome import Outcome
from bench.record import Manifest
from bench.session import Options, Session
from bench.store import RunStore, suite_hash
from bench.suite import identity
from bench.tasks.base import Example, Source, TaskData
from silent import Silent

NLI = ("entailment", "neutral", "contradiction")
FIELDS: dict[str, Any] = {
    "model": "tiny-bert",
    "task": "mnli",
    "strategy": "bitfit",
    "seed": 0,
    "learning_rate": 1e-2,
    "epochs": 1.0,
    "batch_size": 8,
    "curve_points": 1,
    "curve_examples": 8,
}


def write(path: Path, columns: tuple[str, ...], count: int, word: str) -> None:
    rows = ["\t".join(columns), *(f"a {word} {n}\tb {n}\t{NLI[n % 3]}" for n in range(count))]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """An MNLI of 60 training pairs with its two extra sets."""
    folder = tmp_path / "data"
    for part, count in (("train", 60), ("dev_matched", 12), ("dev_mismatched", 15)):
        write(folder / "glue" / "MNLI" / f"{part}.tsv", ("sentence1", "sentence2", "gold_label"), count, part)
    write(folder / "glue" / "AX" / "diagnostic-full.tsv", ("Premise", "Hypothesis", "Label"), 9, "ax")
    with (folder / "glue" / "MNLI" / "dev_matched.tsv").open("a", encoding="utf-8") as file:
        file.write("a\tb\t-\n")
    return folder


def session(data: Path, tiny_folder: Path, tmp_path: Path) -> Session:
    folders = {"tiny-bert": tiny_folder}
    return Session(Options(torch.device("cpu"), tmp_path / "cache", data, offline=True, model_folders=folders))


def outcome(own: Session, folder: Path, **fields: Any) -> Outcome:
    return quality.run_quality(QualityCell(**FIELDS | fields), own, folder, lambda *_: None)


def test_extra_sets_are_scored_with_the_tasks_metrics(data: Path, tiny_folder: Path, tmp_path: Path) -> None:
    found = outcome(session(data, tiny_folder, tmp_path), tmp_path)
    result = found.quality
    assert found.status == "ok"
    assert result is not None
    assert {name: scores.examples for name, scores in result.extra.items()} == {"mismatched": 15, "ax": 9}
    assert all(set(scores.scores) == {"accuracy", "matthews_correlation"} for scores in result.extra.values())
    assert result.extra_headline("mismatched") == "accuracy"
    assert result.extra_headline("ax") == "matthews_correlation"
    assert result.extra_score("ax") == result.extra["ax"].scores["matthews_correlation"]
    evaluation, ax = result.evaluation.scores["matthews_correlation"], result.extra_score("ax")
    assert evaluation is not None
    assert ax is not None
    assert result.domain_gap("ax") == evaluation - ax
    assert result.extra_score("none") is result.domain_gap("none") is None
    hits = found.arrays["extra_mismatched_predictions"] == found.arrays["extra_mismatched_references"]
    assert np.mean(hits) == result.extra_score("mismatched")
    assert "dev_matched.tsv: 1 of 13 rows left out: no agreed label ('-')" in found.warnings


def test_what_bounds_evaluation_bounds_the_extra_sets(data: Path, tiny_folder: Path, tmp_path: Path) -> None:
    own = session(data, tiny_folder, tmp_path)
    splits = own.splits(QualityCell(**FIELDS, evaluation_examples=5))
    assert {name: len(encoded) for name, encoded in splits.extra.items()} == {"mismatched": 5, "ax": 5}


def test_labels_of_extra_sets_decide_nothing(
    data: Path, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = session(data, tiny_folder, tmp_path)
    before = outcome(own, tmp_path).quality
    task = own.task("mnli")
    extra = {
        name: tuple(dataclasses.replace(example, label=(int(str(example.label)) + 1) % 3) for example in examples)
        for name, examples in task.extra.items()
    }
    other = session(data, tiny_folder, tmp_path)
    monkeypatch.setattr(other, "task", lambda _: dataclasses.replace(task, extra=extra))
    after = outcome(other, tmp_path).quality
    assert before is not None
    assert after is not None
    assert before.extra != after.extra
    same = {"extra", "training_seconds", "scoring_seconds", "swap_seconds"}
    assert before.model_dump(exclude=same) == after.model_dump(exclude=same)


def test_a_changed_extra_set_stops_a_run_from_being_resumed(data: Path, tiny_folder: Path, tmp_path: Path) -> None:
    cell = QualityCell(**FIELDS)
    manifest = Manifest(suite="s", suite_hash=identity([cell]), cells=[cell], created_utc="2026-01-01", command=[])
    assert manifest.suite_hash == suite_hash([cell.key])
    store = RunStore.create(tmp_path / "run", manifest)
    assert harness.run(store, session(data, tiny_folder, tmp_path), Silent()).ok == 1
    harness.check_unchanged(store, session(data, tiny_folder, tmp_path))
    path = data / "glue" / "MNLI" / "dev_mismatched.tsv"
    path.write_text(path.read_text(encoding="utf-8").replace("mismatched 7", "mismatched 70"), encoding="utf-8")
    with pytest.raises(InputError, match="data of task"):
        harness.check_unchanged(store, session(data, tiny_folder, tmp_path))


def made(**changes: Any) -> TaskData:
    examples = tuple(Example((f"text {n}",), n % 2) for n in range(3))
    fields: dict[str, Any] = {"train": examples, "selection": examples[:1], "evaluation": examples[1:]}
    return TaskData("made", "classification", "Made up.", ("a", "b"), ("accuracy",), **fields | changes)


def test_the_fingerprint_of_a_task_without_extra_sets_is_what_it_was() -> None:
    assert made().fingerprint == "82362a5ef23aea5ce8d5201172b98f963c965bab5988243f5b2cc125b3bb2db9"
    extra = (Example(("further",), 1),)
    found = [made(extra=extra).fingerprint for extra in ({}, {"x": extra}, {"y": extra}, {"x": extra, "y": extra})]
    assert len(set(found)) == 4
    assert found[0] == made().fingerprint
    assert made(extra={"y": extra, "x": extra}).fingerprint == found[3]


def test_an_extra_set_of_one_class_is_refused(data: Path, tmp_path: Path) -> None:
    path = data / "glue" / "AX" / "diagnostic-full.tsv"
    path.write_text("Premise\tHypothesis\tLabel\na\tb\tneutral\nc\td\tneutral\n", encoding="utf-8")
    with pytest.raises(
        DataError, match=r"diagnostic-full\.tsv: task 'mnli' has 2 examples for ax, all with the same label"
    ):
        tasks.load("mnli", Source(tmp_path, data))
