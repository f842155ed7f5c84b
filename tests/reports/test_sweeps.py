"""Runs over several training-set sizes: grouped, judged, and written without one column group a size."""

import re
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from bench.record import Record
from reports import compare, page, run, terminal
from reports.run import Sweep
from reports.sweep import SweepRow, SweepVerdict, judge
from reports.sweep_sentences import sentences
from reports.sweep_table import sweep_table
from reports.verdict import judge as judge_model
from synthetic_run import ALL_EXAMPLES, Plan, failed, make_run

SIZES = (100, 300, 1000, None)
SWEEP = Plan(
    train_sizes=SIZES, tasks=("questions",), strategies=("full", "bitfit", "frozen"), seeds=(0, 1, 2, 3, 4), cost=False
)


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete run over four sizes, with its report."""
    folder = make_run(tmp_path_factory.mktemp("swept") / "run", SWEEP)
    page.write(folder)
    return folder


def only_sweep(folder: Path) -> Sweep:
    (sweep,) = run.load(folder).models[0].sweeps
    return sweep


def judged(folder: Path) -> SweepVerdict:
    return judge(only_sweep(folder), ["full"])


def row(folder: Path, strategy: str) -> SweepRow:
    return next(row for row in judged(folder).rows if row.strategy == strategy)


def words(folder: Path) -> dict[str, str]:
    return {row.strategy: text for row, text in sentences(judged(folder))}


def test_tasks_that_differ_in_size_alone_are_one_sweep_from_small_to_large(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", replace(SWEEP, train_sizes=(None, 1000, 100), seeds=(0,)))
    model = run.load(folder).models[0]
    assert [task.examples for task in only_sweep(folder).points] == [100, 1000, ALL_EXAMPLES]
    assert [task.name for task in model.measured] == [
        "questions with 100 examples",
        "questions with 1,000 examples",
        "questions with all 4,306 examples",
    ]
    assert [task.name for task in model.tasks] == ["questions with all 4,306 examples"]


def test_one_size_is_no_sweep(tmp_path: Path) -> None:
    model = run.load(make_run(tmp_path / "run", replace(SWEEP, train_sizes=(500,), seeds=(0,)))).models[0]
    assert not model.sweeps
    assert [task.name for task in model.tasks] == ["questions"]


def test_the_verdict_shows_the_largest_size_and_says_so(swept: Path) -> None:
    verdict = judge_model(run.load(swept).models[0])
    assert [list(row.scores) for row in verdict.rows] == [["questions with all 4,306 examples"]] * 3
    text = (swept / "report.html").read_text(encoding="utf-8")
    assert "on questions with all 4,306 examples" in text
    assert "of several training-set sizes the largest is shown" in text
    assert re.findall(r'scope="colgroup" colspan="\d">([^<]*)', text)[0] == "questions with all 4,306 examples"


def test_each_size_is_compared_with_full_fine_tuning_of_that_size(swept: Path) -> None:
    by_size = {
        strategy: {
            record.cell.train_examples: record.quality.headline_score
            for record in run.load(swept).records
            if record.cell.kind == "quality" and (record.cell.strategy, record.cell.seed) == (strategy, 2)
            if record.quality is not None
        }
        for strategy in ("full", "bitfit")
    }
    for size, score in zip(SIZES, row(swept, "bitfit").scores, strict=True):
        assert score is not None
        assert score.seeds[2] == by_size["bitfit"][size]
        assert score.difference is not None
        assert score.difference.n == 5
    full = row(swept, "full")
    assert [score is not None and score.is_reference for score in full.scores] == [True] * 4
    assert full.crossover is None


def test_the_crossover_is_where_the_made_up_curves_cross(swept: Path) -> None:
    # Full fine-tuning loses 2 points more a factor of e, and is 2.2 ahead at 1,000 examples: they cross at 333.
    crossed = row(swept, "bitfit").crossover
    assert crossed is not None
    assert crossed.closed
    assert crossed.starts_ahead
    assert crossed.size == pytest.approx(333, rel=0.3)
    assert re.fullmatch(
        r"ahead of full fine-tuning on small training sets, behind on large ones; they change places at \d+ "
        r"examples \(interval \d+\sto\s\d+\)\.",
        words(swept)["bitfit"],
    )
    assert words(swept)["frozen"] == (
        "behind full fine-tuning throughout, from 100 to 4,306 examples: no crossover in this range."
    )


def test_the_table_holds_every_size_once_for_score_difference_and_gap(swept: Path) -> None:
    table = sweep_table(judged(swept))
    assert table.groups[2:] == [("accuracy", 4), ("against full, 95% interval", 4), ("generalization gap", 4)]
    assert [column.title for column in table.columns[2:6]] == ["100", "300", "1,000", "4,306"]
    assert table.reference == 0


def test_the_page_has_a_section_with_three_figures(swept: Path) -> None:
    text = (swept / "report.html").read_text(encoding="utf-8")
    section = text[text.index('id="sweep-1"') : text.index('id="task-1"')]
    assert section.count("<figure>") == 3
    assert section.count("<table") == 1
    assert section.count("<li>") == 2
    for what in ("score", "difference", "gap"):
        assert (swept / "figures" / f"minilm-fp32-questions-{what}-against-size.png").exists()
    assert "## questions against training-set size" in (swept / "report.md").read_text(encoding="utf-8")


def test_the_terminal_says_where_they_cross(swept: Path) -> None:
    out = StringIO()
    Console(file=out, width=200).print(terminal.verdict(swept))
    assert "questions against training-set size" in out.getvalue()
    assert "BitFit: ahead of full fine-tuning on small training sets" in out.getvalue()


def test_comparisons_cover_every_size(swept: Path) -> None:
    out = StringIO()
    Console(file=out, width=300).print(compare.compare([swept, swept], [compare.parse_limit("accuracy=-1.0")]))
    assert "The very same in both runs: 12 of 12" in out.getvalue()


def test_one_seed_decides_nothing(tmp_path: Path) -> None:
    texts = words(make_run(tmp_path / "run", replace(SWEEP, seeds=(0,))))
    assert texts["bitfit"].startswith(
        "undecided, since one seed with a score at every size gives no interval; its mean"
    )


def test_what_failed_or_is_left_stays_in_the_table(tmp_path: Path) -> None:
    def alter(record: Record) -> Record | None:
        assert record.cell.kind == "quality"
        if record.cell.strategy != "bitfit":
            return record
        return {100: failed(record), 300: None}.get(record.cell.train_examples or 0, record)

    folder = make_run(tmp_path / "run", replace(SWEEP, alter=alter))
    table = sweep_table(judged(folder))
    bitfit = next(cells for cells in table.rows if cells[0].strategy == "bitfit")
    assert bitfit[2].note == "5\N{NO-BREAK SPACE}out\N{NO-BREAK SPACE}of\N{NO-BREAK SPACE}memory"
    assert bitfit[3].note == "5\N{NO-BREAK SPACE}outstanding"
    crossed = row(folder, "bitfit").crossover
    assert crossed is not None
    assert crossed.sizes == (1000, ALL_EXAMPLES)
    assert "100 examples" in page.write(folder, figures=False).read_text(encoding="utf-8")


def test_without_full_fine_tuning_there_is_nothing_to_cross(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", replace(SWEEP, strategies=("bitfit",)))
    assert words(folder)["bitfit"] == "nothing to compare with full fine-tuning at two sizes or more."
