"""The arithmetic of a step: counted operations and bytes are those worked out by hand for a tiny BERT."""

import pytest

from bench.arithmetic import Arithmetic
from bench.cell import CostCell
from bench.encoders import Encoder
from bench.measure.fake import NoShapesError, fake_stepper
from bench.measure.flops import arithmetic_of, arithmetic_with_weights
from strategies.sparse import SparseLinear

WIDTH, INNER, LAYERS, VOCABULARY, POSITIONS = 32, 128, 2, 50, 64
BATCH, LENGTH, LABELS = 4, 16, 2
TOKENS = BATCH * LENGTH
TINY = Encoder(
    "tiny",
    "A tiny BERT.",
    {
        "model_type": "bert",
        "vocab_size": VOCABULARY,
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 2,
        "intermediate_size": INNER,
        "max_position_embeddings": POSITIONS,
    },
)
# Attention without dropout takes the flash kernel, as in practice.
FULL = CostCell(model="tiny", strategy="full", batch_size=BATCH, length=LENGTH, attention_dropout=0.0)

LINEAR = LAYERS * 2 * TOKENS * (4 * WIDTH**2 + 2 * WIDTH * INNER)
PRODUCT_OF_SCORES = LAYERS * 2 * BATCH * LENGTH**2 * WIDTH
POOLER, HEAD = 2 * BATCH * WIDTH**2, 2 * BATCH * WIDTH * LABELS
FORWARD = LINEAR + 2 * PRODUCT_OF_SCORES + POOLER + HEAD
# The gradients of inputs cost what forward did, but flash attention works out its scores again: 5 products for 2.
INPUT_GRADIENTS = LINEAR + 5 * PRODUCT_OF_SCORES + POOLER + HEAD
WEIGHT_GRADIENTS = LINEAR + POOLER + HEAD


def counted(strategy: str, **fields: object) -> Arithmetic:
    return arithmetic_of(FULL.model_copy(update={"strategy": strategy, **fields}), TINY)


def test_full_fine_tuning_computes_three_times_what_forward_does() -> None:
    full = counted("full")
    assert full.forward_flops == FORWARD
    assert full.backward_flops == INPUT_GRADIENTS + WEIGHT_GRADIENTS
    assert full.flops == full.forward_flops + full.backward_flops


@pytest.mark.parametrize("strategy", ["full", "bitfit", "frozen"])
def test_checkpointing_computes_the_layers_again_where_something_below_trains(strategy: str) -> None:
    plain, sparing = counted(strategy), counted(strategy, gradient_checkpointing=True)
    again = LINEAR + 2 * PRODUCT_OF_SCORES if strategy != "frozen" else 0
    assert sparing.forward_flops == plain.forward_flops
    assert sparing.backward_flops == plain.backward_flops + again
    assert strategy == "frozen" or sparing.saved_bytes < plain.saved_bytes / 2


def test_bitfit_computes_no_gradient_of_a_weight_but_the_heads() -> None:
    bitfit = counted("bitfit")
    assert bitfit.forward_flops == FORWARD
    assert bitfit.backward_flops == INPUT_GRADIENTS + HEAD


def test_a_frozen_encoder_has_no_backward_pass() -> None:
    frozen = counted("frozen")
    assert frozen.forward_flops == FORWARD
    assert frozen.backward_flops == HEAD, "the gradient of the head's weight"


def test_a_random_subset_pays_for_its_own_coordinates_alone() -> None:
    cell = FULL.model_copy(update={"strategy": "random_uniform", "budget": 0.002})
    with fake_stepper(cell, TINY) as (stepper, _):
        modules = dict(stepper.applied.model.named_modules())
        chosen = {name: m.values.numel() for name, m in modules.items() if isinstance(m, SparseLinear)}
    assert chosen
    assert max(chosen.values()) <= 0.01 * WIDTH**2, "above that a dense product is taken"
    gradients = sum(2 * TOKENS * count for count in chosen.values())
    assert {"query", "key", "value"} <= {name.rpartition(".")[2] for name in chosen if "layer.0" in name}
    # The first LayerNorm is part of no graph, since nothing below it trains: queries, keys and values of that layer
    # have no gradient of their input.
    inputs = INPUT_GRADIENTS - 3 * 2 * TOKENS * WIDTH**2
    assert counted("random_uniform", budget=0.002).backward_flops == inputs + gradients + HEAD


def test_slow_attention_keeps_its_scores_and_computes_them_once() -> None:
    slow = counted("full", attention_dropout=0.1)
    assert slow.forward_flops == FORWARD
    assert slow.backward_flops == INPUT_GRADIENTS - PRODUCT_OF_SCORES + WEIGHT_GRADIENTS
    assert slow.saved_bytes > counted("full").saved_bytes + LAYERS * BATCH * 2 * LENGTH**2 * 4
    fused = arithmetic_of(FULL.model_copy(update={"attention_dropout": 0.1}), TINY, accelerator=True)
    assert fused.flops == counted("full").flops, "an accelerator drops out in the fused kernel"


def test_bytes_of_weights_gradients_and_optimizer_are_those_of_their_tensors() -> None:
    matrices = LAYERS * (4 * WIDTH**2 + 2 * WIDTH * INNER) + WIDTH**2
    biases = LAYERS * (4 * WIDTH + INNER + WIDTH) + WIDTH
    norms = (2 * LAYERS + 1) * 2 * WIDTH
    head = WIDTH * LABELS + LABELS
    tables = (VOCABULARY + POSITIONS + 2) * WIDTH
    everything = 4 * (matrices + biases + norms + head + tables)
    full, bitfit = counted("full"), counted("bitfit")
    assert full.gradient_bytes == 5 * everything
    # Two moments beside each parameter, and a count of steps, one number of float32, for each tensor.
    tensors = LAYERS * 16 + 5 + 2 + 2
    assert full.optimizer_bytes == 2 * (3 * everything + 4 * tensors)
    assert counted("full", clip_norm=None).gradient_bytes == 2 * everything
    # Forward reads all but the tables, the numbers of the positions among it; backward reads no bias of a product.
    forward = 4 * (matrices + biases + norms + head)
    backward = 4 * (matrices + norms + WIDTH * LABELS)
    assert bitfit.weight_bytes == forward + backward
    assert bitfit.gradient_bytes == 5 * 4 * (biases + (2 * LAYERS + 1) * WIDTH + head)


def test_what_bitfit_saves_for_backward_is_less_than_what_full_saves() -> None:
    full, bitfit, frozen = (counted(name, batch_size=8, length=64) for name in ("full", "bitfit", "frozen"))
    assert frozen.saved_bytes < 0.01 * bitfit.saved_bytes
    assert 0.5 < bitfit.saved_bytes / full.saved_bytes < 0.8
    parts = full.weight_bytes + 2 * full.saved_bytes + full.gradient_bytes + full.optimizer_bytes
    assert full.moved_bytes == parts


def test_arithmetic_from_weights_is_that_from_configuration() -> None:
    for strategy in ("full", "bitfit"):
        cell = FULL.model_copy(update={"strategy": strategy})
        real = arithmetic_with_weights(cell, TINY)
        assert real == counted(strategy)


def test_a_step_that_looks_at_values_says_so_and_is_counted_with_weights() -> None:
    cell = FULL.model_copy(update={"strategy": "frozen_cached"})
    with pytest.raises(NoShapesError):
        arithmetic_of(cell, TINY)
    cached = arithmetic_with_weights(cell, TINY)
    assert (cached.forward_flops, cached.backward_flops) == (HEAD, HEAD)
