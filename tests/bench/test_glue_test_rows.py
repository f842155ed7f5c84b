"""Official test rows: read as they stand, predicted in their order whatever the model takes, and exported."""

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench import harness, quality, tasks
from bench.cell import QualityCell
from bench.errors import DataError, InputError
from bench.record import TEST_PREDICTIONS, Conditions, Manifest
from bench.session import Options, Session
from bench.store import RunStore
from bench.suite import identity
from bench.tasks.base import Example, Source, TaskData
from bench.tasks.glue_layouts import LAYOUTS
from bench.tasks.glue_test_files import extra_official_rows, official_rows
from reports.leaderboard import SUBMISSIONS, check
from silent import Silent

SHARED = Path(os.environ.get("BITFIT_BENCH_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
TASKS = ("cola", "rte", "stsb")
FOLDERS = {"cola": "CoLA", "rte": "RTE", "stsb": "STS-B"}
FIELDS: dict[str, Any] = {
    "strategy": "bitfit",
    "seed": 0,
    "learning_rate": 1e-2,
    "epochs": 1.0,
    "batch_size": 8,
    "curve_points": 1,
    "curve_examples": 8,
}


@pytest.fixture
def copy(tiny_glue: Path, tmp_path: Path) -> Path:
    """A data folder to change."""
    return Path(shutil.copytree(tiny_glue, tmp_path / "data"))


def loaded(name: str, data: Path, tmp_path: Path) -> TaskData:
    return tasks.load(name, Source(tmp_path / "cache", data, offline=True))


@pytest.mark.parametrize("name", TASKS)
def test_test_rows_come_in_the_order_of_the_file_and_without_labels(
    name: str, tiny_glue: Path, tmp_path: Path
) -> None:
    test = loaded(name, tiny_glue, tmp_path).test
    assert [example.text[0] for example in test] == [f"dev sentence {n} {'yes' * (n % 2)}".strip() for n in range(12)]
    assert {len(example.text) for example in test} == {1 if name == "cola" else 2}
    assert {example.label for example in test[:]} == {0}
    assert isinstance(test[0].label, float) == (name == "stsb")


@pytest.mark.parametrize("name", TASKS)
def test_a_test_file_is_no_part_of_the_data(name: str, copy: Path, tmp_path: Path) -> None:
    """With it or without it, whole or damaged: splits and fingerprint are the same."""
    before = loaded(name, copy, tmp_path)
    (copy / "glue" / FOLDERS[name] / "test.tsv").write_text("damaged", encoding="utf-8")
    damaged = loaded(name, copy, tmp_path)
    (copy / "glue" / FOLDERS[name] / "test.tsv").unlink()
    without = loaded(name, copy, tmp_path)
    assert before == damaged == without
    assert before.fingerprint == damaged.fingerprint == without.fingerprint
    assert list(without.test) == []
    with pytest.raises(DataError, match=r"test\.tsv"):
        len(damaged.test)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("7\ta\tb", "row 5: index '7', expected 3"),
        ("3\ta", "row 5: 2 columns, expected 3"),
        ("3\ta\tb\tentailment", "row 5: 4 columns, expected 3"),
    ],
)
def test_a_bad_test_row_is_named(row: str, said: str, copy: Path, tmp_path: Path) -> None:
    path = copy / "glue" / "RTE" / "test.tsv"
    lines = path.read_text(encoding="utf-8").split("\n")
    path.write_text("\n".join([*lines[:4], row, *lines[5:]]), encoding="utf-8")
    with pytest.raises(DataError) as error:
        list(loaded("rte", copy, tmp_path).test)
    assert f"{path}, {said}" in str(error.value)


def test_every_test_row_is_kept_even_an_empty_one(copy: Path, tmp_path: Path) -> None:
    path = copy / "glue" / "RTE" / "test.tsv"
    path.write_bytes(b"\xef\xbb\xbfindex\tsentence1\tsentence2\r\n0\tNA\t\r\n1\tsame\tsame\r\n2\tsame\tsame\r\n")
    assert [e.text for e in loaded("rte", copy, tmp_path).test] == [("NA", ""), ("same", "same"), ("same", "same")]


