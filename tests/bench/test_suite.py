"""Suites: strict files, resolved cells, and what the command line may change."""

import hashlib
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench import encoders, overrides, suite
from bench.cell import CostCell, QualityCell
from bench.errors import InputError
from strategies.errors import StrategyError

TEXT = """
name = "mine"
description = "a test"
[quality]
models = ["minilm"]
tasks = ["questions", "pos-synthetic"]
strategies = ["full", "bitfit", "random_uniform"]
seeds = [0, 1]
epochs = 2
batch_size = 8
[quality.learning_rate]
full = 1e-4
bitfit = 1e-3
random_uniform = 2e-3
[quality.task.pos-synthetic]
epochs = 3
learning_rate = {bitfit = 5e-3}
[[cost]]
models = ["minilm"]
strategies = ["bitfit"]
shapes = [[4, 16]]
[[cost]]
when = "accelerator"
models = ["bert-base"]
strategies = ["bitfit"]
shapes = [[32, 128]]
"""


def with_sizes(sizes: str) -> tuple[str, str]:
    return "epochs = 2\n", f"epochs = 2\ntrain_sizes = {sizes}\n"


def quality_cells(chosen: suite.Suite) -> list[QualityCell]:
    return [cell for cell in chosen.cells(accelerator=False) if isinstance(cell, QualityCell)]


def test_the_matrix_is_every_combination_with_seeds_outermost() -> None:
    cells = quality_cells(suite.parse(TEXT, "here"))
    assert len(cells) == 2 * 3 * 2
    assert [cell.seed for cell in cells] == [0] * 6 + [1] * 6


def test_a_task_overrides_settings_and_single_rates() -> None:
    cells = {(c.task, c.strategy): c for c in quality_cells(suite.parse(TEXT, "here"))}
    assert cells["questions", "bitfit"].epochs == 2
    assert cells["pos-synthetic", "bitfit"].epochs == 3
    assert cells["pos-synthetic", "bitfit"].learning_rate == 5e-3
    assert cells["pos-synthetic", "full"].learning_rate == 1e-4


def test_mask_seeds_follow_the_seed_for_random_strategies_only() -> None:
    cells = quality_cells(suite.parse(TEXT, "here"))
    assert {c.mask_seed for c in cells if c.strategy == "random_uniform" and c.seed == 1} == {1}
    assert {c.mask_seed for c in cells if c.strategy != "random_uniform"} == {0}


def test_the_embedded_encoder_is_pooled_by_its_mean() -> None:
    assert {cell.pooling for cell in quality_cells(suite.parse(TEXT, "here"))} == {"mean"}


def test_full_fine_tuning_is_timed_twice_and_more_is_measured_on_an_accelerator() -> None:
    chosen = suite.parse(TEXT, "here")
    here = [c for c in chosen.cells(accelerator=False) if isinstance(c, CostCell)]
    assert [(c.strategy, c.replicate) for c in here] == [("full", 0), ("bitfit", 0), ("full", 1)]
    there = [c for c in chosen.cells(accelerator=True) if isinstance(c, CostCell)]
    assert {(c.model, c.batch_size, c.length) for c in there} == {("minilm", 4, 16), ("bert-base", 32, 128)}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("epochs = 2", "epoch = 2"), "unknown key 'quality.epoch'; did you mean 'epochs'?"),
        (("seeds = [0, 1]", "seeds = []"), "quality.seeds"),
        (("batch_size = 8", "batch_size = -8"), "quality.batch_size"),
        (("batch_size = 8\n", ""), "sets no batch_size"),
        (('name = "mine"', 'name = "mine'), "is not TOML"),
        (('"questions"', '"question"'), "questions"),
        (("full = 1e-4\n", ""), "no learning rate for strategy 'full'"),
        (("epochs = 2\n", ""), "sets no epochs or steps; set in [quality] what is missing, or --epochs or --steps"),
        (("epochs = 2\n", "epochs = 2\nsteps = 9\n"), "quality: set either epochs or steps, not both"),
        (("epochs = 2\n", "epochs = 2\nsteps = 0\n"), "quality.steps"),
        (("epochs = 3", "epochs = 3\nsteps = 9"), "quality.task.pos-synthetic: set either epochs or steps"),
        (with_sizes('[10, "al"]'), "'al' is no training-set size"),
        (with_sizes("[10, 0]"), "quality.train_sizes.1: 0 is no training-set size"),
        (with_sizes("[10, 20.5]"), "20.5 is no training-set size"),
        (with_sizes("[10, true]"), "True is no training-set size"),
        (with_sizes("[10, 20, 10]"), "are not two or more different sizes"),
        (with_sizes("[10]"), "for a single one write train_examples"),
        (with_sizes("[10, 20]\ntrain_examples = 30"), "set either train_examples or train_sizes, not both"),
    ],
)
def test_what_is_wrong_with_a_suite_is_said(change: tuple[str, str], said: str) -> None:
    with pytest.raises(InputError, match=r"\S") as caught:
        suite.parse(TEXT.replace(*change), "here").cells(accelerator=False)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_strategy_is_named_with_the_nearest() -> None:
    with pytest.raises(StrategyError, match="did you mean 'bitfit'"):
        suite.parse(TEXT.replace('"bitfit"', '"bitfitt"', 1), "here")


