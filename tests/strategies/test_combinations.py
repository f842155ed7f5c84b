"""Several strategies on one model: what trains, what it counts, what is refused, and how a budget is shared."""

import copy
import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import strategies
from bench.audit import Auditor
from bench.models import TaskModel
from bench.results import Audit
from strategies import StrategyError, delta
from strategies.interface import Applied, Context

TinyModel = Callable[..., TaskModel]
Batch = dict[str, Tensor]


def loss_of(logits: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
    return logits.sub(torch.linspace(-1.0, 1.0, logits.shape[-1])).square().mean()


def apply(name: str, model: TaskModel, batch: Batch, budget: int | None = None) -> Applied:
    def batches() -> Iterator[Batch]:
        yield batch

    context = Context(np.random.default_rng(5), batches=batches, loss=loss_of, budget=budget)
    return strategies.resolve(name)(model, context)


def audited(
    name: str, base: TaskModel, batch: Batch, folder: Path, budget: int | None = None
) -> tuple[Applied, Audit]:
    """The strategy after two steps of training, and its audit."""
    auditor = Auditor(base, batch)
    applied = apply(name, copy.deepcopy(base), batch, budget)
    auditor.after_apply(applied)
    optimizer = torch.optim.AdamW([p for p in applied.model.parameters() if p.requires_grad], lr=1e-2, weight_decay=0)
    for step in range(2):
        torch.autograd.backward(loss_of(applied.model(**batch), batch) + applied.penalty())
        applied.before_step(step)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    applied = applied.finished()
    auditor.after_finalize(applied)
    path = folder / "delta.safetensors"
    delta.save(path, applied, delta.DeltaInfo(name, 5, "tiny", "made-up", budget=budget))
    auditor.after_delta(applied, path, base, "tiny")
    return applied, auditor.result()


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("bitfit+layernorm+random_uniform", 464 + 384),
        ("bitfit+bq_b2+magnitude_subset", 384 + 384),
        ("bitfit:norm+layernorm:bias+random_rowcol", 80 + 384),
        ("bitfit+layernorm", 464),
    ],
)
def test_what_several_parts_train_counts_once(
    name: str, count: int, tiny_model: TinyModel, tiny_batch: Batch, tmp_path: Path
) -> None:
    applied, audit = audited(name, tiny_model("bert"), tiny_batch, tmp_path)
    assert audit.passed, audit.checks
    assert applied.expected.count == count


def _encoder_size(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.get_submodule("encoder").parameters())


@pytest.mark.parametrize("name", ["diff_pruning:0.02+add", "diff_pruning_structured:0.02+add"])
def test_diff_pruning_has_added_biases_to_choose_from(
    name: str, tiny_model: TinyModel, tiny_batch: Batch, tmp_path: Path
) -> None:
    base = tiny_model("modernbert")
    applied, audit = audited(name, base, tiny_batch, tmp_path)
    assert audit.passed, audit.checks
    before, encoder = (_encoder_size(model) for model in (base, applied.model))
    assert encoder > before
    assert applied.expected.size == round(0.02 * encoder)


def _accepted(pair: tuple[str, str]) -> bool:
    try:
        strategies.check("+".join(pair))
    except StrategyError:
        return False
    return True


@pytest.mark.parametrize(
    "pair", [pair for pair in itertools.combinations(strategies.TABLE, 2) if _accepted(pair)], ids="+".join
)
def test_every_pair_trains_all_it_says_or_is_refused(
    pair: tuple[str, str], tiny_model: TinyModel, tiny_batch: Batch
) -> None:
    for stem in pair:
        if strategies.TABLE[stem].extra:
            pytest.importorskip(strategies.TABLE[stem].extra)
    base = tiny_model("bert")
    auditor = Auditor(base, tiny_batch)
    # A small number where a default would not fit into the model.
    name = "+".join(f"{stem}:2" if stem in ("prompt", "prefix") else stem for stem in pair)
    try:
        applied = apply(name, copy.deepcopy(base), tiny_batch)
    except StrategyError as error:
        if "leave one of the two out" in str(error):
            return
        raise
    assert not any(auditor.after_apply(applied).values())
    torch.autograd.backward(loss_of(applied.model(**tiny_batch), tiny_batch) + applied.penalty())
    reached = {name for name, parameter in applied.model.named_parameters() if parameter.grad is not None}
    assert applied.expected.trainable.keys() <= reached


@pytest.mark.parametrize(
    ("name", "budget", "count"),
    [
        # A token is 16 values, and a prefix of one 2 x 16 in each of two layers.
        ("random_uniform+prompt:2", 200, 200),
        ("bitfit+random_uniform+prompt:2+int8", 500, 500),
        ("random_rowcol+prefix:2", 384, 384),
        ("layernorm+prompt", 250, 160 + 5 * 16),
        ("bitfit+prompt:2+prefix", 384 + 32 + 130, 384 + 32 + 128),
    ],
)
def test_a_budget_is_that_of_all_parts(
    name: str, budget: int, count: int, tiny_model: TinyModel, tiny_batch: Batch, tmp_path: Path
) -> None:
    applied, audit = audited(name, tiny_model("bert"), tiny_batch, tmp_path, budget)
    assert audit.passed, audit.checks
    assert applied.expected.count == count


def test_a_part_is_drawn_the_same_whatever_comes_after_it(tiny_model: TinyModel, tiny_batch: Batch) -> None:
    alone = apply("random_uniform", tiny_model("bert"), tiny_batch, 168).expected
    beside = apply("random_uniform+prompt:2", tiny_model("bert"), tiny_batch, 200).expected
    assert alone.changes.keys() <= beside.changes.keys()
    for name, indices in alone.changes.items():
        other = beside.changes[name]
        assert indices is not None
        assert other is not None
        assert torch.equal(indices, other)


@pytest.mark.parametrize(
    ("name", "budget", "message"),
    [
        (
            "random_uniform+prompt",
            400,
            "sets one size, not those of random_uniform and of prompt; name the others, as",
        ),
        ("prompt+prefix", 700, "as in prefix:20"),
        ("random_uniform+prompt:2", 32, "a budget of 32 values leaves none for random_uniform: the other parts train"),
        ("bitfit+prompt", 390, "(of a budget of 390 values the other parts leave it 6)"),
    ],
)
def test_a_budget_that_cannot_be_shared_is_refused(
    name: str, budget: int, message: str, tiny_model: TinyModel, tiny_batch: Batch
) -> None:
    with pytest.raises(StrategyError) as error:
        apply(name, tiny_model("bert"), tiny_batch, budget)
    assert message in str(error.value)
    assert str(error.value).startswith(f"strategy {name!r}: ")
    assert "\n" not in str(error.value)
