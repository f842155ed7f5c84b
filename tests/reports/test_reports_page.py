"""A made-up run renders whole, asks nothing of anybody, and compares with itself without a regression."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.store import InputError
from reports import compare, page, terminal


def test_a_run_renders_whole_and_asks_nothing_of_anybody(make_run: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    text = page.write(folder).read_text(encoding="utf-8")
    assert text.index("<h1") < text.index("<table")
    assert "BitFit" in text
    assert not re.search(r"<(script|iframe)\b", text)
    assert not re.search(r"(src|href)=[\"'](?!#|data:)", text)
    assert (folder / "report.md").read_text(encoding="utf-8").startswith("#")
    assert {path.suffix for path in (folder / "figures").iterdir()} == {".png", ".svg"}
    assert terminal.verdict(folder) is not None


def test_a_run_compared_with_itself_has_not_regressed(make_run: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    found = compare.compare([folder, folder], [compare.parse_limit("step_ratio=+5%")])
    assert found.exit_code == compare.OK
    assert "|" in found.markdown()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("acuracy=-1", "accuracy"),
        ("accuracy=+1", "lower is worse"),
        ("step_ratio=fast", "is not METRIC=AMOUNT"),
        ("step_ratio", "is not METRIC=AMOUNT"),
    ],
)
def test_a_malformed_limit_is_named(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        compare.parse_limit(text)
