"""Diff pruning: gates against their formula, and what each half of the training leaves."""

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import strategies
from bench.models import TaskModel, shape_only
from strategies import StrategyError
from strategies.diff_pruning import PENALTY
from strategies.hard_concrete import LOWER, SCALE, START, UPPER, GatedDifference
from strategies.interface import Applied, Context

TinyModel = Callable[..., TaskModel]
Batch = dict[str, Tensor]

BOTH = ["diff_pruning", "diff_pruning_structured"]


def apply(name: str, model: nn.Module, total_steps: int = 0, budget: int | None = None) -> Applied:
    return strategies.resolve(name)(model, Context(np.random.default_rng(0), total_steps=total_steps, budget=budget))


def gates_of(applied: Applied) -> list[GatedDifference]:
    return [module for module in applied.model.modules() if isinstance(module, GatedDifference)]


def weights(model: nn.Module) -> dict[str, Tensor]:
    """Every tensor of the encoder as a forward pass without noise would see it, by its name in the base."""
    found = {}
    for path, module in model.get_submodule("encoder").named_modules():
        gated = getattr(module, "parametrizations", {})
        for own in {name for name, _ in module.named_parameters(recurse=False)} | set(gated):
            if not path.endswith("parametrizations") and ".parametrizations." not in path:
                found[f"encoder.{path}.{own}"] = getattr(module, own).detach().clone()
    return found


