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
        ("bitfit:quary", "'quary' is no known role; did you mean 'query'?"),
        ("bitfit:", "'' is no known role; known: query, "),
        ("bitfit:query+", "'' is no known role"),
        ("bitfit:query+query", "names a role twice"),
        ("full:query", "strategy 'full' takes no argument"),
        ("full:", "strategy 'full' takes no argument"),
    ],
)
def test_a_wrong_name_gets_one_clear_line(name: str, message: str) -> None:
    for call in (strategies.check, strategies.sentence, strategies.resolve):
        with pytest.raises(StrategyError) as error:
            call(name)
        assert message in str(error.value)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", [*strategies.TABLE, "bitfit:query+intermediate"])
def test_every_strategy_has_a_sentence(name: str) -> None:
    sentence = strategies.sentence(name)
    assert sentence.endswith(".")
    assert "{" not in sentence


def test_the_sentence_names_the_roles() -> None:
    assert strategies.sentence("bitfit:query+intermediate").endswith(": query, intermediate.")


def test_names_are_checked_without_torch() -> None:
    code = "import strategies, sys; strategies.check('bitfit:query'); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