@pytest.mark.parametrize("name", suite.available())
def test_every_suite_of_the_program_resolves(name: str) -> None:
    chosen = suite.load(name)
    cells = chosen.cells(accelerator=True)
    assert chosen.name == name
    assert len({cell.key for cell in cells}) == len(cells) > 0


def test_the_default_suite_is_what_it_says() -> None:
    cells = quality_cells(suite.load("embedded"))
    assert {cell.task for cell in cells} == {"questions", "pos-synthetic"}
    assert len({cell.strategy for cell in cells}) == 7
    assert len({cell.seed for cell in cells}) == 3
    assert len(cells) == 42


def test_unknown_suites_and_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'embedded'"):
        suite.load("embeded")
    with pytest.raises(InputError, match="cannot read the suite"):
        suite.load(str(tmp_path / "none.toml"))


def test_a_byte_order_mark_and_line_ends_change_nothing(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xef\xbb\xbf" + TEXT.replace("\n", "\r\n").encode())
    assert suite.load(str(path)) == suite.parse(TEXT, "here")


@pytest.mark.parametrize("value", ["1" * 5_000, "[" * 100_000])
def test_toml_that_cannot_be_read_is_one_line(value: str) -> None:
    with pytest.raises(InputError, match=r"^here is not TOML: ") as caught:
        suite.parse(f"{TEXT}\nmore = {value}", "here")
    assert "\n" not in str(caught.value)


def test_one_strategy_under_two_names_is_refused() -> None:
    said = "'bq_b2' and 'bitfit:query+intermediate' are two names of one strategy"
    names = '["bq_b2", "bitfit:intermediate+query"]'
    for old in ('["full", "bitfit", "random_uniform"]', '["bitfit"]\nshapes'):
        with pytest.raises(InputError, match=re.escape(said)):
            suite.parse(TEXT.replace(old, names + old.partition("]")[2], 1), "here")
    with pytest.raises(InputError, match=re.escape(said)):
        changed(quality={"strategies": ["bq_b2", "bitfit:query+intermediate"]})


def changed(**options: Any) -> suite.Suite:
    base: dict[str, Any] = {"skip": None, "quality": {}, "cost": {}, "rates": None}
    return overrides.apply(suite.parse(TEXT, "here"), **base | options)


def test_settings_of_the_command_line_beat_those_of_a_task() -> None:
    cells = quality_cells(changed(quality={"epochs": 1.0, "tasks": ["pos-synthetic"]}, rates=["bitfit=7e-3"]))
    assert {cell.epochs for cell in cells} == {1.0}
    assert {cell.task for cell in cells} == {"pos-synthetic"}
    assert {cell.learning_rate for cell in cells if cell.strategy == "bitfit"} == {7e-3}
    assert {cell.learning_rate for cell in cells if cell.strategy == "full"} == {1e-4}


def test_a_rate_of_the_command_line_beats_what_a_file_says_of_an_argument_of_its_strategy() -> None:
    text = TEXT.replace('"bitfit", "random_uniform"]\nseeds', '"bitfit:query", "random_uniform"]\nseeds')
    text = text.replace("bitfit = 1e-3", '"bitfit:query" = 1e-3').replace("{bitfit = 5e-3}", '{"bitfit:query" = 5e-3}')
    base: dict[str, Any] = {"skip": None, "quality": {}, "cost": {}}
    for given in ("bitfit", "bitfit:query"):
        found = quality_cells(overrides.apply(suite.parse(text, "here"), rates=[f"{given}=7e-3"], **base))
        assert {cell.learning_rate for cell in found if cell.strategy == "bitfit:query"} == {7e-3}


def test_a_bare_rate_holds_for_every_strategy() -> None:
    assert {cell.learning_rate for cell in quality_cells(changed(rates=["2e-5"]))} == {2e-5}


def test_a_rate_for_a_strategy_that_is_not_in_the_run_is_refused() -> None:
    with pytest.raises(InputError, match=r"no strategy 'layernorm', but full, bitfit, random_uniform$"):
        changed(rates=["layernorm=1e-3"])
    with pytest.raises(InputError, match=r"no strategy 'full', but bitfit:query$"):
        changed(quality={"strategies": ["bitfit:query"]}, rates=["full=1e-3"])
    stem = changed(quality={"strategies": ["bitfit:query"]}, rates=["bitfit=3e-3"])
    assert {cell.learning_rate for cell in quality_cells(stem)} == {3e-3}
    with pytest.raises(InputError, match="no quality cells, so learning_rate cannot be set"):
        changed(skip="quality", rates=["bitfit=1e-3"])


def test_mask_seeds_of_a_suite_are_drawn_at_every_seed_of_what_draws() -> None:
    text = TEXT.replace("[quality]\n", "[quality]\nmask_seeds = [5, 6]\n")
    cells = [c for c in suite.parse(text, "here").cells(accelerator=False) if isinstance(c, QualityCell)]
    drawn = {(c.seed, c.mask_seed) for c in cells if c.strategy == "random_uniform"}
    assert drawn == {(seed, mask) for seed in {c.seed for c in cells} for mask in (5, 6)}
    assert {c.mask_seed for c in cells if c.strategy != "random_uniform"} == {0}
    same = overrides.apply(
        suite.parse(TEXT, "here"), skip="cost", quality={"mask_seeds": [5, 6]}, cost={}, rates=None
    ).cells(accelerator=False)
    assert {c.key for c in same} == {c.key for c in cells}
    with pytest.raises(InputError, match=r"mask_seeds: .*holds a value twice"):
        suite.parse(text.replace("[5, 6]", "[5, 5]"), "here")
    with pytest.raises(InputError, match="write --mask-seeds 0,1,2 or"):
        overrides.parse_seeds("x", "--mask-seeds")


def test_all_strategies_without_a_rate_are_named_at_once_and_narrow_storage_needs_none_of_its_own() -> None:
    names = ["full", "bitfit+bf16", "bitfit:query+int8", "ia3", "prompt:3"]
    lacking = changed(skip="cost", quality={"strategies": names}, rates=None)
    said = r"strategies 'ia3', 'prompt:3'; set --learning-rate ia3=1e-3 --learning-rate prompt:3=1e-3$"
    with pytest.raises(InputError, match=said):
        lacking.cells(accelerator=False)
    rated = changed(skip="cost", quality={"strategies": names[:3]}, rates=["bitfit:query=5e-3"])
    assert {cell.strategy: cell.learning_rate for cell in quality_cells(rated) if cell.task == "questions"} == {
        "full": 1e-4,
        "bitfit+bf16": 1e-3,
        "bitfit:query+int8": 5e-3,
    }
    assert "bitfit:query 0.005" in overrides.settings_of(rated)


def test_seeds_are_bounded() -> None:
    assert overrides.parse_seeds("0-999") == list(range(1000))
    assert overrides.parse_seeds("3,0-4,2") == [3, 0, 1, 2, 4]
    for text in ("0-1000", "0-99999999999", "0-600,700-1200", "5-5000"):
        with pytest.raises(InputError, match="more than 1000 seeds"):
            overrides.parse_seeds(text)
    with pytest.raises(InputError, match="is neither a number nor a range"):
        overrides.parse_seeds("1" * 5_000)
    with pytest.raises(InputError, match="is neither a number nor 'all'"):
        overrides.parse_sizes("1" * 5_000)


def test_cells_of_one_kind_can_be_left_out() -> None:
    assert {c.kind for c in changed(skip="cost").cells(accelerator=False)} == {"quality"}
    assert {c.kind for c in changed(skip="quality").cells(accelerator=False)} == {"cost"}


def test_what_is_asked_for_reaches_cost_cells_too() -> None:
    chosen = changed(quality={"strategies": ["full"]}, cost={"strategies": ["layernorm"], "precision": "bf16"})
    costs = [c for c in chosen.cells(accelerator=False) if isinstance(c, CostCell)]
    assert {c.strategy for c in costs} == {"full", "layernorm"}
    assert {c.precision for c in costs} == {"bf16"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rates": ["bitfit=fast"]}, "'fast' is no positive number"),
        ({"rates": ["-1"]}, "'-1' is no positive number"),
        ({"skip": "all"}, "neither 'cost' nor 'quality'"),
        ({"cost": {"precision": "fp8"}}, "precision"),
    ],
)
def test_what_is_wrong_on_the_command_line_is_said(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        changed(**options)


def sizes(cells: list[QualityCell], task: str) -> list[int | None]:
    return list(dict.fromkeys(cell.train_examples for cell in cells if cell.task == task))


def test_training_set_sizes_multiply_the_cells_of_a_seed() -> None:
    cells = quality_cells(suite.parse(TEXT.replace(*with_sizes('[10, 40, "all"]')), "here"))
    assert len(cells) == 3 * 12
    assert [cell.seed for cell in cells] == [0] * 18 + [1] * 18
    assert sizes(cells, "questions") == sizes(cells, "pos-synthetic") == [10, 40, None]
    assert [cell.strategy for cell in cells[:3]] == ["full", "bitfit", "random_uniform"]


def test_a_task_may_have_its_own_sizes_a_single_one_or_a_number_of_steps() -> None:
    own = TEXT.replace(*with_sizes('[10, "all"]')).replace("epochs = 3\n", "steps = 7\ntrain_examples = 25\n")
    cells = quality_cells(suite.parse(own, "here"))
    assert sizes(cells, "questions") == [10, None]
    assert sizes(cells, "pos-synthetic") == [25]
    assert {(cell.task, cell.epochs, cell.steps) for cell in cells} == {
        ("questions", 2, None),
        ("pos-synthetic", None, 7),
    }


def test_steps_and_sizes_of_the_command_line_put_away_their_alternatives() -> None:
    stepped = quality_cells(changed(quality={"steps": 50, "train_sizes": overrides.parse_sizes("10,all")}))
    assert {(cell.epochs, cell.steps) for cell in stepped} == {(None, 50)}
    assert sizes(stepped, "questions") == sizes(stepped, "pos-synthetic") == [10, None]
    swept = suite.parse(TEXT.replace(*with_sizes("[10, 20]")), "here")
    single = overrides.apply(swept, skip=None, quality={"train_examples": 5, "epochs": 1.0}, cost={}, rates=None)
    assert {(cell.train_examples, cell.epochs) for cell in quality_cells(single)} == {(5, 1.0)}
    with pytest.raises(InputError, match="set either epochs or steps, not both"):
        changed(quality={"epochs": 1.0, "steps": 5})


def test_sizes_are_numbers_and_all() -> None:
    assert overrides.parse_sizes("100, 300,all") == [100, 300, "all"]
    assert overrides.parse_sizes(None) is None
    for wrong in ("a", "1.5", "-1", "1,,2"):
        with pytest.raises(InputError, match=r"size|empty"):
            overrides.parse_sizes(wrong)


def test_seeds_are_lists_and_ranges() -> None:
    assert overrides.parse_seeds("0,4-6,5") == [0, 4, 5, 6]
    assert overrides.parse_seeds(None) is None
    for wrong in ("a", "3-1", "-1", "1,,2"):
        with pytest.raises(InputError, match=r"seed|empty"):
            overrides.parse_seeds(wrong)


def test_model_folders_go_by_their_own_name(tmp_path: Path) -> None:
    for name in ("one/tiny", "two/tiny"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.json").write_text("{}")
    names, folders = overrides.model_folders(["minilm", str(tmp_path / "one/tiny")])
    assert names == ["minilm", "tiny"]
    assert folders == {"tiny": (tmp_path / "one/tiny").resolve()}
    with pytest.raises(InputError, match="two model folders are called 'tiny'"):
        overrides.model_folders([str(tmp_path / "one/tiny"), str(tmp_path / "two/tiny")])
    with pytest.raises(InputError, match=r"no config\.json"):
        overrides.model_folders([str(tmp_path)])


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("bitfit = 1e-3", "bitift = 1e-3", "did you mean 'bitfit'"),
        ("[quality.task.pos-synthetic]", "[quality.task.pos-synthetc]", "did you mean 'pos-synthetic'"),
        ("[quality.task.pos-synthetic]", "[quality.model.minlm]", "did you mean 'minilm'"),
        ("seeds = [0, 1]", "seeds = [true]", "seeds"),
        ("seeds = [0, 1]", "seeds = [-1]", "seeds"),
        ("epochs = 2", 'epochs = "2"', "epochs"),
        ('name = "mine"', 'name = "../mine"', "name"),
        ("batch_size = 8", "batch_size = 8\nweight_decay = 0.1", "weight_decay = 0"),
    ],
)
def test_what_would_be_ignored_is_refused(old: str, new: str, said: str) -> None:
    text = TEXT.replace("random_uniform", "random_uniform_dense").replace(old, new, 1)
    with pytest.raises((InputError, StrategyError), match=said):
        suite.parse(text, "here").cells(accelerator=False)