def test_mnli_has_three_test_files_and_qqp_counts_by_id(tmp_path: Path) -> None:
    source = Source(tmp_path / "cache", tmp_path, offline=True)
    files = {
        "MNLI/test_matched.tsv": ("index\tgenre\tsentence1\tsentence2", "x\t"),
        "MNLI/test_mismatched.tsv": ("index\tgenre\tsentence1\tsentence2", "x\t"),
        "AX/diagnostic.tsv": ("index\tsentence1\tsentence2", ""),
        "QQP/test.tsv": ("id\tquestion1\tquestion2", ""),
    }
    for count, (place, (header, middle)) in enumerate(files.items(), start=1):
        (tmp_path / "glue" / place).parent.mkdir(parents=True, exist_ok=True)
        rows = [f"{n}\t{middle}{place} {n}\tb" for n in range(count)]
        (tmp_path / "glue" / place).write_text("\n".join([header, *rows]) + "\n")
    mnli = LAYOUTS["mnli"]
    assert [e.text[0] for e in official_rows(mnli, source)] == ["MNLI/test_matched.tsv 0"]
    extra = extra_official_rows(mnli, source)
    assert {name: len(rows) for name, rows in extra.items()} == {"mismatched": 2, "ax": 3}
    assert {f"{TEST_PREDICTIONS}_{name}" for name in extra} < {submission.array for submission in SUBMISSIONS}
    assert len(official_rows(LAYOUTS["qqp"], source)) == 4
    assert extra_official_rows(LAYOUTS["rte"], source) == {}


@pytest.mark.parametrize("submission", [s for s in SUBMISSIONS if s.task in tasks.TABLE], ids=lambda s: s.name)
def test_real_test_files_have_the_rows_of_the_leaderboard(submission: Any, tmp_path: Path) -> None:
    folder = SHARED / "glue" / submission.name
    if not (folder / "test.tsv").is_file():
        pytest.skip(f"no {folder / 'test.tsv'}; set BITFIT_BENCH_TEST_DATA to a folder with glue/ and ud/")
    data = loaded(submission.task, SHARED, tmp_path)
    assert len(data.test) == submission.rows
    assert all(all(example.text) for example in data.test)
    predictions = np.zeros(len(data.test), dtype=np.int64 if data.labels else np.float32)
    (tmp_path / submission.file).write_text("\n".join(submission.lines(predictions, data.labels)) + "\n")
    assert check(tmp_path / submission.file, submission) is None


@pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert"])
@pytest.mark.parametrize("task", TASKS)
def test_predictions_are_those_of_the_trained_model_in_the_order_of_the_file(
    architecture: str, task: str, tiny_folders: dict[str, Path], tiny_glue: Path, tmp_path: Path
) -> None:
    """The test files repeat the development sentences, so that their predictions must repeat too."""
    folders = {"tiny": tiny_folders[architecture]}
    options = Options(torch.device("cpu"), tmp_path, tiny_glue, offline=True, model_folders=folders, predict_test=True)
    session = Session(options)
    cell = QualityCell(model="tiny", task=task, **FIELDS)
    outcome = quality.run_quality(cell, session, tmp_path, lambda *_: None)
    assert outcome.status == "ok", outcome.reason
    data = session.task(task)
    evaluated = zip(data.evaluation, outcome.arrays["evaluation_predictions"].tolist(), strict=True)
    expected = {example.text: prediction for example, prediction in evaluated}
    found = outcome.arrays[TEST_PREDICTIONS].tolist()
    assert found == pytest.approx([expected[example.text] for example in data.test], abs=1e-5)
    assert task != "stsb" or len(set(found)) > 1
    assert outcome.quality is not None
    assert outcome.quality.test_examples == {TEST_PREDICTIONS: 12}
    assert outcome.quality.labels == list(data.labels)


