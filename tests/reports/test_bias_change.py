"""Bias changes in a report: the numbers of the records, where they belong, and nothing where there are none."""

from pathlib import Path

import numpy as np
import pytest

from bench.record import Record
from reports import bias_change, page, run
from reports.run import Task
from reports.table import Table
from synthetic_run import BIASES, Plan, make_run


def task(folder: Path) -> Task:
    return run.load(folder).models[0].tasks[0]


def role_table(folder: Path) -> Table:
    found = bias_change.role_table(task(folder))
    assert found is not None
    return found


def changes(folder: Path, strategy: str, role: str, layer: int | None) -> list[float]:
    """The raw values of one bias on the first task, one a seed."""
    return [
        change.mean_absolute_change
        for record in task(folder).records
        if record.cell.strategy == strategy and record.quality is not None
        for change in record.quality.bias_change or ()
        if (change.role, change.layer) == (role, layer)
    ]


def test_a_grid_holds_the_means_over_seeds_where_they_belong(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", Plan(layers=3, tasks=("questions",), cost=False))
    grids = {grid.name: grid for grid in bias_change.grids(task(folder))}
    assert set(grids) == {"full fine-tuning", "BitFit", "bQ+b2", "LayerNorm"}
    bitfit = grids["BitFit"]
    assert bitfit.roles == tuple(BIASES["bitfit"])
    assert bitfit.layers == (0, 1, 2, None)
    for role, layer in (("query", 0), ("intermediate", 2), ("pooler", None)):
        value = bitfit.values[bitfit.roles.index(role), bitfit.layers.index(layer)]
        raw = changes(folder, "bitfit", role, layer)
        assert len(raw) == 3
        assert value == pytest.approx(1000 * np.mean(raw))
    absent = [(role, layer) for role, layer in (("query", None), ("pooler", 1))]
    assert all(np.isnan(bitfit.values[bitfit.roles.index(r), bitfit.layers.index(c)]) for r, c in absent)
    assert grids["bQ+b2"].layers == (0, 1, 2)


def test_the_table_has_the_mean_over_layers_of_every_role(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", Plan(layers=2, tasks=("questions",), seeds=(0,), cost=False))
    table = role_table(folder)
    titles = [column.title for column in table.columns]
    assert titles[:4] == ["strategy", "query", "key", "value"]
    row = next(row for row in table.rows if row[0].strategy == "bq_b2")
    expected = 1000 * np.mean([changes(folder, "bq_b2", "query", layer) for layer in range(2)])
    assert float(row[1].text) == pytest.approx(expected, rel=5e-3)
    assert row[1].note == "1 seed"
    assert row[2].text == "n/a"
    three = make_run(tmp_path / "three", Plan(layers=2, tasks=("questions",), cost=False))
    assert role_table(three).rows[0][1].note.startswith("\N{PLUS-MINUS SIGN} ")


@pytest.mark.parametrize("layers", [1, 6, 12, 24])
def test_a_panel_for_every_strategy_names_its_roles_and_layers(layers: int, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", Plan(layers=layers, tasks=("questions",), seeds=(0,), cost=False))
    shown = bias_change.grids(task(folder))
    figure = bias_change.heat_maps(shown, task(folder))
    panels = [axes for axes in figure.axes if axes.get_title(loc="left")]
    assert [axes.get_title(loc="left") for axes in panels] == [grid.name for grid in shown]
    for axes, grid in zip(panels, shown, strict=True):
        roles = [role.replace("_", " ") for role in grid.roles]
        assert [text.get_text() for text in axes.get_yticklabels()] == roles
        assert axes.get_xticklabels()[0].get_text() == "0"
    printed = sum(len(axes.texts) for axes in panels)
    known = sum(int(np.isfinite(grid.values).sum()) for grid in shown)
    assert printed == (known if layers < bias_change.PRINTED_COLUMNS else 0), "values stand where they fit"
    assert len(figure.axes) == len(panels) * (1 if printed else 2), "and a colour bar where they do not"


def test_biases_that_did_not_move_are_drawn(tmp_path: Path) -> None:
    def still(record: Record) -> Record:
        if record.quality is None or record.quality.bias_change is None:
            return record
        zero = [change.model_copy(update={"mean_absolute_change": 0.0}) for change in record.quality.bias_change]
        return record.model_copy(update={"quality": record.quality.model_copy(update={"bias_change": zero})})

    folder = make_run(tmp_path / "run", Plan(tasks=("questions",), cost=False, alter=still))
    page.write(folder, figures=False)
    assert role_table(folder).rows[0][1].text == "0"


def test_records_without_bias_changes_have_no_such_part(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", Plan(strategies=("frozen", "random_uniform"), cost=False))
    text = page.write(folder, figures=False).read_text(encoding="utf-8")
    assert "Bias change" not in text
