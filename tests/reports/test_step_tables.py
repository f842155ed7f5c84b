"""Where a step goes and what surrounded it: figures worked out by hand, and nothing shown that was not recorded."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.record import Record
from bench.timing import Energy, PhaseSeconds, Surroundings, Validity
from fake_nvml import QUIET_STATE
from reports import page
from reports.run import Shape, load
from reports.step_tables import phase_table, surroundings_table
from reports.table import Table
from reports.verdict import aa_ratio, shape_costs
from synthetic_run import Plan, make_run

PLAN = Plan(quality=False, strategies=("full", "bitfit"))
ORDER = {"full": 0, "bitfit": 1}
PHASES = {
    "full": PhaseSeconds(forward=0.030, backward=0.060, clipping=0.002, optimizer=0.008),
    "bitfit": PhaseSeconds(forward=0.030, backward=0.030, clipping=0.0, optimizer=0.0),
}
CARD = QUIET_STATE.model_copy(update={"utilization_percent": None})


def altered(change: Callable[[Record], dict[str, Any]]) -> Callable[[Record], Record]:
    """An alteration of the cost of each record."""

    def alter(record: Record) -> Record:
        assert record.cost is not None
        return record.model_copy(update={"cost": record.cost.model_copy(update=change(record))})

    return alter


def step(record: Record, **fields: Any) -> dict[str, Any]:
    assert record.cost is not None
    return {"step": record.cost.step.model_copy(update=fields)}


def by_hand(record: Record) -> dict[str, Any]:
    found = PHASES[record.cell.strategy]
    return step(record, phases=found, median_seconds=found.total, p99_seconds=0.5)


def shape(folder: Path, change: Callable[[Record], dict[str, Any]]) -> Shape:
    (model,) = load(make_run(folder / "run", replace(PLAN, alter=altered(change)))).models
    (found,) = model.shapes
    return found


def texts(table: Table | None) -> dict[str, list[tuple[str, str]]]:
    """Text and note of each cell, by row and without the first column."""
    assert table is not None
    return {row[0].text: [(cell.text, cell.note) for cell in row[1:]] for row in table.rows}


def test_phases_and_throughput_are_what_arithmetic_says(tmp_path: Path) -> None:
    found = phase_table(shape(tmp_path, by_hand), ORDER)
    rows = texts(found)
    assert list(rows) == ["full fine-tuning", "full fine-tuning (again, A/A)", "BitFit"]
    # 16 examples of 64 tokens in 0.1 s and in 0.06 s.
    assert rows["full fine-tuning"] == [
        *[("30 ms", "30%"), ("60 ms", "60%"), ("2 ms", "2.0%"), ("8 ms", "8.0%")],
        *[("160", ""), ("10,240", ""), ("500 ms", "")],
    ]
    assert rows["BitFit"][:5] == [("30 ms", "50%"), ("30 ms", "50%"), ("0 ms", "0%"), ("0 ms", "0%"), ("267", "")]
    assert found is not None
    assert [cell.bar for cell in found.rows[0][1:5]] == pytest.approx([0.3, 0.6, 0.02, 0.08])
    assert "No energy: no RAPL counter" in found.caption


def test_energy_has_a_column_where_any_was_counted(tmp_path: Path) -> None:
    def counted(record: Record) -> dict[str, Any]:
        if record.cell.strategy != "full":
            return {"energy_reason": "NVML could not be read in every round"}
        return {
            "energy": Energy(source="NVML", joules_by_round=[20.0, 30.0], steps_per_round=4),
            "energy_reason": None,
        }

    found = phase_table(shape(tmp_path, counted), ORDER)
    assert found is not None
    assert [row[-1].text for row in found.rows] == ["6.25", "6.25", "n/a"]
    assert "Energy is that of the card (NVML). No energy: NVML could not be read" in found.caption


def test_records_of_old_have_neither_table(tmp_path: Path) -> None:
    def old(record: Record) -> dict[str, Any]:
        return step(record, phases=None, p99_seconds=None) | {"validity": None, "energy_reason": None}

    one = shape(tmp_path, old)
    assert phase_table(one, ORDER) is None
    assert surroundings_table(one) is None
    text = page.write(tmp_path / "run", figures=False).read_text(encoding="utf-8")
    assert "where a step goes" not in text
    assert "what surrounded it" not in text


def seen(load: float | None, memory: int | None, **card: Any) -> Surroundings:
    state = CARD.model_copy(update=card) if card else None
    return Surroundings(load_average=load, available_memory_bytes=memory, card=state)


def test_the_worst_that_was_seen_meanwhile_is_shown(tmp_path: Path) -> None:
    def validity(record: Record) -> dict[str, Any]:
        bitfit = record.cell.strategy == "bitfit"
        hot = {"temperature_celsius": 71, "sm_clock_mhz": 1305, "throttle_reasons": ["power cap"]}
        rounds = [
            seen(1.5, 8 * 2**30, temperature_celsius=60),
            seen(2.25, 6 * 2**30, **(hot if bitfit else {"sm_clock_mhz": 1700})),
        ]
        before, after = seen(0.5, 9 * 2**30, mig=False), seen(1.0, 9 * 2**30, mig=False)
        found = Validity(cores=16, threads=8, card_reason=None, before=before, after=after, rounds=rounds)
        return {"validity": found}

    found = surroundings_table(shape(tmp_path, validity))
    assert found is not None
    assert "8 threads" in found.caption
    assert "throttled or shared" not in found.caption
    titles = [column.title for column in found.columns[1:]]
    assert "utilisation" not in titles, "no column for what the card never told"
    rows = {name: dict(zip(titles, cells, strict=True)) for name, cells in texts(found).items()}
    assert list(rows) == ["before", "meanwhile", "after"]
    meanwhile = {title: text for title, (text, _) in rows["meanwhile"].items()}
    assert meanwhile == {
        "load average": "2.25",
        "available memory": "6 GiB",
        "clock": "1,305",
        "memory clock": "2,619",
        "temperature": "71",
        "throttled by": "power cap",
        "power": "115",
        "power limit": "700",
        "MIG": "off",
        "other processes": "0",
    }
    assert rows["before"]["throttled by"] == ("none", "")


@pytest.mark.parametrize(
    ("disturbed", "said", "counted"),
    [
        ([1, 3], "throttled or shared: 2, 4; ratios leave them out.", 3),
        ([0, 1, 2, 4], "shared: 1, 2, 3, 5; ratios hold them all the same, as fewer than two others remain.", 5),
    ],
)
def test_disturbed_rounds_are_named_and_in_no_ratio(
    disturbed: list[int], said: str, counted: int, tmp_path: Path
) -> None:
    def mark(record: Record) -> dict[str, Any]:
        assert record.cost is not None
        assert record.cost.validity is not None
        return {"validity": record.cost.validity.model_copy(update={"disturbed_rounds": disturbed})}

    one = shape(tmp_path, mark)
    table = surroundings_table(one)
    assert table is not None
    assert said in table.caption
    ratios = [cost.ratio.rounds for cost in shape_costs(one) if cost.ratio is not None]
    pair = aa_ratio(one)
    assert pair is not None
    assert [*ratios, pair.rounds] == [counted] * 3


def test_a_machine_that_tells_nothing_shows_no_figure(tmp_path: Path) -> None:
    nothing = seen(None, None)
    unknown = Validity(cores=None, card_reason="no card", before=nothing, after=nothing, rounds=[nothing])
    found = surroundings_table(shape(tmp_path, lambda _: {"validity": unknown}))
    assert found is not None
    assert [column.title for column in found.columns] == ["moment"]
    assert "No figures of a card: no card." in found.caption


@pytest.mark.parametrize("file", ["report.html", "report.md"])
def test_page_and_markdown_show_both_below_the_costs(file: str, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", PLAN)
    page.write(folder, figures=False)
    text = (folder / file).read_text(encoding="utf-8")
    shape_label = "16 \N{MULTIPLICATION SIGN} 64 tokens"
    places = [text.rindex(f"{shape_label}: {part}") for part in ("where a step goes", "what surrounded it")]
    assert text.index(shape_label) < places[0] < places[1] < text.rindex("Conditions")
