"""The contract every strategy keeps; a new line in the table is covered without another word."""

import copy
from collections.abc import Callable
from pathlib import Path

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
from families import ENCODERS
from strategies import StrategyError, delta
from strategies.interface import Applied, Context

TinyModel = Callable[..., TaskModel]
Batch = dict[str, Tensor]

HEADS: list[tuple[HeadKind, Pooling | None]] = [
    ("classification", None),
    ("classification", "mean"),
    ("tagging", None),
]


def apply(name: str, model: nn.Module, mask_seed: int = 5) -> Applied:
    for part in strategies.parse(name):
        if part.entry.extra:
            pytest.importorskip(part.entry.extra)
    return strategies.resolve(name)(model, Context(np.random.default_rng(mask_seed)))


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


@pytest.mark.parametrize(
    ("name", "family"), [(n, f) for n, f in APPLICABLE if f in ("bert", "distilbert", "albert", "gpt2", "modernbert")]
)
def test_accumulated_gradients_equal_those_of_one_batch(
    name: str, family: str, tiny_model: TinyModel, tiny_batch: Batch
) -> None:
    whole = gradients(apply(name, tiny_model(family)), tiny_batch)
    applied = apply(name, tiny_model(family))
    applied.model.eval()
    for half in (slice(0, 3), slice(3, 6)):
        torch.autograd.backward(loss_of(applied, {key: value[half] for key, value in tiny_batch.items()}) / 2)
    applied.before_step(0)
    parameters = dict(applied.model.named_parameters())
    for leaf, gradient in whole.items():
        torch.testing.assert_close(parameters[leaf].grad, gradient, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    ("name", "family"),
    [
        (n, f)
        for n, f in APPLICABLE
        if not n.startswith("frozen") and f in ("bert", "electra", "deberta-v3", "gpt2", "modernbert")
    ],
)
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
def test_the_torch_random_state_is_left_alone(name: str, tiny_model: TinyModel) -> None:
    model = tiny_model("bert")
    before = torch.get_rng_state()
    apply(name, model)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", [name for name, entry in strategies.TABLE.items() if entry.same_as])
@pytest.mark.parametrize("family", ENCODERS)
def test_two_names_of_one_strategy_train_the_same(name: str, family: str, tiny_model: TinyModel) -> None:
    other = strategies.TABLE[name].same_as
    assert strategies.selection(name) == strategies.selection(other) == strategies.canonical(other)
    assert apply(name, tiny_model(family)).expected == apply(other, tiny_model(family)).expected
