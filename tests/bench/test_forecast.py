"""The forecast: what shapes alone say of a step's memory is what a real step needs."""

from typing import Any

import pytest
import torch
from transformers import PretrainedConfig
from transformers.activations import NewGELUActivation

from applicable import ALONE, APPLICABLE, COMBINED
from bench.audit import trainable_counts
from bench.budget import budget_of
from bench.cell import CostCell
from bench.encoders import Encoder, default_pooling
from bench.measure.fake import NoShapesError, fake_stepper
from bench.measure.flops import arithmetic_of
from bench.measure.forecast import forecasting
from bench.measure.live import LiveTensors
from bench.measure.memory import forecast_peak, live_peak, peak_of_step
from bench.measure.subject import KIND, apply_fresh, cost_base, cost_stepper, random_batch
from bench.results import MemoryPeak

CPU = torch.device("cpu")
NEEDS_VALUES = ("frozen_cached", "shira", "bitfit+shira")
CHOSEN_BY_VALUE = {
    "magnitude_subset": "random_uniform",
    "gradient_subset": "random_uniform",
    "gradient_subset+int8": "random_uniform+int8",
}
"""A forecast spreads their choice over all matrices, as a draw of that size does; values need not do so."""

FAMILIES = ("bert", "mpnet", "deberta-v3", "albert", "gpt2")
CASES = [
    (strategy, family)
    for strategy, family in APPLICABLE
    if (strategy in ALONE and family in FAMILIES) or (strategy in [*COMBINED, "bitfit+add"] and family == "bert")
]


def cost_cell(strategy: str, config: dict[str, Any], **fields: Any) -> tuple[CostCell, Encoder]:
    """A cost cell of a tiny encoder."""
    settings = {"batch_size": 4, "length": 16, "pooling": default_pooling(config["model_type"])}
    cell = CostCell.model_validate({"model": "tiny", "strategy": strategy, **settings, **fields})
    return cell, Encoder("tiny", "A test model.", config)


def both(cell: CostCell, encoder: Encoder) -> tuple[MemoryPeak, MemoryPeak]:
    """Forecast and measurement."""
    return forecast_peak(cell, encoder), peak_of_step(cell, encoder, CPU)


@pytest.mark.parametrize(("strategy", "family"), CASES)
def test_the_forecast_is_the_measurement(
    strategy: str, family: str, tiny_configs: dict[str, PretrainedConfig]
) -> None:
    check_forecast(*cost_cell(strategy, tiny_configs[family].to_dict()))


def check_forecast(cell: CostCell, encoder: Encoder) -> None:
    """The forecast agrees with a measured step, or says that it takes values."""
    strategy = cell.strategy
    if strategy in NEEDS_VALUES:
        with pytest.raises(NoShapesError, match=f"strategy '{strategy.replace('+', '.')}' needs more than shapes"):
            forecast_peak(cell, encoder)
        return
    forecast = forecast_peak(cell, encoder)
    drawn = cell.model_copy(update={"strategy": CHOSEN_BY_VALUE.get(strategy, strategy)})
    measured = peak_of_step(drawn, encoder, CPU)
    assert forecast.peak_allocated_bytes == pytest.approx(measured.peak_allocated_bytes, rel=0.01)
    for peak in (forecast, measured):
        assert peak.attribution is not None
        # The noise of its gates lives on until the next step draws another.
        most = 0.1 if strategy.startswith("diff_pruning") else 0.03
        assert peak.attribution.residual_bytes <= most * peak.peak_allocated_bytes


@pytest.mark.parametrize("strategy", [name for name in ALONE if name != "prefix"])
def test_the_forecast_is_the_measurement_under_checkpointing(
    strategy: str, tiny_configs: dict[str, PretrainedConfig]
) -> None:
    check_forecast(*cost_cell(strategy, tiny_configs["bert"].to_dict(), gradient_checkpointing=True))


@pytest.mark.parametrize(("strategy", "family"), [("full", "albert"), ("bitfit", "bert"), ("random_uniform", "gpt2")])
def test_the_forecast_is_the_measurement_with_slow_attention(
    strategy: str, family: str, tiny_configs: dict[str, PretrainedConfig]
) -> None:
    asked = {"attention": "eager", "attention_dropout": 0.0}
    check_forecast(*cost_cell(strategy, tiny_configs[family].to_dict(), **asked))


def test_checkpointing_lowers_the_peak_and_slow_attention_raises_it(
    tiny_configs: dict[str, PretrainedConfig],
) -> None:
    def peak(accelerator: bool, **fields: Any) -> int:
        shape = {"batch_size": 8, "length": 32, "attention_dropout": 0.0}
        cell, encoder = cost_cell("full", tiny_configs["bert"].to_dict(), **shape, **fields)
        return forecast_peak(cell, encoder, accelerator=accelerator).peak_allocated_bytes

    for accelerator in (False, True):
        assert peak(accelerator, gradient_checkpointing=True) < 0.7 * peak(accelerator)
        assert peak(accelerator, attention="eager") > 1.1 * peak(accelerator)


