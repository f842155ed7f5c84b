"""A run folder as reports see it, and the verdict made from it."""

import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.record import CostCell, InputError, QualityCell, Record
from reports import compare, page, run
from reports.run import Model
from reports.sentences import Marks, sentences
from reports.tables import seeds_table
from reports.verdict import Row, Verdict, judge, shape_costs
from reports.verdict_table import verdict_table
from synthetic_run import Plan, cost_cell, failed, make_run, only, quality_cell


def verdict(folder: Path) -> Verdict:
    return judge(run.load(folder).models[0])


def row(found: Verdict, name: str) -> Row:
    return next(row for row in found.rows if row.name == name)


def words(folder: Path) -> dict[str, str]:
    loaded = run.load(folder)
    return {row.name: text for row, text in sentences(judge(loaded.models[0]), Marks(loaded.marks))}


def rescored(record: Record, score: float | None) -> Record:
    """The record with this headline score on every split."""
    if record.quality is None:
        return record
    quality = record.quality
    splits = {
        name: split.model_copy(update={"scores": dict.fromkeys(split.scores, score)})
        for name, split in (
            ("evaluation", quality.evaluation),
            ("selection", quality.selection),
            ("train_sample", quality.train_sample),
        )
    }
    return record.model_copy(update={"quality": quality.model_copy(update=splits)})


def test_a_run_knows_what_is_done_failed_and_outstanding(tmp_path: Path) -> None:
    def alter(record: Record) -> Record | None:
        if record.cell.strategy == "frozen":
            return None
        return failed(record) if record.cell.strategy == "layernorm" else record

    found = run.load(make_run(tmp_path / "run", Plan(alter=alter)))
    assert len(found.cells) == 50
    assert len(found.failed) == 7
    assert len(found.outstanding) == 7
    assert all("strategy=frozen" in key for key in found.outstanding)


def test_a_seed_that_drew_several_times_counts_once_by_the_mean_of_its_draws(tmp_path: Path) -> None:
    plan = Plan(strategies=("full", "random_uniform"), tasks=("questions",), seeds=(0, 1), draws=(5, 6, 7), cost=False)
    loaded = run.load(make_run(tmp_path / "run", plan))
    task = loaded.models[0].tasks[0]
    drawn = next(arm for arm in task.arms if arm.strategy == "random_uniform")
    assert len(drawn.results) == 6
    scores = [float(result.evaluation.scores["accuracy"] or 0) for seed, result in drawn.results if seed == 0]
    found = drawn.by_seed(lambda result: result.evaluation.scores["accuracy"])
    assert found.keys() == {0, 1}
    assert found[0] == pytest.approx(np.mean(scores))
    difference = row(judge(loaded.models[0]), "random_uniform").scores["questions"].difference
    assert difference is not None
    assert difference.n == 2
    table = seeds_table(task)
    assert "mean and standard deviation over its draws" in table.caption
    note = table.rows[1][1].note
    assert re.fullmatch(r"\N{PLUS-MINUS SIGN} [\d.]+, 3 draws; selection [\d.]+", note)
    assert f"{100 * np.std(scores, ddof=1):.1f}" in note
    plain = run.load(make_run(tmp_path / "plain", replace(plan, draws=())))
    assert "draws" not in seeds_table(plain.models[0].tasks[0]).caption


