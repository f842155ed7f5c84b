"""Cells: the points of the matrix, fully resolved, and the readable keys that identify them.

A key says what was measured and nothing about where: no device, host, commit or version. Fields at their
default are left out, so a field added later changes no old key. For the same reason a default, once
published, is never changed: change the suite instead.
"""

import hashlib
import json
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Precision = Literal["fp32", "tf32", "bf16"]
Pooling = Literal["cls", "mean", "last"]
Attention = Literal["sdpa", "eager"]
Positive = Annotated[int, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Share = Annotated[float, Field(gt=0.0, le=1.0)]
Rate = Annotated[float, Field(gt=0.0)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


class _Cell(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @property
    def key(self) -> str:
        """The canonical string of this cell: required fields first, then those that differ from their default."""
        fields = type(self).model_fields
        required = [name for name, field in fields.items() if field.is_required()]
        optional = sorted(name for name in fields if name not in required and name != "kind")
        changed = [name for name in optional if getattr(self, name) != fields[name].default]
        pairs = (f"{name}={_canonical(getattr(self, name))}" for name in [*required, *changed])
        return " ".join([fields["kind"].default, *pairs])

    @property
    def digest(self) -> str:
        """The beginning of the sha256 of the key, for names of files: 16 hexadecimal digits."""
        return hashlib.sha256(self.key.encode()).hexdigest()[:16]


class Search(BaseModel):
    """A learning rate to be chosen among `rates` by the score on the selection split, each trained at every seed.

    'grid' trains every rate in full. 'halving' trains all of them for a share of the epochs, the better half for
    twice as many, and so on, until one is left; see `bench.search`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    method: Literal["grid", "halving"] = "grid"
    rates: Annotated[tuple[Rate, ...], Field(min_length=2)]
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)]


class _TrainingCell(_Cell):
    """What training one model on one task with one strategy and one seed takes.

    `train_examples` and its sisters bound a split to its first examples in the task's fixed shuffled
    order (None: all of it), so smaller training sets are nested in larger ones; `evaluation_examples`
    bounds each extra set of the task too. How long a cell trains is said either by `epochs` or by `steps`,
    optimizer steps in all whatever the size of the training set; the other one is None. `mask_seed` fixes the
    coordinates a random subset draws and stays 0 for strategies that draw none. Dropout fields of None
    mean the model configuration's own value. `checkpoint` 'best' scores the selection split after each epoch
    and ends with the weights that did best there; `patience` stops after so many epochs without a better one.
    `budget`, a share of the encoder's parameters, or `match`, a strategy whose count to meet, sets the size of a
    strategy whose size can be chosen; at most one of the two is given, and none to any other strategy.
    """

    model: str
    task: str
    strategy: str
    seed: Seed
    learning_rate: Rate | Search
    # Required although it may be None: a key names every required field, so keys of old cells stay as they are.
    epochs: Annotated[float, Field(gt=0.0)] | None
    batch_size: Positive
    mask_seed: Seed = 0
    pooling: Pooling = "cls"
    train_examples: Positive | None = None
    selection_examples: Positive | None = None
    evaluation_examples: Positive | None = None
    max_length: Annotated[int, Field(ge=8)] = 128
    warmup_fraction: Fraction = 0.1
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    clip_norm: Annotated[float, Field(gt=0.0)] | None = 1.0
    hidden_dropout: Fraction | None = None
    attention_dropout: Fraction | None = None
    precision: Precision = "fp32"
    checkpoint: Literal["last", "best"] = "last"
    patience: Positive | None = None
    steps: Positive | None = None
    budget: Share | None = None
    match: str | None = None

    @property
    def length(self) -> float:
        """How long it trains, in epochs or in steps."""
        return self.epochs or self.steps or 0

    @property
    def length_unit(self) -> Literal["epochs", "steps"]:
        """What `length` counts."""
        return "epochs" if self.steps is None else "steps"

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("training takes either epochs or steps")
        return self

    @model_validator(mode="after")
    def _patient(self) -> Self:
        if self.patience is not None and self.checkpoint == "last":
            raise ValueError("patience needs checkpoint = 'best': it goes by the score on the selection split")
        return self


class TrialCell(_TrainingCell):
    """One training of a search: scored on the selection split alone. `seed` is the search's own."""

    kind: Literal["trial"] = "trial"
    learning_rate: Rate


class QualityCell(_TrainingCell):
    """Train one model on one task with one strategy and one seed, and score it in full.

    A `learning_rate` that is a search is chosen by its trials, before this cell runs.
    """

    kind: Literal["quality"] = "quality"
    curve_points: Annotated[int, Field(ge=1, le=10)] = 10
    curve_examples: Positive = 500

    def trial(self, **changed: float) -> TrialCell:
        """A training of this cell's search: the same settings but for those in `changed`."""
        shared = {name: getattr(self, name) for name in TrialCell.model_fields if name != "kind"}
        return TrialCell.model_validate(shared | changed)


TrainingCell = QualityCell | TrialCell


def setting_of(attention: Attention | None, gradient_checkpointing: bool) -> str:
    """What is asked of a step beside its shape, in words: 'eager attention, checkpointing'; '' for nothing."""
    named = () if attention is None else (f"{attention} attention",)
    return ", ".join((*named, *(("checkpointing",) if gradient_checkpointing else ())))


class CostCell(_Cell):
    """Time and weigh one training step of one model and strategy at one fixed batch shape.

    `replicate` 1 is the second full fine-tuning of the A/A pair. `labels` is the width of the head. `budget` and
    `match` are those of a quality cell. `attention` of None is torch's fused one where the architecture has it;
    `gradient_checkpointing` has each layer keep its input alone and compute the rest again in the backward pass.
    """

    kind: Literal["cost"] = "cost"
    model: str
    strategy: str
    batch_size: Positive
    length: Positive
    replicate: int = 0
    mask_seed: Seed = 0
    pooling: Pooling = "cls"
    labels: Positive = 2
    clip_norm: Annotated[float, Field(gt=0.0)] | None = 1.0
    hidden_dropout: Fraction | None = None
    attention_dropout: Fraction | None = None
    precision: Precision = "fp32"
    rounds: Positive = 5
    steps_per_round: Positive = 5
    warmup_steps: Positive = 2
    budget: Share | None = None
    match: str | None = None
    attention: Attention | None = None
    gradient_checkpointing: bool = False

    @property
    def group(self) -> str:
        """What cells timed together share: the key of everything but strategy, its size, replicate and mask seed."""
        apart = {"strategy": "*", "replicate": 0, "mask_seed": 0, "budget": None, "match": None}
        return self.model_copy(update=apart).key

    @property
    def step(self) -> "CostCell":
        """The cell of the same step timed as often as by default."""
        usual = ("rounds", "steps_per_round", "warmup_steps")
        return self.model_copy(update={name: type(self).model_fields[name].default for name in usual})

    @property
    def setting(self) -> str:
        """What `setting_of` says of the cell."""
        return setting_of(self.attention, self.gradient_checkpointing)


Planned = Annotated[QualityCell | CostCell, Field(discriminator="kind")]
"""A cell of a suite. Trials are not planned: which of them are run depends on what others find."""

Cell = Annotated[QualityCell | TrialCell | CostCell, Field(discriminator="kind")]
"""Any cell that can have a record."""


def _canonical(value: object) -> str:
    """A value as the key writes it: bare where that reads back unambiguously, JSON otherwise."""
    if isinstance(value, str) and value and not any(c.isspace() or c in '="' for c in value):
        return value
    return json.dumps(value.model_dump() if isinstance(value, BaseModel) else value)
