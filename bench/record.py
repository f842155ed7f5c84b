"""Records: what one cell produced, schema-versioned and immutable, and the manifest of a run.

This module is torch-free: reports read records where no deep-learning package is installed.
"""

import json
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from bench.cell import Cell, CostCell, Planned, QualityCell, TrialCell
from bench.errors import InputError

__all__ = ["CostCell", "InputError", "QualityCell", "Record", "TrialCell"]

SCHEMA_VERSION: Literal[1] = 1
# Name of the sidecar array with predictions of the official test rows, in the order of their file; those of further
# test files append their name.
TEST_PREDICTIONS = "test_predictions"

Status = Literal["ok", "out_of_memory", "diverged", "timeout", "bad_data", "audit_failed", "error"]


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Conditions(_Frozen):
    """What surrounded a measurement. Two records are comparable in full only where these agree."""

    code_commit: str | None
    code_dirty: bool | None
    code_fingerprint: str
    versions: dict[str, str]
    data_fingerprint: str | None
    model_fingerprint: str
    device: str
    device_name: str
    driver: str | None
    threads: int
    precision: str
    attention: str
    python: str
    platform: str


class Counts(_Frozen):
    """Parameter counts, encoder and head apart."""

    encoder_trainable: int
    encoder_total: int
    head_trainable: int


class SplitScores(_Frozen):
    """Scores of one split in eval mode. A score that does not exist (a correlation of constants) is None."""

    examples: int
    loss: float
    scores: dict[str, float | None]


class CurvePoint(_Frozen):
    """Headline score and mean loss on the fixed curve subsamples after `step` steps, all in eval mode."""

    step: int
    examples_seen: int
    train_score: float | None
    train_loss: float
    evaluation_score: float | None
    evaluation_loss: float
    selection_score: float | None = None
    selection_loss: float | None = None


class Checkpoint(_Frozen):
    """Headline score and mean loss on the whole selection split after `step` steps, at the end of an epoch."""

    step: int
    score: float | None
    loss: float


class Checkpoints(_Frozen):
    """The choice of an epoch by the selection split: what each one scored, and the step whose weights were kept.

    `stopped` says that training ended there for want of a better epoch, before its last step.
    """

    chosen_step: int
    tried: list[Checkpoint]
    stopped: bool = False


class Tried(_Frozen):
    """One training of a search, and its headline score on the selection split; None where it has none.

    It took `epochs`, or `steps` where the cell names those; the other one is None.
    """

    learning_rate: float
    seed: int
    epochs: float | None
    status: Status
    reason: str | None
    selection_score: float | None
    training_seconds: float | None
    steps: int | None = None

    @property
    def length(self) -> float:
        """How long it trained, in epochs or in steps."""
        return self.epochs or self.steps or 0


class Searched(_Frozen):
    """A learning rate chosen on the selection split, and everything that was tried."""

    learning_rate: float
    method: Literal["grid", "halving"]
    tried: list[Tried]


class TrialResult(_Frozen):
    """What one training of a search measured. Its evaluation split is not looked at."""

    headline: str
    selection: SplitScores
    steps: int
    training_seconds: float
    checkpoints: Checkpoints | None = None


class BiasChange(_Frozen):
    """How far training moved the biases of one role in one layer; `layer` is None outside the layers.

    `mean_absolute_change` is the L1 norm of the difference over the number of `values`, (1/dim) |b0 - bF|_1 of the
    BitFit paper (Ben Zaken et al., 2022). Roles are those of `strategies.ROLES`.
    """

    layer: int | None
    role: str
    values: int
    mean_absolute_change: float


