"""What cells measure: the results that records hold, frozen and strictly validated.

This module is torch-free: reports read results where no deep-learning package is installed.
"""

from typing import Literal

from pydantic import Field

from bench.arithmetic import Arithmetic
from bench.frozen import Frozen
from bench.metrics import METRICS
from bench.timing import Energy, StepTimes, Validity

Status = Literal["ok", "out_of_memory", "diverged", "timeout", "bad_data", "audit_failed", "error"]


class Counts(Frozen):
    """Parameter counts, encoder and head apart.

    `budget` is how many encoder values were asked for, where any were; `encoder_kept` how many differ in the end,
    where these are fewer than train meanwhile.
    """

    encoder_trainable: int
    encoder_total: int
    head_trainable: int
    budget: int | None = None
    encoder_kept: int | None = None

    @property
    def encoder_size(self) -> int:
        """Encoder values by which strategies of equal size are matched: those that differ in the end."""
        return self.encoder_trainable if self.encoder_kept is None else self.encoder_kept


class SplitScores(Frozen):
    """Scores of one split in eval mode. A score that does not exist (a correlation of constants) is None."""

    examples: int
    loss: float
    scores: dict[str, float | None]


class CurvePoint(Frozen):
    """Headline score and mean loss on the fixed curve subsamples after `step` steps, all in eval mode."""

    step: int
    examples_seen: int
    train_score: float | None
    train_loss: float
    evaluation_score: float | None
    evaluation_loss: float
    selection_score: float | None = None
    selection_loss: float | None = None


class Checkpoint(Frozen):
    """Headline score and mean loss on the whole selection split after `step` steps, at the end of an epoch."""

    step: int
    score: float | None
    loss: float


class Checkpoints(Frozen):
    """The choice of an epoch by the selection split: what each one scored, and the step whose weights were kept.

    `stopped` says that training ended there for want of a better epoch, before its last step.
    """

    chosen_step: int
    tried: list[Checkpoint]
    stopped: bool = False


class Tried(Frozen):
    """One training of a search, and its headline score on the selection split; None where it has none.

    It was given `epochs`, or `steps` where the cell names those; the other one is None. `stopped_after` says after
    how many of them it ended early; None: it took them all.
    """

    learning_rate: float
    seed: int
    epochs: float | None
    status: Status
    reason: str | None
    selection_score: float | None
    training_seconds: float | None
    steps: int | None = None
    stopped_after: float | None = None

    @property
    def length(self) -> float:
        """How long it was to train, in epochs or in steps."""
        return self.epochs or self.steps or 0

    @property
    def spent(self) -> float:
        """How long it trained, in epochs or in steps."""
        return self.length if self.stopped_after is None else self.stopped_after


class Searched(Frozen):
    """A learning rate chosen on the selection split, and everything that was tried."""

    learning_rate: float
    method: Literal["grid", "halving"]
    tried: list[Tried]


class TrialResult(Frozen):
    """What one training of a search measured. Its evaluation split is not looked at."""

    headline: str
    selection: SplitScores
    steps: int
    training_seconds: float
    checkpoints: Checkpoints | None = None


class BiasChange(Frozen):
    """How far training moved the biases of one role in one layer; `layer` is None outside the layers.

    `mean_absolute_change` is the L1 norm of the difference over the number of `values`, (1/dim) |b0 - bF|_1 of the
    BitFit paper (Ben Zaken et al., 2022). Roles are those of `strategies.ROLES`.
    """

    layer: int | None
    role: str
    values: int
    mean_absolute_change: float