def disturb(applied: Applied, seed: int = 0) -> None:
    """Differences and gates as after some training: of all sizes, open, closed and in between."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for one in gates_of(applied):
            one.delta.normal_(generator=generator)
            one.log_alpha.normal_(0, 2 / SCALE, generator=generator)
            if one.group_log_alpha is not None:
                one.group_log_alpha.normal_(0, 2 / SCALE, generator=generator)


class Trainer:
    """A training loop with AdamW that can be stopped, saved and resumed."""

    def __init__(self, applied: Applied, batch: Batch, rate: float = 1e-3) -> None:
        self.applied, self.batch = applied, batch
        parameters = [parameter for parameter in applied.model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.0, fused=True)

    def loss(self) -> Tensor:
        logits: Tensor = self.applied.model(**self.batch)
        return logits.sub(torch.linspace(-1, 1, logits.shape[-1])).square().mean()

    def run(self, begin: int, end: int) -> None:
        self.applied.model.train()
        for step in range(begin, end):
            torch.manual_seed(step)
            torch.autograd.backward(self.loss() + self.applied.penalty())
            self.applied.before_step(step)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)


def directly(one: GatedDifference, base: Tensor) -> Tensor:
    """w0 + z * delta, written out for autograd."""

    def gate(log_alpha: Tensor, noise: Tensor | None) -> Tensor:
        s = torch.sigmoid(SCALE * log_alpha + (0 if noise is None else noise))
        return torch.clamp(s * (UPPER - LOWER) + LOWER, 0, 1)

    z = gate(one.log_alpha, one.noise)
    if one.group_log_alpha is not None:
        z = z * gate(one.group_log_alpha, one.group_noise)
    return base + z * one.delta


@pytest.mark.parametrize("random", [True, False])
@pytest.mark.parametrize("grouped", [True, False])
def test_gates_and_their_gradients_are_those_of_the_formula(grouped: bool, random: bool) -> None:
    torch.manual_seed(0)
    base, upstream = torch.randn(2, 20, 30, dtype=torch.float64)
    ours = GatedDifference(base, grouped=grouped)
    with torch.no_grad():
        ours.delta.normal_()
        ours.log_alpha.normal_(0, 2 / SCALE)
        if ours.group_log_alpha is not None:
            ours.group_log_alpha.fill_(-0.2 / SCALE if random else 0.2 / SCALE)
    ours.redraw(random=random)
    if ours.group_noise is not None:
        ours.group_noise.fill_(0.5)  # a gate in between
    theirs = copy.deepcopy(ours)
    found, wanted = ours(base), directly(theirs, base)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    for out in (found, wanted):
        torch.autograd.backward(out, upstream)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert other.grad is not None
        assert other.grad.count_nonzero() > 0
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", BOTH)
def test_the_penalty_is_the_expected_number_of_gates_that_are_not_zero(name: str, tiny_model: TinyModel) -> None:
    applied = apply(name, tiny_model("bert").double())
    disturb(applied)
    expected = 0.0
    for one in gates_of(applied):
        # With these limits a gate is 0 where its logistic noise is at most -log_alpha.
        count = (1 / (1 + np.exp(-SCALE * one.log_alpha.detach().numpy()))).sum()
        group = 1.0
        if one.group_log_alpha is not None:
            group = 1 / (1 + math.exp(-SCALE * one.group_log_alpha.item()))
        expected += count * group
    assert float(applied.penalty().detach()) == pytest.approx(PENALTY * expected, rel=1e-12)
    torch.autograd.backward(applied.penalty())
    assert all(one.log_alpha.grad is not None and bool((one.log_alpha.grad > 0).all()) for one in gates_of(applied))


def test_gates_are_as_often_not_zero_as_the_penalty_says() -> None:
    torch.manual_seed(0)
    one = GatedDifference(torch.zeros(200_000), grouped=False)
    with torch.no_grad():
        one.delta.fill_(1.0)
        one.log_alpha.fill_(-0.7 / SCALE)
    one.redraw(random=True)
    share = float(one.difference().count_nonzero()) / 200_000
    # Four standard deviations of a share of so many.
    assert share == pytest.approx(float(one.expected_count()) / 200_000, abs=0.0045)


@pytest.mark.parametrize(
    ("name", "budget"), [("diff_pruning:0.01", None), ("diff_pruning_structured", 17), ("diff_pruning", None)]
)
def test_the_largest_differences_stay_and_all_else_is_the_base(
    name: str, budget: int | None, tiny_model: TinyModel
) -> None:
    base = tiny_model("bert")
    before, total = weights(base), sum(p.numel() for p in base.encoder.parameters())
    count = budget or round({"diff_pruning:0.01": 0.01}.get(name, 0.005) * total)
    applied = apply(name, base, budget=budget)
    disturb(applied)
    relaxed = weights(applied.model)
    applied = applied.finished()
    changes = applied.expected.changes
    assert sum(indices.numel() for indices in changes.values() if indices is not None) == count
    chosen, after = {}, weights(applied.model)
    for key, tensor in before.items():
        kept = torch.zeros(tensor.numel(), dtype=torch.bool)
        indices = changes.get(key)
        if indices is not None:
            assert bool((indices[1:] > indices[:-1]).all())
            kept[indices] = True
        chosen[key] = kept
        wanted = torch.where(kept.view_as(tensor), relaxed[key], tensor)
        torch.testing.assert_close(after[key], wanted, rtol=0, atol=0)
    sizes = torch.cat([(relaxed[key] - before[key]).abs().flatten() for key in before])
    kept = torch.cat(list(chosen.values()))
    # A float's own rounding lies between the two where differences are read off the sums.
    assert float(sizes[kept].min()) >= float(sizes[~kept].max()) - 1e-6
    assert list(applied.model.state_dict()) == list(tiny_model("bert").state_dict())
    assert not gates_of(applied)
    assert [type(module) for module in applied.model.modules()] == [type(m) for m in tiny_model("bert").modules()]


@pytest.mark.parametrize("name", BOTH)
def test_after_the_choice_only_what_was_chosen_moves(name: str, tiny_model: TinyModel, tiny_batch: Batch) -> None:
    before = weights(tiny_model("bert"))
    applied = apply(name, tiny_model("bert"), total_steps=8)
    trainer = Trainer(applied, tiny_batch)
    trainer.run(0, 4)
    assert not any(one.settled for one in gates_of(applied))
    trainer.run(4, 5)
    assert all(one.settled for one in gates_of(applied))
    alphas = [one.log_alpha.detach().clone() for one in gates_of(applied)]
    chosen = weights(applied.model)
    trainer.run(5, 8)
    assert all(torch.equal(one.log_alpha, alpha) for one, alpha in zip(gates_of(applied), alphas, strict=True))
    trained = weights(applied.model)
    finished = applied.finished()
    moved = 0
    for key, tensor in weights(finished.model).items():
        assert torch.equal(tensor, trained[key]), "what is written is what the last forward pass saw"
        kept = torch.zeros(tensor.numel(), dtype=torch.bool)
        if key in finished.expected.changes:
            kept[finished.expected.changes[key]] = True
        kept = kept.view_as(tensor)
        assert torch.equal(tensor[~kept], before[key][~kept])
        moved += int((tensor != chosen[key])[kept].sum())
    assert moved > 0


@pytest.mark.parametrize("name", BOTH)
def test_at_the_choice_the_gradient_of_the_relaxed_model_is_dropped(
    name: str, tiny_model: TinyModel, tiny_batch: Batch
) -> None:
    applied = apply(name, tiny_model("bert"), total_steps=8)
    trainer = Trainer(applied, tiny_batch)
    learnt = {}
    for step in range(6):
        torch.autograd.backward(trainer.loss() + applied.penalty())
        applied.before_step(step)
        assert applied.model.get_parameter("head.out.weight").grad is not None
        learnt[step] = any(
            p.grad is not None and bool(p.grad.count_nonzero()) for one in gates_of(applied) for p in one.parameters()
        )
        before = weights(applied.model)
        trainer.optimizer.step()
        trainer.optimizer.zero_grad(set_to_none=True)
        moved = any(not torch.equal(tensor, before[key]) for key, tensor in weights(applied.model).items())
        assert moved == learnt[step]
    # Half of eight steps are relaxed; the one after them begins with the choice.
    assert learnt == {0: True, 1: True, 2: True, 3: True, 4: False, 5: True}


def test_a_closed_group_leaves_its_tensor_as_it_was(tiny_model: TinyModel) -> None:
    before = weights(tiny_model("bert"))
    applied = apply("diff_pruning_structured", tiny_model("bert"))
    closed = "encoder.encoder.layer.0.output.dense.weight"
    with torch.no_grad():
        for one in gates_of(applied):
            one.delta.fill_(1.0)
        group = applied.model.get_submodule(closed.removesuffix(".weight") + ".parametrizations.weight.0")
        assert isinstance(group, GatedDifference)
        assert group.group_log_alpha is not None
        group.group_log_alpha.fill_(-START / SCALE)
    after = weights(applied.model)
    assert {key for key in before if torch.equal(before[key], after[key])} == {closed}
    assert closed not in applied.finished().expected.changes


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("saved_after", [2, 6])
def test_a_training_saved_in_either_half_goes_on_bit_by_bit(
    name: str, saved_after: int, tiny_model: TinyModel, tiny_batch: Batch, tmp_path: Path
) -> None:
    first = Trainer(apply(name, tiny_model("bert"), total_steps=8), tiny_batch)
    first.run(0, saved_after)
    state = {"model": first.applied.model.state_dict(), "optimizer": first.optimizer.state_dict()}
    torch.save(state, tmp_path / "state")
    first.run(saved_after, 8)
    saved: dict[str, Any] = torch.load(tmp_path / "state")
    second = Trainer(apply(name, tiny_model("bert"), total_steps=8), tiny_batch)
    second.applied.model.load_state_dict(saved["model"])
    second.optimizer.load_state_dict(saved["optimizer"])
    second.run(saved_after, 8)
    one, other = (trainer.applied.finished() for trainer in (first, second))
    theirs = other.model.state_dict()
    assert all(torch.equal(tensor, theirs[key]) for key, tensor in one.model.state_dict().items())
    assert one.expected.changes.keys() == other.expected.changes.keys()


@pytest.mark.parametrize("name", BOTH)
def test_it_learns(name: str, tiny_model: TinyModel, tiny_batch: Batch) -> None:
    applied = apply(f"{name}:0.02", tiny_model("bert"), total_steps=100)
    applied.model.get_submodule("head").requires_grad_(False)
    trainer = Trainer(applied, tiny_batch, rate=1e-3)
    applied.model.eval()
    before = float(trainer.loss().detach())
    trainer.run(0, 100)
    applied.finished().model.eval()
    assert float(trainer.loss().detach()) < 0.95 * before


def test_gates_are_drawn_once_a_pass_and_only_in_training(tiny_model: TinyModel, tiny_batch: Batch) -> None:
    applied = apply("diff_pruning", tiny_model("albert"))
    disturb(applied)
    shared = applied.model.get_submodule("encoder.encoder.albert_layer_groups.0.albert_layers.0.ffn")
    seen: list[Tensor] = []
    shared.register_forward_hook(lambda module, args, out: seen.append(module.weight.detach()))
    for mode in (True, True, False, False):
        applied.model.train(mode)
        applied.model(**tiny_batch)
    first, second, third, fourth = (seen[at : at + 3] for at in range(0, 12, 3))
    for group in (first, second, third, fourth):
        assert torch.equal(group[0], group[1])
        assert torch.equal(group[0], group[2])
    assert not torch.equal(first[0], second[0])
    assert not torch.equal(second[0], third[0])
    assert torch.equal(third[0], fourth[0])


def checkpoint_layers(model: nn.Module, reentrant: bool) -> None:
    """Let every layer keep its input alone and compute the rest again."""

    def wrapped(forward: Callable[..., Any]) -> Callable[..., Any]:
        return lambda hidden, *args, **kwargs: checkpoint(
            lambda x: forward(x, *args, **kwargs), hidden, use_reentrant=reentrant
        )

    for layer in model.modules():
        if type(layer).__name__ in ("BertLayer", "AlbertLayer"):
            layer.forward = wrapped(layer.forward)


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("family", ["bert", "albert"])
def test_gradient_checkpoints_compute_with_the_same_gates(
    family: str, reentrant: bool, tiny_model: TinyModel, tiny_batch: Batch
) -> None:
    found = []
    for checkpoints in (False, True):
        applied = apply("diff_pruning", tiny_model(family))
        disturb(applied)
        if checkpoints:
            checkpoint_layers(applied.model, reentrant)
        applied.model.train()
        torch.manual_seed(0)
        torch.autograd.backward(applied.model(**tiny_batch).square().sum())
        found.append([one.log_alpha.grad for one in gates_of(applied) if one.log_alpha.grad is not None])
    plain, again = found
    assert len(plain) == len(again)
    for mine, other in zip(plain, again, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-4)


def test_a_weight_used_in_two_places_has_one_difference(tiny_model: TinyModel) -> None:
    def tied() -> TaskModel:
        model = tiny_model("bert")
        first, second = (model.get_submodule(f"encoder.encoder.layer.{i}.attention.self.query") for i in (0, 1))
        second.weight = first.weight
        return model

    applied = apply("diff_pruning", tied())
    trains = {name: p.numel() for name, p in applied.model.named_parameters() if p.requires_grad}
    assert {n: c for n, c in trains.items() if n.startswith("encoder.")} == applied.expected.trainable
    disturb(applied)
    model = applied.finished().model
    first, second = (f"encoder.encoder.layer.{i}.attention.self.query.weight" for i in (0, 1))
    assert model.get_parameter(first) is model.get_parameter(second)
    assert not torch.equal(model.get_parameter(first), tied().get_parameter(first))


@pytest.mark.parametrize(
    ("name", "budget", "message"),
    [
        ("diff_pruning:0.01", 5, "both diff_pruning:0.01 and a budget of 5 values set its share"),
        ("diff_pruning", 10**9, "its budget of 1000000000 values is more than the"),
    ],
)
def test_a_size_that_cannot_be_is_refused(name: str, budget: int, message: str, tiny_model: TinyModel) -> None:
    with pytest.raises(StrategyError, match=message):
        apply(name, tiny_model("bert"), budget=budget)


@pytest.mark.parametrize("name", BOTH)
def test_it_applies_to_a_model_without_storage(name: str, tiny_configs: dict[str, Any]) -> None:
    model = shape_only(tiny_configs["bert"], "classification", 2, "cls")
    applied = apply(name, model)
    assert all(parameter.is_meta for parameter in applied.model.parameters())
