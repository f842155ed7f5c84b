"""What changes: one module a strategy, one line a strategy in the table below.

This file imports no torch, so that names can be listed and checked at once.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from strategies.errors import StrategyError

if TYPE_CHECKING:
    from torch import nn

    from strategies.interface import Applied, Context

__all__ = ["ROLES", "TABLE", "Entry", "StrategyError", "canonical", "check", "resolve", "selection", "sentence"]

ROLES: tuple[str, ...] = (
    "query",
    "key",
    "value",
    "attention_output",
    "attention_norm",
    "intermediate",
    "output",
    "output_norm",
    "embedding_norm",
    "embedding_projection",
    "pooler",
    "query_key_value",
    "final_norm",
    "position_key",
    "position_query",
    "position_norm",
    "convolution",
    "convolution_norm",
)
"""Roles a bias can have. `intermediate` is the first feed-forward layer, of width 4d; `output` the second.

The order is that of canonical names, so a new role goes to the end.
"""


@dataclass(frozen=True)
class Entry:
    """A strategy's line in the table.

    module    where its `apply` lives
    sentence  what it trains, for people
    argument  what may follow a colon: None for nothing, else a short description of it
    random    whether it draws coordinates, so that a mask seed makes sense
    decays    whether weight decay touches nothing but what trains
    choices   words the argument may join with '+'
    narrowed  the sentence where there is an argument, which stands for `{argument}` in it
    same_as   the canonical name of a strategy that trains the very same; empty for none
    """

    module: str
    sentence: str
    argument: str | None = None
    random: bool = False
    decays: bool = True
    choices: tuple[str, ...] = ()
    narrowed: str = ""
    same_as: str = ""


TABLE: dict[str, Entry] = {
    "full": Entry("strategies.full", "Trains every parameter of the encoder."),
    "bitfit": Entry(
        "strategies.bitfit",
        "Trains every bias of the encoder, those of the LayerNorms and of a pretrained pooler included.",
        argument="bias roles joined by '+', such as query+intermediate",
        choices=ROLES,
        narrowed="Trains the biases of these roles only: {argument}.",
    ),
    "bq_b2": Entry(
        "strategies.bq_b2",
        "Trains the biases of the query projections and of the first feed-forward layers.",
        same_as="bitfit:query+intermediate",
    ),
    "random_uniform": Entry(
        "strategies.random_uniform",
        "Trains as many numbers as BitFit, drawn at random from the weight matrices of the encoder layers.",
        random=True,
    ),
    "random_rowcol": Entry(
        "strategies.random_rowcol",
        "Trains as many numbers as BitFit, in randomly drawn rows or columns of every weight matrix of the layers.",
        random=True,
    ),
    "random_uniform_dense": Entry(
        "strategies.random_uniform_dense",
        "Trains the numbers random_uniform draws, by masking a full gradient: the costly way, for reference.",
        random=True,
        decays=False,
    ),
    "layernorm": Entry("strategies.layernorm", "Trains the gain and bias of every LayerNorm of the encoder."),
    "frozen": Entry("strategies.frozen", "Trains the head alone; the encoder stays as it was."),
}


def check(name: str) -> Entry:
    """The table's entry for `name`, which may carry an argument after a colon.

    Raises StrategyError where the name or its argument is unknown; the message gives the nearest one.
    """
    stem, colon, argument = name.partition(":")
    if stem not in TABLE:
        raise StrategyError(f"unknown strategy {stem!r}{_nearest(stem, TABLE)}")
    entry = TABLE[stem]
    if not colon:
        return entry
    if entry.argument is None:
        raise StrategyError(f"strategy {stem!r} takes no argument, but {name!r} gives one; write {stem!r}")
    words = argument.split("+")
    for word in words:
        if word not in entry.choices:
            raise StrategyError(f"strategy {name!r}: {word!r} is no known role{_nearest(word, entry.choices)}")
    if len(set(words)) < len(words):
        raise StrategyError(f"strategy {name!r} names a role twice; name each once")
    return entry


def canonical(name: str) -> str:
    """`name` with the words of its argument in one fixed order, so that the same choice has one name.

    Raises StrategyError where it is unknown.
    """
    entry = check(name)
    stem, colon, argument = name.partition(":")
    return stem + colon + "+".join(sorted(argument.split("+"), key=entry.choices.index)) if colon else name


def selection(name: str) -> str:
    """One name for all names of what `name` trains, so that it can be told whether two of them are one strategy.

    Raises StrategyError where it is unknown.
    """
    return check(name).same_as or canonical(name)


def sentence(name: str) -> str:
    """One sentence on what the strategy `name` trains. Raises StrategyError where it is unknown."""
    entry = check(name)
    argument = name.partition(":")[2]
    return entry.narrowed.format(argument=argument.replace("+", ", ")) if argument else entry.sentence


def resolve(name: str) -> Callable[[nn.Module, Context], Applied]:
    """The strategy `name` as a function of model and context, its argument bound; imports torch.

    Raises StrategyError where the name is unknown. The function raises it where the model lacks what the
    strategy trains; the model is then unchanged.
    """
    entry = check(name)
    argument = name.partition(":")[2]
    apply = importlib.import_module(entry.module).apply

    def bound(model: nn.Module, context: Context) -> Applied:
        names = frozenset(model.state_dict())
        try:
            applied: Applied = apply(model, context, argument)
        except StrategyError as error:
            raise StrategyError(f"strategy {name!r}: {error}") from None
        return replace(applied, base_names=names)

    return bound


def _nearest(word: str, choices: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, choices, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(choices)}"
