"""The change of each bias: of the right tensors, by the right layer and role, and worked out right."""

import copy
import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from transformers import CamembertConfig

import strategies
from bench.measure.bias_change import bias_change
from bench.models import TaskModel, build_model, config_encoder
from bench.results import BiasChange
from strategies.interface import Context

TinyModel = Callable[..., TaskModel]

LAYERS = 2
LINEARS = ("query", "key", "value", "attention_output", "intermediate", "output")
NORMS = ("attention_norm", "output_norm")
OUTSIDE = {
    "bert": ("embedding_norm", "pooler"),
    "roberta": ("embedding_norm",),
    "distilbert": ("embedding_norm",),
    "electra": ("embedding_norm", "embedding_projection"),
}


def moved(name: str, base: TaskModel, step: Callable[[str, torch.Tensor], object]) -> list[BiasChange] | None:
    """The changes after a training that consists of one `step` on every trainable tensor."""
    applied = strategies.resolve(name)(copy.deepcopy(base), Context(np.random.default_rng(0)))
    with torch.no_grad():
        for own, parameter in applied.model.named_parameters():
            if parameter.requires_grad:
                step(own, parameter)
    return bias_change(applied.finished(), base)


def ones(_: str, parameter: torch.Tensor) -> None:
    parameter.add_(1.0)


def places(found: list[BiasChange] | None) -> set[tuple[int | None, str]]:
    assert found is not None
    assert len({(change.layer, change.role) for change in found}) == len(found)
    return {(change.layer, change.role) for change in found}


def inside(*roles: str) -> set[tuple[int | None, str]]:
    return {(layer, role) for layer in range(LAYERS) for role in roles}


@pytest.mark.parametrize("family", OUTSIDE)
def test_every_strategy_that_trains_biases_has_those_it_trains(family: str, tiny_model: TinyModel) -> None:
    base = tiny_model(family)
    outside: set[tuple[int | None, str]] = {(None, role) for role in OUTSIDE[family]}
    every = inside(*LINEARS, *NORMS) | outside
    assert places(moved("full", base, ones)) == places(moved("bitfit", base, ones)) == every
    assert places(moved("bq_b2", base, ones)) == inside("query", "intermediate")
    assert places(moved("bitfit:key+value", base, ones)) == inside("key", "value")
    assert places(moved("layernorm", base, ones)) == inside(*NORMS) | {(None, "embedding_norm")}


@pytest.mark.parametrize("name", ["frozen", "random_uniform", "random_rowcol", "random_uniform_dense"])
def test_a_strategy_that_trains_no_bias_has_none(name: str, tiny_model: TinyModel) -> None:
    assert moved(name, tiny_model("bert"), ones) is None


def test_a_bias_trained_in_part_is_left_out(tiny_model: TinyModel) -> None:
    base = tiny_model("bert")
    applied = strategies.resolve("bitfit:query")(copy.deepcopy(base), Context(np.random.default_rng(0)))
    name = "encoder.encoder.layer.0.attention.self.query.bias"
    changes = {**applied.expected.changes, name: torch.tensor([0, 1])}
    partly = dataclasses.replace(applied, expected=dataclasses.replace(applied.expected, changes=changes))
    assert places(bias_change(partly, base)) == {(1, "query")}


def test_the_change_is_the_mean_of_absolute_differences(tiny_model: TinyModel) -> None:
    def alternate(name: str, parameter: torch.Tensor) -> None:
        if ".layer.1.intermediate." in name:
            parameter[::2] += 0.5
            parameter[1::2] -= 0.25

    found = moved("bitfit", tiny_model("bert"), alternate)
    assert found is not None
    by_place = {(change.layer, change.role): change for change in found}
    assert by_place[1, "intermediate"].mean_absolute_change == pytest.approx(0.375, rel=1e-6)
    assert by_place[1, "intermediate"].values == 64
    assert sum(change.mean_absolute_change for change in found) == pytest.approx(0.375, rel=1e-6)
    assert sum(change.values for change in found) == bias_values(tiny_model("bert"))


def bias_values(model: TaskModel) -> int:
    return sum(p.numel() for name, p in model.encoder.named_parameters() if name.endswith(".bias"))


def test_an_architecture_whose_roles_are_not_known_has_none() -> None:
    config = CamembertConfig(
        vocab_size=60, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    base = build_model(config_encoder(config, "classification", "cls"), "classification", 2, "cls", 0)
    assert moved("bitfit", base, ones) is None


def test_what_is_not_finite_is_refused(tiny_model: TinyModel) -> None:
    with pytest.raises(FloatingPointError, match="layer 0, role query"):
        moved("bitfit", tiny_model("bert"), lambda _, parameter: parameter.fill_(math.nan))
