"""Step times for pytest-benchmark: its own statistics agree, and its own command reads the files."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from bench.cli import app
from bench.record import InputError, Record
from bench.store import RunStore
from reports import benchmark_export
from reports.benchmark_statistics import summary
from synthetic_run import failed, make_run

times = st.lists(st.floats(1e-6, 10), min_size=1, max_size=30)


@given(times)
def test_statistics_are_those_of_pytest_benchmark(seconds: list[float]) -> None:
    stats = pytest.importorskip("pytest_benchmark.stats").Stats()
    for one in seconds:
        stats.update(one)
    ours, theirs = summary(seconds), stats.as_dict()
    assert list(ours) == list(theirs)
    for name, value in theirs.items():
        assert ours[name] == (value if isinstance(value, str) else pytest.approx(value, rel=1e-12, abs=1e-15)), name


def test_no_times_have_no_statistics() -> None:
    with pytest.raises(ValueError, match="no times"):
        summary([])


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def test_every_cost_cell_is_a_benchmark_with_its_raw_times(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", shapes=((16, 64), (8, 32)), strategies=("full", "bitfit"))
    found = benchmark_export.write(run, tmp_path / "steps.json")
    document = read(tmp_path / "steps.json")
    store = RunStore.open(run)
    records = {key: one for key, one in store.latest().items() if one.cell.kind == "cost"}
    assert found == benchmark_export.Exported(6, ())
    assert {one["fullname"] for one in document["benchmarks"]} == set(records)
    assert len({one["group"] for one in document["benchmarks"]}) == 2
    for one in document["benchmarks"]:
        record = records[one["fullname"]]
        assert one["stats"]["data"] == store.arrays(record)["step_seconds"].ravel().tolist()
        assert record.cost is not None
        assert one["stats"]["median"] == pytest.approx(record.cost.step.median_seconds)
    assert len({(one["group"], one["name"]) for one in document["benchmarks"]}) == 6
    assert document["commit_info"]["id"].startswith("3f9c2a7e")
    assert document["machine_info"]["device_name"] == "AMD EPYC 7763"


def test_what_differs_between_two_cells_is_in_their_names_and_parameters(tmp_path: Path) -> None:
    asked: tuple[dict[str, object], ...] = ({"budget": 0.001}, {"budget": 0.01}, {"match": "bitfit"}, {"mask_seed": 3})
    asked += ({"attention": "eager"}, {"gradient_checkpointing": True}, {"clip_norm": None}, {"precision": "bf16"})
    run = make_run(tmp_path / "run", strategies=("random_uniform",), asked=asked, quality=False)
    benchmark_export.write(run, tmp_path / "steps.json")
    found = read(tmp_path / "steps.json")["benchmarks"]
    assert len(found) == 2 * len(asked)
    for field in ("name", "param"):
        assert len({one[field] for one in found}) == len(found), field
    assert len({json.dumps(one["params"], sort_keys=True) for one in found}) == len(found)
    assert "random_uniform, budget 0.001 [minilm-16x64]" in {one["name"] for one in found}
    assert {one["params"]["budget"] for one in found} == {0.001, 0.01, None}


def without_bitfit(record: Record) -> Record:
    return failed(record) if record.cell.strategy == "bitfit" else record


def test_failed_cells_are_named_and_left_out(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", strategies=("full", "bitfit"), alter=without_bitfit)
    found = benchmark_export.write(run, tmp_path / "steps.json")
    assert found.benchmarks == 2
    (note,) = found.notes
    assert "strategy=bitfit" in note
    assert note.endswith("out_of_memory: CUDA out of memory")


def compare(*arguments: object, where: Path) -> subprocess.CompletedProcess[str]:
    """pytest-benchmark's own command."""
    pytest.importorskip("pytest_benchmark")
    code = "import sys; from pytest_benchmark.cli import main; sys.argv[0] = 'pytest-benchmark'; main()"
    command = [sys.executable, "-c", code, "compare", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=where)


def test_pytest_benchmark_compares_two_runs(tmp_path: Path) -> None:
    files = []
    for seed in (1, 2):
        run = make_run(tmp_path / f"run-{seed}", random_seed=seed, strategies=("full", "bitfit"), quality=False)
        files.append(tmp_path / f"000{seed}_run.json")
        benchmark_export.write(run, files[-1])
    ended = compare(*files, f"--csv={tmp_path / 'table.csv'}", where=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("\nbitfit [minilm-16x64] (") == 2
    assert ended.stdout.count("\nfull, replicate 1 [minilm-16x64] (") == 2
    with (tmp_path / "table.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    medians = {float(row["median"]) for row in rows}
    assert medians == {one["stats"]["median"] for path in files for one in read(path)["benchmarks"]}
    by_strategy = compare(*files, "--group-by=param:strategy", where=tmp_path)
    assert "benchmark 'strategy=bitfit': 2 tests" in by_strategy.stdout


def test_pytest_benchmark_draws_histograms(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", strategies=("full", "bitfit"), quality=False)
    benchmark_export.write(run, tmp_path / "steps.json")
    ended = compare(tmp_path / "steps.json", "--histogram=times", where=tmp_path)
    assert ended.returncode == 0, ended.stderr
    (drawn,) = tmp_path.glob("times*.svg")
    assert "bitfit [minilm-16x64]" in drawn.read_text(encoding="utf-8")


def run_command(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["export-benchmark", *map(str, arguments)])


def test_the_command_refuses_to_overwrite_unless_told(tmp_path: Path) -> None:
    run, to = make_run(tmp_path / "run", strategies=("full",), quality=False), tmp_path / "steps.json"
    assert "2 benchmarks written" in run_command(run, "--to", to).stdout
    before = to.read_bytes()
    to.write_bytes(b"mine")
    refused = run_command(run, "--to", to)
    assert isinstance(refused.exception, InputError)
    assert "replace it with --force" in str(refused.exception)
    assert to.read_bytes() == b"mine"
    assert run_command(run, "--to", to, "--force").exit_code == 0
    assert to.read_bytes() == before


def test_bad_runs_get_one_line(tmp_path: Path) -> None:
    quality = make_run(tmp_path / "quality", cost=False, strategies=("full",))
    with pytest.raises(InputError, match="no finished cost cell"):
        benchmark_export.write(quality, tmp_path / "a.json")
    with pytest.raises(InputError, match="is a folder; name a file"):
        benchmark_export.write(quality, tmp_path)
    cut = make_run(tmp_path / "cut", quality=False, strategies=("full",))
    for path in (cut / "arrays").iterdir():
        path.write_bytes(b"")
    with pytest.raises(InputError, match="does not match the hash"):
        benchmark_export.write(cut, tmp_path / "a.json")
    assert not (tmp_path / "a.json").exists()
