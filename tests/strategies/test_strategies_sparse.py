"""Random subsets: what is drawn, and gradients at the drawn coordinates alone."""

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

import strategies
from bench.models import TaskModel
from strategies import draw, sparse
from strategies.draw import Drawn
from strategies.interface import Applied, Context
from strategies.sparse import SparseLinear

TinyModel = Callable[..., TaskModel]

matrices = st.lists(st.tuples(st.integers(1, 12), st.integers(1, 12)), min_size=1, max_size=5)
seeds = st.integers(0, 2**32)


def named(shapes: list[tuple[int, int]]) -> dict[str, tuple[int, int]]:
    return {f"matrix{i}": shape for i, shape in enumerate(shapes)}


@given(shapes=matrices, seed=seeds, fraction=st.floats(0.0, 1.0))
def test_a_uniform_draw_is_exact_unique_sorted_and_in_range(
    shapes: list[tuple[int, int]], seed: int, fraction: float
) -> None:
    total = sum(rows * columns for rows, columns in shapes)
    count = round(fraction * total)
    drawn = draw.uniform(np.random.default_rng(seed), named(shapes), count)
    assert sum(part.indices.size for part in drawn.values()) == count
    for name, part in drawn.items():
        rows, columns = named(shapes)[name]
        assert part.axis is None
        assert (np.diff(part.indices) > 0).all()
        assert part.indices.size > 0
        assert 0 <= part.indices[0] <= part.indices[-1] < rows * columns


def test_a_uniform_draw_is_uniform_over_matrices_of_any_shape() -> None:
    shapes = {"wide": (2, 30), "tall": (20, 1)}
    generator = np.random.default_rng(0)
    hits = np.zeros(80)
    for _ in range(2000):
        drawn = draw.uniform(generator, shapes, 20)
        for name, start in (("wide", 0), ("tall", 60)):
            if name in drawn:
                hits[start + drawn[name].indices] += 1
    # Each coordinate is hit with probability 1/4: 500 times, with a standard deviation of 19.
    assert hits.sum() == 40_000
    assert np.abs(hits - 500).max() < 5 * 19.4


