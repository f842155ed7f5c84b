"""Metrics agree with values worked out by hand, and a score that does not exist is None."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bench.batching import IGNORED, Encoded
from bench.metrics import METRICS
from bench.scoring import SCORES, TaskMetrics, predict, score, task_loss
from bench.tasks.base import HeadKind
from bench.training import autocast_for

CPU = torch.device("cpu")


def computed(name: str, predictions: list[object], references: list[object]) -> float | None:
    value: float | None = TaskMetrics([name]).compute(predictions=predictions, references=references)[name]
    return value


@pytest.mark.parametrize(
    ("name", "predictions", "references", "value"),
    [
        ("accuracy", [1, 0, 2, 2], [1, 1, 2, 0], 0.5),
        ("f1", [1, 1, 0, 0], [1, 0, 1, 0], 0.5),
        ("macro_f1", [0, 0, 1], [0, 1, 1], (2 / 3 + 2 / 3) / 2),
        # true positives 2, negatives 1, one false each way: (2*1 - 1*1) / sqrt(3*3*2*2)
        ("matthews_correlation", [1, 1, 1, 0, 0], [1, 1, 0, 1, 0], 1 / 6),
        ("matthews_correlation", [1, 1, 1], [1, 0, 1], 0.0),
        ("pearson", [1.0, 2.0, 3.0], [2.0, 4.0, 6.5], 0.9979487),
        ("pearson", [1.0, 1.0, 1.0], [2.0, 4.0, 6.0], None),
        ("pearson", [1.0, 1.0 + 1e-9, 1.0], [2.0, 4.0, 6.0], None),
        ("spearman", [1.0, 9.0, 10.0], [1.0, 2.0, 3.0], 1.0),
        ("spearman", [1.0, 2.0], [3.0, 3.0], None),
        ("mean_absolute_error", [1.0, 2.0], [2.0, 4.0], 1.5),
        ("span_f1", [["B-A", "I-A", "O"]], [["B-A", "I-A", "B-B"]], 2 / 3),
        ("span_f1", [["B-A", "O", "O"]], [["B-A", "I-A", "O"]], 0.0),
        ("span_f1", [["I-A", "O"]], [["B-A", "O"]], 0.0),
    ],
)
def test_metrics_equal_values_worked_out_by_hand(
    name: str, predictions: list[object], references: list[object], value: float | None
) -> None:
    assert computed(name, predictions, references) == pytest.approx(value, abs=1e-6)


def test_every_score_is_in_the_table_of_metrics() -> None:
    assert set(SCORES) <= set(METRICS)


def test_losses_ignore_unlabelled_tokens_and_take_regression_as_numbers() -> None:
    logits = torch.tensor([[[2.0, 0.0], [0.0, 5.0]]])
    labels = torch.tensor([[0, IGNORED]])
    assert task_loss(logits, labels, "tagging").item() == pytest.approx(np.log(1 + np.exp(-2)))
    assert task_loss(torch.tensor([[1.0], [3.0]]), torch.tensor([0.0, 1.0]), "regression").item() == pytest.approx(2.5)


class Echo(nn.Module):
    """Predicts each token's id modulo 3, so that any mix-up of rows or tokens shows."""

    def __init__(self, per_token: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.per_token = per_token

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        logits = torch.nn.functional.one_hot(input_ids % 3, 3).float()
        return logits if self.per_token else logits[:, 0]


@pytest.mark.parametrize("per_token", [False, True])
def test_predictions_come_back_in_the_order_of_the_rows(per_token: bool) -> None:
    lengths = [3, 1, 4, 1, 5]
    ids = np.arange(sum(lengths))
    starts = np.concatenate([[0], np.cumsum(lengths)])
    labels = np.where(ids % 4 == 3, IGNORED, ids % 3) if per_token else ids[starts[:-1]] % 3
    data = Encoded(ids, ids * 0, starts, labels, 0, per_token, 0)
    kind: HeadKind = "tagging" if per_token else "classification"
    rows = np.array([4, 0, 2])
    scored = score(
        Echo(per_token), data, rows, kind, TaskMetrics(["accuracy"]), autocast_for("fp32", CPU), batch_size=2
    )
    assert scored.scores.scores == {"accuracy": 1.0}
    assert scored.scores.examples == 3
    spans = [ids[starts[row] : starts[row + 1]] if per_token else ids[starts[row] : starts[row] + 1] for row in rows]
    flat = np.concatenate(spans)
    expected = flat[flat % 4 != 3] if per_token else flat
    assert scored.predictions.tolist() == (expected % 3).tolist()


def test_tags_beyond_the_outputs_count_as_errors_and_not_in_the_loss() -> None:
    """Echo has three outputs; the tags of number 3 and 4 are none of them."""
    names = ["O", "B-A", "I-A", "B-NEW", "I-NEW"]
    ids = np.array([0, 1, 2, 0, 1, 0, 1])
    data = Encoded(ids, ids * 0, np.array([0, 5, 7]), np.array([0, 1, 2, 0, 3, 0, 1]), 0, True, 0)
    metric = TaskMetrics(["span_f1", "accuracy", "macro_f1"])
    found = score(Echo(True), data, np.arange(2), "tagging", metric, autocast_for("fp32", CPU), label_names=names)
    assert found.scores.scores["span_f1"] == pytest.approx(2 * 2 / (3 + 3))
    assert found.scores.scores["accuracy"] == pytest.approx(6 / 7)
    assert found.scores.scores["macro_f1"] == pytest.approx((1 + 4 / 5 + 1 + 0) / 4)
    assert found.scores.loss == pytest.approx(np.log(1 + 2 * np.exp(-1)))


def test_scoring_leaves_the_mode_as_it_was_and_refuses_what_is_not_finite() -> None:
    model = Echo(False).train()
    data = Encoded(np.array([1, 2]), np.zeros(2, int), np.array([0, 1, 2]), np.array([1, 2]), 0, False, 0)
    score(model, data, np.arange(2), "classification", TaskMetrics(["accuracy"]), autocast_for("fp32", CPU))
    assert model.training
    broken = nn.Sequential()
    broken.weight = nn.Parameter(torch.zeros(1))
    broken.forward = lambda **inputs: torch.full((2, 3), float("nan"))  # type: ignore[method-assign]
    with pytest.raises(FloatingPointError):
        score(broken, data, np.arange(2), "classification", TaskMetrics(["accuracy"]), autocast_for("fp32", CPU))


class Forgetful(Echo):
    """In training mode it forgets what it echoes."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        logits = super().forward(input_ids, attention_mask, token_type_ids)
        return nn.functional.dropout(logits, 1.0, self.training)


def test_scores_are_taken_in_eval_mode() -> None:
    model = Forgetful(False).train()
    data = Encoded(np.array([1, 2]), np.zeros(2, int), np.array([0, 1, 2]), np.array([1, 2]), 0, False, 0)
    metric = TaskMetrics(["accuracy"])
    found = score(model, data, np.arange(2), "classification", metric, autocast_for("fp32", CPU))
    assert found.scores.scores["accuracy"] == 1.0
    assert predict(model, data, "classification", autocast_for("fp32", CPU)).tolist() == [1, 2]


def test_a_span_whose_first_word_left_no_token_begins_at_its_next_word() -> None:
    """Of 'B-A I-A' the first word is gone, so a model that tags the second one I-A is right."""
    names = ["O", "B-A", "I-A"]
    ids = np.array([0, 2, 0, 0, 0, 2])
    labels = np.array([0, 2, 0, 0, 2, 2])
    data = Encoded(ids, ids * 0, np.array([0, 3, 6]), labels, 0, True, 0)
    metric = TaskMetrics(["span_f1"])
    found = score(Echo(True), data, np.array([0]), "tagging", metric, autocast_for("fp32", CPU), label_names=names)
    assert found.scores.scores["span_f1"] == 1.0
    # In the second sentence the model finds the end of the span only, and what it tags there begins nothing.
    found = score(Echo(True), data, np.array([1]), "tagging", metric, autocast_for("fp32", CPU), label_names=names)
    assert found.scores.scores["span_f1"] == 0.0
