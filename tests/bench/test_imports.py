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
