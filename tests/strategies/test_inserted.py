"""Strategies that insert something: their counts, their sizes, merging, and virtual tokens."""

import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import AutoConfig

import strategies
from bench.audit import eval_logits, wrong_selection
from bench.models import TaskModel, shape_only
from strategies import StrategyError
from strategies.interface import Applied, Context

TinyModel = Callable[..., TaskModel]
Batch = dict[str, Tensor]

INSERTING = ["adapter_houlsby", "adapter_pfeiffer", "lora", "ia3", "vera", "shira", "prompt", "prefix"]
SIZED = [name for name in INSERTING if name != "ia3"]
BERT_BASE_BIASES = 102_912


def apply(name: str, model: nn.Module, budget: int | None = None) -> Applied:
    for part in strategies.parse(name):
        if part.entry.extra:
            pytest.importorskip(part.entry.extra)
    return strategies.resolve(name)(model, Context(np.random.default_rng(3), budget=budget))


def moved(applied: Applied) -> Applied:
    """As in the middle of a training: everything that trains has moved."""
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in applied.model.parameters():
            if parameter.requires_grad:
                noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
                parameter.add_(noise, alpha=0.1)
    return applied


def disturbed(applied: Applied) -> Applied:
    """As after some training."""
    return moved(applied).finished()


@pytest.fixture(scope="module")
def bert_base() -> Callable[[], TaskModel]:
    """BERT-base without memory."""
    return lambda: shape_only(AutoConfig.for_model("bert"), "classification", 2, "cls")


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("adapter_houlsby:64", 2_379_264),
        ("adapter_pfeiffer:48", 894_528),
        ("lora:8", 294_912),
        ("lora:16", 589_824),
        ("ia3", 55_296),
        ("vera:256", 24_576),
        ("shira:8", 294_912),
        ("prompt:20", 15_360),
        ("prefix:20", 368_640),
    ],
)
def test_counts_of_bert_base_are_the_known_ones(name: str, count: int, bert_base: Callable[[], TaskModel]) -> None:
    applied = apply(name, bert_base())
    assert applied.expected.count == count
    assert wrong_selection(applied) is None


PLACES = {
    "lora:2": {
        "attention.self.query.lora_A.default.weight": 2 * 16,
        "attention.self.query.lora_B.default.weight": 16 * 2,
        "attention.self.value.lora_A.default.weight": 2 * 16,
        "attention.self.value.lora_B.default.weight": 16 * 2,
    },
    "ia3": {
        "attention.self.key.ia3_l.default": 16,
        "attention.self.value.ia3_l.default": 16,
        "output.dense.ia3_l.default": 64,
    },
    "vera:4": {
        "attention.self.query.vera_lambda_b.default": 16,
        "attention.self.query.vera_lambda_d.default": 4,
        "attention.self.value.vera_lambda_b.default": 16,
        "attention.self.value.vera_lambda_d.default": 4,
    },
    "shira:2": {
        "attention.self.query.shira_weight.default": 2 * (16 + 16),
        "attention.self.value.shira_weight.default": 2 * (16 + 16),
    },
    "adapter_houlsby:3": {
        "attention.output.dense.adapter.down.weight": 3 * 16,
        "attention.output.dense.adapter.down.bias": 3,
        "attention.output.dense.adapter.up.weight": 16 * 3,
        "attention.output.dense.adapter.up.bias": 16,
        "output.dense.adapter.down.weight": 3 * 16,
        "output.dense.adapter.down.bias": 3,
        "output.dense.adapter.up.weight": 16 * 3,
        "output.dense.adapter.up.bias": 16,
    },
    "adapter_pfeiffer:3": {
        "output.dense.adapter.down.weight": 3 * 16,
        "output.dense.adapter.down.bias": 3,
        "output.dense.adapter.up.weight": 16 * 3,
        "output.dense.adapter.up.bias": 16,
    },
}
"""What trains in each layer of a BERT 16 wide with 64 in between: leaf -> values."""

LAYERS = ("encoder.encoder.layer.0.", "encoder.encoder.layer.1.")


@pytest.mark.parametrize("name", PLACES)
def test_each_stands_where_its_paper_puts_it(name: str, tiny_model: TinyModel) -> None:
    applied = apply(name, tiny_model("bert"))
    leaves = {f"{layer}{leaf}": size for layer in LAYERS for leaf, size in PLACES[name].items()}
    trains = {leaf: p.numel() for leaf, p in applied.model.named_parameters() if p.requires_grad}
    assert {leaf: size for leaf, size in trains.items() if not leaf.startswith("head.")} == leaves
    assert applied.expected.trainable == leaves


