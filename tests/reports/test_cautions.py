"""What a report warns of beside its figures: scores of few examples, step times of a machine that was not quiet."""

from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from scipy import stats

from bench.cell import CostCell, QualityCell
from bench.record import Record
from reports import formats, page, run, terminal
from reports.cautions import cautions
from reports.sentences import Marks
from reports.statistics import share_half_width
from reports.verdict import judge
from synthetic_run import Plan, failed, make_run

QUESTIONS = Plan(tasks=("questions",), strategies=("full", "bitfit"), cost=False)


def scored(examples: int, score: float | None, headline: str = "accuracy") -> Callable[[Record], Record]:
    """Gives every quality record this score on so many evaluation examples."""

    def alter(record: Record) -> Record:
        if record.quality is None:
            return record
        split = record.quality.evaluation.model_copy(update={"examples": examples, "scores": {headline: score}})
        splits = dict.fromkeys(("evaluation", "selection", "train_sample"), split)
        return record.model_copy(
            update={"quality": record.quality.model_copy(update={"headline": headline, **splits})}
        )

    return alter


def said(folder: Path) -> tuple[str, ...]:
    loaded = run.load(folder)
    return cautions(judge(loaded.models[0]), Marks(loaded.marks))


@pytest.mark.parametrize(
    ("examples", "score", "headline", "points"),
    [
        (20, 0.5, "accuracy", "20"),
        (20, 1.0, "accuracy", "8"),
        (370, 0.5, "accuracy", "5"),
        (390, 0.5, "accuracy", None),
        (150, 0.9, "accuracy", None),
        (1500, 0.0, "pearson", "5"),
        (1600, 0.0, "pearson", None),
        (20, 1.2, "f1", "8"),
        (20, None, "accuracy", None),
        (20, 0.5, "mean_absolute_error", None),
    ],
)
def test_a_score_of_few_examples_is_said_to_be_one(
    examples: int, score: float | None, headline: str, points: str | None, tmp_path: Path
) -> None:
    folder = make_run(tmp_path / "run", Plan(**vars(QUESTIONS) | {"alter": scored(examples, score, headline)}))
    found = said(folder)
    if points is None:
        assert found == ()
    else:
        (text,) = found
        assert text.startswith(
            f"questions is scored on {examples:,} examples: one score may lie up to {points} points"
        )


def ahead(points: float, headline: str) -> Callable[[Record], Record]:
    """Puts full fine-tuning so many points over the frozen encoder, give or take a point from seed to seed."""

    def alter(record: Record) -> Record:
        if record.quality is None or not isinstance(record.cell, QualityCell):
            return record
        seed, of_full = record.cell.seed, record.cell.strategy == "full"
        value = 0.5 + (points / 100 + (seed - 1) / 100) * of_full
        split = record.quality.evaluation.model_copy(update={"examples": 2000, "scores": {headline: value}})
        splits = dict.fromkeys(("evaluation", "selection", "train_sample"), split)
        changed = record.quality.model_copy(update={"headline": headline, **splits})
        return record.model_copy(update={"quality": changed})

    return alter


@pytest.mark.parametrize(
    ("points", "headline", "told"),
    [
        (20.0, "accuracy", False),
        (0.0, "accuracy", True),
        (-20.0, "accuracy", True),
        (20.0, "mean_absolute_error", True),
        (-20.0, "mean_absolute_error", False),
    ],
)
def test_where_a_frozen_encoder_does_as_well_nothing_was_learned(
    points: float, headline: str, told: bool, tmp_path: Path
) -> None:
    plan = {"strategies": ("full", "bitfit", "frozen"), "alter": ahead(points, headline)}
    found = said(make_run(tmp_path / "run", Plan(**vars(QUESTIONS) | plan)))
    assert [text.startswith("On questions training the encoder gains nothing") for text in found] == [True] * told
    alone = Plan(**vars(QUESTIONS) | plan | {"strategies": ("full", "bitfit")})
    assert said(make_run(tmp_path / "alone", alone)) == ()


@pytest.mark.parametrize(("steps", "told"), [(29, True), (30, False)])
def test_training_of_a_few_steps_is_said_to_tell_nothing_of_strategies(steps: int, told: bool, tmp_path: Path) -> None:
    def alter(record: Record) -> Record:
        found = record.quality and record.quality.model_copy(update={"steps": steps})
        return record.model_copy(update={"quality": found})

    found = said(make_run(tmp_path / "run", Plan(**vars(QUESTIONS) | {"alter": alter})))
    assert any("trained for 29 steps at most" in line for line in found) == told


