"""What the words cover: counts of bert-base, names by role, and refusals."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from transformers import AlbertConfig, BertConfig, CamembertConfig, PretrainedConfig

import strategies
from bench.models import TaskModel, build_model, config_encoder
from bench.tasks.base import HeadKind
from strategies import ROLES, StrategyError
from strategies.interface import Applied, Context

TinyModel = Callable[..., TaskModel]

BERT_BASE = BertConfig(vocab_size=28996)
MINILM_L6 = BertConfig(hidden_size=384, num_hidden_layers=6, intermediate_size=1536)
ENCODER_LAYER_BIASES = "bitfit:query+key+value+attention_output+intermediate+output+attention_norm+output_norm"


def apply(name: str, model: nn.Module) -> Applied:
    return strategies.resolve(name)(model, Context(np.random.default_rng(0)))


def weightless(config: PretrainedConfig, kind: HeadKind) -> TaskModel:
    with torch.device("meta"):
        return build_model(config_encoder(config, kind, "cls"), kind, 2, "cls", 0)


def trained(model: nn.Module) -> dict[str, int]:
    """Encoder leaves that train, read from the model itself."""
    return {
        name: parameter.numel()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and name.startswith("encoder.")
    }


@pytest.mark.parametrize(
    ("name", "kind", "count"),
    [
        ("full", "classification", 108_310_272),
        ("bitfit", "classification", 102_912),
        ("bitfit", "tagging", 102_144),
        ("bq_b2", "classification", 46_080),
        ("bitfit:query+intermediate", "classification", 46_080),
        ("bitfit:query", "classification", 9_216),
        ("bitfit:intermediate", "classification", 36_864),
        (ENCODER_LAYER_BIASES, "classification", 101_376),
        ("layernorm", "classification", 38_400),
        ("random_uniform", "classification", 102_912),
        ("random_rowcol", "tagging", 102_144),
        ("frozen", "classification", 0),
    ],
)
def test_counts_on_bert_base(name: str, kind: HeadKind, count: int) -> None:
    applied = apply(name, weightless(BERT_BASE, kind))
    assert applied.expected.count == count
    assert sum(trained(applied.model).values()) == count


def test_the_dense_random_subset_has_the_same_count_on_bert_base() -> None:
    expected = apply("random_uniform_dense", weightless(BERT_BASE, "classification")).expected
    assert expected.count == expected.budget == 102_912


def test_bitfit_count_on_minilm() -> None:
    assert sum(trained(apply("bitfit", weightless(MINILM_L6, "classification")).model).values()) == 26_112


@pytest.mark.parametrize(
    ("family", "query", "first"),
    [
        ("bert", "encoder.layer.{}.attention.self.query", "encoder.layer.{}.intermediate.dense"),
        ("roberta", "encoder.layer.{}.attention.self.query", "encoder.layer.{}.intermediate.dense"),
        ("electra", "encoder.layer.{}.attention.self.query", "encoder.layer.{}.intermediate.dense"),
        ("distilbert", "transformer.layer.{}.attention.q_lin", "transformer.layer.{}.ffn.lin1"),
    ],
)
def test_bq_b2_trains_query_and_the_wide_feed_forward_bias(
    family: str, query: str, first: str, tiny_model: TinyModel
) -> None:
    applied = apply("bq_b2", tiny_model(family))
    widths = {query: 16, first: 64}
    expected = {f"encoder.{p.format(i)}.bias": width for p, width in widths.items() for i in range(2)}
    assert trained(applied.model) == expected


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "electra", "minilm"])
@pytest.mark.parametrize("kind", ["classification", "tagging"])
def test_bitfit_is_every_bias_and_layernorm_every_vector_of_a_norm(
    family: str, kind: HeadKind, tiny_model: TinyModel
) -> None:
    model = tiny_model(family, kind)
    shapes = {f"encoder.{name}": tuple(p.shape) for name, p in model.encoder.named_parameters()}
    biases = {name for name in shapes if name.endswith(".bias")}
    gains = {name.removesuffix("weight") for name, shape in shapes.items() if len(shape) == 1} - {*biases}
    assert trained(apply("bitfit", model).model).keys() == biases
    assert trained(apply("layernorm", model).model).keys() == {g + own for g in gains for own in ("weight", "bias")}


@settings(max_examples=25, deadline=None)
@given(roles=st.lists(st.sampled_from([r for r in ROLES if r != "embedding_projection"]), unique=True, min_size=1))
def test_role_subsets_add_up_in_any_order(roles: list[str]) -> None:
    model = weightless(MINILM_L6, "classification")
    single = {role: trained(apply(f"bitfit:{role}", model).model) for role in roles}
    for one, other in itertools.combinations(single.values(), 2):
        assert not one.keys() & other.keys()
    union = {name: size for sizes in single.values() for name, size in sizes.items()}
    for order in (roles, roles[::-1]):
        applied = apply(f"bitfit:{'+'.join(order)}", model)
        assert trained(applied.model) == union == dict(applied.expected.trainable)


def test_all_roles_together_are_bitfit(tiny_model: TinyModel) -> None:
    roles = {"bert": set(ROLES) - {"embedding_projection"}, "electra": set(ROLES) - {"pooler"}}
    for family, names in roles.items():
        together = trained(apply(f"bitfit:{'+'.join(sorted(names))}", tiny_model(family)).model)
        assert together == trained(apply("bitfit", tiny_model(family)).model)


@pytest.mark.parametrize("family", ["modernbert", "llama"])
@pytest.mark.parametrize(
    "name", ["bitfit", "bitfit:query", "bq_b2", "random_uniform", "random_rowcol", "random_uniform_dense"]
)
def test_a_model_without_biases_is_refused_by_name(name: str, family: str, tiny_model: TinyModel) -> None:
    model = tiny_model(family)
    before = {key: parameter.requires_grad for key, parameter in model.named_parameters()}
    with pytest.raises(StrategyError) as error:
        apply(name, model)
    message = str(error.value)
    assert message.startswith(f"strategy '{name}': the {family} model 'tiny/")
    assert "has no biases" in message
    assert "\n" not in message
    assert {key: parameter.requires_grad for key, parameter in model.named_parameters()} == before


@pytest.mark.parametrize(("family", "gains"), [("modernbert", 5), ("llama", 5)])
def test_layernorm_trains_gains_alone_where_norms_have_no_bias(family: str, gains: int, tiny_model: TinyModel) -> None:
    applied = apply("layernorm", tiny_model(family))
    assert trained(applied.model) == dict(applied.expected.trainable)
    assert list(applied.expected.trainable.values()) == [16] * gains


@pytest.mark.parametrize("config", [CamembertConfig, AlbertConfig])
def test_an_unknown_architecture_has_bitfit_and_layernorm_and_refuses_roles(config: type[PretrainedConfig]) -> None:
    model = weightless(config(), "tagging")
    for name in ("bitfit", "layernorm"):
        applied = apply(name, model)
        assert trained(applied.model) == dict(applied.expected.trainable) != {}
    for name in ("bq_b2", "random_uniform", "random_rowcol", "random_uniform_dense"):
        with pytest.raises(StrategyError, match=f"the {model.encoder.config.model_type} model is of an architecture"):
            apply(name, model)


def test_an_absent_role_is_refused(tiny_model: TinyModel) -> None:
    with pytest.raises(StrategyError, match=r"the bert model has no pooler; it has query, .*embedding_norm$"):
        apply("bitfit:query+pooler", tiny_model("bert", "tagging"))
    with pytest.raises(StrategyError, match=r"the distilbert model has no pooler"):
        apply("bitfit:pooler", tiny_model("distilbert"))


def test_a_known_architecture_that_lacks_one_bias_is_refused(tiny_model: TinyModel) -> None:
    model = tiny_model("bert")
    model.encoder.get_submodule("encoder.layer.1.intermediate.dense").register_parameter("bias", None)
    with pytest.raises(StrategyError, match=r"no bias at encoder\.layer\.1\.intermediate\.dense"):
        apply("bq_b2", model)