class QualityResult(_Frozen):
    """What a quality cell measured.

    `evaluation` is scored on the whole evaluation split, `train_sample` on as many training examples. Where
    there are fewer of those, `gap_sample` is a part of the evaluation split of their number. `extra` holds the
    scores of the task's further labelled sets by name, which no decision saw; `extra_headlines` the metric such
    a set is judged by where it is not the headline. Raw losses of every step and the final predictions lie in
    the sidecar. `search` and `checkpoints` say how the learning rate and the epoch were chosen, where they were.
    `bias_change` is None where no bias trains as a whole, or the architecture's roles are not known.
    `labels` names the classes that predictions give by index; empty for regression. `test_examples` counts the
    official test rows by the sidecar array that holds their predictions; empty where none were asked for.
    """

    headline: str
    evaluation: SplitScores
    selection: SplitScores
    train_sample: SplitScores
    curve: list[CurvePoint]
    counts: Counts
    delta_bytes: int
    delta_encoder_bytes: int
    delta_head_bytes: int
    steps: int
    train_examples: int
    padding_ratio: float
    training_seconds: float
    scoring_seconds: float
    inserted_randomness: bool
    gap_sample: SplitScores | None = None
    search: Searched | None = None
    checkpoints: Checkpoints | None = None
    extra: dict[str, SplitScores] = {}
    extra_headlines: dict[str, str] = {}
    bias_change: list[BiasChange] | None = None
    labels: list[str] = []
    test_examples: dict[str, int] = {}

    @property
    def headline_score(self) -> float | None:
        """The headline metric on the evaluation split."""
        return self.evaluation.scores[self.headline]

    @property
    def gap(self) -> float | None:
        """Generalization gap in score: train sample minus as large a sample of evaluation, in the headline metric."""
        train = self.train_sample.scores[self.headline]
        evaluation = (self.gap_sample or self.evaluation).scores[self.headline]
        return None if train is None or evaluation is None else train - evaluation

    @property
    def loss_gap(self) -> float:
        """Generalization gap in loss: evaluation minus train sample, both of one size."""
        return (self.gap_sample or self.evaluation).loss - self.train_sample.loss

    def extra_headline(self, name: str) -> str:
        """The metric the extra set `name` is judged by."""
        return self.extra_headlines.get(name, self.headline)

    def extra_score(self, name: str) -> float | None:
        """The score of the extra set `name` in the metric it is judged by; None where it was not scored."""
        found = self.extra.get(name)
        return None if found is None else found.scores.get(self.extra_headline(name))

    def domain_gap(self, name: str) -> float | None:
        """Evaluation minus the extra set `name`, both in the metric that set is judged by."""
        evaluation, extra = self.evaluation.scores.get(self.extra_headline(name)), self.extra_score(name)
        return None if evaluation is None or extra is None else evaluation - extra


class StepTimes(_Frozen):
    """Summary of the raw step times, which lie in the sidecar array `step_seconds`, shaped (rounds, steps)."""

    median_seconds: float
    quartile1_seconds: float
    quartile3_seconds: float
    p95_seconds: float
    steps: int


class MemoryPeak(_Frozen):
    """Peak memory of one training step, taken in a fresh process after warm-up.

    `method` says what `peak_allocated_bytes` counts: the accelerator's allocator, or the bytes of live
    tensors on a CPU. `resident_before_bytes` is what the process held before the model was built: libraries
    mostly. Figures that do not exist on a device are None.
    """

    method: Literal["allocator", "live tensors"]
    peak_allocated_bytes: int
    peak_reserved_bytes: int | None
    resident_high_water_bytes: int | None
    resident_before_bytes: int | None = None


class CostResult(_Frozen):
    """What a cost cell measured. Cells that share `group` were timed interleaved and may be divided."""

    group: str
    step: StepTimes
    memory: MemoryPeak | None
    memory_reason: str | None
    counts: Counts
    order_by_round: list[int]


class Audit(_Frozen):
    """Outcome of every audit check by name: None where it passed, else what was found."""

    checks: dict[str, str | None]

    @property
    def passed(self) -> bool:
        """Whether no check found anything."""
        return not any(self.checks.values())


class Sidecar(_Frozen):
    """Where the raw arrays of a record lie, relative to the run folder, and the hash of that file."""

    path: str
    sha256: str


class Record(_Frozen):
    """The outcome of one cell.

    `marks` are warnings that must appear wherever the result does (synthetic data, a contaminated
    encoder). `descriptions` holds one sentence each on the 'strategy', the 'task' and the 'model'.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    key: str
    cell: Cell
    status: Status
    reason: str | None = None
    started_utc: str
    wall_seconds: float
    conditions: Conditions
    marks: list[str] = []
    warnings: list[str] = []
    descriptions: dict[str, str] = {}
    quality: QualityResult | None = None
    trial: TrialResult | None = None
    cost: CostResult | None = None
    audit: Audit | None = None
    sidecar: Sidecar | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "Record":
        if self.key != self.cell.key:
            raise ValueError(f"key {self.key!r} is not the key of its cell, {self.cell.key!r}")
        if self.status == "ok" and getattr(self, self.cell.kind) is None:
            raise ValueError("a record with status ok needs its result")
        if (self.status == "ok") != (self.reason is None):
            raise ValueError("a reason is given exactly where the status is not ok")
        return self


class Manifest(_Frozen):
    """What a run folder is for: the resolved suite, whose identity is the hash of its sorted keys."""

    schema_version: Literal[1] = SCHEMA_VERSION
    suite: str
    suite_hash: str
    cells: list[Planned]
    created_utc: str
    command: list[str]


def parse_record(line: str) -> Record:
    """Read one line of a records file, migrating older schema versions.

    Raises InputError with one line that says what is wrong with it.
    """
    try:
        data = json.loads(line)
    except json.JSONDecodeError as error:
        raise InputError(f"not JSON ({error.msg} at column {error.colno})") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"not a record ({error})") from None
    version = data.get("schema_version") if isinstance(data, dict) else None
    if version != SCHEMA_VERSION:
        raise InputError(f"schema version {version!r}; this program reads version {SCHEMA_VERSION}")
    try:
        return Record.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "record"
        raise InputError(f"{where}: {first['msg']}") from None
