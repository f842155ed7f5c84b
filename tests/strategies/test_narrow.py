"""Frozen matrices in fewer bytes: the arithmetic of the rounded matrices, less memory, a plain model at the end."""

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import strategies
from applicable import APPLICABLE
from bench.audit import Auditor
from bench.measure.live import LiveTensors, model_tensors
from bench.models import TaskModel
from strategies import StrategyError, delta, loading
from strategies.bf16 import BFloat16
from strategies.int8 import Int8
from strategies.interface import Applied, Context
from strategies.narrow import Format, round_trip

TinyModel = Callable[..., TaskModel]
Batch = dict[str, Tensor]


FORMATS: dict[str, Format] = {"bf16": BFloat16(), "int8": Int8()}
FAMILIES = ["bert", "distilbert", "electra", "deberta-v3", "albert", "gpt2"]


def apply(name: str, model: nn.Module) -> Applied:
    for part in strategies.parse(name):
        if part.entry.extra:
            pytest.importorskip(part.entry.extra)
    ids = torch.arange(5, 25).view(4, 5)
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    context = Context(
        np.random.default_rng(3), batches=lambda: iter([batch]), loss=lambda logits, _: logits.square().mean()
    )
    return strategies.resolve(name)(model, context)


def rounded(model: TaskModel, form: Format) -> TaskModel:
    """The model with every matrix of the encoder rounded."""
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            if parameter.dim() == 2:
                parameter.copy_(round_trip(form, parameter))
    return model


