"""The program as people use it: real processes, exit codes, one-line errors, resuming, nothing finished lost."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SUITE = """
name = "tiny"
description = "for tests"
[quality]
models = ["tiny-bert"]
tasks = ["cola"]
strategies = ["full", "bitfit"]
seeds = [0, 1]
epochs = 1
batch_size = 8
curve_points = 2
curve_examples = 8
[quality.learning_rate]
full = 1e-3
bitfit = 1e-2
[[cost]]
models = ["tiny-bert"]
strategies = ["bitfit"]
shapes = [[2, 8]]
rounds = 2
steps_per_round = 2
"""


@pytest.fixture
def command(tiny_folder: Path, tiny_data: Path, tmp_path: Path) -> list[str]:
    """A run of a tiny suite that needs no network, in `tmp_path`."""
    (tmp_path / "tiny.toml").write_text(SUITE)
    options = ["--models", str(tiny_folder), "--data-dir", str(tiny_data), "--cache-dir", str(tmp_path / "cache")]
    return ["run", str(tmp_path / "tiny.toml"), *options, "--offline", "--device", "cpu"]


def program(*arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the program in `folder` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "bench", *arguments],
        cwd=folder,
        env=os.environ | {"COLUMNS": "120"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def records(folder: Path) -> list[dict[str, object]]:
    (run,) = (folder / "runs").iterdir()
    return [json.loads(line) for line in (run / "records.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "embeded"], "did you mean 'embedded'"),
        (["run", "--strategies", "bitfitt"], "did you mean 'bitfit'"),
        (["run", "--strategies", "bitfit:quary"], "did you mean 'query'"),
        (["run", "--tasks", "question"], "did you mean 'questions'"),
        (["run", "--models", "minlm"], "did you mean 'minilm'"),
        (["run", "--models", "./none"], "no config.json"),
        (["run", "--seeds", "x"], "seed 'x'"),
        (["run", "--seeds", "0-99999999999"], "more than 1000 seeds with '0-99999999999'"),
        (["run", "--learning-rate", "layernorm=1e-3", "--strategies", "full,bitfit"], "'layernorm', but full, bitfit"),
        (["run", "--train-sizes", "100,x"], "size 'x' is neither a number nor 'all'"),
        (["run", "--train-sizes", "100,0"], "0 is no training-set size"),
        (["run", "--train-sizes", "100,300", "--train-examples", "50"], "either train_examples or train_sizes"),
        (["run", "--steps", "9", "--epochs", "1"], "either epochs or steps"),
        (["run", "--precision", "tf32", "--device", "cpu"], "tf32 needs"),
        (["run", "--device", "gpu9"], "device 'gpu9' cannot be used"),
        (["run", "--tasks", "cola"], "--data-dir"),
        (["run", "--tasks", "./none.toml"], "cannot read the task none.toml"),
        (["run", "--tasks", "cola", "--data-dir", "none"], "none"),
        (["run", "--tasks", "./suite.toml"], "bitfit-bench run suite.toml"),
        (["run", "./task.toml"], "--tasks task.toml"),
        (["report", "none"], "not a run folder"),
        (["export", "none", "--to", "out"], "not a run folder"),
        (["tensorboard", "none", "--to", "out"], "not a run folder"),
        (["list", "modles"], "did you mean 'models'"),
        (["compare", "none", "none"], "not a run folder"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments: list[str], said: str, tmp_path: Path) -> None:
    extra = ["--offline", "--cache-dir", str(tmp_path / "cache")] if arguments[0] == "run" else []
    (tmp_path / "task.toml").write_text(TICKETS)
    (tmp_path / "suite.toml").write_text('name = "mine"\n[quality]\n')
    ended = program(*arguments, *extra, folder=tmp_path)
    assert ended.returncode == 2, ended.stderr
    lines = ended.stderr.strip().splitlines()
    assert len(lines) == 1, ended.stderr
    assert said in lines[0]
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("arguments", [["run", "smoke"], ["plan"], ["predict", "none", "--text", "x"]])
def test_without_the_packages_that_train_a_line_says_which_extra(arguments: list[str], tmp_path: Path) -> None:
    for name in ("torch", "transformers", "datasets"):
        (tmp_path / f"{name}.py").write_text(f"raise ModuleNotFoundError('no module {name}', name='{name}')\n")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    ended = program(*arguments, folder=tmp_path, PYTHONPATH=path)
    assert ended.returncode == 2
    assert re.fullmatch(
        r"error: this command needs \w+: pip install -c constraints\.txt '\.\[train\]'\n", ended.stderr
    )


def test_no_archive_and_no_network_is_said(tmp_path: Path) -> None:
    ended = program("run", "smoke", "--offline", "--cache-dir", str(tmp_path / "cache"), folder=tmp_path)
    assert ended.returncode == 2
    assert "not cached" in ended.stderr


@pytest.mark.parametrize("what", ["suites", "tasks", "strategies", "models", "metrics"])
def test_everything_known_by_name_is_listed_without_torch(what: str, tmp_path: Path) -> None:
    code = "import sys; sys.modules['torch'] = None; from bench.cli import main; main()"
    ended = subprocess.run([sys.executable, "-c", code, "list", what], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert len(ended.stdout.splitlines()) >= 4


def test_help_and_version_need_no_torch() -> None:
    code = "import sys; sys.modules['torch'] = None; from bench.cli import main; main()"
    for option, said in (("--help", "compare"), ("--version", "bitfit-bench 0.")):
        ended = subprocess.run([sys.executable, "-c", code, option], capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
        assert said in ended.stdout


@pytest.mark.slow
def test_a_run_leaves_records_a_report_and_a_verdict(command: list[str], tmp_path: Path) -> None:
    ended = program(*command, folder=tmp_path)
    assert ended.returncode == 0, ended.stderr + ended.stdout
    assert "bitfit" in ended.stdout
    (run,) = (tmp_path / "runs").iterdir()
    assert {"report.html", "report.md", "records.jsonl", "run.json", "figures", "arrays"} <= {
        p.name for p in run.iterdir()
    }
    found = records(tmp_path)
    assert [record["status"] for record in found] == ["ok"] * 7

    again = program("report", str(run), folder=tmp_path)
    assert again.returncode == 0, again.stderr
    compared = program("compare", str(run), str(run), "--fail-on", "step_ratio=+5%", folder=tmp_path)
    assert compared.returncode == 0, compared.stderr + compared.stdout
    assert "one and the same run" in compared.stdout

    program(*command, folder=tmp_path)
    assert len(list((tmp_path / "runs").iterdir())) == 2, "a finished run is not touched: a new one begins"


@pytest.mark.slow
def test_a_sweep_trains_the_same_steps_at_every_size(command: list[str], tmp_path: Path) -> None:
    refused = program(*command, "--train-sizes", "20,9999", folder=tmp_path)
    assert refused.returncode == 2
    assert "task 'cola' has 108 training examples, so a size of 9999" in refused.stderr
    assert not (tmp_path / "runs").exists()

    ended = program(*command, "--skip", "cost", "--train-sizes", "20,40,all", "--steps", "3", folder=tmp_path)
    assert ended.returncode == 0, ended.stderr + ended.stdout
    assert "cola against training-set size" in ended.stdout
    found = [record["quality"] for record in records(tmp_path)]
    measured = [(q["train_examples"], q["steps"]) for q in found if isinstance(q, dict)]
    assert measured == [(size, 3) for _ in range(2) for size in (20, 40, 108) for _ in range(2)]
    (run,) = (tmp_path / "runs").iterdir()
    assert "cola with all 108 examples" in (run / "report.html").read_text()


@pytest.mark.slow
def test_an_interrupted_run_is_resumed_and_loses_nothing(command: list[str], tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "bench", *command],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Where the tests run in the background, a child would inherit that interrupts are ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("[4/7]"):
            process.send_signal(signal.SIGINT)
            break
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "to go on, give the same command again" in output
    finished = records(tmp_path)
    assert len(finished) >= 4
    (run,) = (tmp_path / "runs").iterdir()
    assert (run / "report.html").exists()

    path = run / "records.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"schema_version": 1, "key": "cut')
    ended = program(*command, folder=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "resuming" in ended.stdout
    assert f"line {len(finished) + 1}" in ended.stdout
    assert path.read_bytes().startswith(whole)
    keys = [json.loads(line)["key"] for line in path.read_text().splitlines() if line.endswith("}")]
    assert len(keys) == len(set(keys)) == 7


@pytest.mark.slow
def test_a_run_under_other_conditions_is_not_resumed_unknowingly(
    command: list[str], tiny_data: Path, tmp_path: Path
) -> None:
    run = tmp_path / "there"
    first = program(*command, "--run-dir", str(run), "--seeds", "0", "--skip", "cost", folder=tmp_path)
    assert first.returncode == 0, first.stderr
    path = run / "records.jsonl"
    lines = path.read_text().splitlines()
    path.write_text(lines[0].replace('"torch":"', '"torch":"9.') + "\n")
    refused = program(*command, "--run-dir", str(run), "--seeds", "0", "--skip", "cost", folder=tmp_path)
    assert refused.returncode == 2
    assert "torch 9." in refused.stderr
    assert "--accept-changed" in refused.stderr
    accepted = program(
        *command, "--run-dir", str(run), "--seeds", "0", "--skip", "cost", "--accept-changed", folder=tmp_path
    )
    assert accepted.returncode == 0, accepted.stderr
    assert len(path.read_text().splitlines()) == 2
    other = program(*command, "--run-dir", str(run), "--skip", "cost", folder=tmp_path)
    assert other.returncode == 2
    assert "other cells" in other.stderr


@pytest.mark.slow
def test_a_failed_cell_is_a_result_and_can_be_tried_again(command: list[str], tmp_path: Path) -> None:
    options = [*command, "--skip", "cost", "--seeds", "0", "--learning-rate", "full=1e30"]
    ended = program(*options, folder=tmp_path)
    assert ended.returncode == 1, ended.stderr
    found = {str(r["key"]).split("strategy=")[1].split()[0]: r for r in records(tmp_path)}
    assert found["full"]["status"] == "diverged"
    assert found["bitfit"]["status"] == "ok"
    (run,) = (tmp_path / "runs").iterdir()
    assert "diverged" in (run / "report.html").read_text()
    again = program(*options, "--retry-failed", folder=tmp_path)
    assert again.returncode == 1
    assert [r["status"] for r in records(tmp_path)].count("diverged") == 2


TICKETS = """
name = "tickets"
kind = "classification"
metrics = ["accuracy", "macro_f1"]
[files]
train = "tickets.csv"
[columns]
text = "body"
label = "queue"
"""
NAMES = """
name = "names"
kind = "tagging"
metrics = ["span_f1", "accuracy"]
synthetic = true
[files]
train = "names-train.txt"
evaluation = "names-test.txt"
"""


@pytest.mark.slow
def test_tasks_that_users_bring_run_and_a_changed_file_is_noticed(command: list[str], tmp_path: Path) -> None:
    rows = "".join(f'"{text}, {n}",{queue}\n' for n in range(30) for text, queue in (("bill", "pay"), ("off", "fix")))
    (tmp_path / "tickets.csv").write_text("body,queue\n" + rows)
    sentences = [f"mr I-PER\nx{n} I-PER\nsaid O\n" for n in range(40)]
    (tmp_path / "names-train.txt").write_text("\n".join(sentences))
    (tmp_path / "names-test.txt").write_text("\n".join([*(s.replace("mr", "ms") for s in sentences), "rome I-LOC\n"]))
    for name, text in (("tickets", TICKETS), ("names", NAMES)):
        (tmp_path / f"{name}.toml").write_text(text)
    run = tmp_path / "there"
    asked = [*command, "--tasks", "tickets.toml,./names.toml", "--skip", "cost", "--seeds", "0", "--run-dir", str(run)]
    ended = program(*asked, folder=tmp_path)
    assert ended.returncode == 0, ended.stderr + ended.stdout
    title = "tiny (tasks: tickets, names; models: tiny-bert)"
    assert f"{title}: 4 cells on cpu" in ended.stdout
    assert f"<h1>{title}</h1>" in (run / "report.html").read_text()
    path = run / "records.jsonl"
    found = [json.loads(line) for line in path.read_text().splitlines()]
    assert {(r["cell"]["task"], r["status"], r["audit"] is not None) for r in found} == {
        ("tickets", "ok", True),
        ("names", "ok", True),
    }
    assert not any(str(tmp_path) in record["key"] for record in found)
    names = next(record for record in found if record["cell"]["task"] == "names")
    assert names["quality"]["headline"] == "span_f1"
    assert set(names["quality"]["evaluation"]["scores"]) == {"span_f1", "accuracy"}
    assert any("1 evaluation words have a tag that training never shows (B-LOC)" in w for w in names["warnings"])
    assert names["marks"] == ["synthetic data: so says its description"]

    (tmp_path / "tickets.toml").write_text(TICKETS.replace('"accuracy", "macro_f1"', '"macro_f1"'))
    refused = program(*asked, folder=tmp_path)
    assert refused.returncode == 2
    assert "metrics of tickets" in refused.stderr
    (tmp_path / "tickets.toml").write_text(TICKETS)
    (tmp_path / "tickets.csv").write_text("body,queue\n" + rows.replace("bill, 7", "bills, 7"))
    refused = program(*asked, folder=tmp_path)
    assert refused.returncode == 2
    assert "data of task tickets" in refused.stderr


def test_a_folder_that_cannot_be_written_is_said(command: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ended = program(*command, "--run-dir", str(tmp_path / "file" / "run"), folder=tmp_path)
    assert ended.returncode == 2
    assert "cannot write to the run folder" in ended.stderr


@pytest.mark.slow
def test_two_processes_do_not_share_a_run_folder(command: list[str], tmp_path: Path) -> None:
    from filelock import FileLock

    run = tmp_path / "run"
    assert program(*command, "--run-dir", str(run), "--skip", "cost", "--seeds", "0", folder=tmp_path).returncode == 0
    with FileLock(run / ".lock"):
        ended = program(*command, "--run-dir", str(run), "--skip", "cost", "--seeds", "0", folder=tmp_path)
    assert ended.returncode == 2
    assert "in use" in ended.stderr
