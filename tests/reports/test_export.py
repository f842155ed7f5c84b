"""The leaderboard's files: the right predictions under the right names, and a checker that finds what is wrong."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bench.record import TEST_PREDICTIONS, InputError, Record
from bench.store import RunStore
from reports.export import export
from reports.leaderboard import HEADER, SUBMISSIONS, Submission, check
from synthetic_run import Plan, make_run

NAMED = {submission.name: submission for submission in SUBMISSIONS}
LABELS = {submission.task: tuple(submission.classes) for submission in SUBMISSIONS}
TASKS = tuple(dict.fromkeys(submission.task for submission in SUBMISSIONS))


def rows(count: int | None = None) -> dict[str, dict[str, int]]:
    """Rows of every prediction array by task: `count`, or as many as the official test set has."""
    found: dict[str, dict[str, int]] = {}
    for submission in SUBMISSIONS:
        found.setdefault(submission.task, {})[submission.array] = count or submission.rows
    return found


def plan(
    *tasks: str, strategies: tuple[str, ...] = ("bitfit",), seeds: tuple[int, ...] = (0,), **changes: object
) -> Plan:
    fields = {"tasks": tasks or TASKS, "strategies": strategies, "seeds": seeds, "cost": False, "labels": LABELS}
    return Plan(**{"predictions": rows(20), **fields, **changes})  # type: ignore[arg-type]


def predicted(folder: Path, task: str, seed: int = 0, array: str = TEST_PREDICTIONS) -> np.ndarray:
    store = RunStore.open(folder)
    records = [r for r in store.latest().values() if r.cell.kind == "quality" and r.cell.task == task]
    (record,) = [r for r in records if r.cell.kind == "quality" and r.cell.seed == seed]
    return store.arrays(record)[array]


def column(path: Path) -> list[str]:
    return [line.split("\t")[1] for line in path.read_text(encoding="utf-8").splitlines()[1:]]


def selected(scores: Mapping[int, float | None]) -> Plan:
    """A plan with these selection scores by seed, and evaluation scores the other way round."""

    def alter(record: Record) -> Record:
        assert record.quality is not None
        assert record.cell.kind == "quality"
        score = scores[record.cell.seed]
        splits = {"selection": score, "evaluation": None if score is None else 1 - score}
        changed = {
            name: getattr(record.quality, name).model_copy(update={"scores": {"accuracy": value}})
            for name, value in splits.items()
        }
        return record.model_copy(update={"quality": record.quality.model_copy(update=changed)})

    return plan("rte", seeds=tuple(scores), alter=alter)


def test_all_files_of_a_submission_are_written_and_are_in_order(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", plan(predictions=rows()))
    found = export(folder, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("CoLA.tsv", "SST-2.tsv", "MRPC.tsv", "STS-B.tsv", "QQP.tsv", "MNLI-m.tsv"),
        *("MNLI-mm.tsv", "QNLI.tsv", "RTE.tsv", "WNLI.tsv", "AX.tsv"),
    }
    assert found.missing == found.warnings == ()
    for submission in SUBMISSIONS:
        assert check(tmp_path / "out" / submission.file, submission) is None
    lines = (tmp_path / "out" / "CoLA.tsv").read_bytes().decode().split("\n")
    assert lines[0] == HEADER
    assert lines[1].startswith("0\t")
    assert lines[-2].startswith("1062\t")
    assert lines[-1] == ""


@pytest.mark.parametrize("name", [s.name for s in SUBMISSIONS if s.classes])
def test_classes_are_written_as_the_leaderboard_wants_them(name: str, tmp_path: Path) -> None:
    submission = NAMED[name]
    folder = make_run(tmp_path / "run", plan(submission.task))
    export(folder, tmp_path / "out")
    indices = predicted(folder, submission.task, array=submission.array)
    wanted = {
        "RTE": ("entailment", "not_entailment"),
        "QNLI": ("entailment", "not_entailment"),
        **dict.fromkeys(("MNLI-m", "MNLI-mm", "AX"), ("entailment", "neutral", "contradiction")),
    }.get(name, ("0", "1"))
    assert column(tmp_path / "out" / submission.file) == [wanted[index] for index in indices]


def test_classes_go_by_their_names_and_not_by_their_places(tmp_path: Path) -> None:
    turned = LABELS | {"rte": ("not_entailment", "entailment")}
    folder = make_run(tmp_path / "run", plan("rte", labels=turned))
    export(folder, tmp_path / "out")
    assert column(tmp_path / "out" / "RTE.tsv") == [turned["rte"][index] for index in predicted(folder, "rte")]


def test_numbers_are_clipped_to_the_scale_and_have_three_decimals(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", plan("stsb", predictions={"stsb": {TEST_PREDICTIONS: 300}}))
    export(folder, tmp_path / "out")
    raw, written = predicted(folder, "stsb"), column(tmp_path / "out" / "STS-B.tsv")
    assert raw.min() < 0 < 5 < raw.max()
    assert {"0.000", "5.000"} < set(written)
    assert [float(value) for value in written] == pytest.approx(np.clip(raw, 0, 5), abs=5.1e-4)


def test_the_selection_score_chooses_the_seed(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", selected({0: 0.6, 1: 0.9, 2: 0.7, 3: None}))
    found = export(folder, tmp_path / "out")
    assert column(tmp_path / "out" / "RTE.tsv") == [LABELS["rte"][index] for index in predicted(folder, "rte", 1)]
    assert "seed 1; selection accuracy 90.0, the best of 4 by it" in found.written[0]
    export(folder, tmp_path / "other", seed=2)
    assert column(tmp_path / "other" / "RTE.tsv") == [LABELS["rte"][index] for index in predicted(folder, "rte", 2)]
    with pytest.raises(InputError, match="no test predictions of seed '7'; there are some of 0, 1, 2, 3"):
        export(folder, tmp_path / "out", seed=7)


def test_several_strategies_or_models_have_to_be_told_apart(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", plan("rte", strategies=("full", "bitfit"), models=("minilm", "bert-base")))
    with pytest.raises(InputError, match="more than one model: minilm, bert-base; choose with --model"):
        export(folder, tmp_path / "out")
    with pytest.raises(InputError, match="more than one strategy: full, bitfit; choose with --strategy"):
        export(folder, tmp_path / "out", model="minilm")
    assert not (tmp_path / "out").exists()
    found = export(folder, tmp_path / "out", model="bert-base", strategy="bitfit")
    assert "bert-base, bitfit, seed 0" in found.written[0]
    assert "the only cell" in found.written[0]
    with pytest.raises(InputError, match="no test predictions of strategy 'bq_b2'; there are some of full, bitfit"):
        export(folder, tmp_path / "out", model="minilm", strategy="bq_b2")


def test_what_a_submission_lacks_is_told(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", plan("cola", "mnli", predictions={"cola": {TEST_PREDICTIONS: 1063}}))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "RTE.tsv").write_text("old")
    found = export(folder, tmp_path / "out")
    assert [line.partition(":")[0] for line in found.missing] == [s.file for s in SUBMISSIONS if s.name != "CoLA"]
    assert "RTE.tsv: no predictions of task rte (the file there is from an earlier export)" in found.missing
    assert "a submission needs all 11 files" in str(found)


def test_an_unusual_number_of_rows_is_a_warning(tmp_path: Path) -> None:
    found = export(make_run(tmp_path / "run", plan("cola", "qqp")), tmp_path / "out")
    assert found.warnings == (
        "CoLA.tsv has 20 rows, the official test set 1,063: it would be refused",
        "QQP.tsv has 20 rows, the official test set 390,965: it would be refused",
    )


def test_marks_go_with_the_predictions(tmp_path: Path) -> None:
    marked = plan("rte", alter=lambda record: record.model_copy(update={"marks": ["contaminated encoder: NLI"]}))
    found = export(make_run(tmp_path / "run", marked), tmp_path / "out")
    assert "[contaminated encoder: NLI]" in found.written[0]


def test_a_cell_that_failed_its_audit_is_not_exported(tmp_path: Path) -> None:
    def alter(record: Record) -> Record:
        assert record.cell.kind == "quality"
        bad = {"status": "audit_failed", "reason": "an embedding changed"} if record.cell.seed == 0 else {}
        return record.model_copy(update=bad)

    folder = make_run(tmp_path / "run", plan("rte", seeds=(0, 1), alter=alter))
    assert "seed 1" in export(folder, tmp_path / "out").written[0]


def test_unusable_runs_are_refused(tmp_path: Path) -> None:
    without = make_run(tmp_path / "without", plan("rte", predictions={}))
    with pytest.raises(InputError, match="holds no test predictions: run with --predict-test"):
        export(without, tmp_path / "out")
    other = make_run(tmp_path / "other", plan("rte", labels={"rte": ("yes", "no")}))
    with pytest.raises(InputError, match=r"RTE\.tsv: the run's classes of rte are yes, no; the leaderboard knows"):
        export(other, tmp_path / "out")
    changed = make_run(tmp_path / "changed", plan("rte"))
    (sidecar,) = (changed / "arrays").iterdir()
    sidecar.write_bytes(sidecar.read_bytes()[:-1])
    with pytest.raises(InputError, match="does not match the hash in its record"):
        export(changed, tmp_path / "out")
    with pytest.raises(InputError, match="not a run folder"):
        export(tmp_path / "none", tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("CoLA", "id\tprediction\n0\t1\n", "line 1: 'id"),
        ("CoLA", "", "line 1: ''"),
        ("CoLA", f"{HEADER}\n1\t1\n", "line 2: index '1', expected 0"),
        ("CoLA", f"{HEADER}\n0\t1\n2\t1\n", "line 3: index '2', expected 1"),
        ("CoLA", f"{HEADER}\n0\t1\n\n", "line 3: index '', expected 1"),
        ("CoLA", f"{HEADER}\n0\t2\n", "prediction '2' is none of 0, 1"),
        ("CoLA", f"{HEADER}\n0 1\n", "index '0 1'"),
        ("CoLA", f"{HEADER}\n0\t1\t1\n", "prediction '1\\t1' is none of"),
        ("RTE", f"{HEADER}\n0\t1\n", "prediction '1' is none of entailment, not_entailment"),
        ("AX", f"{HEADER}\n0\tnot_entailment\n", "is none of entailment, neutral, contradiction"),
        *(
            ("STS-B", f"{HEADER}\n0\t{number}\n", f"prediction '{number}' is no number from 0 to 5 with 3 decimals")
            for number in ("5.001", "-0.100", "1.5", "1", "nan", "1.5000", "1e0", "+1.000", " 1.000")
        ),
    ],
)
def test_the_checker_names_the_line_that_is_wrong(name: str, text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / f"{name}.tsv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as error:
        check(path, NAMED[name])
    assert said in str(error.value)
    assert str(path) in str(error.value)
    with pytest.raises(InputError, match="cannot read"):
        check(tmp_path / "none.tsv", NAMED[name])


def test_a_file_that_is_refused_never_takes_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_run(tmp_path / "run", plan("stsb"))
    unusable = {TEST_PREDICTIONS: np.full(20, np.nan, dtype=np.float32)}
    monkeypatch.setattr(RunStore, "arrays", lambda self, record: unusable)
    with pytest.raises(InputError, match=r"STS-B\.tsv, line 2: prediction 'nan'"):
        export(folder, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*"))


FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)


@settings(deadline=None)
@given(values=arrays.arrays(np.float32, st.integers(1, 40), elements=FINITE))
def test_any_numbers_make_a_file_that_passes(values: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> None:
    submission = Submission("STS-B", "stsb", len(values))
    path = tmp_path_factory.getbasetemp() / "STS-B.tsv"
    path.write_text("\n".join(submission.lines(values, ())) + "\n", encoding="utf-8")
    assert check(path, submission) is None


def test_the_command_needs_no_torch_and_prints_what_it_did(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", plan("rte"))
    code = "import sys; sys.modules['torch'] = None; from bench.cli import main; main()"
    command = [sys.executable, "-c", code, "export", str(folder), "--to", str(tmp_path / "out")]
    ended = subprocess.run([*command, "--strategy", "bitfit"], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert f"wrote {tmp_path / 'out' / 'RTE.tsv'}: 20 rows, minilm, bitfit, seed 0" in ended.stdout
    assert "missing: CoLA.tsv" in ended.stdout
    assert "warning: RTE.tsv has 20 rows" in ended.stdout
    refused = subprocess.run([*command, "--strategy", "full"], capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert len(refused.stderr.strip().splitlines()) == 1
    (tmp_path / "file").write_text("")
    blocked = subprocess.run([*command[:-1], str(tmp_path / "file")], capture_output=True, text=True, check=False)
    assert blocked.returncode == 2
    assert "cannot write" in blocked.stderr