def write_lora(weights: dict[str, Tensor], inserted: dict[str, Tensor], applied: Applied, layer: str) -> None:
    """W + 2 B A, with alpha twice the rank, on query and value."""
    for path in (f"{layer}attention.self.query", f"{layer}attention.self.value"):
        a, b = (inserted[f"{path}.lora_{factor}.default.weight"] for factor in "AB")
        weights[f"{path}.weight"] += 2 * b @ a


def write_ia3(weights: dict[str, Tensor], inserted: dict[str, Tensor], applied: Applied, layer: str) -> None:
    """Gains: l W and l b on key and value; W l on the second feed-forward layer, whose bias is left alone."""
    for path in (f"{layer}attention.self.key", f"{layer}attention.self.value"):
        gains = inserted[f"{path}.ia3_l.default"].flatten()
        weights[f"{path}.weight"] *= gains[:, None]
        weights[f"{path}.bias"] *= gains
    weights[f"{layer}output.dense.weight"] *= inserted[f"{layer}output.dense.ia3_l.default"].flatten()[None, :]


def write_vera(weights: dict[str, Tensor], inserted: dict[str, Tensor], applied: Applied, layer: str) -> None:
    """W + diag(b) B diag(d) A on query and value, with one A and one B for all."""
    shared = "encoder.encoder.layer.0.attention.self.query"
    a, b = (applied.model.get_buffer(f"{shared}.vera_{matrix}.default").double() for matrix in "AB")
    for path in (f"{layer}attention.self.query", f"{layer}attention.self.value"):
        outer, inner = (inserted[f"{path}.vera_lambda_{vector}.default"] for vector in "bd")
        weights[f"{path}.weight"] += (outer[:, None] * b) @ (inner[:, None] * a)


def write_shira(weights: dict[str, Tensor], inserted: dict[str, Tensor], applied: Applied, layer: str) -> None:
    """What was drawn of query and value, each place with its own addition."""
    for path in (f"{layer}attention.self.query", f"{layer}attention.self.value"):
        indices = applied.expected.changes[f"{path}.weight"]
        assert indices is not None
        weights[f"{path}.weight"].view(-1)[indices] += inserted[f"{path}.shira_weight.default"]


