"""What the benchmarks share. Nothing here asserts a timing: each reports its ratios beside the goal they are for."""

import os
from pathlib import Path

import pytest

REAL_DATA = Path(os.environ.get("BITFIT_BENCH_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print what each benchmark found: the table of pytest-benchmark shows no ratios."""
    session = getattr(config, "_benchmarksession", None)
    for found in session.benchmarks if session is not None else ():
        terminalreporter.write_line(f"\n{found.fullname}")
        for name, value in found.extra_info.items():
            terminalreporter.write_line(f"  {name}: {value if isinstance(value, str) else format(value, '.3g')}")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """A folder with GLUE files."""
    if not (REAL_DATA / "glue").is_dir():
        pytest.skip(f"no real data at {REAL_DATA}; set BITFIT_BENCH_TEST_DATA to a folder with glue/")
    return REAL_DATA
