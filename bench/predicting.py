"""Predictions with deltas: one encoder in memory, each delta put on it in its turn and taken off again."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich import box
from rich.table import Table
from rich.text import Text
from torch import Tensor, nn

from bench import bases, spans
from bench.bases import Base
from bench.batching import IGNORED, encode
from bench.errors import InputError
from bench.scoring import forward
from bench.tasks.base import Example
from bench.texts import Given, escaped
from bench.windows import Windows
from strategies import loading
from strategies.delta import DeltaInfo, Use

Result = Mapping[str, Any]


@dataclass(frozen=True)
class Prediction:
    """What one delta says of one text.

    `result` holds, by the kind of task, 'label' and 'probability'; 'value'; 'words' and 'tags', None for a word that
    was cut off or left no token; or 'answer', None where there is none.
    """

    delta: Path
    info: DeltaInfo
    text: Given
    result: Result

    def fields(self) -> dict[str, Any]:
        """It as one flat JSON object."""
        text = dict(zip(("text", "text_pair"), self.text, strict=False))
        said = {"delta": str(self.delta), "task": self.info.task, "strategy": self.info.strategy}
        return said | text | dict(self.result)

    def words(self) -> str:
        """The result in words."""
        match self.result:
            case {"label": label, "probability": probability}:
                return f"{label} ({probability:.3f})"
            case {"value": value}:
                return f"{value:.3f}"
            case {"words": words, "tags": tags}:
                return " ".join(f"{word}/{tag or '?'}" for word, tag in zip(words, tags, strict=True))
            case _:
                return self.result["answer"] or "no answer"


def predict(
    paths: Sequence[Path],
    texts: Sequence[Given],
    *,
    model: str | None,
    device: torch.device,
    cache_dir: Path,
    offline: bool = False,
) -> list[Prediction]:
    """Every text by every delta, delta by delta; `model` names the base where the deltas do not, or a folder of it.

    Raises InputError or StrategyError where a file is no delta, where the deltas, the base and the texts do not go
    together, or a prediction is not a finite number.
    """
    said = {path: bases.read_info(path) for path in paths}
    for path, (info, use) in said.items():
        _check_texts(path, info, use, texts)
    known = bases.find({path: use for path, (_, use) in said.items()}, model)
    base = Base(known, device=device, cache_dir=cache_dir, offline=offline)
    found = []
    for path, (info, use) in said.items():
        head, fingerprint = base.task_model(use)
        loaded = loading.load(path, head, fingerprint)
        results = _results(loaded.model, info, use, base, texts)
        loaded.remove()
        if results is None:
            raise InputError(
                f"the delta {path} predicts what is not a finite number: its training went astray, or it is damaged"
            )
        found += [Prediction(path, info, text, result) for text, result in zip(texts, results, strict=True)]
    return found


def _check_texts(path: Path, info: DeltaInfo, use: Use, texts: Sequence[Given]) -> None:
    """Raises InputError for a text that lacks the second one its task needs, or has one too many."""
    for number, text in enumerate(texts, start=1):
        if use.pair and len(text) == 1:
            second = "its context" if use.kind == "span" else "its pair"
            raise InputError(
                f"text {number} lacks {second}: task {info.task!r} ({path}) takes two texts, the second with "
                "--text-pair or after a tab"
            )
        if not use.pair and len(text) == 2:
            raise InputError(f"text {number} is a pair: task {info.task!r} ({path}) takes one text")


@torch.inference_mode()
def _results(model: nn.Module, info: DeltaInfo, use: Use, base: Base, texts: Sequence[Given]) -> list[Result] | None:
    """What a model with a delta on it says of each text; None where a logit is not finite."""
    examples = [_example(text, use) for text in texts]
    encoded = encode(examples, use.kind, base.tokenizer(use.kind), base.max_length(use))
    windows, found = encoded.windows, dict[int, Any]()
    for rows, logits, labels in forward(model, encoded, np.arange(len(encoded)), nullcontext):
        if not bool(torch.isfinite(logits).all()):
            return None
        if windows is not None:
            decided: Sequence[Any] = list(spans.best_spans(logits, windows, rows))
        else:
            decided = _decide(logits, labels, [examples[row] for row in rows], info, use)
        found |= zip(rows.tolist(), decided, strict=True)
    ordered = [found[row] for row in range(len(encoded))]
    return ordered if windows is None else _answers(ordered, windows, use)


def _example(text: Given, use: Use) -> Example:
    """A text as an example of the task. The tag of a word is its number, which leads back from tokens to words."""
    if use.kind == "tagging":
        words = tuple(text[0].split())
        return Example(words, tuple(range(len(words))))
    return Example(text, () if use.kind == "span" else 0)


def _decide(
    logits: Tensor, labels: Tensor, examples: Sequence[Example], info: DeltaInfo, use: Use
) -> Sequence[Result]:
    """The results of a batch; not for spans. `labels` are those of `_example`."""
    if use.kind == "regression":
        return [{"value": value} for value in logits.float().squeeze(-1).tolist()]
    if use.kind == "classification":
        sure, classes = (side.tolist() for side in logits.float().softmax(-1).max(-1))
        return [{"label": info.labels[i], "probability": share} for i, share in zip(classes, sure, strict=True)]
    results = []
    for example, tags, places in zip(examples, logits.argmax(-1).tolist(), labels.tolist(), strict=True):
        by_word = {word: info.labels[tag] for word, tag in zip(places, tags, strict=True) if word != IGNORED}
        results.append({"words": example.text, "tags": [by_word.get(word) for word in range(len(example.text))]})
    return results


def _answers(best: Sequence[Any], windows: Windows, use: Use) -> list[Result]:
    """The answer to each question, from the best spans of all windows in order."""
    questions = np.arange(len(windows.examples))
    chosen = spans.answers(np.array(best, dtype=spans.BEST), windows, questions, use.unanswerable)
    return [{"answer": answer or None} for answer in spans.texts(chosen, windows, questions)]


def table(predictions: Sequence[Prediction]) -> Table:
    """Predictions for people; the name of the file where two deltas are of one task and strategy."""
    grid = Table(box=box.SIMPLE_HEAD)
    told = {(one.delta, one.info.task, one.info.strategy) for one in predictions}
    alike = len({(task, strategy) for _, task, strategy in told}) < len(told)
    for title in (*(["delta"] if alike else []), "task", "strategy", "text", "prediction"):
        grid.add_column(title, overflow="fold")
    for one in predictions:
        cells = (one.info.task, one.info.strategy, " | ".join(one.text), one.words())
        grid.add_row(*(Text(escaped(cell)) for cell in (*([one.delta.name] if alike else []), *cells)))
    return grid
