"""How near `frozen` comes to a logistic regression on the same features.

    python -m benchmarks.linear_probe runs/embedded-...

For each task of the run that has `frozen` cells: the encoder's features of the same splits (masked mean of the last
layer, or each word's first token for tagging) go into a multinomial logistic regression whose penalty is chosen on
the selection split; its evaluation accuracy is printed beside the mean of the recorded `frozen` cells. A frozen
encoder under this harness trains a head of the same form with AdamW, so it should come close.
"""

import warnings
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from bench.archives import default_cache_dir
from bench.batching import IGNORED, Encoded, collate, sorted_batches
from bench.cell import QualityCell
from bench.session import Options, Session
from bench.store import RunStore

BATCH_SIZE = 64
PENALTIES = (0.1, 1.0, 10.0, 100.0)  # scikit-learn's C: the inverse of the penalty

Features = tuple[NDArray[np.float32], NDArray[np.int64]]


def main(
    folder: Annotated[Path, typer.Argument(help="A run folder with cells of `frozen`.")],
    data_dir: Annotated[Path | None, typer.Option(help="The run's --data-dir, if it had one.")] = None,
    cache_dir: Annotated[Path | None, typer.Option(help="Where archives are kept (XDG default).")] = None,
) -> None:
    """Print a row for each task."""
    session = Session(Options(torch.device("cpu"), cache_dir or default_cache_dir(), data_dir=data_dir))
    table = Table("task", "logistic regression", "C", "frozen, mean of seeds", "seeds")
    for cell, scores in _frozen(folder):
        accuracy, penalty = probe(cell, session)
        table.add_row(
            cell.task, f"{100 * accuracy:.1f}", f"{penalty:g}", f"{100 * np.mean(scores):.1f}", str(len(scores))
        )
    Console().print(table)


def probe(cell: QualityCell, session: Session) -> tuple[float, float]:
    """Evaluation accuracy of the logistic regression, and the penalty chosen on the selection split."""
    encoder = session.pristine(cell).encoder.eval()  # type: ignore[no-untyped-call]
    splits = session.splits(cell)
    train, selection, evaluation = (
        features(encoder, split) for split in (splits.train, splits.selection, splits.evaluation)
    )
    fitted = {}
    for penalty in PENALTIES:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            fitted[penalty] = LogisticRegression(C=penalty, max_iter=500).fit(*train)
    best = max(PENALTIES, key=lambda penalty: float(fitted[penalty].score(*selection)))
    return float(fitted[best].score(*evaluation)), best


@torch.inference_mode()
def features(encoder: torch.nn.Module, split: Encoded) -> Features:
    """Features (examples or words, width) and labels of a split."""
    found: list[NDArray[np.float32]] = []
    labels: list[NDArray[np.int64]] = []
    for rows in sorted_batches(split.lengths, np.arange(len(split)), BATCH_SIZE):
        batch = collate(split, rows)
        targets = batch.pop("labels")
        hidden = encoder(**batch).last_hidden_state
        if split.per_token:
            kept = targets != IGNORED
            hidden, targets = hidden[kept], targets[kept]
        else:
            mask = batch["attention_mask"].unsqueeze(-1)
            hidden = (hidden * mask).sum(1) / mask.sum(1)
        found.append(hidden.numpy())
        labels.append(targets.numpy())
    return np.concatenate(found), np.concatenate(labels)


def _frozen(folder: Path) -> list[tuple[QualityCell, list[float]]]:
    """The first `frozen` cell of each model and task scored by accuracy, and the accuracies of all its seeds."""
    found: dict[tuple[str, str], tuple[QualityCell, list[float]]] = {}
    for record in RunStore.open(folder).latest().values():
        cell, quality = record.cell, record.quality
        if not isinstance(cell, QualityCell) or cell.strategy != "frozen" or quality is None:
            continue
        accuracy = quality.evaluation.scores.get("accuracy")
        if accuracy is not None:
            found.setdefault((cell.model, cell.task), (cell, []))[1].append(accuracy)
    return list(found.values())


if __name__ == "__main__":
    typer.run(main)
