"""Spans: the loss of a head that points to an answer's first and last token, and answers read from its logits.

Answers are ranges of characters of the context, so their text is the context's own and never put together from
tokens.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from bench.windows import NOWHERE, Ints, Windows

MAX_ANSWER_TOKENS = 30
BEST = np.dtype([("begin", np.int64), ("end", np.int64), ("score", np.float32), ("null", np.float32)])


def loss(logits: Tensor, labels: Tensor, reduction: str) -> Tensor:
    """Mean of two cross-entropies over the tokens of a window, the answer's first and its last token.

    `logits` (windows, length, 2), `labels` (windows, 3): both tokens' positions and the window's length, beyond
    which padding takes no part.
    """
    positions = torch.arange(logits.shape[1], device=logits.device)
    padding = positions >= labels[:, 2:]
    scores = logits.float().masked_fill(padding.unsqueeze(-1), -torch.inf)
    total = functional.cross_entropy(scores, labels[:, :2], reduction=reduction)
    return total if reduction == "mean" else total / 2


def best_spans(logits: Tensor, windows: Windows, rows: Ints) -> NDArray[np.void]:
    """The best span of each of the windows `rows`: BEST records with its characters and the sum of its logits.

    Spans lie in the context and have at most MAX_ANSWER_TOKENS tokens. `null` is the same sum at the first token.
    """
    context = torch.from_numpy(windows.context[rows]).to(logits.device)
    positions = torch.arange(logits.shape[1], device=logits.device)
    outside = (positions < context[:, :1]) | (positions >= context[:, 1:])
    starts, ends = logits.float().masked_fill(outside.unsqueeze(-1), -torch.inf).unbind(-1)
    ends = functional.pad(ends, (0, MAX_ANSWER_TOKENS - 1), value=-torch.inf).unfold(1, MAX_ANSWER_TOKENS, 1)
    score, place = (starts.unsqueeze(-1) + ends).flatten(1).max(1)
    start = place.cpu().numpy() // MAX_ANSWER_TOKENS
    end = start + place.cpu().numpy() % MAX_ANSWER_TOKENS
    found = np.empty(len(rows), dtype=BEST)
    found["begin"] = windows.offsets[start + windows.shift[rows], 0]
    found["end"] = windows.offsets[end + windows.shift[rows], 1]
    found["score"] = score.cpu().numpy()
    found["null"] = logits[:, 0].float().sum(-1).cpu().numpy()
    return found


def answers(best: NDArray[np.void], windows: Windows, examples: Ints, unanswerable: bool) -> Ints:
    """The answer to each question, as a range of characters, from the best spans of all its windows in order.

    Shaped (questions, 2). With `unanswerable`, a question whose lowest null score is above its best span's has
    no answer, NOWHERE twice.
    """
    counts = np.diff(windows.first)[examples]
    chosen = np.full((len(examples), 2), NOWHERE, dtype=np.int64)
    for number, group in enumerate(np.split(best, np.cumsum(counts)[:-1])):
        top = group[group["score"].argmax()]
        if not (unanswerable and group["null"].min() > top["score"]):
            chosen[number] = top["begin"], top["end"]
    return chosen


def texts(chosen: Ints, windows: Windows, examples: Ints) -> list[str]:
    """The text of each answer of `answers`; '' for none."""
    contexts = [windows.examples[i].text[1] for i in examples]
    ranges = zip(contexts, chosen.tolist(), strict=True)
    return [context[begin:end] if begin != NOWHERE else "" for context, (begin, end) in ranges]


def gold_texts(windows: Windows, examples: Ints) -> list[list[str]]:
    """The texts of the gold answers of each question."""
    return [[answer.text for answer in windows.examples[i].answers] for i in examples]


def gold_ranges(windows: Windows, examples: Ints) -> Ints:
    """Ranges of characters of the gold answers, (questions, most answers of one, 2), filled up with NOWHERE."""
    gold = [windows.examples[i].answers for i in examples]
    ranges = np.full((len(gold), max(1, *map(len, gold)), 2), NOWHERE, dtype=np.int64)
    for number, found in enumerate(gold):
        for place, answer in enumerate(found):
            ranges[number, place] = answer.start, answer.end
    return ranges
