"""The loop: paired seeds, no look at the evaluation split, failures that are named, an audit that is used."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import strategies
from bench import fitting, harness, quality
from bench.batching import collate, epochs
from bench.cell import QualityCell
from bench.configurations import configure
from bench.errors import InputError
from bench.models import build_model, config_encoder
from bench.outcome import Outcome, attempt
from bench.session import Options, Session
from bench.tasks.base import TaskData
from bench.training import autocast_for, make_stepper, reseed, train
from strategies.errors import StrategyError
from strategies.interface import Applied, Context

CPU = torch.device("cpu")
FIELDS: dict[str, Any] = {
    "model": "tiny-bert",
    "task": "cola",
    "strategy": "bitfit",
    "seed": 0,
    "learning_rate": 1e-2,
    "epochs": 2.0,
    "batch_size": 8,
    "curve_points": 2,
    "curve_examples": 16,
}


@pytest.fixture
def session(tiny_folder: Path, tiny_data: Path, tmp_path: Path) -> Session:
    return Session(Options(CPU, tmp_path / "cache", tiny_data, offline=True, model_folders={"tiny-bert": tiny_folder}))


def outcome(session: Session, folder: Path, **fields: Any) -> Outcome:
    return quality.run_quality(QualityCell(**FIELDS | fields), session, folder, lambda *_: None)


def test_a_quality_cell_holds_what_was_measured(session: Session, tmp_path: Path) -> None:
    found = outcome(session, tmp_path)
    result = found.quality
    assert found.status == "ok"
    assert found.audit is not None
    assert found.audit.passed
    assert result is not None
    assert result.headline == "matthews_correlation"
    assert result.evaluation.examples == 40
    assert result.train_sample.examples == 40
    assert [point.step for point in result.curve] == [result.steps // 2, result.steps]
    train_score = result.train_sample.scores[result.headline]
    assert train_score is not None
    assert result.headline_score is not None
    assert result.gap == train_score - result.headline_score
    assert len(found.arrays["step_loss"]) == result.steps
    assert len(found.arrays["evaluation_predictions"]) == 40
    assert result.delta_bytes > result.delta_encoder_bytes + result.delta_head_bytes
    assert result.delta_encoder_bytes == 4 * result.counts.encoder_trainable
    assert result.bias_change is not None
    assert sum(change.values for change in result.bias_change) == result.counts.encoder_trainable
    assert all(change.mean_absolute_change > 0 for change in result.bias_change)
    assert not (tmp_path / "deltas").exists()


def test_a_seed_gives_the_same_numbers_again(session: Session, tmp_path: Path) -> None:
    first, again, other = (outcome(session, tmp_path, seed=seed).arrays["step_loss"] for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_strategies_share_data_order_head_and_first_loss(session: Session, tmp_path: Path) -> None:
    losses = [outcome(session, tmp_path, strategy=name).arrays["step_loss"] for name in ("full", "bitfit", "frozen")]
    assert losses[0][0] == losses[1][0] == losses[2][0]
    assert losses[0][-1] != losses[1][-1]


def test_evaluation_labels_change_no_decision(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Permuted evaluation labels change evaluation scores, and nothing else that was decided or trained."""
    before = outcome(session, tmp_path)
    data = session.task("cola")
    flipped = [type(e)(e.text, 1 - int(str(e.label)), e.group) for e in data.evaluation]
    other = TaskData(**{**vars(data), "evaluation": flipped})
    fresh = Session(session.options)
    monkeypatch.setattr(fresh, "task", lambda name: other)
    after = outcome(fresh, tmp_path)
    assert np.array_equal(before.arrays["step_loss"], after.arrays["step_loss"])
    assert np.array_equal(before.arrays["evaluation_predictions"], after.arrays["evaluation_predictions"])
    assert not np.array_equal(before.arrays["evaluation_references"], after.arrays["evaluation_references"])
    assert before.quality is not None
    assert after.quality is not None
    assert before.quality.selection == after.quality.selection
    assert before.quality.evaluation != after.quality.evaluation


