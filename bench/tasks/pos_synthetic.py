"""Part-of-speech tagging of made-up sentences.

A seeded grammar writes sentences of real English words, most of them of more than one word class, and knows
the universal part-of-speech tag of each. Some words, some readings of ambiguous words and some rules occur
in the evaluation sentences only: a model must use the context, not a list of words. See the grammar for the
few constructions whose reading is undetermined, which bound the score a little below 100%.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from random import Random

from bench.tasks import Entry
from bench.tasks.base import Example, Source, TaskData
from bench.tasks.pos import UPOS
from bench.tasks.pos_grammar import RULES
from bench.tasks.pos_lexicon import LEXICON, VOWELS
from bench.tasks.splits import split_official

SEED = 20
TRAIN_SENTENCES, EVALUATION_SENTENCES = 3000, 1000
SHORTEST, LONGEST = 4, 24
OPEN_CLASS = 5  # smaller classes are function words in all but name, and nothing of them is held out
HELD_OUT_WORDS, HELD_OUT_READINGS = 0.25, 0.35  # shares of the open-class words, and of their readings
HELD_OUT_RATE = 0.4  # how often evaluation draws from them

Token = tuple[str, str]


@dataclass(frozen=True)
class Rule:
    """One rule of the grammar: its weight, whether evaluation alone may use it, and what it expands to."""

    weight: float
    held_out: bool
    symbols: tuple[str, ...]


def load(name: str, entry: Entry, source: Source) -> TaskData:
    """The task `pos-synthetic`; needs no data."""
    del source
    train, selection, evaluation = split_official(
        [_example(s) for s in sentences(TRAIN_SENTENCES, held_out=False)],
        [_example(s) for s in sentences(EVALUATION_SENTENCES, held_out=True)],
    )
    return TaskData(
        name=name,
        kind="tagging",
        sentence=entry.sentence,
        labels=UPOS,
        metrics=("accuracy",),
        train=train,
        selection=selection,
        evaluation=evaluation,
        marks=("synthetic data: sentences made up by a grammar",),
    )


def sentences(count: int, held_out: bool) -> list[tuple[Token, ...]]:
    """`count` different sentences, as (word, tag) pairs; `held_out` allows what training never shows."""
    random = Random(SEED + held_out)  # noqa: S311
    found: dict[tuple[Token, ...], None] = {}
    while len(found) < count:
        sentence = _spelt(list(_expand("ROOT", random, held_out)))
        if SHORTEST <= len(sentence) <= LONGEST:
            found[sentence] = None
    return list(found)


def _expand(symbol: str, random: Random, held_out: bool) -> Iterator[Token]:
    word, slash, tag = symbol.rpartition("/")
    if not slash:
        rules = _rules(symbol, held_out)
        rule = random.choices(rules, weights=[rule.weight for rule in rules])[0]
        for part in rule.symbols:
            yield from _expand(part, random, held_out)
    elif word.startswith("<"):
        unseen = held_out and random.random() < HELD_OUT_RATE
        words = (unseen and _words(word.strip("<>"), tag, unseen)) or _words(word.strip("<>"), tag, False)
        yield words[int(random.random() * len(words))], tag
    else:
        yield word, tag


def _spelt(sentence: list[Token]) -> tuple[Token, ...]:
    """The sentence with `an` before vowels and a capital at its start."""
    words = [word for word, _ in sentence]
    for place, following in enumerate(words[1:]):
        if words[place] == "a" and following[0] in VOWELS:
            words[place] = "an"
    first = next(place for place, word in enumerate(words) if word[0].isalnum())
    words[first] = words[first][0].upper() + words[first][1:]
    return tuple(zip(words, (tag for _, tag in sentence), strict=True))


@cache
def _rules(symbol: str, held_out: bool) -> list[Rule]:
    name, dot, form = symbol.partition(".")
    found = [*_grammar().get(symbol, ()), *(_grammar().get(f"{name}.*", ()) if dot else ())]
    return [
        Rule(rule.weight, rule.held_out, tuple(s.replace("*", form) for s in rule.symbols))
        for rule in found
        if held_out or not rule.held_out
    ]


@cache
def _grammar() -> Mapping[str, Sequence[Rule]]:
    grammar: dict[str, list[Rule]] = defaultdict(list)
    for line in RULES.strip().splitlines():
        if line:
            name, weight, *symbols = line.split()
            rule = Rule(float(weight.rstrip("!?")), weight.endswith("!"), tuple(symbols))
            grammar[name].append(rule)
    return grammar


@cache
def _words(lexical: str, tag: str, unseen: bool) -> list[str]:
    """Words of a class in a form that training shows, or (`unseen`) those it never shows with this tag."""
    name, _, form = lexical.partition(".")
    is_open = len(LEXICON[name]) >= OPEN_CLASS
    bases = [(lexeme[form], next(iter(lexeme.values()))) for lexeme in LEXICON[name]]
    return [word for word, base in bases if (is_open and is_held_out(base, tag)) == unseen]


def is_held_out(base: str, tag: str) -> bool:
    """Whether the word with this base form is kept from training: altogether, or in its reading as `tag`."""
    return _share(base) < HELD_OUT_WORDS or _share(f"{base} {tag}") < HELD_OUT_READINGS


def _share(text: str) -> float:
    return hashlib.sha256(text.encode()).digest()[0] / 256


def _example(sentence: Sequence[Token]) -> Example:
    return Example(tuple(word for word, _ in sentence), tuple(UPOS.index(tag) for _, tag in sentence))