def test_few_examples_are_said_once_beside_the_verdict(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", Plan(alter=scored(20, 0.8)))
    html = page.write(folder, figures=False).read_text(encoding="utf-8")
    assert html.count("questions is scored on 20 examples") == 1
    assert html.count("pos-synthetic † is scored on 20 examples") == 1
    assert html.index("is scored on 20 examples") < html.index("<table")
    assert (folder / "report.md").read_text(encoding="utf-8").count("**Caution:** questions is scored on") == 1
    out = StringIO()
    Console(file=out, width=400).print(terminal.verdict(folder))
    assert out.getvalue().count("questions is scored on 20 examples") == 1


@pytest.mark.parametrize(("right", "n"), [(0, 20), (10, 20), (20, 20), (277, 300)])
def test_the_width_is_that_of_wilsons_interval(right: int, n: int) -> None:
    expected = stats.binomtest(right, n).proportion_ci(method="wilson")
    assert share_half_width(right / n, n) == pytest.approx((expected.high - expected.low) / 2)


@pytest.mark.parametrize(("score", "lowest", "n"), [(0.5, 0, 381), (0.9, 0, 141), (1.0, 0, 35), (0.0, -1, 1533)])
def test_so_many_examples_are_enough_as_the_docs_have_it(score: float, lowest: int, n: int) -> None:
    """docs/measuring.md rounds these to 380, 140, 35 and 1,530."""
    span = 1 - lowest
    share = (score - lowest) / span
    assert span * share_half_width(share, n) <= 0.05 < span * share_half_width(share, n - 1)


def test_step_times_of_a_busy_machine_decide_nothing(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", Plan(quality=False, jitter=1.5, shapes=((16, 64), (32, 128))))
    found = judge(run.load(folder).models[0])
    ratios = [row.cost.ratio for row in found.rows if row.cost is not None and row.cost.ratio is not None]
    assert {ratio.verdict for ratio in ratios} <= {"below the noise", "undecided"}
    (text,) = said(folder)
    assert text.startswith("Step times at 16 \N{MULTIPLICATION SIGN} 64 tokens decide nothing in this run")
    assert f"noise floor of {formats.floor(found.floor or 0)}, above 50%" in text
    html = page.write(folder, figures=False).read_text(encoding="utf-8")
    assert f'<p class="caution">{text}</p>' in html
    assert "Step times at 32 \N{MULTIPLICATION SIGN} 128 tokens decide nothing" in html[html.index('id="cost"') :]
    assert said(make_run(tmp_path / "quiet", Plan(quality=False))) == ()


def too_large(record: Record) -> Record:
    """Has every step of 4,000,000 examples end for want of memory."""
    return failed(record) if isinstance(record.cell, CostCell) and record.cell.batch_size == 4_000_000 else record


def test_costs_are_of_the_first_shape_with_a_result_and_the_other_is_said_to_have_failed(tmp_path: Path) -> None:
    plan = Plan(strategies=("full", "bitfit"), shapes=((4_000_000, 64), (16, 64)), quality=False, alter=too_large)
    folder = make_run(tmp_path / "run", plan)
    (model,) = run.load(folder).models
    verdict = judge(model)
    assert verdict.shape is not None
    assert verdict.shape.startswith("16 ")
    assert verdict.floor is not None
    assert all(row.cost is not None and row.cost.median_seconds is not None for row in verdict.rows)
    (text,) = said(folder)
    assert text.startswith("No cell at 4000000 \N{MULTIPLICATION SIGN} 64 tokens has a result (3 out of memory): ")
    assert text in page.write(folder).read_text(encoding="utf-8")


def test_where_nothing_was_measured_the_first_shape_stands(tmp_path: Path) -> None:
    plan = Plan(strategies=("full", "bitfit"), shapes=((4_000_000, 64),), quality=False, alter=too_large)
    folder = make_run(tmp_path / "run", plan)
    (model,) = run.load(folder).models
    assert judge(model).shape is not None
    assert judge(model).floor is None
    assert said(folder) == ()
