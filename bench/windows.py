"""Questions with their context cut into overlapping windows.

A window is a whole question followed by a stretch of the context. An answer is learnt in the windows that hold all
of it; every other window points to its first token, whether or not the task has unanswerable questions. So all splits
are cut alike, and their losses may be compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from bench.errors import DataError
from bench.tasks.base import Example

STRIDES_PER_WINDOW = 3
NOWHERE = -1

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Windows:
    """What leads from the windows of a split back to its questions and the characters of their contexts.

    examples       the questions in order
    first          the row of each question's first window; one more entry than questions
    context        positions of a window's first context token and one past its last; (rows, 2)
    shift          what to add to a position in a window to find its token in `offsets`; (rows,)
    offsets        the characters each token of the contexts stands for, begin and end; (tokens, 2)
    cut_questions  questions that were cut to half of the window
    split_answers  answered questions whose answer no window holds whole
    """

    examples: tuple[Example, ...]
    first: Ints
    context: Ints
    shift: Ints
    offsets: Ints
    cut_questions: int
    split_answers: int

    def rows_of(self, examples: Ints) -> Ints:
        """The rows of all windows of the questions numbered `examples`, in that order."""
        return np.concatenate([np.arange(self.first[i], self.first[i + 1]) for i in examples])

    def problems(self) -> list[str]:
        """What was lost in cutting, to follow 'of N questions'."""
        found = []
        if self.cut_questions:
            found.append(f"{self.cut_questions} were longer than half of a window: cut to that")
        if self.split_answers:
            found.append(f"{self.split_answers} have an answer that no window holds whole")
        return found


class Cut(NamedTuple):
    """The windows of a split: token and segment ids of each, labels as `spans.loss` takes them, and the way back."""

    ids: list[Ints]
    types: list[Ints]
    labels: Ints
    windows: Windows


class Window(NamedTuple):
    """One window, its fields as in `Cut` and `Windows`."""

    ids: Ints
    types: Ints
    label: tuple[int, int, int]
    context: tuple[int, int]
    shift: int


def cut(examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase, max_length: int) -> Cut:
    """Cut (question, context) pairs into windows of at most `max_length` tokens.

    A question of more than half of `max_length` is cut to that. Windows begin a third of the room for context
    apart, so that an answer of up to two thirds of the room is whole in one of them. Several gold answers: the
    first is learnt. Raises DataError where the tokenizer gives no character offsets or `max_length` leaves no room.
    """
    frame = Frame.of(tokenizer)
    questions = _tokenise(tokenizer, [example.text[0] for example in examples])["input_ids"]
    contexts = _contexts(tokenizer, [example.text[1] for example in examples])
    longest = max_length // 2
    found: list[list[Window]] = []
    for example, question in zip(examples, questions, strict=True):
        kept = np.asarray(question[:longest], dtype=np.int64)
        found.append(_windows(example, kept, contexts[example.text[1]], frame, max_length))
    rows = [window for windows in found for window in windows]
    held = [any(window.label[0] for window in windows) for windows in found]
    return Cut(
        ids=[row.ids for row in rows],
        types=[row.types for row in rows],
        labels=np.array([row.label for row in rows], dtype=np.int64),
        windows=Windows(
            examples=tuple(examples),
            first=np.cumsum([0, *map(len, found)]),
            context=np.array([row.context for row in rows], dtype=np.int64),
            shift=np.array([row.shift for row in rows], dtype=np.int64),
            offsets=np.concatenate([context.offsets for context in contexts.values()]),
            cut_questions=sum(len(question) > longest for question in questions),
            split_answers=sum(bool(e.answers) and not whole for e, whole in zip(examples, held, strict=True)),
        ),
    )


def window_begins(tokens: int, room: int, stride: int) -> range:
    """Where windows of at most `room` tokens begin in a context of `tokens` tokens; the last one reaches its end."""
    return range(0, max(tokens - room, 0) + stride, stride)


@dataclass(frozen=True)
class Frame:
    """What a tokenizer puts before, between and after two texts, and the segment ids of all five stretches."""

    before: Ints
    between: Ints
    after: Ints
    segments: tuple[int, ...]

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> "Frame":
        """Read the frame off a probe. Raises DataError for a tokenizer without character offsets or a separator."""
        if not tokenizer.is_fast:
            raise DataError(f"{type(tokenizer).__name__} gives no character offsets; spans need a fast tokenizer")
        probe = tokenizer("a", "a", return_token_type_ids=True)
        sides = [-1 if side is None else side for side in probe.sequence_ids(0)]
        ids, types = np.array(probe["input_ids"]), probe["token_type_ids"]
        question, context = sides.index(0), sides.index(1)
        between, after = question + sides.count(0), context + sides.count(1)
        if between == context:
            raise DataError(f"{type(tokenizer).__name__} puts no token between a question and its context")
        stretches = (0, question, between, context, len(sides) - 1)
        return cls(
            before=ids[:question],
            between=ids[between:context],
            after=ids[after:],
            segments=tuple(types[place] for place in stretches),
        )

    def room(self, question: Ints, max_length: int) -> int:
        """Tokens left for context in a window of `max_length` tokens. Raises DataError where there are none."""
        room = max_length - len(question) - len(self.before) - len(self.between) - len(self.after)
        if room < 1:
            raise DataError(f"max_length {max_length} leaves no room for context beside a question: raise it")
        return room

    def join(self, question: Ints, context: Ints) -> tuple[Ints, Ints]:
        """Token and segment ids of one window."""
        parts = (self.before, question, self.between, context, self.after)
        return np.concatenate(parts), np.repeat(np.array(self.segments, dtype=np.int64), [len(part) for part in parts])


class _Context(NamedTuple):
    """A tokenised context: its ids, the characters of each token, and where these begin in `Windows.offsets`."""

    ids: Ints
    offsets: Ints
    place: int


def _tokenise(tokenizer: PreTrainedTokenizerBase, texts: list[str], **options: Any) -> Any:
    return tokenizer(texts, add_special_tokens=False, return_attention_mask=False, verbose=False, **options)


def _contexts(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> dict[str, _Context]:
    """Each distinct context, tokenised once."""
    distinct = list(dict.fromkeys(texts))
    coded = _tokenise(tokenizer, distinct, return_offsets_mapping=True)
    contexts, place = {}, 0
    for text, ids, offsets in zip(distinct, coded["input_ids"], coded["offset_mapping"], strict=True):
        if not ids:
            raise DataError(f"the tokenizer finds no token in the context {text[:40]!r}: remove its questions")
        contexts[text] = _Context(np.asarray(ids, dtype=np.int64), np.asarray(offsets, dtype=np.int64), place)
        place += len(ids)
    return contexts


def _windows(example: Example, question: Ints, context: _Context, frame: Frame, max_length: int) -> list[Window]:
    """The windows of one question."""
    room = frame.room(question, max_length)
    first, last = _answer_tokens(context.offsets, example)
    position = len(frame.before) + len(question) + len(frame.between)
    windows = []
    for begin in window_begins(len(context.ids), room, max(1, round(room / STRIDES_PER_WINDOW))):
        stretch = context.ids[begin : begin + room]
        ids, types = frame.join(question, stretch)
        whole = begin <= first <= last < begin + len(stretch)
        label = (position + first - begin, position + last - begin) if whole else (0, 0)
        inside = (position, position + len(stretch))
        windows.append(Window(ids, types, (*label, len(ids)), inside, context.place + begin - position))
    return windows


def _answer_tokens(offsets: Ints, example: Example) -> tuple[int, int]:
    """First and last token that hold a character of the first gold answer; NOWHERE twice where there is none."""
    if not example.answers:
        return NOWHERE, NOWHERE
    begin, end = example.answers[0].start, example.answers[0].end
    return int(np.searchsorted(offsets[:, 1], begin, "right")), int(np.searchsorted(offsets[:, 0], end, "left")) - 1
