"""Names of strategies: `stem`, `stem:words`, `stem:number`, `stem@layers`, and combinations of these joined by '+'.

`bitfit:query+intermediate@0-5` trains two roles in six layers; `bitfit+lora:8` is two strategies on one model.
"""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from strategies.errors import StrategyError
from strategies.table import STORES, SUBSET, TABLE, WRAPPED, Entry

_LAYERS = re.compile(r"([0-9]{1,4})(?:-([0-9]{1,4}))?")
_NUMBER = re.compile(r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
_DIGITS = 9
"""Digits of the largest whole number: far beyond any model, and exact as a float."""
_CHARACTERS = 32
"""The longest a number may be written; no float needs as many."""


@dataclass(frozen=True)
class Argument:
    """What follows the stem of a name.

    words   in the order of the table
    number  the size, where the name gives one
    layers  first and last layer, counted from 0
    """

    words: tuple[str, ...] = ()
    number: float | None = None
    layers: tuple[int, int] | None = None


NO_ARGUMENT = Argument()


@dataclass(frozen=True)
class Part:
    """One strategy of a name."""

    stem: str
    argument: Argument = NO_ARGUMENT

    @property
    def entry(self) -> Entry:
        """Its line in the table."""
        return TABLE[self.stem]

    def __str__(self) -> str:
        argument, text = self.argument, self.stem
        if argument.words:
            text += f":{'+'.join(argument.words)}"
        if argument.number is not None:
            text += f":{written(argument.number)}"
        if argument.layers is not None:
            first, last = argument.layers
            text += f"@{first}" if first == last else f"@{first}-{last}"
        return text


def written(number: float) -> str:
    """A size as names hold it, so that two sizes have two names: no digit is lost, and none is there without need."""
    return str(int(number)) if number == int(number) else repr(number)


def parse(name: str) -> tuple[Part, ...]:
    """The parts of a strategy's name in the order of the table.

    Raises StrategyError where a name or an argument is unknown, with the nearest one, and where parts cannot be
    combined.
    """
    pieces: list[str] = []
    for token in name.split("+"):
        # A word that is no strategy belongs to the argument before it.
        if pieces and ":" in pieces[-1] and _stem(token) not in TABLE:
            pieces[-1] += f"+{token}"
        else:
            pieces.append(token)
    parts = sorted((_part(piece, name) for piece in pieces), key=lambda part: list(TABLE).index(part.stem))
    _check_combination(parts, name)
    return tuple(parts)


def check(name: str) -> None:
    """Raises StrategyError where `name` is no strategy's."""
    parse(name)


def canonical(name: str) -> str:
    """`name` in the one form of all that mean the same choice. Raises StrategyError where it is unknown."""
    return "+".join(map(str, parse(name)))


def selection(name: str) -> str:
    """One name for all names of what `name` trains, so that it can be told whether two of them are one strategy.

    Raises StrategyError where it is unknown.
    """
    return "+".join(part.entry.same_as or str(_spelled_out(part)) for part in parse(name))


def family(name: str) -> str:
    """`name` without its arguments. Raises StrategyError where it is unknown."""
    return "+".join(part.stem for part in parse(name))


def sentence(name: str) -> str:
    """What the strategy `name` trains, a sentence for each of its parts. Raises StrategyError where it is unknown."""
    return " ".join(_sentence(part) for part in parse(name))


def unstored(name: str) -> str:
    """`name` without what stores the frozen rest, which trains nothing. Raises StrategyError where it is unknown."""
    return "+".join(str(part) for part in parse(name) if part.entry.order != STORES)


def is_random(name: str) -> bool:
    """Whether it draws coordinates or first values, so that a mask seed makes sense."""
    return any(part.entry.random for part in parse(name))


def is_sized(name: str) -> bool:
    """Whether a budget of trainable values sets its size: it can be chosen, and the name does not say it."""
    return any(part.entry.sized and part.argument.number is None for part in parse(name))


def decays(name: str) -> bool:
    """Whether weight decay touches nothing but what trains."""
    return all(part.entry.decays for part in parse(name))


def _spelled_out(part: Part) -> Part:
    """The same part with each group of words written out, and without words where they say no more than none."""
    entry, argument = part.entry, part.argument
    words = {single for word in argument.words for single in entry.groups.get(word, (word,))}
    if words == set(entry.no_words):
        words = set()
    return replace(part, argument=replace(argument, words=tuple(word for word in entry.words if word in words)))


def _stem(text: str) -> str:
    return re.split("[:@]", text, maxsplit=1)[0]


def _part(text: str, name: str) -> Part:
    """One strategy of `name`."""
    stem = _stem(text)
    if stem not in TABLE:
        within = "" if stem == name or not name else f" in {name!r}"
        raise StrategyError(f"unknown strategy {stem!r}{within}{_nearest(stem, TABLE)}")
    body, at, layers = text.removeprefix(stem).partition("@")
    argument = Argument(layers=_layers(layers, stem, name) if at else None)
    if not body:
        return Part(stem, argument)
    entry, given = TABLE[stem], body.removeprefix(":")
    if not entry.words and entry.size is None:
        raise StrategyError(f"strategy {stem!r} takes no argument, but {name!r} gives one; write {stem!r}")
    if entry.size is not None and (not entry.words or given[:1].isdigit()):
        return Part(stem, Argument((), _number(given, stem, name), argument.layers))
    words = given.split("+")
    for word in words:
        if word not in entry.words:
            raise StrategyError(f"strategy {name!r}: {word!r} is no known word{_nearest(word, entry.words)}")
    if len(set(words)) < len(words):
        raise StrategyError(f"strategy {name!r} names a word twice; name each once")
    return Part(stem, Argument(tuple(sorted(words, key=list(entry.words).index)), None, argument.layers))


def _number(text: str, stem: str, name: str) -> float:
    """The number that is the size of a strategy."""
    size = TABLE[stem].size
    if size is None:
        raise StrategyError(f"strategy {stem!r} takes no number, but {name!r} gives one")
    number = float(text) if len(text) <= _CHARACTERS and _NUMBER.fullmatch(text) else -1.0
    if not ((1 <= number < 10**_DIGITS and number == int(number)) if size.whole else 0.0 < number <= 1.0):
        wanted = "a share above 0 and at most 1"
        if size.whole:
            wanted = f"a whole number of at least 1 and at most {_DIGITS} digits"
        raise StrategyError(
            f"strategy {name!r}: its {size.word} {text!r} must be {wanted}, as in {stem}:{written(size.default)}"
        )
    return number


def _layers(text: str, stem: str, name: str) -> tuple[int, int]:
    """First and last layer of a range such as '0-5', or '3' for one."""
    if not TABLE[stem].layered:
        raise StrategyError(f"strategy {name!r}: {stem!r} cannot be kept to some layers; leave out {'@' + text!r}")
    found = _LAYERS.fullmatch(text)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, -1)
    if last < first:
        raise StrategyError(f"strategy {name!r}: {text!r} is no range of layers; write one as in {stem}@0-5")
    return first, last


