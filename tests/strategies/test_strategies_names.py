"""Names of strategies: checked without torch, with the nearest name in the message."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
        ("lora:0", "its rank '0' must be a whole number of at least 1 and at most 9 digits, as in lora:8"),
        ("adapter_houlsby:2.5", "its bottleneck '2.5' must be a whole number of at least 1 "),
        ("lora:inf", "its rank 'inf' must be a whole number"),
        ("prompt:infinity", "its number of tokens 'infinity' must be a whole number"),
        ("lora:nan", "its rank 'nan' must be a whole number"),
        ("lora:1e400", "its rank '1e400' must be a whole number"),
        ("lora:1000000000", "its rank '1000000000' must be a whole number of at least 1 and at most 9 digits"),
        ("vera:" + 5000 * "9", "must be a whole number of at least 1 and at most 9 digits"),
        ("lora:1_0", "its rank '1_0' must be a whole number"),
        ("lora: 8", "its rank ' 8' must be a whole number"),
        ("lora:\N{FULLWIDTH DIGIT EIGHT}", "must be a whole number"),
        ("diff_pruning:inf", "its share of the encoder 'inf' must be a share above 0 and at most 1"),
        ("diff_pruning:1e-400", "must be a share above 0 and at most 1, as in diff_pruning:0.005"),
        ("bitfit@" + 5000 * "9", "is no range of layers; write one as in bitfit@0-5"),
        ("bitfit@0-" + 5000 * "9", "is no range of layers"),
        ("bitfit@\N{ARABIC-INDIC DIGIT THREE}", "is no range of layers"),
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
        ("lora:1234567", "lora:1234567"),
        ("lora:1e6", "lora:1000000"),
        ("diff_pruning:0.00123456789", "diff_pruning:0.00123456789"),
        ("diff_pruning:5.0e-3", "diff_pruning:0.005"),
        ("diff_pruning:1.0", "diff_pruning:1"),
        ("bitfit@007", "bitfit@7"),
    ],
)
def test_names_of_one_choice_have_one_form(name: str, canonical: str) -> None:
    assert strategies.canonical(name) == canonical
    assert strategies.canonical(canonical) == canonical
    ends = strategies.sentence(name).replace("0.", "").count(".")
    assert ends == len(strategies.parse(name))


RANKS = st.integers(1, 999_999_999)
SHARES = st.floats(0, 1, exclude_min=True)


@given(stem=st.sampled_from(["lora", "prompt", "last_layers"]), one=RANKS, other=RANKS)
def test_two_whole_sizes_have_two_names_and_names_their_sizes(stem: str, one: int, other: int) -> None:
    _check_sizes(stem, one, other)


@given(one=SHARES, other=SHARES)
def test_two_shares_have_two_names_and_names_their_shares(one: float, other: float) -> None:
    _check_sizes("diff_pruning", one, other)


def _check_sizes(stem: str, one: float, other: float) -> None:
    """Each size comes back from its name, the name is its own canonical form, and another size has another one."""
    names = [strategies.canonical(f"{stem}:{size!r}") for size in (one, other)]
    assert [strategies.canonical(name) for name in names] == names
    assert [strategies.parse(name)[0].argument.number for name in names] == [one, other]
    assert (names[0] == names[1]) == (one == other)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("full+bitfit", "'full' cannot be combined with others"),
        ("bitfit+int8+bf16", "stores the rest in bf16 and in int8; name one of them"),
        ("bitfit+bitfit:query", "names 'bitfit' twice"),
        ("bitfit+layernrm", "unknown strategy 'layernrm' in 'bitfit+layernrm'; did you mean 'layernorm'?"),
        ("bitfit+", "unknown strategy '' in 'bitfit+'; known: "),
        ("lora+vera:2", "'lora' and 'vera' both put layers around the value projections; leave one of the two out"),
        ("ia3+bitfit+lora", "'lora' and 'ia3' both put layers around the value projections"),
        ("random_uniform@0", "'random_uniform' cannot be kept to some layers; leave out '@0'"),
        ("add", "'add' trains nothing by itself; combine it, as in bitfit+add"),
    ],
)
def test_what_cannot_be_combined_is_refused(name: str, message: str) -> None:
    with pytest.raises(StrategyError) as error:
        strategies.resolve(name)
    assert message in str(error.value)


@pytest.mark.parametrize(
    "subset", ["random_uniform", "random_rowcol", "random_uniform_dense", "magnitude_subset", "gradient_subset"]
)
@pytest.mark.parametrize(
    ("other", "does"),
    [
        ("last_layers:1", "trains in full"),
        ("lora", "puts its own layers around"),
        ("ia3", "puts its own layers around"),
        ("vera:4", "puts its own layers around"),
        ("shira", "trains numbers of too"),
    ],
)
def test_numbers_of_matrices_that_another_part_takes_are_refused(subset: str, other: str, does: str) -> None:
    for name in (f"{subset}+{other}", f"{other}+bitfit+{subset}"):
        with pytest.raises(StrategyError) as error:
            strategies.check(name)
        stem = strategies.family(other)
        assert f"{subset!r} trains single numbers of weight matrices that {stem!r} {does}" in str(error.value)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "gradient_subset+random_uniform_dense",
            "'random_uniform_dense' trains single numbers of weight matrices that",
        ),
        ("last_layers+shira", "'shira' trains single numbers of weight matrices that 'last_layers' trains in full"),
        ("shira+lora", "'shira' trains single numbers of weight matrices that 'lora' puts its own layers around"),
    ],
)
def test_a_subset_leaves_no_room_for_another_of_its_matrices(name: str, message: str) -> None:
    with pytest.raises(StrategyError, match=message):
        strategies.check(name)


@pytest.mark.parametrize("name", ["last_layers:1+lora", "bitfit+random_uniform", "random_uniform_dense+prompt"])
def test_what_goes_together_is_not_refused(name: str) -> None:
    strategies.check(name)


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
