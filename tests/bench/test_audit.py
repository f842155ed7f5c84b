"""The audit finds what it is for: bugs are planted, and each is caught by the check meant for it."""

import copy
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import strategies
from bench.audit import Auditor, eval_logits
from bench.models import TaskModel
from strategies import adapters, bitfit, delta, draw, roles, subset
from strategies.base import Base
from strategies.draw import Drawn
from strategies.interface import Applied, Context

TinyModel = Callable[..., TaskModel]
Batch = dict[str, Tensor]
Hook = Callable[[Applied], object]


def nothing(stage: object) -> None:
    """Plant no bug."""


@dataclasses.dataclass(frozen=True)
class Rig:
    """Takes a strategy through a cell, audited, with a bug planted after one of its stages."""

    make: Callable[[], TaskModel]
    batch: Batch
    path: Path

    def found(
        self,
        name: str,
        *,
        applied_hook: Hook = nothing,
        trained_hook: Hook = nothing,
        saved_hook: Callable[[Path], object] = nothing,
        weight_decay: float = 0.0,
        **declared: Any,
    ) -> dict[str, str]:
        """The checks that found something, and what."""
        base = self.make()
        auditor = Auditor(base, self.batch)
        applied = strategies.resolve(name)(copy.deepcopy(base), Context(np.random.default_rng(1)))
        applied = dataclasses.replace(applied, **declared)
        applied_hook(applied)
        auditor.after_apply(applied)
        applied = self._train(applied, weight_decay)
        trained_hook(applied)
        auditor.after_finalize(applied)
        delta.save(self.path, applied, delta.DeltaInfo(name, 1, "tiny", "made-up"))
        saved_hook(self.path)
        auditor.after_delta(applied, self.path, base, "tiny")
        audit = auditor.result()
        assert audit.passed == (not any(audit.checks.values()))
        return {check: found for check, found in audit.checks.items() if found}

    def _train(self, applied: Applied, weight_decay: float) -> Applied:
        parameters = [parameter for parameter in applied.model.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(parameters, lr=1e-2, weight_decay=weight_decay)
        for step in range(2):
            torch.autograd.backward(applied.model(**self.batch).square().mean())
            applied.before_step(step)
            optimizer.step()
            optimizer.zero_grad()
        return applied.finished()


@pytest.fixture
def rig(tiny_model: TinyModel, tiny_batch: Batch, tmp_path: Path) -> Rig:
    return Rig(lambda: tiny_model("bert"), tiny_batch, tmp_path / "delta.safetensors")


def parameter(applied: Applied, name: str) -> Tensor:
    """A parameter of the encoder, open to changes that autograd does not see."""
    return applied.model.get_parameter(f"encoder.{name}").detach()


def test_nothing_is_found_where_nothing_is_wrong(rig: Rig) -> None:
    assert rig.found("bitfit") == rig.found("random_uniform_dense") == {}


def test_a_substring_match(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def by_substring(base: Base, *_: object) -> dict[str, None]:
        names = [f"encoder.{name}" for name, _ in base.module.named_parameters()]
        return dict.fromkeys(name for name in names if "output.dense.bias" in name)

    monkeypatch.setattr(bitfit, "role_biases", by_substring)
    found = rig.found("bitfit:output")
    assert "trains and should not: encoder.encoder.layer.0.attention.output.dense.bias" in found["trainable names"]
    assert found["trainable counts"] == "64 values train in all, not 32"
    assert "attention.output.dense.bias changed in 16 of 16 values" in found["unchanged tensors"]


def test_a_missing_bias(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = roles.bias_names
    monkeypatch.setattr(bitfit, "bias_names", lambda *arguments: whole(*arguments)[:-1])
    found = rig.found("bitfit")
    assert found["trainable names"] == "should train and does not: encoder.pooler.dense.bias"
    assert "values train in all, not" in found["trainable counts"]


def test_the_wrong_feed_forward_bias(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    right = roles.role_biases
    monkeypatch.setattr(bitfit, "role_biases", lambda base, *_: right(base, ["query", "output"]))
    found = rig.found("bq_b2")
    assert "encoder.encoder.layer.0.output.dense.bias" in found["trainable names"]
    assert "encoder.encoder.layer.0.intermediate.dense.bias" in found["trainable names"]


def test_the_wrong_part_of_a_fused_bias(rig: Rig, tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    right = roles.role_biases
    monkeypatch.setattr(bitfit, "role_biases", lambda base, *_: right(base, ["value"]))
    found = dataclasses.replace(rig, make=lambda: tiny_model("gpt2")).found("bitfit:query")
    assert found.keys() == {"unchanged tensors", "delta"}
    assert "encoder.h.0.attn.c_attn.bias changed in 16 of 48 values" in found["unchanged tensors"]


def test_an_added_bias_that_does_not_train(rig: Rig, tiny_model: TinyModel) -> None:
    def forget(applied: Applied) -> None:
        applied.model.get_parameter("encoder.layers.1.mlp.Wo.bias").requires_grad_(False)

    modern = dataclasses.replace(rig, make=lambda: tiny_model("modernbert"))
    found = modern.found("bitfit+add", applied_hook=forget)
    assert found["trainable names"] == "should train and does not: encoder.layers.1.mlp.Wo.bias"


def test_weight_decay_on_frozen_coordinates(rig: Rig) -> None:
    found = rig.found("random_uniform_dense", weight_decay=0.1)
    assert "values that may not change" in found["unchanged tensors"]
    assert "differ" in found["delta"]
    assert found.keys() == {"unchanged tensors", "delta"}
    assert rig.found("random_uniform", weight_decay=0.1) == {}


def test_a_forgotten_mask(rig: Rig) -> None:
    assert "may not change" in rig.found("random_uniform_dense", before_step=nothing)["unchanged tensors"]


@pytest.mark.parametrize("name", ["random_uniform", "random_uniform_dense"])
def test_duplicate_indices(name: str, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    right = draw.uniform
    monkeypatch.setattr(draw, "uniform", lambda *arguments: _twice(right(*arguments)))
    found = rig.found(name)
    assert "query.weight names 2 coordinates more than once" in found["declared coordinates"]


def _twice(drawn: dict[str, Drawn]) -> dict[str, Drawn]:
    """A draw as it might come out with replacement: two coordinates of the first matrix stand for two others."""
    name, part = next(iter(drawn.items()))
    return {**drawn, name: Drawn(np.sort(np.concatenate([part.indices[:-2], part.indices[:2]])))}


@pytest.mark.parametrize("name", ["random_uniform", "random_rowcol", "magnitude_subset"])
def test_a_draw_of_the_wrong_size(name: str, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    right = roles.bias_count
    monkeypatch.setattr(subset, "bias_count", lambda base: right(base) - 5)
    found = rig.found(name)
    assert found.keys() == {"trainable counts"}
    assert "values train in all, not" in found["trainable counts"]


def test_a_draw_from_outside_the_layers(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def everywhere(base: Base) -> dict[str, nn.Linear]:
        modules = base.module.named_modules()
        return {f"encoder.{path}": module for path, module in modules if isinstance(module, nn.Linear)}

    monkeypatch.setattr(subset, "layer_linears", everywhere)
    found = rig.found("random_uniform")
    assert found["trainable names"] == "trains and should not: encoder.pooler.dense.values"
    assert "encoder.pooler.dense.weight changed" in found["unchanged tensors"]


def test_declared_coordinates_that_do_not_exist(rig: Rig) -> None:
    def declare(applied: Applied) -> None:
        changes: Any = applied.expected.changes
        changes["encoder.pooler.dense.weight"] = torch.tensor([0, 256])
        changes["encoder.nowhere"] = None

    found = rig.found("bitfit", applied_hook=declare)
    assert "pooler.dense.weight names coordinates outside its 256 values" in found["declared coordinates"]
    assert "encoder.nowhere is no tensor of the base encoder" in found["declared coordinates"]


def test_an_unfrozen_embedding(rig: Rig) -> None:
    name = "encoder.embeddings.word_embeddings.weight"
    found = rig.found("bitfit", applied_hook=lambda a: a.model.get_parameter(name).requires_grad_(True))
    assert found["trainable names"] == f"trains and should not: {name}"
    assert f"{name} changed in" in found["unchanged tensors"]


def test_a_frozen_head(rig: Rig) -> None:
    found = rig.found("bitfit", applied_hook=lambda a: a.model.get_submodule("head").requires_grad_(False))
    assert found["head trains"] == "frozen: head.out.weight, head.out.bias"


def test_step_0_logits_that_moved(rig: Rig) -> None:
    found = rig.found("bitfit", applied_hook=lambda a: parameter(a, "embeddings.LayerNorm.bias")[0].add_(0.5))
    assert found.keys() == {"step-0 logits"}
    assert "declared exact (at most 0)" in found["step-0 logits"]


def test_step_0_logits_may_move_as_declared(rig: Rig) -> None:
    def shift(applied: Applied) -> None:
        parameter(applied, "embeddings.LayerNorm.bias")[0].add_(0.5)

    assert rig.found("bitfit", applied_hook=shift, start="near", start_bound=10.0) == {}
    assert rig.found("bitfit", applied_hook=shift, start="near", start_bound=1e-6).keys() == {"step-0 logits"}
    assert rig.found("bitfit", applied_hook=shift, start="changed") == {}


def test_logits_that_are_no_numbers(rig: Rig) -> None:
    def spoil(applied: Applied) -> None:
        parameter(applied, "embeddings.LayerNorm.bias").fill_(float("nan"))

    assert "step-0 logits" in rig.found("bitfit", applied_hook=spoil, start="changed")


@pytest.mark.parametrize("name", ["full", "bitfit", "random_uniform"])
def test_a_changed_buffer(name: str, rig: Rig) -> None:
    def renumber(applied: Applied) -> None:
        applied.model.get_buffer("encoder.embeddings.position_ids")[0, -1] = 0

    found = rig.found(name, trained_hook=renumber)
    assert "encoder.embeddings.position_ids changed in 1 of 40 values" in found["unchanged tensors"]


def test_one_bit_of_one_frozen_value(rig: Rig) -> None:
    def flip(applied: Applied) -> None:
        parameter(applied, "pooler.dense.weight").view(torch.int32)[0, 0] ^= 1

    found = rig.found("bitfit", trained_hook=flip)
    assert "encoder.pooler.dense.weight changed in 1 of 256 values" in found["unchanged tensors"]
    assert "delta" in found


def test_an_unselected_coordinate(rig: Rig) -> None:
    name = "encoder.layer.0.attention.self.query.weight"

    def move(applied: Applied) -> None:
        indices = applied.expected.changes[f"encoder.{name}"]
        assert indices is not None
        free = next(i for i in range(256) if i not in set(indices.tolist()))
        parameter(applied, name).view(-1)[free] += 1.0

    for strategy in ("random_uniform", "random_uniform_dense"):
        found = rig.found(strategy, trained_hook=move)
        assert f"encoder.{name} changed in 1 of 256 values" in found["unchanged tensors"]


def test_a_tensor_that_is_gone_or_of_another_type(rig: Rig) -> None:
    model = rig.make()
    auditor = Auditor(model, rig.batch)
    applied = strategies.resolve("frozen")(model, Context(np.random.default_rng(0)))
    pooler = model.get_submodule("encoder.pooler.dense")
    pooler.register_parameter("weight", nn.Parameter(torch.zeros(16, 16, dtype=torch.float64), False))
    assert "is torch.float64 (16, 16), was torch.float32" in str(auditor.after_finalize(applied)["unchanged tensors"])
    pooler.register_parameter("weight", None)
    assert "pooler.dense.weight is gone" in str(auditor.after_finalize(applied)["unchanged tensors"])


@pytest.mark.parametrize("lost", ["encoder.encoder.layer.1.output.dense.bias", "head.out.weight"])
def test_a_tensor_missing_from_the_delta(lost: str, rig: Rig) -> None:
    def drop(path: Path) -> None:
        info, content = delta.read(path)
        kept = {name: change.values for name, change in content.items() if name != lost}
        save_file(kept, path, {"format": delta.FORMAT, "delta": json.dumps(vars(info))})

    found = rig.found("bitfit", saved_hook=drop)
    assert found.keys() == {"delta"}
    assert f"it lacks {lost}" in found["delta"]


@pytest.mark.parametrize(
    ("name", "lost"),
    [
        ("bitfit", "encoder.encoder.layer.1.attention.self.query.bias"),
        ("random_uniform", "encoder.encoder.layer.0.output.dense.weight"),
    ],
)
def test_a_tensor_that_is_not_saved(name: str, lost: str, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = delta.tensors
    ends = ("", delta.VALUES, delta.INDICES)
    left_out = {lost + end for end in ends}
    monkeypatch.setattr(delta, "tensors", lambda *a: {n: t for n, t in whole(*a).items() if n not in left_out})
    found = rig.found(name)
    assert found.keys() == {"delta"}
    # Which weights a draw changes is the delta's to say; which biases do, the strategy says.
    assert (f"it lacks {lost}" if name == "bitfit" else "differ") in found["delta"]


def test_a_check_that_did_not_run_is_a_failure(rig: Rig) -> None:
    auditor = Auditor(rig.make(), rig.batch)
    applied = strategies.resolve("bitfit")(rig.make(), Context(np.random.default_rng(0)))
    assert not any(auditor.after_apply(applied).values())
    audit = auditor.result()
    assert not audit.passed
    assert audit.checks["delta"] == audit.checks["unchanged tensors"] == "this check did not run"


def test_the_audit_leaves_modes_and_random_state_alone(rig: Rig) -> None:
    model = rig.make().train()
    model.encoder.get_submodule("embeddings").eval()
    before, state = {m: m.training for m in model.modules()}, torch.get_rng_state()
    one, other = (eval_logits(model, rig.batch) for _ in range(2))
    assert torch.equal(one, other)
    assert {m: m.training for m in model.modules()} == before
    assert torch.equal(torch.get_rng_state(), state)


def test_an_adapter_around_the_wrong_layer(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    right = roles.role_linears
    monkeypatch.setattr(adapters, "role_linears", lambda base, _: right(base, ["attention_output"]))
    found = rig.found("adapter_pfeiffer")
    assert "attention.output.dense.adapter.down.bias" in found["trainable names"]
    assert "should train and does not: encoder.encoder.layer.0.output.dense.adapter" in found["trainable names"]


def test_a_low_rank_matrix_at_the_wrong_projection(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    lora = pytest.importorskip("strategies.lora")
    right = lora.targets_of
    monkeypatch.setattr(lora, "targets_of", lambda model, context, _: right(model, context, ["key", "value"]))
    found = rig.found("lora")
    assert "trains and should not: encoder.encoder.layer.0.attention.self.key.lora_A" in found["trainable names"]
    assert "should train and does not: encoder.encoder.layer.0.attention.self.query.lora_A" in found["trainable names"]


def test_an_insertion_that_is_not_neutral_at_the_start(rig: Rig) -> None:
    pytest.importorskip("peft")
    ends = {"lora": "lora_B.default.weight", "adapter_houlsby": "adapter.up.bias", "vera": "vera_lambda_b.default"}
    for name, end in ends.items():

        def disturb(applied: Applied, end: str = end) -> None:
            tensor = next(p for n, p in applied.model.named_parameters() if n.endswith(end))
            tensor.detach().fill_(0.1)

        assert rig.found(name, applied_hook=disturb).keys() == {"step-0 logits"}


def test_a_base_weight_under_an_insertion_that_trains(rig: Rig) -> None:
    pytest.importorskip("peft")
    name = "encoder.encoder.layer.0.attention.self.query.base_layer.weight"
    found = rig.found("lora", applied_hook=lambda a: a.model.get_parameter(name).requires_grad_(True))
    assert found["trainable names"] == f"trains and should not: {name}"
    assert "attention.self.query.weight changed in" in found["unchanged tensors"]


def test_a_coordinate_that_shira_did_not_draw(rig: Rig) -> None:
    pytest.importorskip("peft")
    name = "encoder.layer.0.attention.self.query.weight"

    def move(applied: Applied) -> None:
        indices = applied.expected.changes[f"encoder.{name}"]
        assert indices is not None
        parameter(applied, name).view(-1)[next(i for i in range(256) if i not in set(indices.tolist()))] += 1.0

    found = rig.found("shira:2", trained_hook=move)
    assert f"encoder.{name} changed in 1 of 256 values" in found["unchanged tensors"]


def test_an_insertion_that_is_not_saved(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = delta.tensors
    monkeypatch.setattr(delta, "tensors", lambda *a: {n: t for n, t in whole(*a).items() if "1.output" not in n})
    assert (
        "a bottleneck of 48 trains 3200 values, more than the 1651 there is room for"
        in rig.found("adapter_pfeiffer")["delta"]
    )


def test_other_layers_wrapped_than_named(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    injection = pytest.importorskip("strategies.injection")
    monkeypatch.setattr(injection.Targets, "modules", ["query", "value", "key"])
    with pytest.raises(
        strategies.StrategyError, match=r"peft wrapped other layers than those named, .*key among them"
    ):
        rig.found("lora")
