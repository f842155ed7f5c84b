"""Deltas in use: swapped on one encoder, merged into it, and never read by anything that runs code."""

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import inserted
import strategies
from bench.audit import Auditor, eval_logits
from bench.models import TaskModel, build_model
from strategies import StrategyError, delta, loading
from strategies.interface import Applied, Context

TinyModel = Callable[..., TaskModel]
Batch = dict[str, Tensor]

BASE = "f00d"
NAMES = ("bitfit", "full", "random_uniform", "inserted:gain", "inserted:shift", "bitfit+inserted:gain")
MERGED = (
    *(name for name in NAMES if "shift" not in name),
    "lora:2",
    "bitfit+lora:2",
    "diff_pruning:0.02",
    "diff_pruning_structured:0.02",
    "shira:2",
    "random_uniform:embeddings",
    "random_rowcol",
    "random_rowcol:embeddings",
    "magnitude_subset",
)
OUTPUTS = {name: number for number, name in enumerate(dict.fromkeys((*NAMES, *MERGED)), start=2)}


@pytest.fixture(autouse=True)
def _known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(strategies.TABLE, "inserted", inserted.ENTRY)


@pytest.fixture
def written(tmp_path: Path, tiny_model: TinyModel) -> Callable[[str], Path]:
    """Writes the delta of a strategy of which everything that trains was moved; every strategy has its own head."""

    def write(name: str) -> Path:
        delta.save(tmp_path / name, tuned(tiny_model("bert"), name), delta.DeltaInfo(name, 3, BASE, name))
        return tmp_path / name

    return write


def tuned(base: TaskModel, name: str) -> Applied:
    """A strategy on a base with a head of its own, as after training: everything that trains has moved."""
    for part in strategies.parse(name):
        if part.entry.extra:
            pytest.importorskip(part.entry.extra)
    applied = strategies.resolve(name)(headed(base, name), Context(np.random.default_rng(3)))
    generator = torch.Generator().manual_seed(len(name))
    with torch.no_grad():
        for parameter in applied.model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.3)
    return applied.finished()


def headed(model: TaskModel, name: str) -> TaskModel:
    """A model on the same encoder with the head of a strategy's task."""
    return build_model(model.encoder, "classification", OUTPUTS[name], "cls", seed=5)


def state(model: torch.nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return list(one) == list(other) and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_swaps_give_what_fresh_loads_give(
    written: Callable[[str], Path], tiny_model: TinyModel, tiny_batch: Batch
) -> None:
    paths = {name: written(name) for name in NAMES}
    fresh = {
        name: eval_logits(loading.load(path, headed(tiny_model("bert"), name), BASE).model, tiny_batch)
        for name, path in paths.items()
    }
    base = tiny_model("bert")
    before, logits, flags = state(base), eval_logits(base, tiny_batch), [p.requires_grad for p in base.parameters()]
    modules = dict(base.named_modules())
    switch = loading.Switch({name: loading.prepare(path, headed(base, name), BASE) for name, path in paths.items()})
    assert same(state(base), before)
    for first, second in itertools.permutations(NAMES, 2):
        for name in (first, second, first):
            assert torch.equal(eval_logits(switch.to(name), tiny_batch), fresh[name]), (first, second)
    switch.off()
    switch.off()
    assert same(state(base), before)
    assert dict(base.named_modules()) == modules
    assert [p.requires_grad for p in base.parameters()] == flags
    assert torch.equal(eval_logits(base, tiny_batch), logits)


def test_a_delta_is_put_on_once_and_taken_off_once(written: Callable[[str], Path], tiny_model: TinyModel) -> None:
    prepared = loading.prepare(written("bitfit"), headed(tiny_model("bert"), "bitfit"), BASE)
    with pytest.raises(ValueError, match="off already"):
        prepared.remove()
    prepared.apply()
    with pytest.raises(ValueError, match="on already"):
        prepared.apply()


@pytest.mark.parametrize("name", MERGED)
def test_merged_it_is_a_plain_model_that_computes_what_the_tuned_one_does(
    name: str, written: Callable[[str], Path], tiny_model: TinyModel, tiny_batch: Batch
) -> None:
    untrained = headed(tiny_model("bert"), name)
    expected = eval_logits(tuned(tiny_model("bert"), name).model, tiny_batch)
    merged, info = loading.merge(written(name), headed(tiny_model("bert"), name), BASE)
    assert info.strategy == name
    plain = headed(tiny_model("bert"), name)
    assert list(merged.state_dict()) == list(plain.state_dict())
    plain.load_state_dict(merged.state_dict())
    found = eval_logits(plain, tiny_batch)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    untrained.head.load_state_dict(plain.head.state_dict())
    assert float((found - eval_logits(untrained, tiny_batch)).abs().max()) > 1e-3, "it is the encoder that changed"


def test_what_cannot_be_merged_is_refused_by_name_and_leaves_the_base_alone(
    written: Callable[[str], Path], tiny_model: TinyModel
) -> None:
    base = headed(tiny_model("bert"), "inserted:shift")
    before = state(base)
    with pytest.raises(StrategyError, match="'inserted:shift' inserts has no equal") as error:
        loading.merge(written("inserted:shift"), base, BASE)
    assert "\n" not in str(error.value)
    assert same(state(base), before)


def test_an_audit_leaves_its_base_as_it_was(
    written: Callable[[str], Path], tiny_model: TinyModel, tiny_batch: Batch
) -> None:
    path, base = written("bitfit"), headed(tiny_model("bert"), "bitfit")
    before, auditor = state(base), Auditor(base, tiny_batch)
    applied = strategies.resolve("bitfit")(headed(tiny_model("bert"), "bitfit"), Context(np.random.default_rng(3)))
    assert auditor.after_delta(applied, path, base, BASE)["delta"] is not None
    assert same(state(base), before)


class Payload:
    """What a pickle would run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


def test_a_pickle_is_refused_and_not_run(tmp_path: Path, tiny_model: TinyModel) -> None:
    torch.save({"weight": Payload(tmp_path / "ran")}, tmp_path / "d")
    with pytest.raises(StrategyError, match="not a readable safetensors file"):
        loading.load(tmp_path / "d", tiny_model("bert"), BASE)
    assert not (tmp_path / "ran").exists()
