"""What memory holds: parts that add up in the table as they do in the record, and a forecast beside each."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.record import Record
from reports import page
from reports.memory_table import memory_table
from reports.run import Shape, load
from reports.table import Table
from synthetic_run import Plan, make_run

PLAN = Plan(quality=False, strategies=("full", "bitfit"))
ORDER = {"full": 0, "bitfit": 1}


def shape(folder: Path, plan: Plan = PLAN) -> Shape:
    """The first batch shape of a made-up run."""
    (model,) = load(make_run(folder / "run", plan)).models
    return model.shapes[0]


def table(found: Shape) -> Table:
    drawn = memory_table(found, ORDER)
    assert drawn is not None
    return drawn


def mebibytes(text: str) -> float:
    number, unit = text.split("\N{NO-BREAK SPACE}") if "\N{NO-BREAK SPACE}" in text else text.split(" ")
    return float(number) * {"B": 2**-20, "kiB": 2**-10, "MiB": 1.0, "GiB": 1024.0}[unit]


def test_parts_add_up_and_the_forecast_stands_beside_them(tmp_path: Path) -> None:
    rows = table(shape(tmp_path)).rows
    assert [row[0].strategy for row in rows] == ["full", "bitfit"], "the A/A pair is weighed once"
    for row in rows:
        peak, *parts = (mebibytes(cell.text) for cell in row[1:8])
        assert sum(parts) == pytest.approx(peak, rel=0.01)
        assert row[8].text == "forward"
        assert row[-1].note == "1.010"


def by_phase(record: Record) -> Record:
    """A record with the allocator's peaks of two phases for full fine-tuning."""
    assert record.cost is not None
    assert record.cost.memory is not None
    told = {"forward": 3 * 2**20, "backward": 5 * 2**20} if record.cell.strategy == "full" else None
    memory = record.cost.memory.model_copy(update={"allocated_by_phase_bytes": told})
    return record.model_copy(update={"cost": record.cost.model_copy(update={"memory": memory})})


def test_the_peak_of_each_phase_has_a_column(tmp_path: Path) -> None:
    found = shape(tmp_path / "plain")
    tensors = next(one.result.memory for one in found.timed if one.result is not None)
    assert tensors is not None
    assert tensors.by_phase_bytes
    expected = {phase: pytest.approx(size / 2**20, rel=0.01) for phase, size in tensors.by_phase_bytes.items()}
    assert peaks_of_phases(table(found)) == expected
    told = table(shape(tmp_path / "card", replace(PLAN, alter=by_phase)))
    assert peaks_of_phases(told) == {"forward": 3, "backward": 5}, "the allocator's own"


def peaks_of_phases(found: Table) -> dict[str, float]:
    """MiB of each phase in the first row."""
    return {
        column.title: mebibytes(cell.text)
        for column, cell in zip(found.columns, found.rows[0], strict=True)
        if column.group == "most in"
    }


def test_why_there_is_no_forecast_is_said_once(tmp_path: Path) -> None:
    def without(record: Record) -> Record:
        assert record.cost is not None
        changed = {"forecast": None, "forecast_reason": "it looks at values"}
        return record.model_copy(update={"cost": record.cost.model_copy(update=changed)})

    found = table(shape(tmp_path, replace(PLAN, alter=without)))
    assert found.caption.count("No forecast: it looks at values.") == 1
    assert {row[-1].text for row in found.rows} == {"n/a"}


def test_records_of_old_have_no_such_table(tmp_path: Path) -> None:
    def without(record: Record) -> Record:
        assert record.cost is not None
        assert record.cost.memory is not None
        memory = record.cost.memory.model_copy(update={"attribution": None})
        return record.model_copy(update={"cost": record.cost.model_copy(update={"memory": memory})})

    assert memory_table(shape(tmp_path, replace(PLAN, alter=without)), ORDER) is None


def test_what_an_accelerator_holds_beside_tensors_has_columns_of_its_own(tmp_path: Path) -> None:
    plain = table(shape(tmp_path / "cpu"))
    assert plain.columns[-1].title == "forecast", "a CPU has neither"

    def on_a_card(record: Record) -> Record:
        assert record.cost is not None
        assert record.cost.memory is not None
        known = {"fragmentation_bytes": 20 * 2**20, "context_bytes": 500 * 2**20}
        unknown = {"fragmentation_bytes": 0, "context_reason": "another process was at work"}
        changed = known if record.cell.strategy == "full" else unknown
        memory = record.cost.memory.model_copy(update={"method": "allocator", **changed})
        return record.model_copy(update={"cost": record.cost.model_copy(update={"memory": memory})})

    found = table(shape(tmp_path / "card", replace(PLAN, alter=on_a_card)))
    assert [column.title for column in found.columns[-2:]] == ["fragmentation", "context"]
    full, bitfit = found.rows
    assert [mebibytes(cell.text) for cell in full[-2:]] == [20, 500]
    assert (bitfit[-2].text.split()[0], bitfit[-1].text) == ("0", "n/a")
    assert found.caption.endswith("No context: another process was at work.")


def test_the_page_shows_it(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", PLAN)
    assert "what its memory holds" in page.write(folder).read_text(encoding="utf-8")