def test_the_peak_of_full_fine_tuning_adds_up(tiny_configs: dict[str, PretrainedConfig]) -> None:
    cell, encoder = cost_cell("full", tiny_configs["bert"].to_dict(), batch_size=1, length=8)
    model = cost_base(cell, encoder)
    parameters = 4 * sum(parameter.numel() for parameter in model.parameters())
    for peak in both(cell, encoder):
        found = peak.attribution
        assert found is not None
        assert found.parameters_bytes - parameters == sum(buffer.nbytes for buffer in model.buffers())
        assert found.optimizer_bytes == pytest.approx(2 * parameters, rel=0.01), "two moments, and counts of steps"
        parts = found.model_dump(exclude={"phase", "peak_by_phase_bytes"}).values()
        assert sum(parts) == peak.peak_allocated_bytes
        assert found.residual_bytes <= 0.03 * peak.peak_allocated_bytes
        assert found.phase is not None
        assert max(found.peak_by_phase_bytes.values()) == found.peak_by_phase_bytes[found.phase]
        assert list(found.peak_by_phase_bytes) == ["forward", "backward", "clipping", "optimizer"]
        assert peak.peak_allocated_bytes == found.peak_by_phase_bytes[found.phase]


def test_gradients_show_where_the_peak_is_behind_them(tiny_configs: dict[str, PretrainedConfig]) -> None:
    cell, encoder = cost_cell("full", tiny_configs["bert"].to_dict(), batch_size=1, length=1)
    found = forecast_peak(cell, encoder).attribution
    assert found is not None
    assert found.phase in ("clipping", "optimizer")
    assert found.gradients_bytes == 4 * sum(parameter.numel() for parameter in cost_base(cell, encoder).parameters())


def test_what_forward_touches_and_backward_does_not_free_is_residual(
    tiny_configs: dict[str, PretrainedConfig],
) -> None:
    cell, encoder = cost_cell("full", tiny_configs["bert"].to_dict(), batch_size=1, length=8)
    base = cost_base(cell, encoder)
    stepper = cost_stepper(apply_fresh(base, cell, CPU), cell, CPU)
    batch = random_batch(cell, base.encoder.config.vocab_size, CPU)
    stepper(batch, 0)
    cache = torch.zeros(2**20)

    def touch(*_: object) -> None:
        cache.add_(0)

    plain = live_peak(stepper, batch, 1)
    stepper.applied.model.register_forward_hook(touch)
    held = live_peak(stepper, batch, 2)
    assert plain.by_kind.get("residual", 0) <= 0.03 * plain.bytes
    assert held.bytes == plain.bytes + cache.nbytes
    assert held.by_kind["residual"] - plain.by_kind.get("residual", 0) == cache.nbytes


def test_what_a_step_leaves_behind_is_residual() -> None:
    kept = [torch.zeros(8)]
    tracker = LiveTensors()
    with tracker:
        tracker.watch(kept, "parameters")
        tracker.reset_peak()
        tracker.begin("forward")
        kept.append(torch.zeros(100))
        torch.zeros(50).add_(1)
        tracker.begin("end")
        tracker.name_new("residual")
    assert tracker.peak().by_kind == {"parameters": 32, "residual": 400, "workspace": 200}
    assert tracker.peak().bytes == 632


@pytest.mark.parametrize("accelerator", [False, True])
def test_mixed_precision_on_an_accelerator_takes_powers_in_float32(
    accelerator: bool, tiny_configs: dict[str, PretrainedConfig]
) -> None:
    cell, encoder = cost_cell("bitfit", tiny_configs["gpt2"].to_dict(), precision="bf16")
    seen: set[torch.dtype] = set()
    usual = torch.nn.functional.layer_norm, torch.Tensor.pow, torch.nn.functional.dropout
    with fake_stepper(cell, encoder, accelerator=accelerator) as (stepper, batch):
        for module in stepper.applied.model.modules():
            if isinstance(module, NewGELUActivation):
                module.register_forward_hook(lambda _, args, output: seen.add(output.dtype))
        stepper(batch, 0)
    assert seen == {torch.float32 if accelerator else torch.bfloat16}
    assert usual == (torch.nn.functional.layer_norm, torch.Tensor.pow, torch.nn.functional.dropout)


@pytest.mark.parametrize(
    ("strategy", "family"),
    [
        *((name, "bert") for name in ("full", "bitfit", "random_uniform", "lora", "diff_pruning", "prefix")),
        *(("bitfit", family) for family in FAMILIES if family != "bert"),
    ],
)
def test_one_model_forecasts_every_shape_as_a_model_of_its_own_does(
    strategy: str, family: str, tiny_configs: dict[str, PretrainedConfig]
) -> None:
    cell, encoder = cost_cell(strategy, tiny_configs[family].to_dict())
    shapes = ((cell.batch_size, cell.length), (8, 16), (4, 8), (2, 20))
    with forecasting(cell, encoder, accelerator=True) as step:
        found = [step.peak(*shape) for shape in shapes]
        again = step.peak(*shapes[0])
    assert again == found[0]
    for (batch_size, length), one in zip(shapes, found, strict=True):
        alone = cell.model_copy(update={"batch_size": batch_size, "length": length})
        assert one == forecast_peak(alone, encoder, accelerator=True)
    assert step.arithmetic == arithmetic_of(cell, encoder, accelerator=True)
    base = cost_base(cell, encoder)
    applied = apply_fresh(base, cell, CPU, budget_of(cell, base, KIND))
    assert step.encoder_trainable == sum(trainable_counts(applied).values())