def test_a_suite_without_cells_is_refused() -> None:
    with pytest.raises(InputError, match="no cells"):
        suite.parse('name = "empty"\ndescription = "none"', "here").cells(accelerator=True)


def test_a_rate_is_found_whatever_order_roles_are_named_in() -> None:
    chosen = overrides.apply(
        suite.parse(TEXT, "here"),
        skip="cost",
        quality={"strategies": ["bitfit:intermediate+query"], "tasks": ["questions"]},
        cost={},
        rates=["bitfit:query+intermediate=1e-9"],
    )
    assert {(cell.strategy, cell.learning_rate) for cell in quality_cells(chosen)} == {
        ("bitfit:query+intermediate", 1e-9)
    }


def test_cost_cells_alone_take_overrides() -> None:
    shared = {"models": ["bert-base"], "strategies": ["bitfit"], "precision": "bf16"}
    chosen = overrides.apply(suite.parse(TEXT, "here"), skip="quality", quality=shared, cost=shared, rates=None)
    cells = chosen.cells(accelerator=False)
    assert {(cell.kind, cell.model, cell.precision) for cell in cells} == {("cost", "bert-base", "bf16")}


def test_a_folder_cannot_take_the_name_of_a_model(tmp_path: Path) -> None:
    (tmp_path / "minilm").mkdir()
    (tmp_path / "minilm" / "config.json").write_text("{}")
    with pytest.raises(InputError, match="like a model of the program"):
        overrides.model_folders([str(tmp_path / "minilm")])