@pytest.mark.parametrize(
    ("name", "write"), [("lora:2", write_lora), ("ia3", write_ia3), ("vera:4", write_vera), ("shira:2", write_shira)]
)
def test_what_is_inserted_computes_what_its_formula_says(
    name: str, write: Callable[..., None], tiny_model: TinyModel, tiny_batch: Batch
) -> None:
    base, plain = (tiny_model("bert").double() for _ in range(2))
    applied = moved(apply(name, base))
    inserted = {leaf: p.detach().clone() for leaf, p in applied.model.named_parameters() if p.requires_grad}
    weights = plain.state_dict()
    weights |= {leaf: tensor for leaf, tensor in inserted.items() if leaf.startswith("head.")}
    for layer in LAYERS:
        write(weights, inserted, applied, layer)
    plain.load_state_dict(weights)
    wanted = eval_logits(plain, tiny_batch)
    torch.testing.assert_close(eval_logits(applied.model, tiny_batch), wanted, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(eval_logits(applied.finished().model, tiny_batch), wanted, rtol=1e-9, atol=1e-9)


def relu(x: Tensor) -> Tensor:
    return x * (x > 0)


def gelu(x: Tensor) -> Tensor:
    return x * (1 + torch.erf(x / 2**0.5)) / 2


@pytest.mark.parametrize(
    ("name", "path", "activation"),
    [
        ("adapter_pfeiffer:3", "encoder.encoder.layer.1.output.dense", relu),
        ("adapter_houlsby:3", "encoder.encoder.layer.1.output.dense", gelu),
        ("adapter_houlsby:3", "encoder.encoder.layer.0.attention.output.dense", gelu),
    ],
)
def test_an_adapter_adds_to_its_layer_what_its_formula_says(
    name: str, path: str, activation: Callable[[Tensor], Tensor], tiny_model: TinyModel
) -> None:
    layer = moved(apply(name, tiny_model("bert").double())).model.get_submodule(path)
    linear = tiny_model("bert").double().get_submodule(path)
    assert isinstance(linear, nn.Linear)
    x = torch.randn((5, linear.in_features), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    down, up = (layer.get_submodule(f"adapter.{which}") for which in ("down", "up"))
    with torch.no_grad():
        h = linear(x)
        inside = h @ down.get_parameter("weight").t() + down.get_parameter("bias")
        assert bool((inside > 0).any())
        assert bool((inside < 0).any())
        wanted = h + activation(inside) @ up.get_parameter("weight").t() + up.get_parameter("bias")
        torch.testing.assert_close(layer(x), wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", SIZED)
def test_a_budget_sets_the_largest_size_within_it(name: str, bert_base: Callable[[], TaskModel]) -> None:
    one, two = (apply(f"{name}:{size}", bert_base()).expected.count for size in (1, 2))
    applied = apply(name, bert_base(), BERT_BASE_BIASES)
    assert BERT_BASE_BIASES - (two - one) < applied.expected.count <= BERT_BASE_BIASES
    assert wrong_selection(applied) is None
    assert apply(name, bert_base(), one).expected.count == one
    with pytest.raises(StrategyError, match=f"smallest .*, 1, trains {one}; raise the budget") as error:
        apply(name, bert_base(), one - 1)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", SIZED)
def test_a_size_and_a_budget_are_one_too_many(name: str, bert_base: Callable[[], TaskModel]) -> None:
    with pytest.raises(StrategyError, match="leave one of them out"):
        apply(f"{name}:2", bert_base(), BERT_BASE_BIASES)


@pytest.mark.parametrize(("name", "message"), [("shira:9", "use at most shira:8"), ("prompt:40", "most prompt:39")])
def test_a_size_beyond_the_model_is_refused(name: str, message: str, tiny_model: TinyModel) -> None:
    with pytest.raises(StrategyError, match=message):
        apply(name, tiny_model("bert"))


def test_a_combination_shares_a_budget(bert_base: Callable[[], TaskModel]) -> None:
    applied = apply("bitfit+lora", bert_base(), BERT_BASE_BIASES + 2 * 36_864 + 5)
    assert applied.expected.count == BERT_BASE_BIASES + 2 * 36_864
    assert wrong_selection(applied) is None
    assert applied.expected.trainable["encoder.encoder.layer.0.attention.self.query.base_layer.bias"] == 768


def test_two_strategies_in_one_place_are_refused(tiny_model: TinyModel) -> None:
    with pytest.raises(StrategyError, match=r"is no plain linear layer but a .*; leave one of the two out"):
        apply("random_uniform+adapter_pfeiffer", tiny_model("bert"))


@pytest.mark.parametrize("family", ["bert", "distilbert", "albert", "deberta-v3", "gpt2"])
@pytest.mark.parametrize("name", ["lora", "ia3", "vera", "shira", "bitfit+lora", "bitfit+ia3"])
def test_merging_leaves_a_plain_model_that_computes_the_same(
    name: str, family: str, tiny_model: TinyModel, tiny_batch: Batch
) -> None:
    if "shira" in name and family == "gpt2":
        pytest.skip("refused")
    base = tiny_model(family).double()
    plain = {key: tensor.shape for key, tensor in base.state_dict().items()}
    untrained = eval_logits(base, tiny_batch)
    applied = apply(name, base)
    torch.testing.assert_close(eval_logits(applied.model, tiny_batch), untrained, rtol=0, atol=0)
    applied = disturbed(applied)
    trained = eval_logits(applied.model, tiny_batch)
    assert float((trained - untrained).abs().max()) > 1e-3
    assert applied.merge is not None
    applied.merge()
    assert {key: tensor.shape for key, tensor in applied.model.state_dict().items()} == plain
    torch.testing.assert_close(eval_logits(applied.model, tiny_batch), trained, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["adapter_houlsby", "adapter_pfeiffer", "prompt", "prefix", "bitfit+prompt"])
def test_what_is_not_linear_cannot_be_merged(name: str, tiny_model: TinyModel) -> None:
    assert apply(name, tiny_model("bert")).merge is None


def test_shira_trains_other_coordinates_of_each_matrix(tiny_model: TinyModel) -> None:
    changes = apply("shira:2", tiny_model("minilm")).expected.changes
    drawn = [indices.tolist() for indices in changes.values() if indices is not None]
    assert len(drawn) == 6
    assert len({tuple(indices) for indices in drawn}) == 6
    assert all(len(indices) == len(set(indices)) == 2 * (24 + 24) for indices in drawn)


def test_the_shared_matrices_of_vera_are_drawn_again_and_not_kept(tiny_model: TinyModel) -> None:
    one, other = (apply("vera:4", tiny_model("bert")).model for _ in range(2))
    buffers = {name: buffer for name, buffer in one.named_buffers() if ".vera_" in name}
    assert {name.split(".")[-2] for name in buffers} == {"vera_A", "vera_B"}
    assert not buffers.keys() & one.state_dict().keys()
    assert all(torch.equal(buffer, other.get_buffer(name)) for name, buffer in buffers.items())


@pytest.mark.parametrize("name", ["lora", "ia3", "vera", "shira", "bitfit+lora"])
def test_without_peft_one_line_says_what_to_install(
    name: str, tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    for module in ("lora", "ia3", "vera", "shira", "injection"):
        monkeypatch.delitem(sys.modules, f"strategies.{module}", raising=False)
    with pytest.raises(StrategyError) as error:
        strategies.resolve(name)(tiny_model("bert"), Context(np.random.default_rng(0)))
    assert str(error.value) == f"strategy {name!r}: it needs peft: pip install -c constraints.txt '.[peft]'"


def hidden(encoder: nn.Module, batch: Batch) -> Tensor:
    with torch.no_grad():
        states: Tensor = encoder.eval()(**batch).last_hidden_state
    return states


@pytest.mark.parametrize("family", ["bert", "roberta", "minilm", "deberta-v3", "mpnet", "gpt2"])
def test_a_prompt_does_what_that_of_peft_does(family: str, tiny_model: TinyModel, tiny_batch: Batch) -> None:
    peft = pytest.importorskip("peft")
    applied = apply("prompt:3", tiny_model(family, "tagging"))
    config = peft.PromptTuningConfig(task_type="FEATURE_EXTRACTION", num_virtual_tokens=3)
    theirs = peft.PeftModelForFeatureExtraction(tiny_model(family, "tagging").encoder, config)
    theirs.prompt_encoder["default"].embedding.weight.data = applied.model.get_parameter("encoder.prompt_tokens").data
    ours = hidden(applied.model.get_submodule("encoder"), tiny_batch)
    torch.testing.assert_close(ours, hidden(theirs, tiny_batch)[:, 3:], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", ["bert", "roberta", "electra", "minilm", "gpt2"])
def test_a_prefix_does_what_that_of_peft_does(family: str, tiny_model: TinyModel, tiny_batch: Batch) -> None:
    peft = pytest.importorskip("peft")
    applied = apply("prefix:3", tiny_model(family, "tagging"))
    config = peft.PrefixTuningConfig(task_type="FEATURE_EXTRACTION", num_virtual_tokens=3)
    theirs = peft.PeftModelForFeatureExtraction(tiny_model(family, "tagging").encoder, config)
    states = applied.model.get_parameter("encoder.prefix_states").data
    theirs.prompt_encoder["default"].embedding.weight.data = states.permute(3, 0, 1, 2, 4).reshape(3, -1)
    ours = hidden(applied.model.get_submodule("encoder"), tiny_batch)
    torch.testing.assert_close(ours, hidden(theirs, tiny_batch), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["prompt", "prefix", "prompt+prefix"])
@pytest.mark.parametrize("family", ["bert", "albert", "gpt2"])
def test_padding_is_not_seen(name: str, family: str, tiny_model: TinyModel, tiny_batch: Batch) -> None:
    if family == "albert" and "prefix" in name:
        pytest.skip("refused")
    applied = apply(name.replace("+", ":3+") + ":3", tiny_model(family, "tagging"))
    other = {**tiny_batch, "input_ids": torch.where(tiny_batch["attention_mask"].bool(), tiny_batch["input_ids"], 7)}
    one, two = (eval_logits(applied.model, batch)[4:, :-3] for batch in (tiny_batch, other))
    torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("family", ["bert", "albert"])
def test_a_pretrained_pooler_reads_the_first_word(family: str, tiny_model: TinyModel, tiny_batch: Batch) -> None:
    encoder = apply("prompt:3", tiny_model(family, pooling="cls")).model.get_submodule("encoder").eval()
    pooler = encoder.get_submodule("pooler")
    with torch.no_grad():
        output = encoder(**tiny_batch)
        states: Tensor = output.last_hidden_state
        expected = pooler(states) if family == "bert" else torch.tanh(pooler(states[:, 0]))
    assert states.shape[1] == tiny_batch["input_ids"].shape[1]
    torch.testing.assert_close(output.pooler_output, expected)


@pytest.mark.parametrize("name", ["prompt:35", "prefix:35"])
def test_a_text_that_leaves_no_positions_is_refused(name: str, tiny_model: TinyModel, tiny_batch: Batch) -> None:
    applied = apply(name, tiny_model("bert"))
    with pytest.raises(StrategyError, match="35 virtual tokens and a text of 9 do not fit into the model's 40"):
        eval_logits(applied.model, tiny_batch)
