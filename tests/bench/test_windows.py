"""Windows lose no part of a context, keep the question, and lead back to the characters of the text."""

import os
import string
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from bench import tasks
from bench.answers import exact_match
from bench.batching import Encoded, collate, encode
from bench.errors import DataError
from bench.tasks.base import Answer, Example, Source
from bench.windows import Ints, window_begins

SHARED = Path(os.environ.get("BITFIT_BENCH_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
CLS, SEP = 2, 3
WORDS = st.lists(st.text(string.ascii_lowercase, min_size=1, max_size=9), min_size=1, max_size=40)
UNTIMED = settings(max_examples=60, deadline=None)


@pytest.fixture(scope="session")
def tokenizer(tiny_folder: Path) -> PreTrainedTokenizerBase:
    """Spells words letter by letter, so that a character that is no space is a token."""
    found: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(tiny_folder)
    return found


@pytest.fixture(scope="session")
def byte_tokenizer() -> PreTrainedTokenizerBase:
    """A token a byte, framed as RoBERTa does: <s> question </s></s> context </s>."""
    symbols = ["<s>", "<pad>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    core = Tokenizer(models.BPE({symbol: number for number, symbol in enumerate(symbols)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>")  # type: ignore[no-untyped-call]  # noqa: S106


@st.composite
def questions(draw: st.DrawFn) -> Example:
    """A question, a context, and a stretch of its words as the answer."""
    words = draw(WORDS)
    first = draw(st.integers(0, len(words) - 1))
    last = draw(st.integers(first, len(words) - 1))
    start = sum(len(word) + 1 for word in words[:first])
    answer = Answer(start, " ".join(words[first : last + 1]))
    return Example((" ".join(draw(WORDS)), " ".join(words)), (), answers=(answer,))


def row(encoded: Encoded, number: int) -> list[int]:
    """Token ids of one row."""
    return [int(token) for token in encoded.ids[encoded.starts[number] : encoded.starts[number + 1]]]


def covered(encoded: Encoded, number: int) -> Ints:
    """Characters of each context token of one row, (tokens, 2)."""
    assert encoded.windows is not None
    begin, end = encoded.windows.context[number] + encoded.windows.shift[number]
    return encoded.windows.offsets[begin:end]


@UNTIMED
@given(st.integers(1, 600), st.integers(1, 200), st.data())
def test_windows_leave_no_gap_and_hold_short_stretches_whole(tokens: int, room: int, data: st.DataObject) -> None:
    stride = data.draw(st.integers(1, room))
    begins = window_begins(tokens, room, stride)
    windows = [range(begin, min(begin + room, tokens)) for begin in begins]
    assert set().union(*windows) == set(range(tokens))
    assert all(windows)
    assert not any(window[-1] == tokens - 1 for window in windows[:-1])
    length = data.draw(st.integers(1, min(tokens, room - stride + 1)))
    first = data.draw(st.integers(0, tokens - length))
    assert any(window[0] <= first and first + length - 1 <= window[-1] for window in windows)


@UNTIMED
@given(st.lists(questions(), min_size=1, max_size=4), st.integers(12, 70))
def test_every_character_of_a_context_lies_in_a_window(
    tokenizer: PreTrainedTokenizerBase, examples: list[Example], max_length: int
) -> None:
    encoded = encode(examples, "span", tokenizer, max_length)
    assert encoded.examples == len(examples)
    assert encoded.lengths.max() <= max_length
    for number, example in enumerate(examples):
        rows = encoded.rows_of(np.array([number]))
        characters = {place for r in rows for begin, end in covered(encoded, r) for place in range(begin, end)}
        assert characters == {place for place, letter in enumerate(example.text[1]) if letter != " "}
        question = tokenizer(example.text[0], add_special_tokens=False)["input_ids"][: max_length // 2]
        assert all(row(encoded, r)[: len(question) + 2] == [CLS, *question, SEP] for r in rows)


@UNTIMED
@given(st.lists(questions(), min_size=1, max_size=4), st.integers(12, 70))
def test_labels_lead_back_to_the_answer(
    tokenizer: PreTrainedTokenizerBase, examples: list[Example], max_length: int
) -> None:
    encoded = encode(examples, "span", tokenizer, max_length)
    assert encoded.windows is not None
    split = 0
    for number, example in enumerate(examples):
        (answer,) = example.answers
        held = 0
        for r in encoded.rows_of(np.array([number])):
            start, end, length = encoded.labels[r]
            assert length == encoded.lengths[r]
            tokens = covered(encoded, r)
            whole = tokens[0, 0] <= answer.start and answer.end <= tokens[-1, 1]
            assert whole == (start > 0)
            held += whole
            if whole:
                places = encoded.windows.offsets[np.array([start, end]) + encoded.windows.shift[r]]
                assert (places[0, 0], places[1, 1]) == (answer.start, answer.end)
            else:
                assert (start, end) == (0, 0)
        split += not held
    assert encoded.windows.split_answers == split


def test_questions_of_one_context_share_its_offsets(tokenizer: PreTrainedTokenizerBase) -> None:
    context = "one two three"
    examples = [Example((text, context), (), answers=(Answer(4, "two"),)) for text in ("which", "what is it")]
    encoded = encode(examples, "span", tokenizer, 32)
    assert encoded.windows is not None
    assert len(encoded.windows.offsets) == 11
    assert np.array_equal(covered(encoded, 0), covered(encoded, len(encoded) - 1))


def test_a_long_question_is_cut_and_counted(tokenizer: PreTrainedTokenizerBase) -> None:
    examples = [Example(("a" * n, "b" * 10), (), answers=(Answer(0, "b" * 10),)) for n in (16, 17)]
    encoded = encode(examples, "span", tokenizer, 32)
    assert encoded.windows is not None
    assert encoded.windows.cut_questions == 1
    assert row(encoded, 0) == row(encoded, 1)
    assert encoded.windows.problems() == ["1 were longer than half of a window: cut to that"]


def test_an_answer_longer_than_a_window_is_counted(tokenizer: PreTrainedTokenizerBase) -> None:
    encoded = encode([Example(("a", "b" * 50), (), answers=(Answer(0, "b" * 50),))], "span", tokenizer, 32)
    assert encoded.windows is not None
    assert encoded.windows.problems() == ["1 have an answer that no window holds whole"]
    assert not encoded.labels[:, :2].any()


def test_segments_follow_the_tokenizer_and_padding_is_masked(tokenizer: PreTrainedTokenizerBase) -> None:
    examples = [Example(("ab", "cd e"), (), answers=(Answer(0, "cd"),)), Example(("a", "b"), (), answers=())]
    batch = collate(encode(examples, "span", tokenizer, 32), np.array([0, 1]))
    plain = tokenizer(["ab", "a"], ["cd e", "b"], padding=True, return_tensors="pt", return_token_type_ids=True)
    for name in ("input_ids", "attention_mask", "token_type_ids"):
        assert batch[name].tolist() == plain[name].tolist()
    assert batch["labels"].tolist() == [[4, 5, 8], [0, 0, 5]]


def test_the_frame_is_the_tokenizers_own(byte_tokenizer: PreTrainedTokenizerBase) -> None:
    """No segments, two separators, and characters of several tokens."""
    example = Example(("Où?", "un café à Paris"), (), answers=(Answer(3, "café"),))
    encoded = encode([example], "span", byte_tokenizer, 64)
    plain = byte_tokenizer(*example.text, return_token_type_ids=True)
    assert row(encoded, 0) == plain["input_ids"]
    assert encoded.types.tolist() == plain["token_type_ids"]
    assert encoded.windows is not None
    (start, end, _), shift = encoded.labels[0], encoded.windows.shift[0]
    assert end - start + 1 == len("café".encode())
    assert (encoded.windows.offsets[start + shift, 0], encoded.windows.offsets[end + shift, 1]) == (3, 7)


def test_no_room_for_the_context_is_said(tokenizer: PreTrainedTokenizerBase) -> None:
    example = Example(("question", "context"), ())
    with pytest.raises(DataError, match="max_length 5 leaves no room for context"):
        encode([example], "span", tokenizer, 5)
    with pytest.raises(DataError, match="finds no token in the context"):
        encode([Example(("question", "\u200b"), ())], "span", tokenizer, 32)


def test_offsets_of_real_files_lead_back_to_the_gold_answers(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    if not (SHARED / "squad").is_dir():
        pytest.skip(f"no real data at {SHARED}; set BITFIT_BENCH_TEST_DATA to a folder with squad/")
    examples = tasks.load("squad:half-1+half-2", Source(tmp_path, SHARED)).train[:150]
    encoded = encode(examples, "span", tokenizer, 256)
    windows = encoded.windows
    assert windows is not None
    found, gold = [], []
    for number, example in enumerate(examples):
        for r in encoded.rows_of(np.array([number])):
            start, end, _ = encoded.labels[r]
            if start:
                begin, stop = windows.offsets[start + windows.shift[r], 0], windows.offsets[end + windows.shift[r], 1]
                found.append(example.text[1][begin:stop])
                gold.append([example.answers[0].text])
                assert gold[-1][0] in found[-1]
    assert len(found) > len(examples)
    # A word with a character the tiny vocabulary lacks is one token, so that an answer within it brings all of it.
    assert exact_match(found, gold) > 0.97
