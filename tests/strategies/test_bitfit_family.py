"""BitFit's relatives: ranges of layers, groups of roles, parts of fused biases, added biases, the last layers."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import AutoConfig

import strategies
from bench.models import TaskModel, shape_only
from strategies import StrategyError, delta, loading
from strategies.interface import Applied, Context

TinyModel = Callable[..., TaskModel]
Batch = dict[str, Tensor]

ATTENTION = ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense")
LINEAR = (*ATTENTION, "intermediate.dense", "output.dense")
NORM = ("attention.output.LayerNorm", "output.LayerNorm")


def apply(name: str, model: nn.Module, budget: int | None = None) -> Applied:
    return strategies.resolve(name)(model, Context(np.random.default_rng(0), budget=budget))


def trained(model: nn.Module) -> set[str]:
    """Encoder leaves that train, without the encoder's own prefix."""
    names = (name for name, parameter in model.named_parameters() if parameter.requires_grad)
    return {name.removeprefix("encoder.") for name in names if name.startswith("encoder.")}


def biases(layer: int, *paths: str) -> set[str]:
    return {f"encoder.layer.{layer}.{path}.bias" for path in paths}


EMBEDDING = {"embeddings.LayerNorm.bias"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bitfit@1", biases(1, *LINEAR, *NORM)),
        ("bitfit@0-1", biases(0, *LINEAR, *NORM) | biases(1, *LINEAR, *NORM)),
        ("bitfit:query@2", biases(2, "attention.self.query")),
        ("bitfit:query+norm@2", biases(2, "attention.self.query", *NORM)),
        ("bitfit:linear@0", biases(0, *LINEAR)),
        ("bitfit:linear+norm", set().union(*(biases(layer, *LINEAR, *NORM) for layer in range(3)))),
        ("bitfit:query_key_value@0", biases(0, *ATTENTION[:3])),
        ("bitfit:embedding", EMBEDDING),
        ("bitfit:pooler+embedding", EMBEDDING | {"pooler.dense.bias"}),
        ("layernorm:bias@1", biases(1, *NORM)),
        ("layernorm:gain@1", {name.removesuffix("bias") + "weight" for name in biases(1, *NORM)}),
    ],
)
def test_words_and_ranges_select_by_layer_and_role(name: str, expected: set[str], tiny_model: TinyModel) -> None:
    applied = apply(name, tiny_model("minilm"))
    assert trained(applied.model) == expected
    assert {leaf.removeprefix("encoder.") for leaf in applied.expected.trainable} == expected


def test_all_groups_and_the_pooler_are_plain_bitfit_on_bert(tiny_model: TinyModel) -> None:
    groups = apply("bitfit:linear+norm+embedding+pooler", tiny_model("bert"))
    assert groups.expected == apply("bitfit", tiny_model("bert")).expected


def test_gain_and_bias_make_up_the_norms(tiny_model: TinyModel) -> None:
    gain, bias, both = (
        trained(apply(f"layernorm{word}", tiny_model("gpt2")).model) for word in (":gain", ":bias", "")
    )
    assert gain | bias == both
    assert len(gain) == len(bias) == len(both) / 2


@pytest.mark.parametrize(
    ("name", "family", "message"),
    [
        ("bitfit@3", "minilm", "the bert model holds 3 layers, counted from 0, and no layer 3; name a range inside"),
        ("bitfit:query@1-9", "minilm", "holds 3 layers, counted from 0, and no layer 9"),
        ("layernorm@7", "gpt2", "holds 2 layers, counted from 0, and no layer 7"),
        ("bitfit@1", "albert", "holds 1 layer of its own, which share their weights among 3, counted from 0"),
        ("bitfit:pooler@0", "bert", "pooler lies outside the layers of the bert model; leave out the range"),
        ("bitfit:query+embedding@0", "bert", "embedding lies outside the layers of the bert model"),
        ("bitfit:position", "bert", "the bert model has no position; it has query, key, .*, pooler$"),
        ("bitfit:norm+add", "modernbert", "has no bias in norm; it has query, .*, query_key_value$"),
        ("layernorm:bias", "modernbert", "has no LayerNorm or RMSNorm with a bias"),
        ("bitfit:query+random_uniform", "gpt2", "attn.c_attn already trains a part of its bias"),
        ("last_layers", "albert", "holds 1 layer of its own, which share their weights among 3, fewer than 2"),
        ("last_layers:4", "minilm", "holds 3 layers, fewer than 4; name a smaller number, as in last_layers:1"),
    ],
)
def test_what_a_model_lacks_is_said_in_one_line(name: str, family: str, message: str, tiny_model: TinyModel) -> None:
    with pytest.raises(StrategyError, match=message) as error:
        apply(name, tiny_model(family))
    assert "\n" not in str(error.value)


