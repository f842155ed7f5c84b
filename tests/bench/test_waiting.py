"""Threads wait without spinning, in the program and in its benchmarks, unless the environment says otherwise."""

import os
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest
import torch

from bench.environment import conditions, prepare

ROOT = Path(__file__).resolve().parents[2]
TELL = """import os, sys
print(os.environ.get('OMP_WAIT_POLICY'), os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)"""
PROGRAM = f"""
import atexit, sys
atexit.register(lambda: exec({TELL!r}))
from bench.cli import main
sys.argv = ["bitfit-bench", "--version"]
main()
"""
CPU = torch.device("cpu")


def said(code: str, **environment: str) -> str:
    """The last line that a fresh interpreter prints, in the folder of this project."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    ended = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=inherited | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return ended.stdout.splitlines()[-1]


@pytest.mark.parametrize("code", [PROGRAM, f"import benchmarks\n{TELL}"], ids=["program", "benchmarks"])
def test_waiting_is_passive_before_torch_loads_unless_told_otherwise(code: str) -> None:
    assert said(code) == "PASSIVE 0 False"
    assert said(code, OMP_WAIT_POLICY="ACTIVE", GOMP_SPINCOUNT="9") == "ACTIVE 9 False"


def test_the_benchmarks_of_tox_wait_so_too() -> None:
    tox = ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    assert "OMP_WAIT_POLICY = PASSIVE" in tox["testenv:perf"]["set_env"]


@pytest.mark.parametrize("policy", ["PASSIVE", None])
def test_records_say_how_threads_waited(policy: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    if policy is not None:
        monkeypatch.setenv("OMP_WAIT_POLICY", policy)
    found = conditions(CPU, "fp32", attention="sdpa", model_fingerprint="m", data_fingerprint=None)
    assert found.wait_policy == policy


def test_threads_are_set_where_a_number_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", numbers.append)
    prepare(CPU, {"fp32"}, None)
    prepare(CPU, {"fp32"}, 3)
    assert numbers == [3]