def _check_combination(parts: list[Part], name: str) -> None:
    """Raises StrategyError where the parts of a name make no strategy."""
    stems = [part.stem for part in parts]
    for part in parts:
        if stems.count(part.stem) > 1:
            raise StrategyError(f"strategy {name!r} names {part.stem!r} twice; name it once")
        if not part.entry.combines and sum(other.entry.alone for other in parts) > 1:
            raise StrategyError(f"strategy {name!r}: {part.stem!r} cannot be combined with others")
    forms = [part.stem for part in parts if part.entry.order == STORES]
    if len(forms) > 1:
        raise StrategyError(f"strategy {name!r} stores the rest in {' and in '.join(forms)}; name one of them")
    whole = next((part.stem for part in parts if not part.entry.narrows), None)
    if forms and whole is not None:
        raise StrategyError(f"strategy {name!r}: beside {whole!r} no matrix stays frozen to be stored in {forms[0]}")
    _check_matrices(parts, name)
    if not any(part.entry.alone for part in parts):
        raise StrategyError(f"{name!r} trains nothing by itself; combine it, as in bitfit+{name}")


def _check_matrices(parts: list[Part], name: str) -> None:
    """Raises StrategyError where two parts take the same weight matrices."""
    touching = [part for part in parts if part.entry.matrices]
    for subset in touching:
        other = next((other for other in touching if other is not subset), None)
        if subset.entry.matrices == SUBSET and other is not None:
            raise StrategyError(
                f"strategy {name!r}: {subset.stem!r} trains single numbers of weight matrices that {other.stem!r} "
                f"{other.entry.matrices}; leave one of the two out"
            )
    wrapped = [part.stem for part in touching if part.entry.matrices == WRAPPED]
    if len(wrapped) > 1:
        raise StrategyError(
            f"strategy {name!r}: {wrapped[0]!r} and {wrapped[1]!r} both put layers around the value projections; "
            "leave one of the two out"
        )


def _sentence(part: Part) -> str:
    entry, argument = part.entry, part.argument
    text = entry.narrowed.format(words=", ".join(argument.words)) if argument.words else entry.sentence
    notes = []
    if argument.number is not None and entry.size is not None:
        notes.append(f"{entry.size.word} {written(argument.number)}")
    if argument.layers is not None:
        first, last = argument.layers
        notes.append(f"layer {first}" if first == last else f"layers {first} to {last}")
    return f"{text.removesuffix('.')} ({', '.join(notes)})." if notes else text


def _nearest(word: str, choices: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, choices, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(choices)}"
