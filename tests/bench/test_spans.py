"""Answers are read from logits as by hand, scored by SQuAD's rules, and trained and audited like any other task."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import squad_files
from bench import quality, spans
from bench.answers import words
from bench.batching import collate
from bench.cell import QualityCell
from bench.configurations import configure
from bench.errors import InputError
from bench.models import build_model, config_encoder
from bench.outcome import Outcome
from bench.scoring import TaskMetrics, task_loss
from bench.session import Options, Session
from bench.spans import MAX_ANSWER_TOKENS
from bench.tasks.base import Answer, Example
from bench.windows import NOWHERE, Windows

FIELDS: dict[str, Any] = {
    "model": "tiny-bert",
    "task": "squad2",
    "strategy": "bitfit",
    "seed": 0,
    "learning_rate": 1e-2,
    "epochs": 2.0,
    "batch_size": 8,
    "max_length": 64,
    "curve_points": 2,
    "curve_examples": 6,
}


@pytest.mark.parametrize(
    ("prediction", "gold", "exact", "f1"),
    [
        ("the Denver Broncos!", ["Denver Broncos"], 1.0, 1.0),
        ("A well-known  fact", ["wellknown fact"], 1.0, 1.0),
        ("well known", ["well-known"], 0.0, 0.0),
        # 2 of 3 predicted words among 4 gold ones: precision 2/3, recall 1/2
        ("in New York", ["New York City hall"], 0.0, 4 / 7),
        ("in New York", ["Boston", "New York City hall", "York"], 0.0, 4 / 7),
        # repeated words count as often as both have them: 2 shared of 3 and 2
        ("no no no", ["no no"], 0.0, 4 / 5),
        ("Boston", ["New York"], 0.0, 0.0),
        ("", ["New York"], 0.0, 0.0),
        # no gold answer: nothing is right, and anything else is wrong
        ("", [], 1.0, 1.0),
        ("Boston", [], 0.0, 0.0),
        # an answer without words counts as none, and a gold answer without words does not count
        ("the", [], 1.0, 1.0),
        ("", ["the", "the Band"], 0.0, 0.0),
        ("", ["the"], 1.0, 1.0),
    ],
)
def test_scores_equal_values_worked_out_by_hand(prediction: str, gold: list[str], exact: float, f1: float) -> None:
    metric = TaskMetrics(["exact_match", "answer_f1"])
    values = metric.compute(predictions=[prediction, "x"], references=[gold, ["x"]])
    assert values == {"exact_match": pytest.approx((exact + 1) / 2), "answer_f1": pytest.approx((f1 + 1) / 2)}


def test_articles_are_left_out_as_whole_words_only() -> None:
    assert words("Another theory of a theme, an anthem") == ["another", "theory", "of", "theme", "anthem"]


def made_windows(contexts: list[tuple[int, int]], counts: list[int]) -> Windows:
    """Windows with context at the given positions; token i of `offsets` stands for the characters 2i and 2i + 1."""
    ends = np.cumsum([0] + [end - begin for begin, end in contexts])
    text = "".join(f"{number % 10}{chr(97 + number % 26)}" for number in range(ends[-1]))
    return Windows(
        examples=tuple(Example(("q", text), (), answers=(Answer(0, text[:2]),)) for _ in counts),
        first=np.cumsum([0, *counts]),
        context=np.array(contexts),
        shift=np.array([place - begin for place, (begin, _) in zip(ends[:-1], contexts, strict=True)]),
        offsets=np.array([[2 * place, 2 * place + 2] for place in range(ends[-1])]),
        cut_questions=0,
        split_answers=0,
    )


def by_hand(logits: torch.Tensor, begin: int, end: int) -> tuple[float, int, int]:
    """The best sum and its first place in reading order, by looking at every span."""
    places = [(i, j) for i, j in itertools.product(range(begin, end), repeat=2) if 0 <= j - i < MAX_ANSWER_TOKENS]
    return max(((float(logits[i, 0] + logits[j, 1]), -i, -j) for i, j in places))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.booleans())
def test_the_best_span_is_that_of_an_exhaustive_search(seed: int, unanswerable: bool) -> None:
    generator = np.random.default_rng(seed)
    counts = [2, 1, 3]
    begins = generator.integers(1, 5, size=6)
    contexts = [(int(begin), int(begin + generator.integers(1, 45))) for begin in begins]
    windows = made_windows(contexts, counts)
    # Whole numbers, so that sums are exact and ties occur.
    logits = torch.from_numpy(generator.integers(-9, 10, size=(6, 52, 2))).float()
    # Null scores lie about the best spans', so that now one and now the other wins.
    logits[:, 0] = torch.from_numpy(generator.integers(5, 12, size=(6, 2))).float()
    examples = np.array([2, 0])
    rows = windows.rows_of(examples)
    assert rows.tolist() == [3, 4, 5, 0, 1]
    found = spans.answers(spans.best_spans(logits[rows], windows, rows), windows, examples, unanswerable)
    for number, group in enumerate(([3, 4, 5], [0, 1])):
        best = [by_hand(logits[r], *contexts[r]) for r in group]
        winner = max(range(len(group)), key=lambda i: best[i][0])
        score, start, end = best[winner][0], -best[winner][1], -best[winner][2]
        null = min(float(logits[r, 0].sum()) for r in group)
        shift = windows.shift[group[winner]]
        expected = [2 * (start + shift), 2 * (end + shift) + 2]
        assert found[number].tolist() == ([NOWHERE] * 2 if unanswerable and null > score else expected)


def test_an_equal_null_score_is_no_reason_to_answer_nothing() -> None:
    windows = made_windows([(2, 4)], [1])
    logits = torch.tensor([[[1.0, 1.0], [9.0, 9.0], [2.0, -5.0], [-5.0, 0.0], [9.0, 9.0]]])
    one = np.array([0])
    best = spans.best_spans(logits, windows, one)
    chosen = spans.answers(best, windows, one, unanswerable=True)
    assert spans.texts(chosen, windows, one) == ["0a1b"]
    logits[0, 0, 0] += 0.5
    chosen = spans.answers(spans.best_spans(logits, windows, one), windows, one, unanswerable=True)
    assert spans.texts(chosen, windows, one) == [""]


def test_the_loss_is_that_of_both_ends_and_padding_takes_no_part() -> None:
    logits = torch.tensor([[[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]]], requires_grad=True)
    labels = torch.tensor([[1, 2, 3]])
    start, end = np.log(2 + np.e) - 1, np.log(2 + np.e**2) - 2
    assert task_loss(logits, labels, "span").item() == pytest.approx((start + end) / 2)
    padded = torch.cat([logits, torch.full((1, 4, 2), 50.0)], dim=1).repeat(2, 1, 1)
    total = task_loss(padded, labels.repeat(2, 1), "span", reduction="sum")
    assert total.item() == pytest.approx(start + end)
    torch.autograd.backward(total)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_a_decoder_is_refused() -> None:
    sizes = {"vocab_size": 8, "n_embd": 16, "n_layer": 1, "n_head": 2}
    encoder = config_encoder(configure({"model_type": "gpt2", **sizes}, None, None), "span", "last")
    with pytest.raises(InputError, match="in a gpt2 model sees no other"):
        build_model(encoder, "span", 2, "last", seed=0)


@pytest.fixture(scope="module")
def session(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Session:
    data, cache = tmp_path_factory.mktemp("squad-data"), tmp_path_factory.mktemp("cache")
    squad_files.write_official(data, train=24, dev=8)
    return Session(Options(torch.device("cpu"), cache, data, offline=True, model_folders={"tiny-bert": tiny_folder}))


def outcome(session: Session, folder: Path, **fields: Any) -> Outcome:
    return quality.run_quality(QualityCell(**FIELDS | fields), session, folder, lambda *_: None)


@pytest.mark.parametrize("task", ["squad", "squad2"])
def test_a_cell_counts_questions_and_passes_its_audit(task: str, session: Session, tmp_path: Path) -> None:
    found = outcome(session, tmp_path, task=task)
    result = found.quality
    assert found.status == "ok"
    assert found.audit is not None
    assert found.audit.passed
    assert result is not None
    assert result.headline == "exact_match"
    cell = QualityCell(**FIELDS | {"task": task})
    windows = len(session.splits(cell).train)
    assert windows > result.train_examples == session.splits(cell).train.examples == 44
    assert result.evaluation.examples == result.train_sample.examples == 16
    assert result.steps == 2 * -(-windows // 8)
    assert result.curve[-1].examples_seen == 2 * 44
    assert found.arrays["evaluation_predictions"].shape == (16, 2)
    assert found.arrays["evaluation_references"].shape == (16, 2, 2)
    assert result.padding_ratio >= 1.0
    answered = found.arrays["evaluation_predictions"][:, 0] != NOWHERE
    assert answered.all() or task == "squad2"


def test_the_sidecar_holds_what_was_scored(session: Session, tmp_path: Path) -> None:
    found = outcome(session, tmp_path)
    assert found.quality is not None
    exact = []
    for example, (begin, end), gold in zip(
        session.task("squad2").evaluation,
        found.arrays["evaluation_predictions"],
        found.arrays["evaluation_references"],
        strict=True,
    ):
        text = example.text[1][begin:end] if begin != NOWHERE else ""
        answers = [example.text[1][b:e] for b, e in gold if b != NOWHERE]
        assert answers == [answer.text for answer in example.answers]
        exact.append(any(words(text) == words(answer) for answer in answers or [""]))
    assert found.quality.headline_score == pytest.approx(np.mean(exact))


def test_training_questions_are_nested_and_learnt(session: Session, tmp_path: Path) -> None:
    small, large = (session.splits(QualityCell(**FIELDS, train_examples=n)).train for n in (10, 20))
    assert (small.examples, large.examples) == (10, 20)
    assert np.array_equal(large.ids[: len(small.ids)], small.ids)
    losses = outcome(session, tmp_path, strategy="full", epochs=12.0).arrays["step_loss"]
    assert losses[-10:].mean() < 0.8 * losses[:10].mean()


def test_long_questions_leave_a_warning(session: Session, tmp_path: Path) -> None:
    found = outcome(session, tmp_path, max_length=32, epochs=0.1)
    assert found.status == "ok"
    assert "of 44 training questions 22 were longer than half of a window: cut to that" in found.warnings
    assert any(warning.startswith("of 16 evaluation questions") for warning in found.warnings)


def test_the_loss_of_a_window_does_not_depend_on_its_batch(session: Session) -> None:
    cell = QualityCell(**FIELDS)
    train = session.splits(cell).train
    alone = collate(train, np.array([int(train.lengths.argmin())]))
    together = collate(train, np.array([int(train.lengths.argmin()), int(train.lengths.argmax())]))
    assert alone["input_ids"].shape[1] < together["input_ids"].shape[1]
    logits = torch.randn(2, together["input_ids"].shape[1], 2, generator=torch.Generator().manual_seed(0))
    one = task_loss(logits[:1, : alone["input_ids"].shape[1]], alone["labels"], "span")
    assert torch.equal(task_loss(logits[:1], together["labels"][:1], "span"), one)