def test_a_copy_of_known_weights_is_known_by_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / encoders.WEIGHTS).write_bytes(b"the same weights")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    digest = hashlib.sha256(b"the same weights").hexdigest()
    monkeypatch.setitem(encoders.TABLE, "minilm", replace(encoders.TABLE["minilm"], weights=digest))
    assert encoders.find("mine", {"mine": tmp_path}).tuned_on == encoders.TABLE["minilm"].tuned_on
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text('{"model_type": "bert"}')
    assert encoders.find("other", {"other": tmp_path / "other"}).tuned_on == ()


PAPER = [name for name in suite.available() if name.startswith("paper-") and not name.endswith("-mini")]


@pytest.mark.parametrize("name", PAPER)
def test_the_twin_of_a_paper_suite_compares_the_same_strategies_on_what_needs_no_hub(name: str) -> None:
    full, twin = (quality_cells(suite.load(chosen)) for chosen in (name, f"{name}-mini"))
    assert {cell.strategy for cell in twin} == {cell.strategy for cell in full}
    assert {cell.task.partition(":")[0] for cell in twin} <= {cell.task for cell in full}
    assert {cell.model for cell in twin} == {"minilm"}
    assert {cell.seed for cell in twin} == {0, 1}
    assert all(isinstance(cell.learning_rate, float) for cell in twin)