class QualityResult(Frozen):
    """What a quality cell measured.

    `evaluation` is scored on the whole evaluation split, `train_sample` on as many training examples. Where
    there are fewer of those, `gap_sample` is a part of the evaluation split of their number. `extra` holds the
    scores of the task's further labelled sets by name, which no decision saw; `extra_headlines` the metric such
    a set is judged by where it is not the headline. Raw losses of every step and the final predictions lie in
    the sidecar. `search` and `checkpoints` say how the learning rate and the epoch were chosen, where they were.
    `bias_change` is None where no bias trains as a whole, or the architecture's roles are not known.
    `labels` names the classes that predictions give by index; empty for regression. `test_examples` counts the
    official test rows by the sidecar array that holds their predictions; empty where none were asked for.
    `swap_seconds` is how long each of a few swaps took, one delta off the encoder in memory and another on; empty in
    records of old.
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
    extra: dict[str, SplitScores] = Field(default={})
    extra_headlines: dict[str, str] = Field(default={})
    bias_change: list[BiasChange] | None = None
    labels: list[str] = Field(default=[])
    test_examples: dict[str, int] = Field(default={})
    swap_seconds: list[float] = Field(default=[])

    @property
    def headline_score(self) -> float | None:
        """The headline metric on the evaluation split."""
        return self.evaluation.scores[self.headline]

    @property
    def gap(self) -> float | None:
        """Generalization gap in the headline metric: how far the train sample is ahead of evaluation, equally many.

        Train minus evaluation, or evaluation minus train where less is better.
        """
        evaluation = (self.gap_sample or self.evaluation).scores[self.headline]
        return _lead(self.headline, self.train_sample.scores[self.headline], evaluation)

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
        """How far evaluation is ahead of the extra set `name`, both in the metric that set is judged by."""
        metric = self.extra_headline(name)
        return _lead(metric, self.evaluation.scores.get(metric), self.extra_score(name))


def _lead(metric: str, ours: float | None, theirs: float | None) -> float | None:
    """By how much the first score is the better one; None where one does not exist."""
    return None if ours is None or theirs is None else METRICS[metric].merit(ours) - METRICS[metric].merit(theirs)


MEMORY_PARTS = ("parameters", "gradients", "optimizer", "activations", "workspace", "residual")
"""What the peak of a step consists of, by the names that MemoryAttribution and those who read it use."""


class MemoryAttribution(Frozen):
    """What the peak of a step consists of; the bytes add up to it.

    `activations_bytes` live on from the forward pass to the backward pass, `workspace_bytes` is what single operations
    need (the batch with it), `residual_bytes` whatever nothing of this explains: on an accelerator also what its
    allocator hands out beyond what tensors ask for. `phase` is the part of the step that the peak falls into, and
    `peak_by_phase_bytes` the peak of each part.
    """

    parameters_bytes: int
    gradients_bytes: int
    optimizer_bytes: int
    activations_bytes: int
    workspace_bytes: int
    residual_bytes: int
    phase: str | None
    peak_by_phase_bytes: dict[str, int]

    @property
    def parts(self) -> dict[str, int]:
        """Bytes of each of MEMORY_PARTS, in that order."""
        return {part: getattr(self, f"{part}_bytes") for part in MEMORY_PARTS}


class MemoryPeak(Frozen):
    """Peak memory of one training step, taken in a fresh process after warm-up, or forecast from its shapes.

    `method` says what `peak_allocated_bytes` counts: the accelerator's allocator, or the bytes of live tensors on a
    CPU and in a forecast. `resident_before_bytes` is what the process held before the model was built: libraries
    mostly. On an accelerator `fragmentation_bytes` is what its allocator held beyond what it handed out, peak to
    peak, and `context_bytes` what the process held of the device beyond its allocator: the device's context, loaded
    kernels, memory of libraries; `allocated_by_phase_bytes` is the allocator's peak in each phase of another step.
    Figures that do not exist on a device are None; `context_reason` says why the context of an accelerator is, and
    `snapshot_reason` why a snapshot that was asked for could not be had.
    """

    method: Literal["allocator", "live tensors", "forecast"]
    peak_allocated_bytes: int
    peak_reserved_bytes: int | None
    resident_high_water_bytes: int | None
    resident_before_bytes: int | None = None
    fragmentation_bytes: int | None = None
    context_bytes: int | None = None
    context_reason: str | None = None
    snapshot_reason: str | None = None
    allocated_by_phase_bytes: dict[str, int] | None = None
    attribution: MemoryAttribution | None = None

    @property
    def by_phase_bytes(self) -> dict[str, int]:
        """The peak of each phase: the allocator's where it was asked, else of live tensors; empty where not known."""
        if self.allocated_by_phase_bytes is not None:
            return self.allocated_by_phase_bytes
        return {} if self.attribution is None else self.attribution.peak_by_phase_bytes


class CostResult(Frozen):
    """What a cost cell measured. Cells that share `group` were timed interleaved and may be divided.

    `forecast` is the peak as the shapes alone tell it, `validity` what surrounded the timing. What is None is so in
    records of old, and where the reason beside it says why.
    """

    group: str
    step: StepTimes
    memory: MemoryPeak | None
    memory_reason: str | None
    counts: Counts
    order_by_round: list[int]
    validity: Validity | None = None
    energy: Energy | None = None
    energy_reason: str | None = None
    forecast: MemoryPeak | None = None
    forecast_reason: str | None = None
    arithmetic: Arithmetic | None = None
    arithmetic_reason: str | None = None


class Audit(Frozen):
    """Outcome of every audit check by name: None where it passed, else what was found."""

    checks: dict[str, str | None]

    @property
    def passed(self) -> bool:
        """Whether no check found anything."""
        return not any(self.checks.values())