def moved(applied: Applied) -> Applied:
    """What trains, set to other values, the same for every model with as much of it."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in applied.model.parameters():
            if parameter.requires_grad:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / 4)
    return applied


def gradients(applied: Applied, batch: Batch) -> dict[str, Tensor]:
    torch.autograd.backward(applied.model.eval()(**batch).square().sum())
    return {name: p.grad for name, p in applied.model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", ["bitfit", "random_uniform"])
def test_gradients_are_those_of_the_rounded_matrices_bit_by_bit(
    name: str, family: str, form: str, tiny_model: TinyModel, tiny_batch: Batch
) -> None:
    ours, theirs = (
        gradients(moved(apply(strategy, model)), tiny_batch)
        for strategy, model in (
            (f"{name}+{form}", tiny_model(family)),
            (name, rounded(tiny_model(family), FORMATS[form])),
        )
    )
    assert ours.keys() == theirs.keys()
    for name, gradient in theirs.items():
        assert torch.equal(ours[name], gradient), name


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("family", FAMILIES)
def test_the_finished_model_is_plain_and_holds_the_rounded_matrices(
    family: str, form: str, tiny_model: TinyModel
) -> None:
    finished = apply(f"layernorm+{form}", tiny_model(family)).finished()
    plain = rounded(tiny_model(family), FORMATS[form])
    assert [type(module) for module in finished.model.modules()] == [type(module) for module in plain.modules()]
    state, wanted = finished.model.state_dict(), plain.state_dict()
    assert state.keys() == wanted.keys()
    assert all(torch.equal(state[name], tensor) for name, tensor in wanted.items())
    assert {*finished.converted} == {
        f"encoder.{name}" for name, parameter in plain.encoder.named_parameters() if parameter.dim() == 2
    }


@pytest.mark.parametrize(("form", "bytes_saved"), [(form, {"bf16": 2, "int8": 3}[form]) for form in FORMATS])
def test_a_step_holds_no_wide_matrix_for_longer_than_it_is_used(
    form: str, bytes_saved: int, tiny_model: TinyModel
) -> None:
    batch = {name: torch.ones((1, 4), dtype=torch.int64) for name in ("input_ids", "attention_mask")}
    peaks, matrices = [], 0
    for name in ("bitfit", f"bitfit+{form}"):
        model = apply(name, tiny_model("minilm")).model
        with LiveTensors() as tracker:
            tracker.watch(model_tensors(model))
            tracker.reset_peak()
            logits = model(**batch)
            held = tracker.live_bytes
            torch.autograd.backward(logits.sum())
        peaks.append(held)
        matrices = matrices or sum(p.numel() for p in model.get_submodule("encoder").parameters() if p.dim() == 2)
    # Of int8 each row's factor is held beside it.
    assert peaks[0] - peaks[1] >= 0.9 * bytes_saved * matrices


@pytest.mark.parametrize("form", FORMATS)
def test_parameters_that_several_modules_own_are_stored_once(
    form: str, tiny_model: TinyModel, tiny_batch: Batch
) -> None:
    def tied() -> TaskModel:
        model = tiny_model("bert")
        first, second = (model.get_submodule(f"encoder.encoder.layer.{i}.attention.self.query") for i in (0, 1))
        second.weight = first.weight
        return model

    applied = apply(f"bitfit+{form}", tied())
    plain = rounded(tied(), FORMATS[form]).eval()
    assert torch.equal(applied.model.eval()(**tiny_batch), plain(**tiny_batch))
    finished = applied.finished().model
    queries = [finished.get_parameter(f"encoder.encoder.layer.{i}.attention.self.query.weight") for i in (0, 1)]
    assert queries[0] is queries[1]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", ["bitfit", "random_uniform", "random_uniform:embeddings", "last_layers:1", "frozen"])
def test_a_delta_rounds_the_base_it_is_put_on_and_gives_it_back(
    name: str, form: str, tiny_model: TinyModel, tiny_batch: Batch, tmp_path: Path
) -> None:
    applied = apply(f"{name}+{form}", tiny_model("bert"))
    with torch.no_grad():
        for parameter in applied.model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.25)
    logits = applied.model.eval()(**tiny_batch)
    trained = applied.finished()
    torch.testing.assert_close(trained.model(**tiny_batch), logits, rtol=1e-6, atol=1e-6)
    delta.save(tmp_path / "d", trained, delta.DeltaInfo(f"{name}+{form}", 3, "tiny", "made-up"))
    base = tiny_model("bert").eval()
    before = base(**tiny_batch)
    loaded = loading.load(tmp_path / "d", base, "tiny")
    assert torch.equal(loaded.model(**tiny_batch), trained.model.eval()(**tiny_batch))
    loaded.remove()
    assert torch.equal(base(**tiny_batch), before)


def test_int8_is_within_half_a_step_of_each_row() -> None:
    wide = torch.randn(7, 40, generator=torch.Generator().manual_seed(0)) * torch.logspace(-30, 10, 7)[:, None]
    wide[3] = 0.0
    narrow, scale = Int8().narrow(wide)
    assert narrow.dtype == torch.int8
    assert (narrow.abs().amax(1) == torch.tensor([127, 127, 127, 0, 127, 127, 127])).all()
    step = wide.abs().amax(1, keepdim=True) / 127
    assert ((Int8().widen(narrow, scale) - wide).abs() <= 0.5001 * step).all()


FREEZING = [name for name, entry in strategies.TABLE.items() if entry.alone and entry.narrows]
# Which weights these choose depends on the weights, and so on whether they are rounded yet.
CHOOSING = ("magnitude_subset", "gradient_subset")
PAIRS = [(name, family) for name in FREEZING for family in ("bert", "gpt2") if (name, family) in APPLICABLE]


@pytest.mark.parametrize(("name", "family"), [(n, f) for n, f in PAIRS if n not in CHOOSING])
def test_every_strategy_has_the_gradients_of_the_rounded_matrices(
    name: str, family: str, tiny_model: TinyModel, tiny_batch: Batch
) -> None:
    ours = gradients(moved(apply(f"{name}+int8", tiny_model(family))), tiny_batch)
    theirs = gradients(moved(apply(name, rounded(tiny_model(family), FORMATS["int8"]))), tiny_batch)
    assert ours.keys() == theirs.keys()
    for leaf, gradient in theirs.items():
        torch.testing.assert_close(ours[leaf], gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("name", "family"), PAIRS)
def test_every_strategy_passes_its_audit_beside_narrow_matrices(
    name: str, family: str, tiny_model: TinyModel, tiny_batch: Batch, tmp_path: Path
) -> None:
    base = tiny_model(family)
    auditor = Auditor(base, tiny_batch)
    applied = apply(f"{name}+int8", copy.deepcopy(base))
    auditor.after_apply(applied)
    parameters = [parameter for parameter in applied.model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-2, weight_decay=0.0)
    applied.model.train()
    for step in range(2):
        torch.autograd.backward(applied.model(**tiny_batch).square().sum() + applied.penalty())
        applied.before_step(step)
        optimizer.step()
        optimizer.zero_grad()
    applied = applied.finished()
    auditor.after_finalize(applied)
    delta.save(tmp_path / "d", applied, delta.DeltaInfo(f"{name}+int8", 3, "tiny", "made-up"))
    auditor.after_delta(applied, tmp_path / "d", base, "tiny")
    assert auditor.result().passed, auditor.result().checks


@pytest.mark.parametrize("name", ["full", "random_uniform_dense", "diff_pruning", "diff_pruning_structured"])
def test_where_no_matrix_stays_frozen_there_is_nothing_to_store(name: str) -> None:
    with pytest.raises(StrategyError, match=rf"beside '{name}' no matrix stays frozen to be stored in bf16"):
        strategies.check(f"{name}+bf16")


def test_a_form_of_storage_is_no_strategy_by_itself() -> None:
    with pytest.raises(StrategyError, match=r"'bf16' trains nothing by itself; combine it, as in bitfit\+bf16"):
        strategies.check("bf16")
