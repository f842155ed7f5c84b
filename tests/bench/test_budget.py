"""How many values a strategy should train: as many as another one, where that trains any."""

from collections.abc import Callable

import pytest

from bench.budget import budget_of
from bench.cell import CostCell
from bench.models import TaskModel
from strategies import StrategyError

TinyModel = Callable[..., TaskModel]


def cell(match: str) -> CostCell:
    return CostCell(model="tiny", strategy="lora", batch_size=2, length=8, match=match)


def test_a_strategy_to_match_says_how_many(tiny_model: TinyModel) -> None:
    assert budget_of(cell("bitfit"), tiny_model("bert"), "classification") == 384
    assert budget_of(cell("random_uniform+prompt:2"), tiny_model("bert"), "classification") == 384 + 32


@pytest.mark.parametrize("match", ["frozen", "frozen_cached", "frozen+bf16"])
def test_a_strategy_that_trains_nothing_cannot_be_matched(match: str, tiny_model: TinyModel) -> None:
    with pytest.raises(StrategyError, match="trains nothing of the encoder, so no size can match it") as error:
        budget_of(cell(match), tiny_model("bert"), "classification")
    assert repr(match) in str(error.value)
    assert "\n" not in str(error.value)
