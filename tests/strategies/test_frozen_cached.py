"""The frozen encoder that remembers: the same features in any batch, computed once, and nothing left behind."""

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

import strategies
from bench.models import TaskModel
from bench.tasks.base import HeadKind
from strategies.interface import Context

TinyModel = Callable[..., TaskModel]
Batch = dict[str, Tensor]


def cached(model: TaskModel) -> TaskModel:
    applied = strategies.resolve("frozen_cached")(model, Context(np.random.default_rng(0)))
    assert isinstance(applied.model, TaskModel)
    return applied.model


def rows(batch: Batch, chosen: list[int], padding: int = 0) -> Batch:
    """Some rows of a batch, with so much more padding."""
    return {name: torch.nn.functional.pad(tensor[chosen], (0, padding)) for name, tensor in batch.items()}


@pytest.mark.parametrize("kind", ["classification", "tagging"])
@pytest.mark.parametrize("family", ["bert", "roberta", "gpt2"])
def test_features_do_not_depend_on_mode_batch_or_padding(
    family: str, kind: HeadKind, tiny_model: TinyModel, tiny_batch: Batch
) -> None:
    plain, model = tiny_model(family, kind).eval(), cached(tiny_model(family, kind))
    model.train()
    model.features(**rows(tiny_batch, [2, 0, 4]))
    with torch.no_grad():
        for chosen, padding in (([0, 1, 2], 0), ([4, 3, 2], 5)):
            batch = rows(tiny_batch, chosen, padding)
            ours, theirs = model.features(**batch), plain.features(**batch)
            if kind == "tagging":
                theirs = theirs * batch["attention_mask"].unsqueeze(-1)
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert all(module.training for module in model.modules())


def test_an_example_goes_through_the_encoder_once(tiny_model: TinyModel, tiny_batch: Batch) -> None:
    model, seen = cached(tiny_model("bert")), []
    model.encoder.register_forward_pre_hook(
        lambda _, args, given: seen.append(len(given["input_ids"])), with_kwargs=True
    )
    for chosen in ([0, 1], [1, 2], [0, 1, 2]):
        model(**rows(tiny_batch, chosen))
    assert seen == [2, 1]


def test_segments_tell_examples_apart(tiny_model: TinyModel, tiny_batch: Batch) -> None:
    model = cached(tiny_model("bert"))
    segments = torch.ones_like(tiny_batch["input_ids"])
    assert not torch.equal(model.features(**tiny_batch), model.features(**tiny_batch, token_type_ids=segments))


@pytest.mark.parametrize("order", [(False, True, False), (True, False, True)])
def test_what_was_computed_under_autocast_is_kept_apart(
    order: tuple[bool, ...], tiny_model: TinyModel, tiny_batch: Batch
) -> None:
    plain, model = tiny_model("bert").eval(), cached(tiny_model("bert"))
    found = {}
    for on in order:
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=on):
            found[on] = model.features(**tiny_batch)
            wanted = plain.features(**tiny_batch)
        assert found[on].dtype == wanted.dtype
        torch.testing.assert_close(found[on], wanted, rtol=1e-5, atol=1e-6)
    assert not torch.equal(found[True].float(), found[False])


def test_nothing_is_left_once_it_is_finished(tiny_model: TinyModel, tiny_batch: Batch) -> None:
    base = tiny_model("bert")
    applied = strategies.resolve("frozen_cached")(copy.deepcopy(base), Context(np.random.default_rng(0)))
    applied.model(**tiny_batch)
    finished = applied.finished().model
    assert "features" not in vars(finished)
    with torch.no_grad():
        assert torch.equal(finished.eval()(**tiny_batch), base.eval()(**tiny_batch))
