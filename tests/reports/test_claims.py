"""Published claims: a claim holds, fails or stays open as the interval says, in the direction of its metric."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from bench.record import CostCell, QualityCell, Record
from reports import content
from reports.claims import CLAIMS, Claim, claims_table
from reports.run import load
from reports.sentences import Marks
from reports.statistics import Difference, Interval
from reports.table import Cell
from synthetic_run import Plan, make_run

ORDER = Claim("first beats second", "bitfit", "frozen", None)
KEEPS = Claim("first keeps up", "bitfit", "full", None, margin=0.01)


def lead(low: float, high: float, n: int = 3) -> Difference:
    return Difference((low + high) / 2, Interval(low, high), n)


@pytest.mark.parametrize(
    ("claim", "found", "outcome"),
    [
        (ORDER, lead(0.001, 0.05), "holds"),
        (ORDER, lead(-0.05, -0.001), "fails"),
        (ORDER, lead(-0.01, 0.05), "undecided"),
        (ORDER, Difference(0.05, None, 1), "undecided"),
        (ORDER, lead(0.02, 0.02), "undecided"),
        (ORDER, lead(0.02, 0.02, n=5), "holds"),
        (KEEPS, lead(-0.009, 0.002), "holds"),
        (KEEPS, lead(-0.03, -0.011), "fails"),
        (KEEPS, lead(-0.02, 0.02), "undecided"),
    ],
)
def test_a_claim_is_decided_by_the_interval_and_its_margin(claim: Claim, found: Difference, outcome: str) -> None:
    assert claim.judge(found) == outcome


def rows(folder: Path) -> dict[str, Sequence[Cell]]:
    run = load(folder)
    table = claims_table(run.models[0], Marks(run.marks))
    return {} if table is None else {row[0].text: row[2:] for row in table.rows}


def outcomes(folder: Path) -> dict[str, list[str]]:
    return {text: [cell.text for cell in cells] for text, cells in rows(folder).items()}


def test_every_claim_is_told_for_every_task(tmp_path: Path) -> None:
    found = outcomes(make_run(tmp_path / "run", seeds=(0, 1, 2, 3, 4)))
    assert list(found) == [claim.text for claim in CLAIMS]
    # As the made-up levels have it: BitFit 2.2 and 1.6 points below full, 7 above random, its gap half of full's.
    assert found["BitFit keeps the score of full fine-tuning: at most 1 point below"] == ["fails", "undecided"]
    assert found["BitFit beats as many random parameters"] == ["holds", "holds"]
    assert found["The generalization gap of BitFit is smaller"] == ["holds", "holds"]


def test_a_claim_needs_both_of_its_strategies(tmp_path: Path) -> None:
    found = outcomes(make_run(tmp_path / "run", strategies=("full", "bitfit")))
    assert set(found) == {claim.text for claim in CLAIMS if {claim.first, claim.second} == {"full", "bitfit"}}
    assert not rows(make_run(tmp_path / "other", strategies=("full", "layernorm")))


def test_one_seed_decides_nothing(tmp_path: Path) -> None:
    found = rows(make_run(tmp_path / "run", seeds=(0,)))
    assert {cell.text for cells in found.values() for cell in cells} == {"undecided"}
    assert all(cell.note.endswith("one seed") for cells in found.values() for cell in cells)


def mirrored(record: Record) -> Record:
    """The same record in an error, of which less is better: its scores are turned about."""
    if record.quality is None:
        return record
    parts = {
        name: part.model_copy(update={"scores": {"mean_absolute_error": 1 - (part.scores["accuracy"] or 0)}})
        for name in ("evaluation", "selection", "train_sample")
        if (part := getattr(record.quality, name))
    }
    return record.model_copy(
        update={"quality": record.quality.model_copy(update=parts | {"headline": "mean_absolute_error"})}
    )


def test_an_error_turns_the_direction_and_has_no_margin_in_points(tmp_path: Path) -> None:
    seeds = (0, 1, 2, 3, 4)
    higher = outcomes(make_run(tmp_path / "score", seeds=seeds))
    lower = outcomes(make_run(tmp_path / "error", seeds=seeds, alter=mirrored))
    for claim in CLAIMS:
        assert lower[claim.text] == (["n/a"] * 2 if claim.margin else higher[claim.text])


def test_a_gap_is_larger_where_training_is_further_ahead_whatever_the_metric(tmp_path: Path) -> None:
    for name, alter in (("score", lambda record: record), ("error", mirrored)):
        found = load(make_run(tmp_path / name, seeds=(0, 1), alter=alter)).models[0].tasks[0].records
        assert all(record.quality is not None and (record.quality.gap or 0) > 0 for record in found)


def test_the_page_and_the_text_have_the_claims(tmp_path: Path) -> None:
    built = content.build(load(make_run(tmp_path / "run")))
    ((title, table),) = built.models[0].claims
    assert title == "Published claims, put to the test"
    assert len(table.rows) == len(CLAIMS)


@pytest.mark.parametrize(
    ("asked", "counts"), [({"match": "lora"}, False), ({"budget": 0.01}, False), ({"match": "bitfit"}, True)]
)
def test_a_random_subset_of_another_size_decides_no_claim(
    asked: dict[str, object], counts: bool, tmp_path: Path
) -> None:
    class Sized(Plan):
        @property
        def cells(self) -> list[QualityCell | CostCell]:
            return [
                cell.model_copy(update=asked) if cell.strategy == "random_uniform" else cell for cell in super().cells
            ]

    found = outcomes(make_run(tmp_path / "run", Sized(cost=False)))
    assert ("BitFit beats as many random parameters" in found) == counts
    assert ("A random subset beats a frozen encoder" in found) == counts
    assert "BitFit beats as many parameters in random rows and columns" in found
