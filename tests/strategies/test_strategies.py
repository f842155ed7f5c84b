"""The contract every strategy keeps; a new line in the table is covered without another word."""

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import strategies
from applicable import APPLICABLE, NAMES, REFUSED
from bench.audit import Auditor
from bench.cell import Pooling
from bench.models import TaskModel
from bench.tasks.base import HeadKind
from families import DECODERS, ENCODERS, VOCABULARY
from strategies import StrategyError, delta, sparse
from strategies.interface import Applied, Context

TinyModel = Callable[..., TaskModel]
Batch = dict[str, Tensor]

SUBSETS = [name for name in strategies.TABLE if name.startswith("random_") or name.endswith("_subset")]
HEADS: list[tuple[HeadKind, Pooling | None]] = [
    ("classification", None),
    ("classification", "mean"),
    ("tagging", None),
]

TAKES_COORDINATES = [
    *SUBSETS,
    "random_uniform:embeddings",
    "random_rowcol:embeddings",
    "bitfit+random_uniform",
    "random_uniform+bf16",
]


WITHOUT_CHECKPOINTING = ("albert", "mpnet")
REACHING_THE_ENCODER = [(name, family) for name, family in APPLICABLE if not name.startswith("frozen")]
"""All but what leaves the encoder without gradients."""

CHECKPOINTING = [
    (name, family) for name, family in APPLICABLE if family not in WITHOUT_CHECKPOINTING and "prefix" not in name
]
"""All but the architectures that have no checkpoints, and prefix, which is refused under them by a test of its own."""


@pytest.fixture(autouse=True)
def few_weights_of_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a tiny matrix even a few weights are so many that their gradient is taken densely; here it is not."""
    monkeypatch.setattr(sparse, "DENSE_SHARE", 1.0)
    monkeypatch.setattr(sparse, "CHUNK", 600)


def apply(name: str, model: nn.Module, mask_seed: int = 5, budget: int | None = None) -> Applied:
    """Apply a strategy where there is a task to look at, with batches and a loss of its own."""
    for part in strategies.parse(name):
        if part.entry.extra:
            pytest.importorskip(part.entry.extra)
    context = Context(np.random.default_rng(mask_seed), batches=task_batches, loss=task_loss, budget=budget)
    return strategies.resolve(name)(model, context)


def task_batches() -> Iterator[Batch]:
    """Random tokens without end, the same at each call."""
    generator = torch.Generator().manual_seed(11)
    while True:
        ids = torch.randint(5, VOCABULARY, (4, 7), generator=generator)
        yield {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids[:, 0]}


def task_loss(logits: Tensor, batch: Any) -> Tensor:
    """A loss that depends on the labels."""
    targets = batch["labels"].reshape(-1, *[1] * (logits.dim() - 1)) / VOCABULARY
    loss: Tensor = (logits - targets).square().mean()
    return loss


def loss_of(applied: Applied, batch: Batch) -> Tensor:
    """A loss that depends on every logit, so that no gradient vanishes."""
    logits: Tensor = applied.model(**batch)
    targets = torch.linspace(-1.0, 1.0, logits.shape[-1], dtype=logits.dtype)
    return (logits.float() if logits.dtype == torch.bfloat16 else logits).sub(targets).square().mean()


def train(applied: Applied, batch: Batch, steps: int = 3, weight_decay: float = 0.0) -> Applied:
    parameters = [parameter for parameter in applied.model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-2, weight_decay=weight_decay, fused=True)
    applied.model.train()
    for step in range(steps):
        torch.manual_seed(step)
        torch.autograd.backward(loss_of(applied, batch) + applied.penalty())
        applied.before_step(step)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return applied.finished()


def gradients(applied: Applied, batch: Batch) -> dict[str, Tensor]:
    """Gradients of the encoder's trainable leaves as the optimizer would see them, dropout off."""
    applied.model.eval()
    torch.autograd.backward(loss_of(applied, batch))
    applied.before_step(0)
    return {
        name: parameter.grad
        for name, parameter in applied.model.named_parameters()
        if parameter.grad is not None and name.startswith("encoder.")
    }


