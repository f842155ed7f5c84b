"""Many tasks on one encoder: bytes on disk and the time of a swap, worked out from records by hand."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.metrics import format_bytes
from bench.record import Record
from reports import page
from reports.deployment import deployment_table
from reports.run import load
from reports.table import Table
from reports.verdict import judge
from synthetic_run import ENCODER, Plan, make_run

PLAN = Plan(tasks=("questions",), strategies=("full", "bitfit"), seeds=(0, 1), cost=False)
DELTAS = {"full": 90_000_000, "bitfit": 120_000}
HEAD = 9_240


def fixed(record: Record) -> Record:
    """The record with sizes and times that can be worked with by hand."""
    quality, cell = record.quality, record.cell
    assert quality is not None
    assert cell.kind == "quality"
    seconds = [0.9, 0.003 + 0.002 * cell.seed, 0.003 + 0.002 * cell.seed]
    sizes = {"delta_bytes": DELTAS[cell.strategy], "delta_head_bytes": HEAD, "swap_seconds": seconds}
    return record.model_copy(update={"quality": quality.model_copy(update=sizes)})


def without_swaps(record: Record) -> Record:
    """The record as a program of old wrote it."""
    if record.quality is None:
        return record
    return record.model_copy(update={"quality": record.quality.model_copy(update={"swap_seconds": []})})


def table(folder: Path) -> Table | None:
    (model,) = load(folder).models
    return deployment_table(judge(model))


def test_one_encoder_and_ten_deltas_against_ten_copies(tmp_path: Path) -> None:
    found = table(make_run(tmp_path / "run", replace(PLAN, alter=fixed)))
    assert found is not None
    rows = {row[0].strategy: [cell.text for cell in row[1:]] for row in found.rows}
    copies = 10 * (4 * ENCODER + HEAD)
    assert rows["full"][:2] == [format_bytes(90_000_000), format_bytes(900_000_000)]
    ours = 4 * ENCODER + 10 * 120_000
    assert rows["bitfit"] == [format_bytes(120_000), format_bytes(ours), f"{100 * ours / copies:.0f}%", "4 ms"]
    assert found.reference == 0


def test_records_of_old_have_no_swap_time(tmp_path: Path) -> None:
    found = table(make_run(tmp_path / "run", replace(PLAN, alter=without_swaps)))
    assert found is not None
    assert {row[-1].text for row in found.rows} == {"n/a"}


def test_a_run_without_quality_cells_has_no_such_section(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", Plan(quality=False))
    assert table(folder) is None
    assert "Many tasks" not in page.write(folder, figures=False).read_text(encoding="utf-8")


@pytest.mark.parametrize("file", ["report.html", "report.md"])
def test_page_and_markdown_show_it_after_the_costs(file: str, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", Plan(strategies=("full", "bitfit"), seeds=(0, 1)))
    page.write(folder, figures=False)
    text = (folder / file).read_text(encoding="utf-8")
    heading = text.rindex("Many tasks on one encoder")
    assert text.rindex("16 \N{MULTIPLICATION SIGN} 64 tokens") < heading < text.rindex("Conditions")
    assert "A swap takes one delta off" in text
