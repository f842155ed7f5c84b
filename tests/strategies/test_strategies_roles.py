"""What the words cover: counts of bert-base, names by role, and refusals."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from transformers import (
    AutoConfig,
    BertConfig,
    CamembertConfig,
    ErnieConfig,
    PretrainedConfig,
)

import strategies
from bench.encoders import default_pooling
from bench.models import TaskModel, build_model, config_encoder
from bench.tasks.base import HeadKind
from families import DECODERS, ENCODERS
from strategies import ROLES, StrategyError
from strategies.interface import Applied, Context

TinyModel = Callable[..., TaskModel]

BERT_BASE = BertConfig(vocab_size=28996)
MINILM_L6 = BertConfig(hidden_size=384, num_hidden_layers=6, intermediate_size=1536)


def configuration(model_type: str, **fields: Any) -> PretrainedConfig:
    config: PretrainedConfig = AutoConfig.for_model(model_type, **fields)
    return config


# Layers, widths and vocabularies of the models as published.
REAL: dict[str, PretrainedConfig] = {
    "albert-base-v2": configuration(
        "albert", hidden_size=768, num_attention_heads=12, intermediate_size=3072, embedding_size=128, vocab_size=30000
    ),
    "deberta-v3-base": configuration(
        "deberta-v2",
        vocab_size=128100,
        hidden_size=768,
        num_hidden_layers=12,
        num_attention_heads=12,
        intermediate_size=3072,
        type_vocab_size=0,
        relative_attention=True,
        position_buckets=256,
        pos_att_type="p2c|c2p",
        share_att_key=True,
        norm_rel_ebd="layer_norm",
        position_biased_input=False,
    ),
    "mpnet-base": configuration("mpnet", vocab_size=30527, max_position_embeddings=514),
    "gpt2": configuration("gpt2"),
}
# One layer of 768, counted once: biases of four attention maps, 3072 + 768 of the feed-forward maps, two norms.
LAYER_BIASES = 4 * 768 + 3072 + 768 + 2 * 768  # 8,448
LAYER = 4 * 768 * 768 + 2 * 768 * 3072 + LAYER_BIASES + 2 * 768  # 7,087,872: the matrices, and the gains
NORM = 2 * 768
BERT_ROLES = [*ROLES[: ROLES.index("embedding_projection")], "pooler"]
ENCODER_LAYER_BIASES = "bitfit:query+key+value+attention_output+intermediate+output+attention_norm+output_norm"


def apply(name: str, model: nn.Module) -> Applied:
    return strategies.resolve(name)(model, Context(np.random.default_rng(0)))


def weightless(config: PretrainedConfig, kind: HeadKind) -> TaskModel:
    pooling = default_pooling(config.model_type)
    with torch.device("meta"):
        return build_model(config_encoder(config, kind, pooling), kind, 2, pooling, 0)


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


@pytest.mark.parametrize(
    ("model", "name", "kind", "count", "total"),
    [
        # Words, positions, segments and norm 128 wide, their projection, one layer for all twelve, the pooler.
        (
            "albert-base-v2",
            "full",
            "classification",
            30000 * 128 + 512 * 128 + 2 * 128 + 2 * 128 + (128 * 768 + 768) + LAYER + (768 * 768 + 768),
            11_683_584,
        ),
        ("albert-base-v2", "bitfit", "classification", 128 + 768 + LAYER_BIASES + 768, 10_112),
        ("albert-base-v2", "bitfit", "tagging", 128 + 768 + LAYER_BIASES, 9_344),
        ("albert-base-v2", "bq_b2", "classification", 768 + 3072, 3_840),
        ("albert-base-v2", "layernorm", "classification", 2 * 128 + 2 * NORM, 3_328),
        ("albert-base-v2", "random_uniform", "tagging", 9_344, 9_344),
        # Words and norm, twelve layers, two times 256 relative positions and their norm; no pooler.
        ("deberta-v3-base", "full", "classification", 128100 * 768 + 12 * LAYER + 512 * 768 + 2 * NORM, 183_831_552),
        ("deberta-v3-base", "bitfit", "classification", 12 * LAYER_BIASES + 2 * 768, 102_912),
        ("deberta-v3-base", "bq_b2", "classification", 12 * (768 + 3072), 46_080),
        ("deberta-v3-base", "bitfit:position_norm", "tagging", 768, 768),
        ("deberta-v3-base", "layernorm", "classification", 26 * NORM, 39_936),
        ("deberta-v3-base", "random_rowcol", "classification", 102_912, 102_912),
        # Words, positions and norm, twelve layers, 32 buckets of relative positions for 12 heads; no trained pooler.
        (
            "mpnet-base",
            "full",
            "classification",
            30527 * 768 + 514 * 768 + NORM + 12 * LAYER + 32 * 12,
            108_895_872,
        ),
        ("mpnet-base", "bitfit", "classification", 12 * LAYER_BIASES + 768, 102_144),
        ("mpnet-base", "bq_b2", "classification", 12 * (768 + 3072), 46_080),
        ("mpnet-base", "layernorm", "classification", 25 * NORM, 38_400),
        # Words, positions, twelve layers, the last norm.
        ("gpt2", "full", "classification", 50257 * 768 + 1024 * 768 + 12 * LAYER + NORM, 124_439_808),
        ("gpt2", "bitfit", "classification", 12 * LAYER_BIASES + 768, 102_144),
        ("gpt2", "bitfit:query_key_value+intermediate", "classification", 12 * (3 * 768 + 3072), 64_512),
        ("gpt2", "bq_b2", "classification", 12 * (768 + 3072), 46_080),
        ("gpt2", "layernorm", "classification", 25 * NORM, 38_400),
        ("gpt2", "random_uniform", "tagging", 102_144, 102_144),
        ("gpt2", "frozen", "classification", 0, 0),
    ],
)
def test_counts_on_real_configurations(model: str, name: str, kind: HeadKind, count: int, total: int) -> None:
    applied = apply(name, weightless(REAL[model], kind))
    assert applied.expected.count == count == total
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
        ("xlm-roberta", "encoder.layer.{}.attention.self.query", "encoder.layer.{}.intermediate.dense"),
        ("mpnet", "encoder.layer.{}.attention.attn.q", "encoder.layer.{}.intermediate.dense"),
        ("deberta-v3", "encoder.layer.{}.attention.self.query_proj", "encoder.layer.{}.intermediate.dense"),
    ],
)
def test_bq_b2_trains_query_and_the_wide_feed_forward_bias(
    family: str, query: str, first: str, tiny_model: TinyModel
) -> None:
    applied = apply("bq_b2", tiny_model(family))
    widths = {query: 16, first: 64}
    expected = {f"encoder.{p.format(i)}.bias": width for p, width in widths.items() for i in range(2)}
    assert trained(applied.model) == expected


def test_layers_that_share_weights_are_counted_once(tiny_model: TinyModel) -> None:
    layer = "encoder.encoder.albert_layer_groups.0.albert_layers.0"
    expected = {f"{layer}.attention.query.bias": 16, f"{layer}.ffn.bias": 64}
    assert trained(apply("bq_b2", tiny_model("albert")).model) == expected


@pytest.mark.parametrize("name", ["bitfit", "bq_b2", "layernorm", "random_uniform"])
@pytest.mark.parametrize(
    ("model_type", "fields"),
    [
        ("albert", {"embedding_size": 8, "num_hidden_layers": 6, "num_hidden_groups": 2, "inner_group_num": 3}),
        ("deberta-v2", {"relative_attention": True, "pos_att_type": "p2c|c2p", "position_buckets": 8}),
        ("deberta-v2", {"conv_kernel_size": 3, "embedding_size": 8}),
        ("gpt2", {"n_inner": 40}),
    ],
)
def test_what_a_configuration_adds_is_expected(model_type: str, fields: dict[str, Any], name: str) -> None:
    sizes = {"hidden_size": 32, "num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 64}
    applied = apply(name, weightless(configuration(model_type, **sizes | fields), "classification"))
    assert trained(applied.model) == dict(applied.expected.trainable) != {}
    assert applied.expected.budget in (None, applied.expected.count)


@pytest.mark.parametrize("family", [*ENCODERS, *DECODERS])
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
@given(roles=st.lists(st.sampled_from(BERT_ROLES), unique=True, min_size=1))
def test_role_subsets_add_up_in_any_order(roles: list[str]) -> None:
    model = weightless(MINILM_L6, "classification")
    single = {role: trained(apply(f"bitfit:{role}", model).model) for role in roles}
    for one, other in itertools.combinations(single.values(), 2):
        assert not one.keys() & other.keys()
    union = {name: size for sizes in single.values() for name, size in sizes.items()}
    for order in (roles, roles[::-1]):
        applied = apply(f"bitfit:{'+'.join(order)}", model)
        assert trained(applied.model) == union == dict(applied.expected.trainable)


@pytest.mark.parametrize(
    ("family", "roles"),
    [
        ("bert", BERT_ROLES),
        ("electra", [*BERT_ROLES[:-1], "embedding_projection"]),
        ("albert", [*BERT_ROLES, "embedding_projection"]),
        ("deberta-v3", [*BERT_ROLES[:-1], "position_norm"]),
        ("mpnet", BERT_ROLES[:-1]),
        ("gpt2", ["query_key_value", *BERT_ROLES[3:8], "final_norm"]),
    ],
)
def test_all_roles_together_are_bitfit(family: str, roles: list[str], tiny_model: TinyModel) -> None:
    together = trained(apply(f"bitfit:{'+'.join(roles)}", tiny_model(family)).model)
    assert together == trained(apply("bitfit", tiny_model(family)).model)


NEED_BIASES = ["bitfit", "bitfit:query", "bq_b2"]
COPY_THEIR_COUNT = ["random_uniform", "random_rowcol", "random_uniform_dense"]


@pytest.mark.parametrize(
    ("name", "family"),
    [
        *((name, family) for name in NEED_BIASES for family in ("modernbert", "llama")),
        *((name, "modernbert") for name in COPY_THEIR_COUNT),
    ],
)
def test_a_model_without_biases_is_refused_by_name(name: str, family: str, tiny_model: TinyModel) -> None:
    model = tiny_model(family)
    before = {key: parameter.requires_grad for key, parameter in model.named_parameters()}
    with pytest.raises(StrategyError) as error:
        apply(name, model)
    message = str(error.value)
    assert message.startswith(f"strategy '{name}': the {family} model 'tiny/")
    assert "has no biases" in message
    assert ("give it a budget" if name.startswith("random") else "bitfit+add") in message
    assert "\n" not in message
    assert {key: parameter.requires_grad for key, parameter in model.named_parameters()} == before


@pytest.mark.parametrize(("family", "gains"), [("modernbert", 5), ("llama", 5)])
def test_layernorm_trains_gains_alone_where_norms_have_no_bias(family: str, gains: int, tiny_model: TinyModel) -> None:
    applied = apply("layernorm", tiny_model(family))
    assert trained(applied.model) == dict(applied.expected.trainable)
    assert list(applied.expected.trainable.values()) == [16] * gains


@pytest.mark.parametrize("config", [CamembertConfig, ErnieConfig])
def test_an_unknown_architecture_has_bitfit_and_layernorm_and_refuses_roles(config: type[PretrainedConfig]) -> None:
    model = weightless(config(), "tagging")
    for name in ("bitfit", "layernorm"):
        applied = apply(name, model)
        assert trained(applied.model) == dict(applied.expected.trainable) != {}
    for name in ("bq_b2", "random_uniform", "bitfit@0", "bitfit:linear", "layernorm@0", "last_layers"):
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