def test_a_retried_cell_counts_by_its_latest_record(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", Plan(strategies=("full", "bitfit"), alter=failed))
    again = make_run(tmp_path / "again", Plan(strategies=("full", "bitfit")))
    with (folder / "records.jsonl").open("a") as file:
        file.write((again / "records.jsonl").read_text())
    (folder / "arrays").mkdir()
    for path in (again / "arrays").iterdir():
        (folder / "arrays" / path.name).write_bytes(path.read_bytes())
    found = run.load(folder)
    assert len(found.records) == 15
    assert not found.failed


def test_a_damaged_line_is_told_of_and_the_rest_is_kept(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", Plan(strategies=("full",)))
    lines = (folder / "records.jsonl").read_text().splitlines()
    lines[2] = lines[2][:100]
    (folder / "records.jsonl").write_text("\n".join(lines))
    found = run.load(folder)
    assert [bad.number for bad in found.bad] == [3]
    assert len(found.records) == len(lines) - 1


def test_missing_raw_times_are_told_of_and_cost_only_the_ratio(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", Plan(strategies=("full", "bitfit"), quality=False))
    victim = next(record for record in run.load(folder).records if record.cell.strategy == "bitfit")
    assert victim.sidecar is not None
    (folder / victim.sidecar.path).unlink()
    found = run.load(folder)
    cost = row(judge(found.models[0]), "bitfit").cost
    assert len(found.unreadable) == 1
    assert cost is not None
    assert cost.ratio is None
    assert cost.why is not None
    assert cost.peak_bytes is not None


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a run folder"):
        run.load(tmp_path)


def test_full_fine_tuning_comes_first_and_then_the_best(tmp_path: Path) -> None:
    found = verdict(make_run(tmp_path / "run", Plan(noise=0.001)))
    assert [row.name for row in found.rows][:2] == ["full", "layernorm"]
    assert found.rows[-1].name == "frozen"
    assert found.rows[0].is_reference


def test_numbers_of_a_row_are_those_of_its_records(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    loaded = run.load(folder)
    bitfit = row(judge(loaded.models[0]), "bitfit")
    scores = {
        record.cell.seed: record.quality.headline_score
        for record in loaded.records
        if record.cell.kind == "quality" and record.cell.strategy == "bitfit" and record.cell.task == "questions"
        if record.quality is not None
    }
    assert dict(bitfit.scores["questions"].seeds) == scores
    assert bitfit.trainable == 26_112
    assert bitfit.trainable_fraction == pytest.approx(26_112 / 22_713_216)
    assert bitfit.delta_bytes == 4 * (26_112 + 6_545) + 3_000
    assert bitfit.cost is not None
    assert bitfit.cost.ratio is not None
    assert bitfit.cost.ratio.value == pytest.approx(0.66, rel=0.02)
    assert bitfit.cost.ratio.verdict == "faster"
    assert bitfit.cost.memory_ratio == pytest.approx(0.60, rel=0.001)


def test_an_equally_fast_strategy_is_below_the_noise(tmp_path: Path) -> None:
    def alter(record: Record) -> Record | None:
        return record if record.cost is not None else None

    found = verdict(make_run(tmp_path / "run", Plan(strategies=("full", "bitfit"), alter=alter, jitter=0.4)))
    assert found.floor is not None
    assert found.floor > 0.05
    cost = row(found, "bitfit").cost
    assert cost is not None
    assert cost.ratio is not None
    assert found.floor > abs(math.log(cost.ratio.value))
    assert cost.ratio.verdict == "below the noise"


def test_times_of_different_groups_are_never_divided(tmp_path: Path) -> None:
    def alter(record: Record) -> Record | None:
        if record.cost is None or record.cell.strategy == "full":
            return record
        return record.model_copy(update={"cost": record.cost.model_copy(update={"group": "another sitting"})})

    cost = row(verdict(make_run(tmp_path / "run", Plan(alter=alter))), "bitfit").cost
    assert cost is not None
    assert cost.ratio is None
    assert cost.why == "full fine-tuning was not timed in the same rounds"


def test_attention_and_checkpointing_make_groups_of_their_own_each_against_its_own_full(tmp_path: Path) -> None:
    asked: tuple[dict[str, object], ...] = ({}, {"attention": "eager"}, {"gradient_checkpointing": True})
    folder = make_run(tmp_path / "run", quality=False, strategies=("full", "bitfit"), asked=asked)
    (model,) = run.load(folder).models
    shape = "16 \N{MULTIPLICATION SIGN} 64 tokens"
    assert [found.label for found in model.shapes] == [shape, f"{shape}, eager attention", f"{shape}, checkpointing"]
    medians = []
    for found in model.shapes:
        full, bitfit, again = shape_costs(found)
        assert again.timed.cell.replicate == 1
        assert full.median_seconds is not None
        assert bitfit.ratio is not None
        assert bitfit.ratio.value == pytest.approx(0.62, rel=0.1), "of full fine-tuning of the same sort"
        medians.append(full.median_seconds)
    assert medians[2] == pytest.approx(medians[0] * 4 / 3, rel=0.1)
    text = page.write(folder).read_text(encoding="utf-8")
    assert f"{shape}, checkpointing" in text
    assert "what it computes again" in text
    limits = [compare.parse_limit("step_ratio=+5%")]
    places = {change.place.where for change in compare.compare([folder, folder], limits).sides[0].changes}
    assert len({where for where in places if "tokens" in where}) == 3


def test_a_failed_audit_keeps_its_scores_out(tmp_path: Path) -> None:
    def alter(record: Record) -> Record:
        if record.cell.strategy != "bitfit" or record.quality is None:
            return record
        return record.model_copy(update={"status": "audit_failed", "reason": "an embedding changed"})

    bitfit = row(verdict(make_run(tmp_path / "run", Plan(alter=alter))), "bitfit")
    assert bitfit.scores["questions"].summary is None
    assert dict(bitfit.scores["questions"].failed) == {"audit_failed": 3}


def test_settings_tell_several_runs_of_one_strategy_apart(tmp_path: Path) -> None:
    class Swept(Plan):
        @property
        def cells(self) -> list:  # type: ignore[type-arg]
            first = [quality_cell(self, "minilm", "questions", name, 0) for name in ("full", "bitfit")]
            faster = [cell.model_copy(update={"learning_rate": 1e-2}) for cell in first]
            shorter = [cell.model_copy(update={"max_length": 64}) for cell in first]
            return [*first, *faster, *shorter]

    tasks = run.load(make_run(tmp_path / "run", Swept())).models[0].tasks
    names = {task.name: [arm.name for arm in task.arms] for task in tasks}
    assert set(names) == {"questions [max_length=128]", "questions [max_length=64]"}
    assert "bitfit [learning_rate=0.003]" in names["questions [max_length=128]"]
    assert names["questions [max_length=64]"] == ["full", "bitfit"]


def test_of_several_full_settings_the_best_on_selection_is_the_reference(tmp_path: Path) -> None:
    class Swept(Plan):
        @property
        def cells(self) -> list:  # type: ignore[type-arg]
            full = quality_cell(self, "minilm", "questions", "full", 0)
            return [full.model_copy(update={"learning_rate": rate}) for rate in (1e-5, 1e-4, 1e-3)]

    def alter(record: Record) -> Record:
        assert isinstance(record.cell, QualityCell)
        assert isinstance(record.cell.learning_rate, float)
        # The evaluation split disagrees with the selection split, and must not be asked.
        chosen = rescored(record, {1e-5: 0.5, 1e-4: 0.9, 1e-3: 0.7}[record.cell.learning_rate])
        assert chosen.quality is not None
        upside_down = chosen.quality.evaluation.model_copy(
            update={"scores": {"accuracy": 1 - (chosen.quality.selection.scores["accuracy"] or 0)}}
        )
        return chosen.model_copy(update={"quality": chosen.quality.model_copy(update={"evaluation": upside_down})})

    found = verdict(make_run(tmp_path / "run", Swept(alter=alter)))
    references = [row.name for row in found.rows if next(iter(row.scores.values())).is_reference]
    assert references == ["full [learning_rate=0.0001]"]


def test_models_and_precisions_are_judged_apart(tmp_path: Path) -> None:
    class Mixed(Plan):
        @property
        def cells(self) -> list:  # type: ignore[type-arg]
            cell = cost_cell(self, "bert-base", "full", 8, 32, 0)
            return [cell, cell.model_copy(update={"precision": "bf16"}), *Plan(cost=False, seeds=(0,)).cells]

    models: tuple[Model, ...] = run.load(make_run(tmp_path / "run", Mixed())).models
    assert [(m.name, m.precision) for m in models] == [
        ("bert-base", "fp32"),
        ("bert-base", "bf16"),
        ("minilm", "fp32"),
    ]


def test_sentences_say_what_is_decided_and_what_is_not(tmp_path: Path) -> None:
    texts = words(make_run(tmp_path / "run"))
    assert "points below full fine-tuning on questions (interval" in texts["bitfit"]
    assert "of its step time" in texts["bitfit"]
    assert "0.60 of its memory" in texts["bitfit"]
    assert "0.11% of the encoder's parameters" in texts["bitfit"]
    assert "synthetic data" in texts["bitfit"]
    assert texts["full"].startswith("the reference")
    undecided = [text for text in texts.values() if "Undecided, since the interval includes 0" in text]
    assert len(undecided) == 1
    assert "LayerNorm" not in texts["layernorm"]


def test_one_seed_never_makes_a_claim(tmp_path: Path) -> None:
    texts = words(make_run(tmp_path / "run", Plan(seeds=(0,))))
    assert "one shared seed gives no interval" in texts["frozen"]
    assert "(interval" not in texts["frozen"]


def test_equal_scores_are_no_difference(tmp_path: Path) -> None:
    texts = words(make_run(tmp_path / "run", Plan(alter=lambda record: rescored(record, 0.5))))
    assert "Undecided, since the interval includes 0: equal to full fine-tuning on questions" in texts["bitfit"]


def test_a_score_that_does_not_exist_is_said_so(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", Plan(alter=lambda record: rescored(record, None)))
    assert "The metric is undefined for what it predicts on questions" in words(folder)["bitfit"]
    score = row(verdict(folder), "bitfit").scores["questions"]
    assert score.summary is None
    assert score.difference is None


def test_failures_and_what_is_left_are_in_words(tmp_path: Path) -> None:
    def alter(record: Record) -> Record | None:
        return failed(record) if record.cell.strategy == "bitfit" else only(("full",))(record)

    texts = words(make_run(tmp_path / "run", Plan(alter=alter)))
    assert "Cells that failed: 3 on questions (out of memory)" in texts["bitfit"]
    assert "The cost cell failed (out of memory)" in texts["bitfit"]
    assert "Cells still to run: 3 on questions" in texts["frozen"]


def test_a_lower_score_can_be_the_better_one(tmp_path: Path) -> None:
    def alter(record: Record) -> Record:
        if record.quality is None:
            return record
        assert record.cell.kind == "quality"
        full = record.cell.strategy == "full"
        error = (0.5 if full else 0.3) + (0.001 if full else 0.002) * record.cell.seed**2
        quality = rescored(record, error).quality
        assert quality is not None
        named = {
            name: getattr(quality, name).model_copy(update={"scores": {"mean_absolute_error": error}})
            for name in ("evaluation", "selection", "train_sample")
        }
        changed = quality.model_copy(update=named | {"headline": "mean_absolute_error"})
        return record.model_copy(update={"quality": changed})

    texts = words(make_run(tmp_path / "run", Plan(strategies=("full", "bitfit"), tasks=("ratings",), alter=alter)))
    assert "0.198 below full fine-tuning on ratings (better; interval 0.193\xa0to\xa00.204)" in texts["bitfit"]


def test_a_few_seeds_that_agree_to_the_last_digit_decide_nothing(tmp_path: Path) -> None:
    def alter(record: Record) -> Record:
        scored = rescored(record, 0.5 if record.cell.strategy == "full" else 0.3)
        assert scored.quality is not None
        named = {
            name: getattr(scored.quality, name).model_copy(update={"scores": {"mean_absolute_error": score}})
            for name in ("evaluation", "selection", "train_sample")
            for score in scored.quality.evaluation.scores.values()
        }
        changed = scored.quality.model_copy(update=named | {"headline": "mean_absolute_error"})
        return record.model_copy(update={"quality": changed})

    plan = Plan(strategies=("full", "bitfit"), tasks=("ratings",), cost=False, alter=alter)
    assert (
        "Undecided, since so few seeds may agree by chance: 0.200 below"
        in words(make_run(tmp_path / "run", plan))["bitfit"]
    )


def test_the_caption_says_of_which_shape_costs_are_and_what_sizes_were_asked_for(tmp_path: Path) -> None:
    def smaller(record: Record) -> Record:
        if record.quality is None or record.cell.strategy != "random_uniform":
            return record
        counts = record.quality.counts.model_copy(update={"budget": 2 * record.quality.counts.encoder_trainable})
        return record.model_copy(update={"quality": record.quality.model_copy(update={"counts": counts})})

    class Matched(Plan):
        @property
        def cells(self) -> list[QualityCell | CostCell]:
            matched = {"match": "bitfit"}
            return [
                cell.model_copy(update=matched) if cell.strategy == "random_uniform" else cell
                for cell in super().cells
            ]

    plain = run.load(make_run(tmp_path / "plain", Plan()))
    caption = verdict_table(judge(plain.models[0]), Marks(plain.marks)).caption
    assert "costs are of" not in caption
    assert "sizes that can be chosen" not in caption
    two = run.load(make_run(tmp_path / "two", Matched(shapes=((16, 64), (2, 8)), alter=smaller)))
    caption = verdict_table(judge(two.models[0]), Marks(two.marks)).caption
    assert "costs are of one step at 16 \N{MULTIPLICATION SIGN} 64 tokens; others have their section (2" in caption
    assert "sizes that can be chosen are that of BitFit (random uniform has 50% of it)" in caption


def test_the_caption_says_what_sizes_were_asked_of_costs_alone(tmp_path: Path) -> None:
    loaded = run.load(make_run(tmp_path / "run", Plan(quality=False, asked=({"match": "bitfit"},))))
    caption = verdict_table(judge(loaded.models[0]), Marks(loaded.marks)).caption
    assert "sizes that can be chosen are that of BitFit" in caption
