"""The training loop: its overhead over the barest loop, beside HF Trainer and accelerate, and a whole cell.

Run it with `tox -e perf -- benchmarks/test_loop.py`.
"""

import copy
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import (
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
    get_linear_schedule_with_warmup,
)

import strategies
from bench.archives import default_cache_dir
from bench.batching import Encoded
from bench.cell import CostCell, QualityCell
from bench.configurations import configure
from bench.measure.subject import random_batch
from bench.models import TaskModel, build_model, config_encoder
from bench.quality import run_quality
from bench.scoring import task_loss
from bench.session import Options, Session
from bench.training import autocast_for, make_stepper, train
from benchmarks.pairs import paired
from strategies.interface import Context

STEPS, RATE, CLIP = 200, 1e-3, 1.0
CPU = torch.device("cpu")


class WithLoss(nn.Module):
    """A task model that returns its loss, as HF Trainer wants it."""

    def __init__(self, model: TaskModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor, labels: Tensor
    ) -> dict[str, Tensor]:
        logits = self.model(input_ids, attention_mask, token_type_ids)
        return {"loss": task_loss(logits, labels, "classification"), "logits": logits}


class Rows(Dataset[dict[str, Tensor]]):
    """Rows of one batch, over and over."""

    def __init__(self, batch: dict[str, Tensor]) -> None:
        self._batch = batch

    def __len__(self) -> int:
        return STEPS * len(self._batch["labels"])

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {name: tensor[index % len(tensor)] for name, tensor in self._batch.items()}


@pytest.fixture(scope="module")
def model() -> TaskModel:
    """So small that a step is overhead and little else."""
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 32}
    config = configure({"model_type": "bert", "vocab_size": 100, **sizes}, None, None)
    encoder = config_encoder(config, "classification", "mean")
    return build_model(encoder, "classification", 2, "mean", seed=0)


def test_loop_overhead(benchmark: BenchmarkFixture, model: TaskModel, tmp_path: Path) -> None:
    """Goal: at most 0.3 ms a step over the barest loop, and below accelerate and HF Trainer."""
    batch = random_batch(CostCell(model="tiny", strategy="full", batch_size=8, length=8), 100, CPU)
    paired(
        benchmark,
        _ours(model, batch),
        {
            "barest loop": _barest(model, batch),
            "accelerate": _accelerate(model, batch),
            "HF Trainer": _trainer(model, batch, tmp_path),
        },
        goal="barest loop - ours >= -0.3 ms each step; accelerate and HF Trainer above 1",
        rounds=7,
        each=STEPS,
    )


def test_a_whole_cola_cell(benchmark: BenchmarkFixture, real_data: Path, tmp_path: Path) -> None:
    """BitFit on 1,000 sentences of CoLA, one epoch, and the evaluation split scored once; audit and gap left out."""
    fields = {"model": "minilm", "task": "cola", "strategy": "bitfit", "seed": 0, "learning_rate": 4e-3}
    fields |= {"epochs": 1, "batch_size": 16, "train_examples": 1000, "pooling": "mean", "curve_points": 1}
    fields |= {"curve_examples": 1, "attention_dropout": 0.0}
    cell = QualityCell.model_validate(fields)
    session = Session(Options(CPU, default_cache_dir(), real_data))
    session.splits(cell)
    paired(
        benchmark,
        lambda: run_quality(cell, session, tmp_path, lambda *_: None),
        {"HF Trainer, DataCollatorWithPadding": lambda: _trainer_cell(cell, session, tmp_path)},
        goal="reported; ours also scores the selection split and a train sample, and audits",
        rounds=3,
    )


def _ours(model: TaskModel, batch: dict[str, Tensor]) -> Callable[[], object]:
    def run() -> object:
        applied = strategies.resolve("full")(copy.deepcopy(model), Context(np.random.default_rng(0)))
        stepper = make_stepper(
            applied,
            "classification",
            learning_rate=RATE,
            total_steps=STEPS,
            clip_norm=CLIP,
            autocast=autocast_for("fp32", CPU),
            seed=0,
        )
        return train(stepper, _repeat(batch), STEPS, frozenset(), lambda step: False, lambda step, loss: None)

    return run


def _repeat(batch: dict[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    while True:
        yield batch


def _optimizer(model: nn.Module) -> tuple[torch.optim.Optimizer, Any]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.0, fused=True)
    return optimizer, get_linear_schedule_with_warmup(optimizer, 0, STEPS)  # type: ignore[no-untyped-call]


def _barest(model: TaskModel, batch: dict[str, Tensor]) -> Callable[[], object]:
    def run() -> None:
        own = WithLoss(copy.deepcopy(model)).train()
        optimizer, schedule = _optimizer(own)
        parameters = list(own.parameters())
        for _ in range(STEPS):
            own(**batch)["loss"].backward()
            nn.utils.clip_grad_norm_(parameters, CLIP)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()

    return run


def _accelerate(model: TaskModel, batch: dict[str, Tensor]) -> Callable[[], object]:
    accelerator = Accelerator(cpu=True)

    def run() -> None:
        own = WithLoss(copy.deepcopy(model)).train()
        own, optimizer, schedule = accelerator.prepare(own, *_optimizer(own))
        for _ in range(STEPS):
            accelerator.backward(own(**batch)["loss"])
            accelerator.clip_grad_norm_(own.parameters(), CLIP)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()

    return run


def _arguments(folder: Path, batch_size: int, **more: Any) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=batch_size,
        per_device_eval_batch_size=64,
        max_grad_norm=CLIP,
        optim="adamw_torch_fused",
        report_to=[],
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
        use_cpu=True,
        remove_unused_columns=False,
        **more,
    )


def _trainer(model: TaskModel, batch: dict[str, Tensor], folder: Path) -> Callable[[], object]:
    def run() -> object:
        arguments = _arguments(folder, len(batch["labels"]), max_steps=STEPS, learning_rate=RATE)
        return Trainer(WithLoss(copy.deepcopy(model)), arguments, train_dataset=Rows(batch)).train()

    return run


def _trainer_cell(cell: QualityCell, session: Session, folder: Path) -> object:
    """The same training by HF Trainer: the same model and rate, rows in random order, padded to their longest."""
    task, splits, pristine = session.task(cell.task), session.splits(cell), session.pristine(cell)
    base = build_model(copy.deepcopy(pristine.encoder), task.kind, task.outputs, cell.pooling, cell.seed)
    applied = strategies.resolve(cell.strategy)(base, Context(np.random.default_rng(0)))
    arguments = _arguments(
        folder,
        cell.batch_size,
        num_train_epochs=cell.epochs,
        learning_rate=cell.learning_rate,
        warmup_steps=math.ceil(cell.warmup_fraction * math.ceil(len(splits.train) / cell.batch_size)),
    )
    trainer = Trainer(
        WithLoss(applied.model),  # type: ignore[arg-type]
        arguments,
        data_collator=DataCollatorWithPadding(pristine.tokenizer),
        train_dataset=_rows(splits.train),
    )
    trainer.train()
    return trainer.predict(_rows(splits.evaluation))


def _rows(encoded: Encoded) -> Any:
    pieces = zip(encoded.starts, encoded.starts[1:], encoded.labels, strict=False)
    return [
        {
            "input_ids": encoded.ids[begin:end].tolist(),
            "token_type_ids": encoded.types[begin:end].tolist(),
            "attention_mask": [1] * (end - begin),
            "labels": int(label),
        }
        for begin, end, label in pieces
    ]
