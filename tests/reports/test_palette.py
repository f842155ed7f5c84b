"""Names of strategies for people."""

import pytest

from reports import palette


@pytest.mark.parametrize(
    ("strategy", "label"),
    [
        ("bitfit", "BitFit"),
        ("bitfit:query+intermediate", "BitFit (query+intermediate)"),
        ("bitfit:query@0-5", "BitFit (query@0-5)"),
        ("bitfit@0-5", "BitFit (@0-5)"),
        ("bitfit+bf16", "BitFit + bf16"),
        ("bitfit:query+key+layernorm", "BitFit (query+key) + LayerNorm"),
        ("bitfit:query+layernorm+int8", "BitFit (query) + LayerNorm + int8"),
        ("bitfit:query+lora:8", "BitFit (query) + LoRA (8)"),
        ("new:8", "new (8)"),
    ],
)
def test_names_of_parts_and_arguments_can_be_told_apart(strategy: str, label: str) -> None:
    assert palette.style(strategy).label == label
    assert palette.style(strategy) == palette.style(strategy)


def test_every_strategy_has_a_name_for_people() -> None:
    strategies = pytest.importorskip("strategies")
    assert palette.LABELS.keys() >= strategies.TABLE.keys()
