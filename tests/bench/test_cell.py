"""Keys identify what was measured: canonical, readable, free of defaults and of the machine."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from bench.cell import Cell, CostCell, QualityCell

REQUIRED: dict[str, Any] = {
    "model": "minilm",
    "task": "questions",
    "strategy": "bitfit",
    "seed": 3,
    "learning_rate": 0.003,
    "epochs": 2.0,
    "batch_size": 16,
}


def test_a_key_names_required_fields_and_leaves_defaults_out() -> None:
    cell = QualityCell(**REQUIRED)
    assert cell.key == (
        "quality model=minilm task=questions strategy=bitfit seed=3 learning_rate=0.003 epochs=2.0 batch_size=16"
    )


def test_a_field_at_its_default_does_not_change_the_key_and_another_value_does() -> None:
    cell = QualityCell(**REQUIRED)
    assert QualityCell(**REQUIRED, max_length=128, mask_seed=0).key == cell.key
    assert QualityCell(**REQUIRED, max_length=64).key == f"{cell.key} max_length=64"


def test_optional_fields_come_in_alphabetical_order() -> None:
    cell = QualityCell(**REQUIRED, warmup_fraction=0.2, attention_dropout=0.0, mask_seed=1)
    tail = cell.key.partition("batch_size=16 ")[2]
    assert tail == "attention_dropout=0.0 mask_seed=1 warmup_fraction=0.2"


def test_steps_stand_for_epochs_and_one_of_the_two_is_needed() -> None:
    cell = QualityCell(**REQUIRED | {"epochs": None}, steps=600)
    assert cell.key == (
        "quality model=minilm task=questions strategy=bitfit seed=3 learning_rate=0.003 epochs=null batch_size=16 "
        "steps=600"
    )
    for neither_or_both in ({"epochs": None}, {"steps": 600}):
        with pytest.raises(ValidationError, match="either epochs or steps"):
            QualityCell(**REQUIRED | neither_or_both)
    without = {name: value for name, value in REQUIRED.items() if name != "epochs"}
    with pytest.raises(ValidationError, match="epochs"):
        QualityCell(**without, steps=600)


def test_cost_keys_tell_the_two_full_fine_tunings_apart() -> None:
    cell = CostCell(model="bert-base", strategy="full", batch_size=32, length=128)
    assert cell.key == "cost model=bert-base strategy=full batch_size=32 length=128"
    assert cell.model_copy(update={"replicate": 1}).key == f"{cell.key} replicate=1"


def test_attention_and_checkpointing_are_in_a_key_where_they_are_asked_for_and_told_in_words() -> None:
    plain = CostCell(model="bert-base", strategy="full", batch_size=32, length=128)
    assert plain.setting == ""
    other = plain.model_copy(update={"attention": "eager", "gradient_checkpointing": True})
    assert other.key == f"{plain.key} attention=eager gradient_checkpointing=true"
    assert other.setting == "eager attention, checkpointing"
    with pytest.raises(ValidationError, match="attention"):
        CostCell(**plain.model_dump() | {"attention": "flash"})


@given(st.text(min_size=1), st.text(min_size=1))
def test_two_tasks_never_share_a_key(first: str, second: str) -> None:
    keys = {QualityCell(**REQUIRED | {"task": name}).key for name in (first, second)}
    assert len(keys) == len({first, second})


@given(st.floats(min_value=1e-9, max_value=1.0), st.floats(min_value=1e-9, max_value=1.0))
def test_two_rates_never_share_a_key(first: float, second: float) -> None:
    keys = {QualityCell(**REQUIRED | {"learning_rate": rate}).key for rate in (first, second)}
    assert len(keys) == len({first, second})


@pytest.mark.parametrize(
    "wrong",
    [{"batch_size": 0}, {"learning_rate": 0.0}, {"epochs": float("nan")}, {"batchsize": 1}, {"precision": "fp8"}],
)
def test_a_cell_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        QualityCell(**REQUIRED | wrong)


def test_cells_survive_a_round_trip_through_json() -> None:
    adapter: TypeAdapter[Cell] = TypeAdapter(Cell)
    stepped = QualityCell(**REQUIRED | {"epochs": None, "steps": 5})
    for cell in (QualityCell(**REQUIRED), stepped, CostCell(model="m", strategy="full", batch_size=1, length=2)):
        assert adapter.validate_json(cell.model_dump_json()) == cell
