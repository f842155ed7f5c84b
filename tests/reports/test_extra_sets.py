"""Extra sets in a report: a score, a gap to evaluation, and both against full fine-tuning, paired by seed."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from bench.record import Record
from bench.results import SplitScores
from reports import page
from reports.run import Task, load
from reports.table import Table
from reports.tables import extra_table
from synthetic_run import Plan, make_run

PLAN = Plan(extra={"tweets": 0.2}, tasks=("questions",), strategies=("full", "bitfit"), seeds=(0, 1, 2), cost=False)
EVALUATION = {"full": (0.90, 0.91, 0.92), "bitfit": (0.88, 0.89, 0.90)}
TWEETS = {"full": (0.70, 0.71, 0.72), "bitfit": (0.719, 0.730, 0.741)}


def fixed(record: Record) -> Record:
    """The record with scores that can be worked with by hand."""
    quality, cell = record.quality, record.cell
    if quality is None or cell.kind != "quality":
        return record

    def scores(table: Mapping[str, tuple[float, ...]]) -> SplitScores:
        return SplitScores(examples=500, loss=0.3, scores={"accuracy": table[cell.strategy][cell.seed], "f1": 0.25})

    changed = {"evaluation": scores(EVALUATION), "extra": {"tweets": scores(TWEETS)}}
    return record.model_copy(update={"quality": quality.model_copy(update=changed)})


def only_task(folder: Path) -> Task:
    (model,) = load(folder).models
    (task,) = model.tasks
    return task


def cells(table: Table | None) -> dict[str, list[tuple[str, str]]]:
    assert table is not None
    return {row[0].strategy: [(cell.text, cell.note) for cell in row[1:]] for row in table.rows}


def test_scores_and_gaps_are_paired_with_full_fine_tuning(tmp_path: Path) -> None:
    found = cells(extra_table(only_task(make_run(tmp_path / "run", replace(PLAN, alter=fixed)))))
    assert found["full"] == [("71.0", "± 1.0"), ("reference", ""), ("20.0", "± 0.0"), ("reference", "")]
    (score, spread), (against, interval), (gap, _), (less, _) = found["bitfit"]
    assert (score, spread) == ("73.0", "± 1.1")
    assert float(against) == 2.0
    assert "undecided" not in interval
    assert gap == "16.0"
    assert float(less.replace("\N{MINUS SIGN}", "-")) == -4.0


def test_a_set_is_judged_by_its_own_metric_where_it_has_one(tmp_path: Path) -> None:
    def alter(record: Record) -> Record:
        found = fixed(record)
        assert found.quality is not None
        own = found.quality.model_copy(update={"extra_headlines": {"tweets": "f1"}})
        return found.model_copy(update={"quality": own})

    folder = make_run(tmp_path / "run", replace(PLAN, alter=alter))
    table = extra_table(only_task(folder))
    assert table is not None
    assert [column.note for column in table.columns[1:2]] == ["F1"]
    assert cells(table)["bitfit"][0][0] == "25.0"
    assert cells(table)["bitfit"][2][0] == "0.0"


def test_a_task_without_extra_sets_has_no_such_table(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", replace(PLAN, extra={}))
    assert extra_table(only_task(folder)) is None
    assert "Beyond the evaluation split" not in page.write(folder, figures=False).read_text(encoding="utf-8")


@pytest.mark.parametrize("file", ["report.html", "report.md"])
def test_page_and_markdown_show_them(file: str, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", PLAN)
    page.write(folder, figures=False)
    text = (folder / file).read_text(encoding="utf-8")
    assert "Beyond the evaluation split" in text
    assert "tweets 1,000 examples" in text


def test_old_records_have_none(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", replace(PLAN, extra={}))
    path = folder / "records.jsonl"
    old = path.read_text(encoding="utf-8").replace(',"extra":{},"extra_headlines":{}', "")
    assert '"extra"' not in old
    path.write_text(old, encoding="utf-8")
    assert not load(folder).bad
    assert extra_table(only_task(folder)) is None