def fused_part(name: str, family: str, tiny_model: TinyModel) -> tuple[Applied, str]:
    """A model in whose first layer a part of the fused bias trains, and the name of that layer."""
    path = {"gpt2": "encoder.h.0.attn.c_attn", "modernbert": "encoder.layers.0.attn.Wqkv"}[family]
    return apply(name if family == "gpt2" else f"{name}+add", tiny_model(family).double().eval()), path


@pytest.mark.parametrize("family", ["gpt2", "modernbert"])
@pytest.mark.parametrize(
    ("name", "parts"), [("bq_b2", [0]), ("bitfit:key+value", [1, 2]), ("bitfit:query+value", [0, 2])]
)
def test_a_part_of_a_fused_bias_gets_its_part_of_the_gradient(
    name: str, parts: list[int], family: str, tiny_model: TinyModel, tiny_batch: Batch
) -> None:
    part, path = fused_part(name, family, tiny_model)
    fused, _ = fused_part("bitfit:query_key_value", family, tiny_model)
    for applied in (part, fused):
        torch.autograd.backward(applied.model(**tiny_batch).square().sum())
    coordinates = np.concatenate([np.arange(16 * index, 16 * (index + 1)) for index in parts])
    dense = fused.model.get_parameter(f"{path}.bias").grad
    leaf = part.model.get_parameter(f"{path}.bias_values")
    assert dense is not None
    assert leaf.grad is not None
    assert leaf.numel() == 16 * len(parts)
    torch.testing.assert_close(leaf.grad, dense[coordinates], rtol=1e-12, atol=1e-12)
    assert not part.model.get_parameter(f"{path}.bias").requires_grad


def test_what_trained_as_a_part_is_left_in_a_plain_model(tiny_model: TinyModel) -> None:
    base, applied = tiny_model("gpt2"), apply("bitfit:key", tiny_model("gpt2"))
    with torch.no_grad():
        for name, parameter in applied.model.named_parameters():
            if name.endswith("bias_values"):
                parameter.add_(1.0)
    model = applied.finished().model
    assert model.state_dict().keys() == base.state_dict().keys()
    assert list(map(type, model.modules())) == list(map(type, base.modules()))
    moved = model.get_parameter("encoder.h.1.attn.c_attn.bias") - base.get_parameter("encoder.h.1.attn.c_attn.bias")
    torch.testing.assert_close(moved.detach(), torch.tensor([0.0, 1.0, 0.0]).repeat_interleave(16))


@pytest.mark.parametrize("family", ["modernbert", "llama"])
def test_added_biases_are_those_of_the_linear_layers_and_change_nothing(
    family: str, tiny_model: TinyModel, tiny_batch: Batch
) -> None:
    base, applied = tiny_model(family).eval(), apply("bitfit+add", tiny_model(family).eval())
    linears = {f"{path}.bias" for path, m in base.encoder.named_modules() if isinstance(m, nn.Linear)}
    assert len(linears) == {"modernbert": 8, "llama": 14}[family]
    assert trained(applied.model) == linears
    assert applied.model.state_dict().keys() - base.state_dict().keys() == {f"encoder.{name}" for name in linears}
    assert torch.equal(applied.model(**tiny_batch), base(**tiny_batch))
    assert applied.start == "exact"
    assert applied.merge is None


def test_where_every_linear_layer_has_a_bias_nothing_is_added(tiny_model: TinyModel) -> None:
    applied = apply("bitfit+add", tiny_model("bert"))
    assert applied.expected == apply("bitfit", tiny_model("bert")).expected
    assert applied.merge is not None
    assert applied.model.state_dict().keys() == tiny_model("bert").state_dict().keys()