@pytest.mark.parametrize(("kind", "pooling"), HEADS)
@pytest.mark.parametrize(("name", "family"), APPLICABLE)
def test_audit_is_green_after_training(
    name: str,
    family: str,
    kind: HeadKind,
    pooling: Pooling | None,
    tiny_model: TinyModel,
    tiny_batch: Batch,
    tmp_path: Path,
) -> None:
    base = tiny_model(family, kind, pooling)
    auditor = Auditor(base, tiny_batch)
    applied = apply(name, copy.deepcopy(base))
    auditor.after_apply(applied)
    reached = gradients(applied, tiny_batch)
    assert reached.keys() == applied.expected.trainable.keys()
    applied.model.zero_grad(set_to_none=True)

    applied = train(applied, tiny_batch)
    auditor.after_finalize(applied)
    path = tmp_path / "delta.safetensors"
    size = delta.save(path, applied, delta.DeltaInfo(name, 5, "tiny", "made-up"))
    auditor.after_delta(applied, path, base, "tiny")

    audit = auditor.result()
    assert audit.passed, audit.checks
    assert size.head == 4 * sum(p.numel() for p in applied.model.get_submodule("head").parameters())
    assert size.encoder <= 8 * applied.expected.count


@pytest.mark.parametrize(("name", "family"), APPLICABLE)
def test_accumulated_gradients_equal_those_of_one_batch(
    name: str, family: str, tiny_model: TinyModel, tiny_batch: Batch
) -> None:
    whole, halves = (apply(name, tiny_model(family)) for _ in range(2))
    gradients(whole, tiny_batch)
    halves.model.eval()
    for half in (slice(0, 3), slice(3, 6)):
        torch.autograd.backward(loss_of(halves, {key: value[half] for key, value in tiny_batch.items()}) / 2)
    halves.before_step(0)
    parameters = dict(halves.model.named_parameters())
    assert any(parameter.grad is not None for parameter in parameters.values())
    for leaf, parameter in whole.model.named_parameters():
        torch.testing.assert_close(parameters[leaf].grad, parameter.grad, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(("name", "family"), REACHING_THE_ENCODER)
def test_gradients_under_bfloat16_autocast_point_the_same_way(
    name: str, family: str, tiny_model: TinyModel, tiny_batch: Batch
) -> None:
    exact = gradients(apply(name, tiny_model(family, "tagging")), tiny_batch)
    applied = apply(name, tiny_model(family, "tagging"))
    applied.model.eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = applied.model(**tiny_batch)
        loss = loss_of(applied, tiny_batch)
    assert logits.dtype == torch.bfloat16
    torch.autograd.backward(loss)
    applied.before_step(0)
    parameters = dict(applied.model.named_parameters())
    assert all(parameters[leaf].grad is not None and parameters[leaf].dtype == torch.float32 for leaf in exact)
    ours = torch.cat([parameters[leaf].grad.flatten() for leaf in exact])  # type: ignore[union-attr]
    theirs = torch.cat([gradient.flatten() for gradient in exact.values()])
    assert torch.nn.functional.cosine_similarity(ours, theirs, dim=0) > 0.99
    assert 0.95 < float(ours.norm() / theirs.norm()) < 1.05


@pytest.mark.parametrize("name", NAMES)
def test_same_mask_seed_gives_the_same_choice_and_another_seed_another_where_it_draws(
    name: str, tiny_model: TinyModel
) -> None:
    first, again, other = (apply(name, tiny_model("minilm"), seed) for seed in (5, 5, 6))
    base = tiny_model("minilm").state_dict().keys()

    def chosen(applied: Applied) -> list[tuple[str, list[float] | None]]:
        """Coordinates of the base, and the first values of what was inserted, whether or not they are in the state."""
        tensors = (*applied.model.named_parameters(), *applied.model.named_buffers())
        inserted = [(key, tensor.flatten().tolist()) for key, tensor in tensors if key not in base]
        changes = applied.expected.changes.items()
        return inserted + [(key, None if value is None else value.tolist()) for key, value in changes]

    assert chosen(first) == chosen(again)
    draws = strategies.is_random(name)
    assert (chosen(first) != chosen(other)) == draws
    assert first.expected.count == other.expected.count


@pytest.mark.parametrize(("name", "family"), REFUSED)
def test_what_an_architecture_cannot_have_is_refused_in_one_line(
    name: str, family: str, tiny_model: TinyModel
) -> None:
    with pytest.raises(StrategyError, match=REFUSED[name, family]) as error:
        apply(name, tiny_model(family))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", NAMES)
def test_random_state_modes_and_gradients_are_left_alone(name: str, tiny_model: TinyModel) -> None:
    model = tiny_model("bert").train()
    model.encoder.get_submodule("pooler").eval()
    before, modes = torch.get_rng_state(), {m: m.training for m in model.modules()}
    applied = apply(name, model)
    assert torch.equal(torch.get_rng_state(), before)
    assert {m: m.training for m in applied.model.modules() if m in modes}.items() <= modes.items()
    assert all(parameter.grad is None for parameter in applied.model.parameters())


@pytest.mark.parametrize(("name", "family"), CHECKPOINTING)
def test_gradient_checkpointing_gives_the_same_gradients(
    name: str, family: str, tiny_model: TinyModel, tiny_batch: Batch
) -> None:
    plain, sparing = (apply(name, tiny_model(family)) for _ in range(2))
    sparing.model.get_submodule("encoder").gradient_checkpointing_enable({"use_reentrant": False})  # type: ignore[operator]
    for applied in (plain, sparing):
        applied.model.train()
        torch.manual_seed(1)
        torch.autograd.backward(loss_of(applied, tiny_batch))
        applied.before_step(0)
    theirs = dict(sparing.model.named_parameters())
    assert any(parameter.grad is not None for parameter in theirs.values())
    for leaf, parameter in plain.model.named_parameters():
        assert (theirs[leaf].grad is None) == (parameter.grad is None)
        if parameter.grad is not None:
            torch.testing.assert_close(theirs[leaf].grad, parameter.grad, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("family", [*ENCODERS, *DECODERS, "modernbert", "llama"])
def test_the_families_left_out_of_checkpointing_are_those_whose_architecture_has_none(
    family: str, tiny_model: TinyModel
) -> None:
    assert tiny_model(family).encoder.supports_gradient_checkpointing == (family not in WITHOUT_CHECKPOINTING)


def test_prefix_is_refused_under_gradient_checkpointing(tiny_model: TinyModel, tiny_batch: Batch) -> None:
    model = apply("prefix", tiny_model("bert")).model.train()
    model.get_submodule("encoder").gradient_checkpointing_enable()  # type: ignore[operator]
    with pytest.raises(StrategyError, match="prefix cannot train with gradient checkpointing"):
        model(**tiny_batch)
    model.eval()(**tiny_batch)
    other = tiny_model("bert")
    other.encoder.gradient_checkpointing_enable()  # type: ignore[no-untyped-call]
    with pytest.raises(StrategyError, match="prefix cannot train with gradient checkpointing"):
        apply("prefix", other)


@pytest.mark.parametrize(("name", "family"), APPLICABLE)
def test_training_resumed_halfway_goes_on_bit_by_bit(
    name: str, family: str, tiny_model: TinyModel, tiny_batch: Batch
) -> None:
    def begin() -> tuple[Applied, torch.optim.Optimizer]:
        applied = apply(name, tiny_model(family))
        applied.model.train()
        trained = [parameter for parameter in applied.model.parameters() if parameter.requires_grad]
        return applied, torch.optim.AdamW(trained, lr=1e-2, weight_decay=0.0, fused=True)

    def go_on(applied: Applied, optimizer: torch.optim.Optimizer, steps: range) -> None:
        for step in steps:
            torch.manual_seed(step)
            torch.autograd.backward(loss_of(applied, tiny_batch) + applied.penalty())
            applied.before_step(step)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    first, optimizer = begin()
    go_on(first, optimizer, range(2))
    saved = copy.deepcopy((first.model.state_dict(), optimizer.state_dict()))
    go_on(first, optimizer, range(2, 4))

    again, other = begin()
    again.model.load_state_dict(saved[0])
    other.load_state_dict(saved[1])
    go_on(again, other, range(2, 4))
    one, two = (applied.finished().model.state_dict() for applied in (first, again))
    assert one.keys() == two.keys()
    assert all(torch.equal(two[key], tensor) for key, tensor in one.items())


@pytest.mark.parametrize("name", SUBSETS)
@pytest.mark.parametrize("budget", [1, 300, 5000])
def test_a_budget_sets_the_size(name: str, budget: int, tiny_model: TinyModel, tiny_batch: Batch) -> None:
    base = tiny_model("bert")
    auditor = Auditor(base, tiny_batch)
    applied = apply(name, copy.deepcopy(base), budget=budget)
    assert applied.expected.count == applied.expected.budget == budget
    assert not any(auditor.after_apply(applied).values())


@pytest.mark.parametrize("name", SUBSETS)
def test_a_budget_beyond_what_there_is_is_refused(name: str, tiny_model: TinyModel) -> None:
    with pytest.raises(strategies.StrategyError, match=r"train 100000 weights and has \d+ to choose from") as error:
        apply(name, tiny_model("bert"), budget=100_000)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", SUBSETS)
def test_a_model_without_biases_needs_a_budget(name: str, tiny_model: TinyModel) -> None:
    model = tiny_model("bert")
    for module in model.encoder.modules():
        if getattr(module, "bias", None) is not None:
            module.register_parameter("bias", None)
    with pytest.raises(strategies.StrategyError, match=r"has no biases whose count .* give it a budget"):
        apply(name, model)
    assert apply(name, model, budget=40).expected.count == 40


@pytest.mark.parametrize("name", [name for name, entry in strategies.TABLE.items() if entry.same_as])
@pytest.mark.parametrize("family", ENCODERS)
def test_two_names_of_one_strategy_train_the_same(name: str, family: str, tiny_model: TinyModel) -> None:
    other = strategies.TABLE[name].same_as
    assert strategies.selection(name) == strategies.selection(other) == strategies.canonical(other)
    assert apply(name, tiny_model(family)).expected == apply(other, tiny_model(family)).expected


@pytest.mark.parametrize("name", TAKES_COORDINATES)
@pytest.mark.parametrize("family", ["bert", "electra", "deberta-v3", "gpt2"])
@pytest.mark.parametrize("how", ["accumulated", "autocast", "checkpointed"])
def test_the_dense_way_to_a_gradient_and_the_sparse_one_agree(
    name: str, family: str, how: str, tiny_model: TinyModel, tiny_batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for share in (0.0, 1.0):
        monkeypatch.setattr(sparse, "DENSE_SHARE", share)
        applied = apply(name, tiny_model(family, "tagging"))
        if how == "checkpointed":
            applied.model.train()
            applied.model.get_submodule("encoder").gradient_checkpointing_enable({"use_reentrant": False})  # type: ignore[operator]
        else:
            applied.model.eval()
        torch.manual_seed(1)
        for half in (slice(0, 3), slice(3, 6)) if how == "accumulated" else (slice(None),):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=how == "autocast"):
                loss = loss_of(applied, {key: value[half] for key, value in tiny_batch.items()})
            torch.autograd.backward(loss)
        found.append({leaf: p.grad for leaf, p in applied.model.named_parameters() if p.grad is not None})
    dense, taken = found
    assert dense.keys() == taken.keys()
    assert any(leaf.endswith("values") for leaf in dense) or name == "random_uniform_dense"
    rtol, atol = (0.05, 1e-3) if how == "autocast" else (1e-4, 1e-6)
    for leaf, gradient in dense.items():
        torch.testing.assert_close(taken[leaf], gradient, rtol=rtol, atol=atol)