def test_the_twin_of_the_size_sweep_sweeps() -> None:
    cells = quality_cells(suite.load("paper-squad-size-mini"))
    assert len({cell.train_examples for cell in cells}) == 3


MATCH = {"match": "bitfit"}


@pytest.mark.parametrize(
    ("line", "field", "value"), [('match = "bitfit"', "match", "bitfit"), ("budget = 0.01", "budget", 0.01)]
)
def test_a_budget_is_of_strategies_with_a_size_to_choose_alone(line: str, field: str, value: object) -> None:
    text = TEXT.replace("[quality]\n", f"[quality]\n{line}\n").replace("[[cost]]\n", f"[[cost]]\n{line}\n", 1)
    plain, given = suite.parse(TEXT, "here"), suite.parse(text, "here")
    before = {cell.key for cell in plain.cells(accelerator=False)}
    for cell in given.cells(accelerator=False):
        sized = cell.strategy == "random_uniform"
        assert getattr(cell, field) == (value if sized else None)
        assert (cell.key in before) != sized


def test_a_budget_and_a_strategy_to_match_put_each_other_away() -> None:
    text = TEXT.replace("[quality]\n", "[quality]\nbudget = 0.01\n").replace("[[cost]]\n", "[[cost]]\nbudget = 0.01\n")
    changed = overrides.apply(suite.parse(text, "here"), skip=None, quality=MATCH, cost=MATCH, rates=None)
    assert changed.quality is not None
    assert (changed.quality.match, changed.quality.budget) == ("bitfit", None)
    assert [(section.match, section.budget) for section in changed.cost] == [("bitfit", None)] * 2
    with pytest.raises(InputError, match="set either budget or match, not both"):
        suite.parse(text.replace("budget = 0.01\n", 'budget = 0.01\nmatch = "full"\n'), "here")


