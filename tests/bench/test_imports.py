"""The rooms keep to their doors: who may import whom, and what must stay free of torch."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
READABLE_BY_REPORTS = {"bench.record", "bench.results", "bench.store", "bench.metrics", "bench.timing"}
READABLE_BY_REPORTS |= {"bench.arithmetic", "bench.profiles"}
MAY_RENDER = {"bench/cli.py", "bench/running.py", "bench/profile_command.py", "bench/export_benchmark_command.py"}
DOOR = "bench/device.py"
ACCELERATORS = {f"torch.{name}" for name in ("cuda", "accelerator", "xpu", "mps", "hip", "mtia", "get_device_module")}
# Where a device is chosen there is none yet whose door one could knock at.
BESIDE_THE_DOOR = {"bench/environment.py": {"torch.accelerator"}}


def imports(path: Path) -> Iterator[str]:
    """Full names of every module a file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{a.name}" for a in node.names) if node.module in ("bench",) else (node.module,)


def sources(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


@pytest.mark.parametrize("path", sources("strategies"), ids=str)
def test_strategies_import_neither_bench_nor_reports(path: Path) -> None:
    assert not [name for name in imports(path) if name.split(".")[0] in ("bench", "reports")]


@pytest.mark.parametrize("path", sources("reports"), ids=str)
def test_reports_read_records_and_nothing_else(path: Path) -> None:
    own = [name for name in imports(path) if name.split(".")[0] in ("bench", "strategies", "torch", "transformers")]
    assert set(own) <= READABLE_BY_REPORTS


@pytest.mark.parametrize("path", sources("bench"), ids=str)
def test_only_the_command_line_renders(path: Path) -> None:
    renders = any(name.split(".")[0] == "reports" for name in imports(path))
    assert not renders or path.relative_to(ROOT).as_posix() in MAY_RENDER


def of_accelerators(path: Path) -> Iterator[str]:
    """What a file names of torch that is about an accelerator, as 'torch.cuda' however it came by it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found = [f"{node.value.id}.{node.attr}"]
        elif isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        yield from (name for name in found if ".".join(name.split(".")[:2]) in ACCELERATORS)


@pytest.mark.parametrize("path", [*sources("bench"), *sources("strategies"), *sources("benchmarks")], ids=str)
def test_accelerators_are_spoken_to_through_one_door(path: Path) -> None:
    place = path.relative_to(ROOT).as_posix()
    assert place == DOOR or set(of_accelerators(path)) <= BESIDE_THE_DOOR.get(place, set())


@pytest.mark.parametrize(
    "line",
    [
        "torch.cuda.synchronize()",
        "from torch import cuda",
        "from torch.accelerator import synchronize",
        "import torch.mps",
        "torch.get_device_module(device).empty_cache()",
    ],
)
def test_no_way_around_the_door_is_overlooked(line: str, tmp_path: Path) -> None:
    (tmp_path / "around.py").write_text(f"import torch\n\n\ndef work(device):\n    {line}\n", encoding="utf-8")
    assert list(of_accelerators(tmp_path / "around.py"))


def test_no_room_has_a_drawer_for_everything() -> None:
    assert not [path for room in ("bench", "strategies", "reports") for path in sources(room) if path.stem == "utils"]


@pytest.mark.parametrize(
    "module",
    [
        "bench.cli",
        "bench.suite",
        "bench.store",
        "bench.runs",
        "bench.archives",
        "reports.page",
        "reports.compare",
        "reports.export",
        "reports.benchmark_export",
        "reports.profile_page",
        "bench.profiles",
        "bench.profiling",
    ],
)
def test_what_must_work_without_torch_does(module: str) -> None:
    code = f"import sys; sys.modules['torch'] = sys.modules['transformers'] = None; import {module}"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