@pytest.mark.parametrize("name", ["bitfit+add", "bq_b2+add", "random_uniform+add"])
def test_added_biases_are_put_onto_a_base_without_them_and_taken_off(
    name: str, tmp_path: Path, tiny_model: TinyModel, tiny_batch: Batch
) -> None:
    applied = apply(name, tiny_model("modernbert").eval())
    with torch.no_grad():
        for parameter in applied.model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.5)
    applied = applied.finished()
    delta.save(tmp_path / "d", applied, delta.DeltaInfo(name, 0, "tiny", "made-up"))
    base = tiny_model("modernbert").eval()
    before, logits = {key: tensor.clone() for key, tensor in base.state_dict().items()}, base(**tiny_batch)
    loaded = loading.load(tmp_path / "d", base, "tiny")
    assert torch.equal(loaded.model(**tiny_batch), applied.model(**tiny_batch))
    loaded.remove()
    assert base.state_dict().keys() == before.keys()
    assert torch.equal(base(**tiny_batch), logits)
    assert all(torch.equal(tensor, before[key]) for key, tensor in base.state_dict().items())


LAYER = 4 * (24 * 24 + 24) + 2 * 24 * 96 + 96 + 24 + 4 * 24


@pytest.mark.parametrize(
    ("name", "budget", "layers"),
    [
        ("last_layers", None, 2),
        ("last_layers:1", None, 1),
        ("last_layers:3", None, 3),
        ("last_layers", LAYER, 1),
        ("last_layers", 3 * LAYER - 1, 2),
        ("last_layers", 10 * LAYER, 3),
    ],
)
def test_so_many_last_layers_train_in_full(name: str, budget: int | None, layers: int, tiny_model: TinyModel) -> None:
    model = tiny_model("minilm")
    wanted = tuple(f"encoder.layer.{index}." for index in range(3 - layers, 3))
    applied = apply(name, model, budget)
    assert trained(model) == {key for key, _ in model.encoder.named_parameters() if key.startswith(wanted)}
    assert applied.expected.count == layers * LAYER


def test_a_budget_that_no_layer_fits_or_that_is_named_besides_a_number_is_refused(tiny_model: TinyModel) -> None:
    with pytest.raises(StrategyError, match=f"not even the last layer .* fits into a budget of .*: it has {LAYER:,}"):
        apply("last_layers", tiny_model("minilm"), LAYER - 1)
    with pytest.raises(StrategyError, match=r"both last_layers:1 and a budget of \d+ values set its number of layers"):
        apply("last_layers:1", tiny_model("minilm"), LAYER)


@pytest.mark.parametrize("name", ["last_layers:1", "bitfit@2", "bitfit:query@2", "layernorm@2"])
def test_below_the_first_layer_that_trains_no_gradient_is_computed(
    name: str, tiny_model: TinyModel, tiny_batch: Batch
) -> None:
    model = apply(name, tiny_model("minilm")).model.train()
    tracked: dict[str, bool] = {}

    def note(path: str) -> Callable[..., None]:
        def hook(_: nn.Module, __: object, output: Tensor | tuple[Tensor, ...]) -> None:
            tracked[path] = (output if isinstance(output, Tensor) else output[0]).requires_grad

        return hook

    below, trains = ("embeddings", "encoder.layer.0", "encoder.layer.1"), "encoder.layer.2"
    for path in (*below, trains):
        model.get_submodule(f"encoder.{path}").register_forward_hook(note(path))
    model(**tiny_batch)
    assert tracked == {**dict.fromkeys(below, False), trains: True}


@pytest.mark.parametrize("name", ["bq_b2+add", "bitfit:query+linear@1+add", "last_layers+add"])
def test_they_apply_to_a_model_without_weights(name: str, tiny_model: TinyModel) -> None:
    config = AutoConfig.for_model(**tiny_model("modernbert").encoder.config.to_dict())
    assert apply(name, shape_only(config, "tagging", 3, "mean")).expected.count > 0
