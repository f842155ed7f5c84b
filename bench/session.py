"""What the cells of one run share: options, loaded tasks, pristine encoders and tokenised splits."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

import strategies
from bench import encoders, tasks
from bench.batching import Encoded, encode
from bench.cell import Cell, CostCell, QualityCell, TrainingCell
from bench.configurations import attention_of
from bench.environment import conditions
from bench.fingerprints import config_fingerprint, fingerprint
from bench.measure.subject import cost_config
from bench.models import TOKEN_KINDS, load_encoder
from bench.record import TEST_PREDICTIONS, Conditions
from bench.tasks.base import Example, Source, TaskData
from bench.tasks.own import OwnTask


@dataclass(frozen=True)
class Options:
    """What a run is told besides its cells; none of it is part of a key.

    model_folders    encoders given as folders, by name
    own_tasks        tasks that users describe, by name
    timeout_seconds  most the training of a quality cell may take, or None
    keep_deltas      leave deltas in the run folder after their audit
    predict_test     predict the official test rows of tasks that have some
    memory_snapshots write what the allocator did in a step of each cost cell
    """

    device: torch.device
    cache_dir: Path
    data_dir: Path | None = None
    offline: bool = False
    model_folders: Mapping[str, Path] = field(default_factory=dict)
    own_tasks: Mapping[str, OwnTask] = field(default_factory=dict)
    timeout_seconds: float | None = None
    keep_deltas: bool = False
    predict_test: bool = False
    memory_snapshots: bool = False


@dataclass(frozen=True)
class Pristine:
    """A loaded encoder that nobody changes: cells train copies of it."""

    encoder: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    fingerprint: str


@dataclass(frozen=True)
class Splits:
    """The tokenised splits of a quality cell, each cut to the number of examples the cell names.

    What bounds the evaluation split bounds each of the extra sets too.
    `test` holds whole official test files under the names their predictions get in the sidecar; it is empty
    where there are none or nobody asked for them.
    """

    train: Encoded
    selection: Encoded
    evaluation: Encoded
    extra: Mapping[str, Encoded]
    test: Mapping[str, Encoded] = field(default_factory=dict)


class Session:
    """Loads what cells need, each thing once. Every method raises InputError where its input is at fault."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self._tasks: dict[str, TaskData] = {}
        self._pristine: dict[tuple[object, ...], Pristine] = {}
        self._encoded: dict[tuple[object, ...], Encoded] = {}

    def deadline(self) -> float | None:
        """When a cell that begins now is out of time, on the clock of time.monotonic()."""
        seconds = self.options.timeout_seconds
        return None if seconds is None else time.monotonic() + seconds

    def task(self, name: str) -> TaskData:
        """The data of a task."""
        if name not in self._tasks:
            source = Source(self.options.cache_dir, self.options.data_dir, self.options.offline)
            self._tasks[name] = tasks.load(name, source, self.options.own_tasks)
        return self._tasks[name]

    def encoder(self, model: str) -> encoders.Encoder:
        """The table's entry of a model, or the folder given for it."""
        return encoders.find(model, self.options.model_folders)

    def pristine(self, cell: TrainingCell) -> Pristine:
        """The encoder a quality cell starts from."""
        kind = self.task(cell.task).kind
        key = (
            cell.model,
            kind if kind in TOKEN_KINDS else None,
            cell.pooling,
            cell.hidden_dropout,
            cell.attention_dropout,
        )
        if key not in self._pristine:
            encoder, tokenizer = load_encoder(
                self.encoder(cell.model),
                kind,
                cell.pooling,
                cache_dir=self.options.cache_dir,
                offline=self.options.offline,
                hidden_dropout=cell.hidden_dropout,
                attention_dropout=cell.attention_dropout,
            )
            self._pristine[key] = Pristine(encoder, tokenizer, fingerprint(encoder))
        return self._pristine[key]

    def splits(self, cell: TrainingCell) -> Splits:
        """The tokenised splits of a quality cell; each is shared by all cells that take as much of it."""
        task, limit = self.task(cell.task), cell.evaluation_examples
        return Splits(
            self._encode(cell, "train", task.train, cell.train_examples),
            self._encode(cell, "selection", task.selection, cell.selection_examples),
            self._encode(cell, "evaluation", task.evaluation, limit),
            {name: self._encode(cell, f"extra {name}", examples, limit) for name, examples in task.extra.items()},
            {name: self._encode(cell, name, rows, None) for name, rows in self.test_files(cell.task).items()},
        )

    def _encode(self, cell: TrainingCell, split: str, examples: Sequence[Example], limit: int | None) -> Encoded:
        key = (cell.model, cell.task, cell.max_length, split, limit)
        if key not in self._encoded:
            tokenizer = self.pristine(cell).tokenizer
            self._encoded[key] = encode(examples[:limit], self.task(cell.task).kind, tokenizer, cell.max_length)
        return self._encoded[key]

    def test_files(self, name: str) -> dict[str, Sequence[Example]]:
        """The official test rows of a task by the name their predictions get; none where nobody asked for them."""
        if not self.options.predict_test:
            return {}
        task = self.task(name)
        files = {TEST_PREDICTIONS: task.test}
        files |= {f"{TEST_PREDICTIONS}_{extra}": examples for extra, examples in task.extra_test.items()}
        return {name: examples for name, examples in files.items() if examples}

    def conditions(self, cell: Cell) -> Conditions:
        """What surrounds a measurement of `cell` made now."""
        if isinstance(cell, CostCell):
            config = cost_config(cell, self.encoder(cell.model))
            model, data, attention = config_fingerprint(config), None, attention_of(config)
        else:
            pristine = self.pristine(cell)
            model, data = pristine.fingerprint, self.task(cell.task).fingerprint
            attention = pristine.encoder.config._attn_implementation
        return conditions(
            self.options.device,
            cell.precision,
            attention=attention,
            model_fingerprint=model,
            data_fingerprint=data,
            test_fingerprint=self._test_fingerprint(cell),
        )

    def _test_fingerprint(self, cell: Cell) -> str | None:
        """That of the official test rows that `cell` predicts."""
        if not (self.options.predict_test and isinstance(cell, QualityCell)):
            return None
        return self.task(cell.task).test_fingerprint

    def marks(self, cell: Cell) -> list[str]:
        """Warnings that must appear wherever the result of `cell` does."""
        if isinstance(cell, CostCell):
            return []
        task = self.task(cell.task)
        shared = sorted(set(self.encoder(cell.model).tuned_on) & set(task.overlaps))
        contaminated = f"contaminated encoder: {cell.model} was tuned on {', '.join(shared)} data"
        return [*task.marks, *([contaminated] if shared else [])]

    def descriptions(self, cell: Cell) -> dict[str, str]:
        """One sentence each on the strategy, the model and the task of `cell`."""
        known = {"strategy": strategies.sentence(cell.strategy), "model": self.encoder(cell.model).sentence}
        return known if isinstance(cell, CostCell) else known | {"task": self.task(cell.task).sentence}
