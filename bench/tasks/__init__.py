"""Tasks: one module a task (related ones may share it), one line a task in the table below.

This file imports neither torch nor `datasets`, so that names can be listed and checked at once.
"""

import difflib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, Protocol, cast

from bench.errors import InputError
from bench.tasks.base import Source, TaskData
from bench.tasks.checks import checked

if TYPE_CHECKING:
    from bench.tasks.own import OwnTask

__all__ = ["TABLE", "Entry", "Source", "TaskData", "check", "load"]


@dataclass(frozen=True)
class Entry:
    """A task's line in the table.

    module    where its `load` lives
    sentence  what it is, for people
    needs     "archive": a pinned archive, fetched when first asked for; "folder": the user's data folder;
              "hub": the user's data folder, or where it lacks the task the hub; "nothing": it is made up
    argument  what may follow a colon: None for nothing, else a short description of it
    """

    module: str
    sentence: str
    needs: Literal["archive", "folder", "hub", "nothing"]
    argument: str | None = None


class Load(Protocol):
    """What every task module offers under the name `load`; `name` is as asked for, argument included."""

    def __call__(self, name: str, entry: Entry, source: Source) -> TaskData: ...


NONE: Mapping[str, "OwnTask"] = MappingProxyType({})
GLUE = "bench.tasks.glue"

TABLE: dict[str, Entry] = {
    "questions": Entry("bench.tasks.questions", "What a question asks for: six coarse classes of TREC.", "archive"),
    "reviews": Entry("bench.tasks.reviews", "Is a sentence of a movie review positive or negative?", "archive"),
    "ratings": Entry("bench.tasks.reviews", "How people rate a sentence of a movie review, -4 to 4.", "archive"),
    "relevance": Entry("bench.tasks.relevance", "Does a clause of a privacy policy answer a question?", "archive"),
    "pos-synthetic": Entry(
        "bench.tasks.pos_synthetic", "Parts of speech of made-up sentences full of ambiguous words.", "nothing"
    ),
    "cola": Entry(GLUE, "Is a sentence acceptable English? (CoLA)", "hub"),
    "sst2": Entry(GLUE, "Is a phrase of a movie review positive or negative? (SST-2)", "hub"),
    "mrpc": Entry(GLUE, "Do two sentences of the news say the same? (MRPC)", "hub"),
    "qqp": Entry(GLUE, "Do two questions ask the same? (QQP)", "hub"),
    "stsb": Entry(GLUE, "How similar are two sentences, 0 to 5? (STS-B)", "hub"),
    "mnli": Entry(GLUE, "Does a text entail another, contradict it, or neither? (MNLI, matched)", "hub"),
    "qnli": Entry(GLUE, "Does a sentence answer a question? (QNLI)", "hub"),
    "rte": Entry(GLUE, "Does one text entail another? (RTE)", "hub"),
    "wnli": Entry(GLUE, "Does a sentence follow once its pronoun is resolved? (WNLI)", "hub"),
    "pos": Entry("bench.tasks.pos", "Parts of speech on a Universal Dependencies treebank.", "hub", "treebank"),
    "pos-xpos": Entry("bench.tasks.pos", "The same in the treebank's own, finer tag set (XPOS).", "hub", "treebank"),
    "ner": Entry("bench.tasks.ner", "Names in a sentence: which words, and of what kind?", "hub", "dataset"),
    "squad": Entry(
        "bench.tasks.squad", "Which words of a paragraph answer a question? (SQuAD 1.1)", "hub", "train+evaluation"
    ),
    "squad2": Entry(
        "bench.tasks.squad",
        "Which words of a paragraph answer a question, if any do? (SQuAD 2.0)",
        "folder",
        "train+evaluation",
    ),
}


def check(name: str) -> Entry:
    """The table's line for `name`, which may carry an argument. Raises InputError for an unknown name."""
    base, colon, argument = name.partition(":")
    entry = TABLE.get(base)
    if entry is None:
        near = difflib.get_close_matches(base, TABLE, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(TABLE)}."
        raise InputError(f"unknown task {name!r}: {hint} The description of one works too: ./my-task.toml")
    if colon and (entry.argument is None or not argument):
        form = f"{base}:<{entry.argument}>" if entry.argument else base
        raise InputError(f"task {name!r} is not written so: write {form!r}")
    return entry


def load(name: str, source: Source, own: Mapping[str, "OwnTask"] = NONE) -> TaskData:
    """Load a task of the table, or one of `own`, described by the user, by name.

    Raises InputError for an unknown name, DataError where its data is missing or malformed.
    """
    if name in own:
        data: TaskData = importlib.import_module("bench.tasks.own_data").load(own[name], source)
    else:
        entry = check(name)
        data = cast(Load, importlib.import_module(entry.module).load)(name, entry, source)
    return checked(data)