@given(shapes=matrices, seed=seeds, fraction=st.floats(0.0, 1.0))
def test_drawn_rows_or_columns_are_whole_but_for_the_last(
    shapes: list[tuple[int, int]], seed: int, fraction: float
) -> None:
    sizes = [rows * columns for rows, columns in shapes]
    count = round(fraction * sum(sizes))
    drawn = draw.rows_or_columns(np.random.default_rng(seed), named(shapes), count)
    assert sum(part.indices.size for part in drawn.values()) == count
    for name, part in drawn.items():
        rows, columns = named(shapes)[name]
        assert abs(part.indices.size - count * rows * columns / sum(sizes)) < 1
        assert (np.diff(part.indices) > 0).all()
        assert 0 <= part.indices[0] <= part.indices[-1] < rows * columns
        lines, length = (part.indices // columns, columns) if part.axis == "row" else (part.indices % columns, rows)
        _, lengths = np.unique(lines, return_counts=True)
        assert (lengths[:-1] == length).all()


@given(sizes=st.lists(st.integers(1, 1000), min_size=1, max_size=8), count=st.integers(0, 1000))
def test_shares_are_exact_and_within_one_of_proportion(sizes: list[int], count: int) -> None:
    assume(count <= sum(sizes))
    shares = draw.share(sizes, count)
    assert sum(shares) == count
    assert all(abs(part - count * size / sum(sizes)) < 1 for part, size in zip(shares, sizes, strict=True))


def drawings(rows: int, columns: int, seed: int = 0) -> list[Drawn]:
    """A draw of each sort, with a partial last slice and without."""
    one = {"w": (rows, columns)}
    drawn = [draw.uniform(np.random.default_rng(seed), one, count)["w"] for count in (1, 7, rows * columns)]
    for count in (2, columns, 2 * columns + 1, rows, 2 * rows + 1, rows * columns):
        drawn += [draw.rows_or_columns(np.random.default_rng(s), one, count)["w"] for s in range(seed, seed + 4)]
    return drawn


@pytest.mark.parametrize("drawn", drawings(5, 8), ids=lambda d: f"{d.axis}-{d.indices.size}")
@pytest.mark.parametrize("shape", [(4,), (3, 4)])
@pytest.mark.parametrize("chunk_bytes", [1, 2**24])
@pytest.mark.parametrize("inputs", [8, 5], ids=["linear", "transposed"])
def test_gradients_equal_dense_ones_in_float64(
    drawn: Drawn, shape: tuple[int, ...], chunk_bytes: int, inputs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sparse, "CHUNK_BYTES", chunk_bytes)
    generator = torch.Generator().manual_seed(1)
    # Either way the weight is stored as 5 x 8, which is what was drawn from.
    dense = nn.Linear(8, 5, dtype=torch.float64) if inputs == 8 else Conv1D(nf=8, nx=5).double()  # type: ignore[no-untyped-call]
    layer = SparseLinear(copy.deepcopy(dense), drawn)
    ours, theirs = (
        torch.randn((*shape, inputs), generator=torch.Generator().manual_seed(2), dtype=torch.float64).requires_grad_()
        for _ in range(2)
    )
    upstream = torch.randn((*shape, 13 - inputs), generator=generator, dtype=torch.float64)
    torch.autograd.backward(layer(ours), upstream)
    torch.autograd.backward(dense(theirs), upstream)

    assert isinstance(dense.weight.grad, Tensor)
    torch.testing.assert_close(layer.values.grad, dense.weight.grad.flatten()[drawn.indices], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-12, atol=1e-12)
    assert layer.bias is not None
    torch.testing.assert_close(layer.bias.grad, dense.bias.grad, rtol=1e-12, atol=1e-12)
    assert layer.weight.grad is None


def apply(name: str, model: nn.Module) -> Applied:
    return strategies.resolve(name)(model, Context(np.random.default_rng(4)))


@pytest.mark.parametrize("name", ["random_uniform", "random_rowcol"])
@pytest.mark.parametrize("family", ["bert", "distilbert", "albert", "deberta-v3", "gpt2"])
def test_gradients_inside_a_model_equal_those_of_full_fine_tuning(
    name: str, family: str, tiny_model: TinyModel, tiny_batch: dict[str, Tensor]
) -> None:
    full, part = (apply(n, tiny_model(family).double().eval()) for n in ("full", name))
    for applied in (full, part):
        torch.autograd.backward(applied.model(**tiny_batch).square().sum())
    for weight, indices in part.expected.changes.items():
        values = part.model.get_parameter(weight.removesuffix("weight") + "values").grad
        dense = full.model.get_parameter(weight).grad
        assert isinstance(dense, Tensor)
        assert values is not None
        torch.testing.assert_close(values, dense.flatten()[indices], rtol=1e-12, atol=1e-12)


def test_no_dense_gradient_and_no_gradient_of_frozen_weights_exists(
    tiny_model: TinyModel, tiny_batch: dict[str, Tensor]
) -> None:
    applied = apply("random_uniform", tiny_model("bert"))
    torch.autograd.backward(applied.model(**tiny_batch).sum())
    for name, parameter in applied.model.named_parameters():
        assert (parameter.grad is None) == (not name.startswith("head.") and not name.endswith(".values"))


def test_the_sparse_and_the_dense_way_train_to_the_same_model(
    tiny_model: TinyModel, tiny_batch: dict[str, Tensor]
) -> None:
    states = []
    for name in ("random_uniform", "random_uniform_dense"):
        applied = apply(name, tiny_model("bert").double().eval())
        parameters = [p for p in applied.model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(parameters, lr=1e-2, weight_decay=0.0)
        for step in range(4):
            torch.autograd.backward(applied.model(**tiny_batch).square().sum())
            applied.before_step(step)
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            optimizer.zero_grad()
        states.append(applied.finished().model.state_dict())
    sparse_state, dense_state = states
    assert sparse_state.keys() == dense_state.keys()
    for name, tensor in dense_state.items():
        torch.testing.assert_close(sparse_state[name], tensor, rtol=1e-9, atol=1e-9)


def test_finalize_leaves_the_trained_values_in_the_weight(tiny_model: TinyModel) -> None:
    applied = apply("random_rowcol", tiny_model("bert"))
    with torch.no_grad():
        for name, parameter in applied.model.named_parameters():
            if name.endswith(".values"):
                parameter.add_(1.0)
    applied = applied.finished()
    before = tiny_model("bert").state_dict()
    for name, indices in applied.expected.changes.items():
        assert indices is not None
        moved = applied.model.state_dict()[name] - before[name]
        assert moved.count_nonzero() == moved.flatten()[indices].count_nonzero() == indices.numel()
