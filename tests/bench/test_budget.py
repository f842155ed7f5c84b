"""How many values a strategy should train: as many as another one, where that trains any."""

from collections.abc import Callable

import pytest

from bench.budget import budget_of, unmet
from bench.cell import CostCell
from bench.models import TaskModel
from bench.results import Counts
from strategies import StrategyError

TinyModel = Callable[..., TaskModel]


def cell(match: str | None = None, budget: float | None = None) -> CostCell:
    return CostCell(model="tiny", strategy="lora", batch_size=2, length=8, match=match, budget=budget)


@pytest.mark.parametrize(("share", "values"), [(0.0005, 4), (0.01, 85), (0.2, 1699), (0.00001, 1)])
def test_a_budget_is_a_share_of_the_encoder_rounded_and_never_nothing(
    share: float, values: int, tiny_model: TinyModel
) -> None:
    # Words, positions, types and a LayerNorm; four projections, two feed-forward layers and two norms; a pooler.
    layer = 4 * (16 * 16 + 16) + (16 * 64 + 64) + (64 * 16 + 16) + 2 * 32
    encoder = (60 + 40 + 2) * 16 + 32 + 2 * layer + (16 * 16 + 16)
    assert abs(values - share * encoder) < 1
    assert budget_of(cell(budget=share), tiny_model("bert"), "classification") == values


def test_a_strategy_to_match_says_how_many(tiny_model: TinyModel) -> None:
    assert budget_of(cell("bitfit"), tiny_model("bert"), "classification") == 384
    assert budget_of(cell("random_uniform+prompt:2"), tiny_model("bert"), "classification") == 384 + 32


@pytest.mark.parametrize("match", ["diff_pruning:0.01", "diff_pruning_structured:0.01"])
def test_of_a_strategy_that_trains_more_than_it_keeps_what_is_kept_is_matched(
    match: str, tiny_model: TinyModel
) -> None:
    assert budget_of(cell(match), tiny_model("bert"), "classification") == 85


def test_what_has_neither_a_budget_nor_something_to_match_has_no_budget(tiny_model: TinyModel) -> None:
    assert budget_of(cell(), tiny_model("bert"), "classification") is None


def counts(trainable: int, budget: int | None, kept: int | None = None) -> Counts:
    return Counts(encoder_trainable=trainable, encoder_total=8496, head_trainable=51, budget=budget, encoder_kept=kept)


def test_a_budget_that_was_not_met_exactly_is_told_of() -> None:
    assert unmet(counts(256, budget=384)) == ("its size is 256 encoder values, 66.7% of its budget of 384",)
    assert unmet(counts(16_992, budget=384, kept=400)) == (
        "its size is 400 encoder values, 104.2% of its budget of 384",
    )
    assert unmet(counts(100_000, budget=102_912)) == (
        "its size is 100,000 encoder values, 97.2% of its budget of 102,912",
    )


def test_of_a_budget_that_was_met_there_is_nothing_to_say() -> None:
    assert unmet(counts(384, budget=384)) == ()
    assert unmet(counts(16_992, budget=384, kept=384)) == ()
    assert unmet(counts(384, budget=None)) == ()


@pytest.mark.parametrize("match", ["frozen", "frozen_cached", "frozen+bf16"])
def test_a_strategy_that_trains_nothing_cannot_be_matched(match: str, tiny_model: TinyModel) -> None:
    with pytest.raises(StrategyError, match="trains nothing of the encoder, so no size can match it") as error:
        budget_of(cell(match), tiny_model("bert"), "classification")
    assert repr(match) in str(error.value)
    assert "\n" not in str(error.value)
