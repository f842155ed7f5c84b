"""What a cost cell measures: a model built from its configuration, a strategy, and batches of random tokens."""

import copy
import itertools
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import PretrainedConfig
from transformers.modeling_layers import GradientCheckpointingLayer

import strategies
from bench.audit import trainable_counts
from bench.budget import budget_of
from bench.cell import CostCell
from bench.configurations import attention_of, configure
from bench.encoders import Encoder, folder_config
from bench.environment import set_matmul
from bench.errors import InputError
from bench.models import HEAD_PREFIX, TaskModel, build_model, config_encoder, shape_only
from bench.results import Counts
from bench.scoring import task_loss
from bench.tasks.base import HeadKind
from bench.training import Stepper, autocast_for, make_stepper
from strategies.interface import Applied, Context

LEARNING_RATE = 1e-4
KIND: HeadKind = "classification"
# Token ids below are special in most vocabularies.
FIRST_TOKEN = 5

Made = TypeVar("Made")


def cost_config(cell: CostCell, encoder: Encoder) -> PretrainedConfig:
    """The configuration a cost cell is built from: the table's, or that of the encoder's folder.

    Raises InputError where there is none, or where its architecture lacks what the cell asks for.
    """
    fields = encoder.config
    if fields is None and encoder.folder is not None:
        fields = folder_config(encoder.folder)
    if fields is None:
        raise InputError(f"model {encoder.name!r} has no configuration, so it cannot be a cost cell")
    config = _named(cell, lambda: configure(fields, cell.hidden_dropout, cell.attention_dropout))
    if cell.attention == "sdpa" != attention_of(config):
        raise InputError(
            f"{cell.model} is a {config.model_type} model, which has no sdpa attention; leave attention out or set "
            "it to 'eager'"
        )
    if getattr(config, "vocab_size", 0) <= FIRST_TOKEN:
        raise InputError(f"{cell.model} has {FIRST_TOKEN} tokens or fewer in its vocabulary; set a larger vocab_size")
    if cell.attention is not None:
        config._attn_implementation = cell.attention
    return config


def cost_base(cell: CostCell, encoder: Encoder) -> TaskModel:
    """The model with random weights and a new head, before any strategy, on the CPU."""
    module = config_encoder(cost_config(cell, encoder), KIND, cell.pooling)
    return _as_asked(build_model(module, KIND, cell.labels, cell.pooling, seed=0), cell)


def cost_shapes(cell: CostCell, config: PretrainedConfig) -> TaskModel:
    """The model of `cost_base`, of a configuration at hand, on the meta device, where it holds no memory."""
    return _as_asked(_named(cell, lambda: shape_only(config, KIND, cell.labels, cell.pooling)), cell)


def _named(cell: CostCell, make: Callable[[], Made]) -> Made:
    """What `make` returns; of bad input it is told which model it is about."""
    try:
        return make()
    except InputError as error:
        raise InputError(f"{cell.model}: {error}") from None


def _as_asked(model: TaskModel, cell: CostCell) -> TaskModel:
    """`model`, whose layers keep their input alone where the cell has it so. Raises InputError where they cannot."""
    if not cell.gradient_checkpointing:
        return model
    layers = [module for module in model.encoder.modules() if isinstance(module, GradientCheckpointingLayer)]
    if not layers:
        raise InputError(
            f"{cell.model} is a {model.encoder.config.model_type} model, which has no gradient checkpointing; leave "
            "gradient_checkpointing out"
        )
    # The library's own switch would also have the embeddings' output take gradients, for the sake of the reentrant
    # kind, and so would make strategies that train near the top alone pay for a backward pass through everything.
    for layer in layers:
        layer.gradient_checkpointing = True
        layer._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)  # type: ignore[assignment]
    return model


def ready(cell: CostCell, encoder: Encoder, device: torch.device) -> tuple[Stepper, dict[str, Tensor]]:
    """The stepper of a cost cell and its batch on `device`; nothing is left of the model it was copied from."""
    set_matmul(cell.precision)
    base = cost_base(cell, encoder)
    applied = apply_fresh(base, cell, device, budget_of(cell, base, KIND))
    return cost_stepper(applied, cell, device), random_batch(cell, base.encoder.config.vocab_size, device)


def apply_fresh(base: TaskModel, cell: CostCell, device: torch.device, budget: int | None = None) -> Applied:
    """The cell's strategy on a copy of `base` on `device`; `budget` is the cell's, in encoder values."""
    model = copy.deepcopy(base).to(device)
    batch = random_batch(cell, base.encoder.config.vocab_size, device)
    return strategies.resolve(cell.strategy)(model, cost_context(cell, batch, budget))


def cost_context(cell: CostCell, batch: dict[str, Tensor], budget: int | None) -> Context:
    """What the cell's strategy is told: `batch`, over and over, is all its training data."""
    return Context(
        np.random.default_rng(cell.mask_seed),
        total_steps=cell.warmup_steps + cell.steps_per_round,
        batches=lambda: itertools.repeat(batch),
        loss=lambda logits, batch: task_loss(logits, batch["labels"], KIND),
        budget=budget,
    )


def cost_stepper(applied: Applied, cell: CostCell, device: torch.device) -> Stepper:
    """The same step as in training, clipping and optimizer included."""
    total_steps = cell.warmup_steps + cell.steps_per_round
    autocast = autocast_for(cell.precision, device)
    applied.model.train()
    return make_stepper(
        applied,
        KIND,
        learning_rate=LEARNING_RATE,
        total_steps=total_steps,
        clip_norm=cell.clip_norm,
        autocast=autocast,
        seed=0,
    )


def random_batch(cell: CostCell, vocabulary: int, device: torch.device) -> dict[str, Tensor]:
    """Random token ids (batch, length), no padding, and random labels; the same for every strategy."""
    generator = torch.Generator().manual_seed(0)
    shape = (cell.batch_size, cell.length)
    batch = {
        "input_ids": torch.randint(FIRST_TOKEN, vocabulary, shape, generator=generator),
        "attention_mask": torch.ones(shape, dtype=torch.int64),
        "token_type_ids": torch.zeros(shape, dtype=torch.int64),
        "labels": torch.randint(0, cell.labels, (cell.batch_size,), generator=generator),
    }
    return {name: tensor.to(device) for name, tensor in batch.items()}


def counts(applied: Applied, base: TaskModel, budget: int | None = None) -> Counts:
    """Trainable values, encoder and head apart, and the parameters of the base encoder."""
    head = applied.model.get_submodule(HEAD_PREFIX.rstrip("."))
    return Counts(
        encoder_trainable=sum(trainable_counts(applied).values()),
        encoder_total=sum(p.numel() for p in base.encoder.parameters()),
        head_trainable=sum(p.numel() for p in head.parameters() if p.requires_grad),
        budget=budget,
        encoder_kept=applied.expected.kept,
    )