@pytest.mark.parametrize("section", ["[quality]", "[[cost]]", "[quality.task.pos-synthetic]"])
def test_an_unknown_strategy_to_match_is_refused(section: str) -> None:
    with pytest.raises(StrategyError, match="did you mean 'bitfit'"):
        suite.parse(TEXT.replace(f"{section}\n", f'{section}\nmatch = "bitfot"\n'), "here")


def test_attention_and_checkpointing_are_a_section_s_and_two_sections_make_two_groups() -> None:
    section = '[[cost]]\nmodels = ["minilm"]\nstrategies = ["bitfit"]\nshapes = [[4, 16]]\n'
    asked = f'{section}attention = "eager"\ngradient_checkpointing = true\n'
    named = 'name = "two"\ndescription = "Two sections."\n'
    cells = suite.parse(f"{named}{section}{asked}", "here").cells(accelerator=False)
    update = {"attention": "eager", "gradient_checkpointing": True}
    assert cells[3:] == [cell.model_copy(update=update) for cell in cells[:3]]
    for wrong in ('attention = "flash"', 'attention = ["eager"]', "gradient_checkpointing = 1"):
        with pytest.raises(InputError, match=wrong.partition(" ")[0]):
            suite.parse(f"{named}{section}{wrong}\n", "here")


def test_two_budgets_in_one_shape_are_refused() -> None:
    section = '[[cost]]\nmodels = ["minilm"]\nstrategies = ["random_uniform"]\nshapes = [[4, 16]]\n'
    text = f'name = "x"\ndescription = "x"\n{section}budget = 0.01\n{section}budget = 0.02\n'
    with pytest.raises(InputError, match="measured at two budgets in one shape"):
        suite.parse(text, "here").cells(accelerator=False)


def test_the_settings_that_other_tasks_take_are_told_with_the_rates_of_the_run_alone() -> None:
    chosen = suite.parse(TEXT, "here")
    few = overrides.apply(
        chosen, skip=None, quality={"tasks": ["cola"], "strategies": ["full", "bitfit:query"]}, cost={}, rates=None
    )
    told = overrides.settings_of(few)
    assert "epochs = 2" in told
    assert "batch_size = 8" in told
    assert "learning_rate = full 0.0001, bitfit 0.001" in told
    assert "strategies = full,bitfit:query" in told
    assert "seeds = 0,1" in told
    assert "random_uniform" not in told
