"""The search for learning rates in a report: what was chosen, what was tried, and what it cost."""

from pathlib import Path

import pytest

from bench.cell import Search
from bench.record import Record
from bench.results import Searched, Tried
from reports import content, page, run
from reports.table import Table
from synthetic_run import Plan, make_run

RATES = (1e-5, 1e-4, 1e-3)


def searched(record: Record, *, failed: float | None = None) -> Record:
    """The record with a search behind it that chose 1e-4; the rate `failed` diverged."""
    if record.quality is None or record.cell.strategy == "frozen":
        return record
    tried = [
        Tried(
            learning_rate=rate,
            seed=11,
            epochs=3.0,
            status="diverged" if rate == failed else "ok",
            reason="not finite" if rate == failed else None,
            selection_score=None if rate == failed else 0.9 - abs(rate - 1e-4),
            training_seconds=None if rate == failed else 20.0,
        )
        for rate in RATES
    ]
    found = Searched(learning_rate=1e-4, method="grid", tried=tried)
    return record.model_copy(update={"quality": record.quality.model_copy(update={"search": found})})


def table(folder: Path, name: str = "questions") -> Table:
    (model,) = content.build(run.load(folder)).models
    tables = dict(next(task for task in model.tasks if task.name == name).tables)
    return tables["Search for learning rates"]


def test_every_rate_tried_stands_in_the_report(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", Plan(alter=lambda record: searched(record, failed=1e-3)))
    found = table(folder)
    rows = {row[0].text: [cell.text for cell in row] for row in found.rows}
    assert rows["BitFit"][1:] == ["1e-4", "1e-5: 90.0; 1e-4: 90.0; 1e-3: diverged", "3", "9", "40 s"]
    assert rows["frozen"][1] == "1e-2"
    assert "a full grid" in found.caption
    assert "the same for every strategy" in found.caption
    text = page.write(folder, figures=False).read_text()
    assert "1e-3: diverged" in text


def test_an_unequal_budget_is_said(tmp_path: Path) -> None:
    def alter(record: Record) -> Record:
        found = searched(record)
        if record.cell.strategy != "full" or found.quality is None or found.quality.search is None:
            return found
        fewer = found.quality.search.model_copy(update={"tried": found.quality.search.tried[1:]})
        return found.model_copy(update={"quality": found.quality.model_copy(update={"search": fewer})})

    folder = make_run(tmp_path / "run", Plan(alter=alter))
    assert "NOT the same" in table(folder).caption


def test_a_search_at_every_size_of_a_sweep_is_shown(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", Plan(train_sizes=(100, 300), tasks=("questions",), alter=searched))
    text = page.write(folder, figures=False).read_text()
    assert "<h3>Search for learning rates, questions with 100 examples</h3>" in text
    assert text.count("<h3>Search for learning rates</h3>") == 1


def test_without_a_search_there_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        table(make_run(tmp_path / "run"))


def test_a_search_is_named_readably_in_keys() -> None:
    search = Search(rates=(1e-4, 1e-3), seeds=(11,))
    cell = Plan().cells[-1].model_copy(update={"learning_rate": search})
    assert 'learning_rate={"method": "grid", "rates": [0.0001, 0.001], "seeds": [11]}' in cell.key
