"""Names of strategies: checked without torch, with the nearest name in the message."""

import subprocess
import sys

import pytest

import strategies
from strategies import StrategyError


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bitfitt", "unknown strategy 'bitfitt'; did you mean 'bitfit'?"),
        ("xyzzy", "unknown strategy 'xyzzy'; known: full, bitfit, "),
        ("bitfit:quary", "'quary' is no known word; did you mean 'query'?"),
        ("bitfit:", "'' is no known word; known: query, "),
        ("bitfit:query+", "'' is no known word"),
        ("bitfit:query+query", "names a word twice"),
        ("full:query", "strategy 'full' takes no argument"),
        ("full:", "strategy 'full' takes no argument"),
        ("lora:0", "its rank '0' must be a whole number of at least 1, as in lora:8"),
        ("adapter_houlsby:2.5", "its bottleneck '2.5' must be a whole number of at least 1, as in adapter_houlsby:64"),
        ("ia3:4", "strategy 'ia3' takes no argument"),
    ],
)
def test_a_wrong_name_gets_one_clear_line(name: str, message: str) -> None:
    for call in (strategies.check, strategies.sentence, strategies.resolve):
        with pytest.raises(StrategyError) as error:
            call(name)
        assert message in str(error.value)
        assert "\n" not in str(error.value)


ALONE = [name for name, entry in strategies.TABLE.items() if entry.alone]


@pytest.mark.parametrize(
    "name", [*ALONE, "bitfit:query+intermediate", "bitfit+bf16", "bitfit+add", "bitfit:query@1", "last_layers:3"]
)
def test_every_strategy_has_a_sentence(name: str) -> None:
    sentence = strategies.sentence(name)
    assert sentence.endswith(".")
    assert "{" not in sentence


def test_the_sentence_names_the_roles() -> None:
    assert strategies.sentence("bitfit:query+intermediate").endswith(": query, intermediate.")


def test_the_sentence_names_the_size() -> None:
    assert strategies.sentence("lora:4").endswith(" (rank 4).")


def test_names_are_checked_without_torch() -> None:
    code = "import strategies, sys; strategies.check('bitfit:query'); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("layernorm+bitfit:intermediate+query", "bitfit:query+intermediate+layernorm"),
        ("random_uniform+bitfit", "bitfit+random_uniform"),
        ("bitfit:value+key", "bitfit:key+value"),
        ("add+bitfit:query@0-5", "bitfit:query@0-5+add"),
        ("bitfit:linear+pooler@2-2", "bitfit:pooler+linear@2"),
        ("lora:08+bitfit:key+query", "bitfit:query+key+lora:8"),
    ],
)
def test_names_of_one_choice_have_one_form(name: str, canonical: str) -> None:
    assert strategies.canonical(name) == canonical
    assert strategies.canonical(canonical) == canonical
    assert strategies.sentence(name).count(".") == len(strategies.parse(name))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("full+bitfit", "'full' cannot be combined with others"),
        ("bitfit+int8+bf16", "stores the rest in bf16 and in int8; name one of them"),
        ("bitfit+bitfit:query", "names 'bitfit' twice"),
        ("bitfit+layernrm", "unknown strategy 'layernrm'; did you mean 'layernorm'?"),
        ("random_uniform@0", "'random_uniform' cannot be kept to some layers; leave out '@0'"),
        ("add", "'add' trains nothing by itself; combine it, as in bitfit+add"),
    ],
)
def test_what_cannot_be_combined_is_refused(name: str, message: str) -> None:
    with pytest.raises(StrategyError) as error:
        strategies.resolve(name)
    assert message in str(error.value)


def test_a_combination_goes_by_its_stems_without_arguments() -> None:
    assert strategies.family("bitfit:query+random_uniform") == "bitfit+random_uniform"
    assert strategies.selection("bq_b2+layernorm") == "bitfit:query+intermediate+layernorm"


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("bitfit:linear", "bitfit:query+key+value+attention_output+intermediate+output"),
        ("bitfit:query+linear@1", "bitfit:linear@1"),
        ("bitfit:query_key_value", "bitfit:query+key+value"),
        ("bitfit:norm+embedding", "bitfit:embedding_norm+embedding_projection+attention_norm+output_norm"),
        ("bq_b2", "bitfit:intermediate+query"),
        ("layernorm:gain+bias@3", "layernorm@3"),
        ("add+bq_b2", "bitfit:query+intermediate+add"),
    ],
)
def test_two_names_of_one_selection_are_recognised(name: str, other: str) -> None:
    assert strategies.selection(name) == strategies.selection(other)


def test_different_selections_have_different_names() -> None:
    names = ["bitfit", "bitfit:linear", "bitfit:norm", "bitfit:linear@0", "layernorm", "layernorm:gain", "bitfit+add"]
    assert len({strategies.selection(name) for name in names}) == len(names)
