"""Random subsets: what is drawn, and gradients at the drawn coordinates alone."""

import copy
import gc
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers.activations import ACT2FN
from transformers.pytorch_utils import Conv1D

import strategies
from bench.measure.live import LiveTensors, model_tensors
from bench.models import TaskModel
from strategies import StrategyError, draw, gradient_subset, sparse
from strategies.draw import Drawn
from strategies.interface import Applied, Context
from strategies.recompute import can_recompute, recompute
from strategies.sparse import SparseEmbedding, SparseLinear

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


def test_drawn_lines_and_their_orientation_are_uniform_over_matrices_and_seeds() -> None:
    shapes = {"wide": (6, 30), "tall": (30, 6), "square": (12, 12)}
    # A quarter of each matrix: three lines of the square one, of the others one and a half or seven and a half.
    rows_of = dict.fromkeys(shapes, 0)
    hits = {
        (name, axis): np.zeros(shape[axis == "column"]) for name, shape in shapes.items() for axis in ("row", "column")
    }
    pairs = np.zeros((2, 2))
    for seed in range(2000):
        drawn = draw.rows_or_columns(np.random.default_rng(seed), shapes, 126)
        for name, (_, columns) in shapes.items():
            axis = drawn[name].axis
            assert axis is not None
            rows_of[name] += axis == "row"
            flat = drawn[name].indices
            hits[name, axis][np.unique(flat // columns if axis == "row" else flat % columns)] += 1
        pairs[int(drawn["wide"].axis == "row"), int(drawn["tall"].axis == "row")] += 1
    for rows in rows_of.values():
        # A fair coin: 1000 of 2000, with a standard deviation of 22; each matrix has its own.
        assert abs(rows - 1000) < 5 * 22.4
    assert np.abs(pairs - 500).max() < 5 * 19.4
    for counted in hits.values():
        expected = counted.mean()
        # Each line is as likely as any other; drawn without replacement, it varies less than a binomial would.
        assert np.abs(counted - expected).max() < 5 * np.sqrt(expected)


@pytest.mark.parametrize("way", [draw.uniform, draw.rows_or_columns])
def test_another_seed_draws_something_else_and_the_same_seed_the_same(way: Callable[..., dict[str, Drawn]]) -> None:
    shapes = {f"layer{i}": (40, 30) for i in range(4)}

    def coordinates(seed: int) -> dict[str, list[int]]:
        drawn = way(np.random.default_rng(seed), shapes, 480)
        return {name: part.indices.tolist() for name, part in drawn.items()}

    found = [coordinates(seed) for seed in range(20)]
    assert found == [coordinates(seed) for seed in range(20)]
    assert all(one[name] != other[name] for one, other in itertools.combinations(found, 2) for name in shapes)
    assert all(len({tuple(one[name]) for name in shapes}) == len(shapes) for one in found), "each matrix has its own"


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
@pytest.mark.parametrize(("chunk", "dense_share"), [(1, 1.0), (2**20, 1.0), (2**20, 0.0)])
@pytest.mark.parametrize("inputs", [8, 5], ids=["linear", "transposed"])
def test_gradients_equal_dense_ones_in_float64(
    drawn: Drawn,
    shape: tuple[int, ...],
    chunk: int,
    dense_share: float,
    inputs: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sparse, "CHUNK", chunk)
    monkeypatch.setattr(sparse, "DENSE_SHARE", dense_share)
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


DRAWN = ["random_uniform", "random_uniform:embeddings", "random_rowcol", "random_rowcol:embeddings"]


def apply(name: str, model: nn.Module) -> Applied:
    return strategies.resolve(name)(model, Context(np.random.default_rng(4)))


@pytest.mark.parametrize("name", [*DRAWN, "magnitude_subset"])
@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "albert", "deberta-v3", "gpt2"])
@pytest.mark.parametrize("dense_share", [0.0, 1.0])
def test_gradients_inside_a_model_equal_those_of_full_fine_tuning(
    name: str,
    family: str,
    dense_share: float,
    tiny_model: TinyModel,
    tiny_batch: dict[str, Tensor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sparse, "DENSE_SHARE", dense_share)
    batch = dict(tiny_batch)
    if family == "roberta":  # whose padding has an id, and a row of the embedding that never learns
        batch["input_ids"] = tiny_batch["input_ids"].masked_fill(tiny_batch["attention_mask"] == 0, 1)
    full, part = (apply(n, tiny_model(family).double().train()) for n in ("full", name))
    for applied in (full, part):
        torch.manual_seed(0)
        torch.autograd.backward(applied.model(**batch).square().sum())
    for weight, indices in part.expected.changes.items():
        values = part.model.get_parameter(weight.removesuffix("weight") + "values").grad
        dense = full.model.get_parameter(weight).grad
        assert isinstance(dense, Tensor)
        assert values is not None
        torch.testing.assert_close(values, dense.flatten()[indices], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("padding_idx", [None, 2])
@pytest.mark.parametrize("count", [1, 13, 40])
def test_an_embedding_has_the_gradient_of_a_dense_one(padding_idx: int | None, count: int) -> None:
    dense = nn.Embedding(10, 4, padding_idx=padding_idx, dtype=torch.float64)
    drawn = draw.uniform(np.random.default_rng(1), {"w": (10, 4)}, count)["w"]
    layer = SparseEmbedding(copy.deepcopy(dense), drawn)
    ids = torch.tensor([[2, 7, 7, 0], [9, 2, 7, 3]])
    upstream = torch.randn((2, 4, 4), generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    for module in (dense, layer):
        torch.autograd.backward(module(ids), upstream)
    assert isinstance(dense.weight.grad, Tensor)
    torch.testing.assert_close(layer.values.grad, dense.weight.grad.flatten()[drawn.indices], rtol=1e-12, atol=1e-12)
    assert layer.weight.grad is None


def largest_of(scores: dict[str, Tensor], count: int) -> set[tuple[str, int]]:
    """The coordinates of the highest scores, looked for in one long list."""
    ranked = sorted(((float(s), n, i) for n, t in scores.items() for i, s in enumerate(t.flatten())), reverse=True)
    return {(name, index) for _, name, index in ranked[:count]}


def chosen(applied: Applied) -> set[tuple[str, int]]:
    """What a subset chose: names of weights and flat coordinates."""
    changes = applied.expected.changes.items()
    return {(name, int(i)) for name, indices in changes if indices is not None for i in indices}


@pytest.mark.parametrize("budget", [1, 50, 2000])
def test_the_largest_weights_are_chosen(budget: int, tiny_model: TinyModel) -> None:
    base = tiny_model("bert")
    inside = {n: p for n, p in base.named_parameters() if ".layer." in n and p.dim() == 2}
    applied = strategies.resolve("magnitude_subset")(base, Context(np.random.default_rng(0), budget=budget))
    assert chosen(applied) == largest_of({name: p.detach().abs() for name, p in inside.items()}, budget)


def test_the_weights_of_the_largest_squared_gradients_are_chosen(
    tiny_model: TinyModel, tiny_batch: dict[str, Tensor]
) -> None:
    def halves() -> Iterator[dict[str, Tensor]]:
        for half in itertools.cycle((slice(0, 3), slice(3, 6))):
            yield {name: tensor[half] for name, tensor in tiny_batch.items()} | {"labels": torch.arange(3.0)}

    def loss(logits: Tensor, batch: Any) -> Tensor:
        error: Tensor = logits.sum(1) - batch["labels"]
        return error.square().mean()

    model = tiny_model("bert").eval()
    inside = {n: p for n, p in model.named_parameters() if ".layer." in n and p.dim() == 2}
    scores = {name: torch.zeros_like(p) for name, p in inside.items()}
    for batch in itertools.islice(halves(), gradient_subset.BATCHES):
        logits = model(batch["input_ids"], batch["attention_mask"])
        for name, gradient in zip(
            inside, torch.autograd.grad(loss(logits, batch), list(inside.values())), strict=True
        ):
            scores[name] += gradient.square()
    context = Context(np.random.default_rng(0), batches=halves, loss=loss, budget=100)
    applied = strategies.resolve("gradient_subset")(tiny_model("bert").train(), context)
    assert len(chosen(applied) ^ largest_of(scores, 100)) <= 2  # two scores may be nearly equal


@pytest.mark.parametrize("missing", ["batches", "loss"])
def test_gradients_need_a_task(missing: str, tiny_model: TinyModel, tiny_batch: dict[str, Tensor]) -> None:
    task: dict[str, Any] = {"batches": lambda: iter([tiny_batch]), "loss": lambda logits, _: logits.sum()}
    del task[missing]
    model = tiny_model("bert").train()
    flags = {parameter: parameter.requires_grad for parameter in model.parameters()}
    with pytest.raises(strategies.StrategyError, match=r"^strategy 'gradient_subset': it looks at gradients"):
        strategies.resolve("gradient_subset")(model, Context(np.random.default_rng(0), **task))
    assert {parameter: parameter.requires_grad for parameter in model.parameters()} == flags
    assert all(module.training for module in model.modules())


def saved_bytes(applied: Applied, batch: dict[str, Tensor]) -> int:
    """Bytes of the tensors a training step keeps between forward and backward, those of the model left out."""
    tracker = LiveTensors()
    with tracker:
        tracker.watch((*model_tensors(applied.model), *batch.values()))
        before = tracker.live_bytes
        logits: Tensor = applied.model.train()(**batch)
        return tracker.live_bytes - before - logits.nbytes


@pytest.mark.parametrize("name", [*DRAWN, "magnitude_subset"])
@pytest.mark.parametrize("family", ["bert", "minilm", "roberta", "distilbert", "gpt2"])
def test_no_more_is_kept_for_backward_than_by_bitfit(
    name: str, family: str, tiny_model: TinyModel, tiny_batch: dict[str, Tensor]
) -> None:
    kept = {}
    for one in (name, "bitfit"):
        applied = apply(one, tiny_model(family))
        for module in applied.model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0  # in attention it would keep torch from the kernel that keeps its output
        kept[one] = saved_bytes(applied, tiny_batch)
    # Embeddings keep the ids of words, positions and types where they train.
    assert 0 < kept[name] <= kept["bitfit"] + 3 * tiny_batch["input_ids"].nbytes


def test_a_layer_saves_its_input_where_it_cannot_be_computed_again() -> None:
    norm, x = nn.LayerNorm(4), torch.ones(3, 4, requires_grad=True) * 2
    assert can_recompute(norm(x))
    assert can_recompute(torch.nn.functional.gelu(x))
    assert not can_recompute(x)
    assert not can_recompute(norm(x).relu())
    assert not can_recompute(norm(x)[:, :2])
    written = norm(x)
    with torch.no_grad():
        written.add_(1)
    assert not can_recompute(written)
    with torch.autograd.graph.save_on_cpu():
        assert not can_recompute(norm(x))
    with torch.no_grad():
        assert not can_recompute(norm(x))


@pytest.mark.parametrize("columns", [None, [2, 0, 0]])
def test_what_is_computed_again_is_what_was(columns: list[int] | None) -> None:
    x = torch.randn((2, 3, 4), dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_() * 1.0
    norm = nn.LayerNorm(4, dtype=torch.float64)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    plain = nn.LayerNorm(4, elementwise_affine=False)
    for make in (norm, plain, nn.GELU(), nn.GELU("tanh"), nn.SiLU(), ACT2FN["gelu_new"], ACT2FN["quick_gelu"]):
        out = make(x)
        assert can_recompute(out)
        assert out.grad_fn is not None
        index = None if columns is None else torch.tensor(columns, dtype=torch.int32)
        flat = out.detach().reshape(-1, 4)
        again = recompute(out.grad_fn, index)
        torch.testing.assert_close(again, flat if index is None else flat[:, index], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("mean", [0.0, 10.0, 1e3])
@pytest.mark.parametrize("affine", [True, False])
def test_float32_is_as_exact_behind_a_norm_of_any_mean(
    mean: float, affine: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sparse, "DENSE_SHARE", 1.0)
    generator = torch.Generator().manual_seed(0)
    # The same numbers in both types, so that only the arithmetic differs.
    x = (torch.randn((256, 48), generator=generator) + mean).double()
    upstream = torch.randn((256, 32), generator=generator).double()
    norm, linear = nn.LayerNorm(48, elementwise_affine=affine).double(), nn.Linear(48, 32).double()
    if affine:
        nn.init.normal_(norm.weight, generator=generator)
        nn.init.normal_(norm.bias, generator=generator)
    drawn = draw.uniform(np.random.default_rng(0), {"w": (32, 48)}, 200)["w"]

    def gradient(dtype: torch.dtype, *, dense: bool) -> Tensor:
        own = copy.deepcopy(linear).to(dtype)
        layer = own if dense else SparseLinear(own, drawn)
        out = layer(copy.deepcopy(norm).to(dtype)(x.to(dtype).requires_grad_() * 1.0))
        out.backward(upstream.to(dtype))
        found = own.weight.grad if dense else layer.values.grad
        assert isinstance(found, Tensor)
        return (found.flatten()[torch.from_numpy(drawn.indices)] if dense else found).double()

    exact = gradient(torch.float64, dense=True)

    def error(found: Tensor) -> float:
        return float((found - exact).norm() / exact.norm())

    assert error(gradient(torch.float32, dense=False)) <= 3 * error(gradient(torch.float32, dense=True)) + 1e-6


def test_a_product_that_was_spread_over_columns_is_kept() -> None:
    narrow, wide = torch.ones((3, 1), requires_grad=True) * 2, torch.ones((3, 4), requires_grad=True) * 2
    assert not can_recompute(narrow * wide)


def test_nothing_of_a_step_outlives_it(tiny_model: TinyModel, tiny_batch: dict[str, Tensor]) -> None:
    applied = apply("random_uniform", tiny_model("bert"))
    tracker = LiveTensors()
    gc.disable()
    try:
        with tracker:
            tracker.watch((*model_tensors(applied.model), *tiny_batch.values()))
            before = tracker.live_bytes
            torch.autograd.backward(applied.model.train()(**tiny_batch).sum())
            applied.model.zero_grad(set_to_none=True)
            assert tracker.live_bytes == before
            applied.model.train()(**tiny_batch)
            assert tracker.live_bytes == before
    finally:
        gc.enable()


class Made(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the shapes of all tensors that are made, views of others and what is written in place left out."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.shapes: set[tuple[int, ...]] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        given = {t.untyped_storage().data_ptr() for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor) and tensor.untyped_storage().data_ptr() not in given:
                self.shapes.add(tuple(tensor.shape))
        return out


def made_in_the_shape_of(matrices: Iterable[tuple[int, ...]], backward: Callable[[], None]) -> set[tuple[int, ...]]:
    """Shapes of whole matrices, either way round, in which `backward` makes a tensor."""
    either = {way for shape in matrices for way in (shape, shape[::-1])}
    with Made() as made:
        backward()
    return {shape for shape in made.shapes if shape in either}


@pytest.mark.parametrize(
    "name",
    [
        "random_uniform",
        "random_uniform:embeddings",
        "random_rowcol",
        "random_rowcol:embeddings",
        "magnitude_subset",
    ],
)
@pytest.mark.parametrize("family", ["bert", "albert", "distilbert", "gpt2"])
def test_where_the_gradient_is_taken_at_coordinates_no_dense_one_is_ever_made(
    name: str,
    family: str,
    tiny_model: TinyModel,
    tiny_batch: dict[str, Tensor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sparse, "DENSE_SHARE", 1.0)
    made = {}
    for one in (name, "random_uniform_dense"):
        # Its head has no matrix of the width by the width, as that of a classification may have.
        base = tiny_model(family, "tagging").eval()
        shapes = {name: tuple(parameter.shape) for name, parameter in base.named_parameters()}
        applied = apply(one, base)
        matrices = [shapes[weight] for weight in applied.expected.changes]
        loss = applied.model(**tiny_batch).square().sum()
        made[one] = made_in_the_shape_of(matrices, loss.backward)
    assert made.pop("random_uniform_dense"), "which the reference does make"
    assert made == {name: set()}


@pytest.mark.parametrize(("count", "dense"), [(1, False), (20, False), (21, True)])
@pytest.mark.parametrize("transposed", [False, True])
def test_a_dense_product_is_made_only_above_one_in_a_hundred_coordinates(
    count: int, dense: bool, transposed: bool
) -> None:
    layer = Conv1D(nf=50, nx=40) if transposed else nn.Linear(50, 40)  # type: ignore[no-untyped-call]
    drawn = draw.uniform(np.random.default_rng(0), {"w": (40, 50)}, count)["w"]
    out = SparseLinear(layer, drawn)(torch.ones(7, 40 if transposed else 50, requires_grad=True) * 2)
    assert bool(made_in_the_shape_of([(40, 50)], out.sum().backward)) == dense


def test_only_the_values_and_the_head_have_a_gradient_after_a_step(
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


@pytest.mark.parametrize("name", [*DRAWN, "random_uniform_dense", "gradient_subset", "magnitude_subset", "shira:1"])
def test_two_layers_with_one_weight_are_refused_by_name(name: str, tiny_model: TinyModel) -> None:
    model = tiny_model("bert")
    first, second = (model.get_submodule(f"encoder.encoder.layer.{i}.attention.self.query") for i in (0, 1))
    second.weight = first.weight
    flags = [parameter.requires_grad for parameter in model.parameters()]
    with pytest.raises(StrategyError, match=r"layer\.0\.\S+query and \S+layer\.1\.\S+query are two layers with one"):
        apply(name, model)
    assert [parameter.requires_grad for parameter in model.parameters()] == flags