def test_an_epoch_before_a_strategy_could_be_finished_is_no_candidate(session: Session, tmp_path: Path) -> None:
    """Diff pruning chooses in the middle what stays; before that its model is a dense one."""
    found = outcome(session, tmp_path, strategy="diff_pruning", checkpoint="best", epochs=4.0, learning_rate=1e-3)
    assert found.status == "ok", found.reason
    assert found.quality is not None
    assert found.quality.checkpoints is not None
    steps, per_epoch = found.quality.steps, found.quality.steps // 4
    tried = [one.step for one in found.quality.checkpoints.tried]
    # The choice takes the step after the first half, so the second epoch ends just before it.
    assert tried == [3 * per_epoch, steps]


def test_training_data_is_nested(session: Session) -> None:
    small = session.splits(QualityCell(**FIELDS, train_examples=10)).train
    large = session.splits(QualityCell(**FIELDS, train_examples=20)).train
    assert np.array_equal(large.ids[: len(small.ids)], small.ids)


def test_bf16_trains_and_passes_its_audit(session: Session, tmp_path: Path) -> None:
    found = outcome(session, tmp_path, precision="bf16")
    assert found.status == "ok"


def test_deltas_can_be_kept(session: Session, tmp_path: Path) -> None:
    options = Options(**{**vars(session.options), "keep_deltas": True})
    outcome(Session(options), tmp_path)
    assert [path.suffix for path in (tmp_path / "deltas").iterdir()] == [".safetensors"]


def test_texts_that_are_cut_off_are_told(session: Session, tmp_path: Path) -> None:
    found = outcome(session, tmp_path, max_length=12)
    assert any("of 40 evaluation examples fill all 12 tokens" in warning for warning in found.warnings)
    assert not any("fill all" in warning for warning in outcome(session, tmp_path, max_length=64).warnings)


def test_a_budget_that_is_not_met_exactly_is_told(session: Session, tmp_path: Path) -> None:
    # Two adapters of 33 b + 16 values, b in between: b of 4 gives 296, where BitFit trains 320.
    adapters, exact = (
        outcome(session, tmp_path, strategy=name, match="bitfit") for name in ("adapter_pfeiffer", "random_uniform")
    )
    assert "its size is 296 encoder values, 92.5% of its budget of 320" in adapters.warnings
    assert not any("of its budget" in warning for warning in exact.warnings)


def test_the_gap_compares_samples_of_one_size(session: Session, tmp_path: Path) -> None:
    result = outcome(session, tmp_path, train_examples=24).quality
    assert result is not None
    assert result.gap_sample is not None
    assert result.train_sample.examples == result.gap_sample.examples == 24
    assert result.evaluation.examples == 40
    train, other = result.train_sample.scores[result.headline], result.gap_sample.scores[result.headline]
    assert result.gap == (train or 0.0) - (other or 0.0)
    assert result.loss_gap == result.gap_sample.loss - result.train_sample.loss


def test_one_step_trains(session: Session, tmp_path: Path) -> None:
    """A warm-up begins at rate 0; a training of one step must not consist of that."""
    result = outcome(session, tmp_path, epochs=1, train_examples=8, strategy="full").quality
    assert result is not None
    assert result.steps == 1
    assert result.bias_change is not None
    assert max(change.mean_absolute_change for change in result.bias_change) > 0