def test_further_test_files_are_predicted_under_their_names(
    tiny_folder: Path, tiny_glue: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = Options(
        torch.device("cpu"), tmp_path, tiny_glue, offline=True, model_folders={"tiny": tiny_folder}, predict_test=True
    )
    session = Session(options)
    data = session.task("rte")
    more = TaskData(**{**vars(data), "extra_test": {"mismatched": data.test[:5], "ax": data.test[:0]}})
    monkeypatch.setattr(session, "task", lambda name: more)
    outcome = quality.run_quality(QualityCell(model="tiny", task="rte", **FIELDS), session, tmp_path, lambda *_: None)
    assert outcome.quality is not None
    assert outcome.quality.test_examples == {TEST_PREDICTIONS: 12, f"{TEST_PREDICTIONS}_mismatched": 5}
    assert outcome.arrays[f"{TEST_PREDICTIONS}_mismatched"].tolist() == outcome.arrays[TEST_PREDICTIONS][:5].tolist()


def test_nothing_is_predicted_unasked(tiny_folder: Path, tiny_glue: Path, tmp_path: Path) -> None:
    options = Options(torch.device("cpu"), tmp_path, tiny_glue, offline=True, model_folders={"tiny": tiny_folder})
    cell = QualityCell(model="tiny", task="rte", **FIELDS)
    outcome = quality.run_quality(cell, Session(options), tmp_path, lambda *_: None)
    assert TEST_PREDICTIONS not in outcome.arrays
    assert outcome.quality is not None
    assert outcome.quality.test_examples == {}


def test_a_changed_test_file_stops_a_run_that_predicts_it_from_being_resumed(
    tiny_folder: Path, copy: Path, tmp_path: Path
) -> None:
    def session(**options: Any) -> Session:
        folders = {"tiny": tiny_folder}
        return Session(Options(torch.device("cpu"), tmp_path, copy, offline=True, model_folders=folders, **options))

    cell = QualityCell(model="tiny", task="rte", **FIELDS)
    manifest = Manifest(suite="s", suite_hash=identity([cell]), cells=[cell], created_utc="2026-01-01", command=[])
    stores = {asked: RunStore.create(tmp_path / str(asked), manifest) for asked in (True, False)}
    for asked, store in stores.items():
        assert harness.run(store, session(predict_test=asked), Silent()).ok == 1
        assert (store.latest()[cell.key].conditions.test_fingerprint is None) == (not asked)
        harness.check_unchanged(store, session(predict_test=True))
    path = copy / "glue" / "RTE" / "test.tsv"
    path.write_text(path.read_text(encoding="utf-8").replace("dev sentence 7", "dev sentence 70"), encoding="utf-8")
    with pytest.raises(InputError, match="test files of task rte"):
        harness.check_unchanged(stores[True], session(predict_test=True))
    harness.check_unchanged(stores[True], session())
    harness.check_unchanged(stores[False], session(predict_test=True))


def test_records_of_before_test_rows_had_a_fingerprint_are_read() -> None:
    assert not Conditions.model_fields["test_fingerprint"].is_required()


def test_the_place_of_a_test_row_and_its_file_count() -> None:
    rows = (Example(("one",), 0), Example(("two",), 0))
    data = TaskData("made", "classification", "Made up.", ("a", "b"), ("accuracy",), rows, rows, rows)
    assert data.test_fingerprint is None
    changed = [{"test": rows}, {"test": rows[::-1]}, {"extra_test": {"ax": rows}}, {"extra_test": {"x": rows}}]
    found = [dataclasses.replace(data, **change) for change in changed]  # type: ignore[arg-type]
    assert len({made.test_fingerprint for made in found}) == 4
    assert {made.fingerprint for made in found} == {data.fingerprint}


SUITE = """
name = "tiny"
description = "for tests"
[quality]
models = ["tiny-bert"]
tasks = ["cola", "rte", "stsb"]
strategies = ["bitfit"]
seeds = [0]
epochs = 1
batch_size = 8
curve_points = 1
curve_examples = 8
[quality.learning_rate]
bitfit = 1e-2
"""


def program(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_run_is_exported_for_models_with_two_inputs_and_with_three(
    tiny_folders: dict[str, Path], copy: Path, tmp_path: Path
) -> None:
    (tmp_path / "tiny.toml").write_text(SUITE)
    (copy / "glue" / "CoLA" / "test.tsv").unlink()
    models = ",".join(map(str, tiny_folders.values()))
    options = ["--models", models, "--data-dir", str(copy), "--cache-dir", str(tmp_path / "cache"), "--device", "cpu"]
    run = ["run", "tiny.toml", *options, "--run-dir", "run", "--offline"]
    ended = program(*run, "--predict-test", folder=tmp_path)
    assert ended.returncode == 0, ended.stderr + ended.stdout
    assert "note: no official test file to predict: cola" in ended.stdout
    doubtful = program("export", "run", "--to", "out", folder=tmp_path)
    assert doubtful.returncode == 2
    assert "more than one model" in doubtful.stderr
    for folder in tiny_folders.values():
        exported = program("export", "run", "--to", f"out-{folder.name}", "--model", folder.name, folder=tmp_path)
        assert exported.returncode == 0, exported.stderr
        assert f"12 rows, {folder.name}, bitfit, seed 0; selection" in exported.stdout
        assert "missing: CoLA.tsv: no predictions of task cola" in exported.stdout
        assert {path.name for path in (tmp_path / f"out-{folder.name}").iterdir()} == {"RTE.tsv", "STS-B.tsv"}
        for submission in SUBMISSIONS:
            if submission.name in ("RTE", "STS-B"):
                warning = check(tmp_path / f"out-{folder.name}" / submission.file, submission)
                assert warning is not None
                assert "has 12 rows" in warning