def test_reseeding_is_torchs_own_and_reaches_every_device(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(7)
    wanted = torch.rand(3)
    reseed(7, CPU)
    assert torch.equal(torch.rand(3), wanted)
    seeded: list[int] = []
    kind = SimpleNamespace(manual_seed_all=seeded.append, manual_seed=lambda seed: pytest.fail("one device only"))
    monkeypatch.setattr(torch, "get_device_module", lambda device: kind)
    reseed(8, torch.device("cuda", 1))
    assert seeded == [8]
    lone = SimpleNamespace(manual_seed=seeded.append)
    monkeypatch.setattr(torch, "get_device_module", lambda device: lone)
    reseed(9, torch.device("mps"))
    assert seeded == [8, 9]


def test_a_diverging_cell_says_so(session: Session, tmp_path: Path) -> None:
    found = attempt(lambda: outcome(session, tmp_path, strategy="full", learning_rate=1e30, clip_norm=None))
    assert found.status == "diverged"
    assert "step" in str(found.reason)


def test_a_cell_out_of_time_says_so(session: Session, tmp_path: Path) -> None:
    options = Options(**{**vars(session.options), "timeout_seconds": 0.0})
    found = attempt(lambda: outcome(Session(options), tmp_path))
    assert found.status == "timeout"
    assert found.reason == "no time left after step 1 of 28"


def test_a_strategy_that_trains_too_much_fails_its_audit(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = strategies.resolve

    def leaky(name: str) -> Any:
        def apply(model: torch.nn.Module, context: Context) -> Applied:
            applied = honest(name)(model, context)
            applied.model.get_submodule("encoder.embeddings.word_embeddings").requires_grad_(True)
            return applied

        return apply

    monkeypatch.setattr(strategies, "resolve", leaky)
    found = outcome(session, tmp_path)
    assert found.status == "audit_failed"
    assert "word_embeddings" in str(found.reason)


def test_curve_points_are_even_and_end_at_the_end() -> None:
    assert fitting.curve_steps(4, 100) == {25, 50, 75, 100}
    assert fitting.curve_steps(10, 3) == {1, 2, 3}


def test_steps_are_epochs_of_whole_batches() -> None:
    cell = QualityCell(**FIELDS | {"epochs": 0.5, "batch_size": 16})
    assert fitting.total_steps(cell, 100) == 4
    assert fitting.total_steps(cell, 1) == 1


def test_a_number_of_steps_holds_whatever_the_size(session: Session, tmp_path: Path) -> None:
    fields = {"epochs": None, "steps": 5}
    assert fitting.total_steps(QualityCell(**FIELDS | fields), 100_000) == 5
    found = [outcome(session, tmp_path, train_examples=size, **fields).quality for size in (10, None)]
    assert [result.steps for result in found if result] == [5, 5]
    assert [result.train_examples for result in found if result] == [10, len(session.task("cola").train)]


@pytest.mark.parametrize("sizes", [(10, 20, 200), (10, 108, None)])
def test_a_size_that_the_task_does_not_have_is_refused_before_the_run(
    session: Session, sizes: tuple[int | None, ...]
) -> None:
    available = len(session.task("cola").train)
    assert available == 108
    cells = [QualityCell(**FIELDS, train_examples=size) for size in sizes]
    with pytest.raises(InputError, match=r"task 'cola' has 108 training examples, so a size of (200|108)"):
        harness.preflight(cells, session)


@pytest.mark.parametrize("name", ["adapter_pfeiffer:999999999", "adapter_houlsby:99999999", "lora:999999999"])
def test_a_strategy_too_large_for_the_memory_is_refused_before_it_is_made(session: Session, name: str) -> None:
    pytest.importorskip("peft")
    with pytest.raises(StrategyError, match=r"trains \d+ values, more than the \d+ there is room for"):
        harness.preflight([QualityCell(**FIELDS | {"strategy": name})], session)


def test_sizes_of_the_task_and_a_single_bound_beyond_it_are_accepted(session: Session) -> None:
    harness.preflight([QualityCell(**FIELDS, train_examples=size) for size in (10, 108)], session)
    harness.preflight([QualityCell(**FIELDS, train_examples=200)], session)


def test_hooks_are_called_and_a_penalty_is_optimised(session: Session) -> None:
    """A strategy's penalty reaches the gradient, and its hook sees every step after backward."""
    cell = QualityCell(**FIELDS)
    splits = session.splits(cell)
    config = configure({"model_type": "bert", **_sizes(session)}, None, None)
    model = build_model(config_encoder(config, "classification", "cls"), "classification", 2, "cls", seed=0)
    plain = strategies.resolve("frozen")(model, Context(np.random.default_rng(0)))
    weight = model.head.out.weight
    seen: list[bool] = []
    applied = Applied(
        model,
        plain.expected,
        penalty=lambda: 1e6 * weight.square().sum(),
        before_step=lambda step: seen.append(weight.grad is not None and step == len(seen)),
    )
    stepper = make_stepper(
        applied,
        "classification",
        learning_rate=1e-2,
        total_steps=60,
        clip_norm=None,
        autocast=autocast_for("fp32", CPU),
        seed=0,
    )
    rows = epochs(splits.train.lengths, 8, 0)
    trained = train(
        stepper, (collate(splits.train, r) for r in rows), 60, frozenset(), lambda step: False, lambda step, loss: None
    )
    assert seen == [True] * 60
    assert float(weight.detach().abs().max()) < 0.02
    assert trained.padding_ratio >= 1.0


def _sizes(session: Session) -> dict[str, Any]:
    config = session.pristine(QualityCell(**FIELDS)).encoder.config
    names = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    return {name: getattr(config, name) for name in names}
