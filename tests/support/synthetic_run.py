"""Run folders made up for tests of reports: real records through the real store, with numbers drawn from a seed.

The figures imitate a small encoder on two tasks, so that a page made from them can be judged by eye.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from bench.arithmetic import Arithmetic, Calibration
from bench.cell import CostCell, QualityCell
from bench.record import Conditions, Manifest, Record
from bench.results import (
    BiasChange,
    CostResult,
    Counts,
    CurvePoint,
    MemoryAttribution,
    MemoryPeak,
    QualityResult,
    SplitScores,
)
from bench.store import RunStore, suite_hash
from bench.timing import PhaseSeconds, StepTimes, Surroundings, Validity

STRATEGIES = ("full", "bitfit", "bq_b2", "layernorm", "random_uniform", "random_rowcol", "frozen")
SENTENCES = {
    "full": "Trains every parameter of the encoder.",
    "bitfit": "Trains every bias of the encoder, those of the LayerNorms and of a pretrained pooler included.",
    "bq_b2": "Trains the biases of the query projections and of the first feed-forward layers.",
    "layernorm": "Trains the gain and bias of every LayerNorm of the encoder.",
    "frozen": "Trains the head alone; the encoder stays as it was.",
}
TASKS = {
    "questions": "What a question asks for, in six classes (TREC, coarse labels).",
    "pos-synthetic": "Parts of speech of made-up sentences full of ambiguous words.",
}
SYNTHETIC = "synthetic data: sentences made up by a grammar"

# strategy: (score on questions, on pos-synthetic, gap, step ratio, memory ratio, trainable encoder parameters)
LEVELS = {
    "full": (0.894, 0.957, 0.035, 1.00, 1.00, 22_713_216),
    "bitfit": (0.872, 0.941, 0.016, 0.66, 0.60, 26_112),
    "bq_b2": (0.846, 0.921, 0.015, 0.64, 0.59, 11_520),
    "layernorm": (0.892, 0.935, 0.017, 0.67, 0.62, 9_984),
    "random_uniform": (0.801, 0.872, 0.012, 0.78, 0.61, 26_112),
    "random_rowcol": (0.812, 0.879, 0.013, 0.72, 0.61, 26_112),
    "frozen": (0.768, 0.757, 0.020, 0.33, 0.16, 0),
}
# strategy: how far each of its bias roles moves in a layer, before chance
MOVES = {"query": 0.02, "key": 0.0003, "value": 0.008, "attention_output": 0.006, "attention_norm": 0.009}
MOVES |= {"intermediate": 0.015, "output": 0.005, "output_norm": 0.008, "embedding_norm": 0.007, "pooler": 0.011}
BIASES = {
    "full": {role: move / 40 for role, move in MOVES.items()},
    "bitfit": MOVES,
    "bq_b2": {role: MOVES[role] for role in ("query", "intermediate")},
    "layernorm": {role: move for role, move in MOVES.items() if role.endswith("norm")},
}
# Operations of a forward pass at 16 x 64 tokens, and what backward adds of them; bytes of what forward leaves for it.
FORWARD_FLOPS, FULL_SAVED_BYTES = 22_000_000_000, 180 * 2**20
BACKWARD = {"full": 2.0, "frozen": 0.0}
UNKNOWN_LEVEL = (0.85, 0.90, 0.020, 0.90, 0.80, 50_000)
RATES = {"full": 1e-4, "frozen": 1e-2}
# Score lost for each factor of e that the training set is smaller.
NEEDS = {"full": 0.05, "layernorm": 0.035, "bitfit": 0.03, "bq_b2": 0.025, "frozen": 0.02}
ALL_EXAMPLES = 4306
FULL_SECONDS, FULL_BYTES, ENCODER = 0.184, 352 * 2**20, 22_713_216


@dataclass(frozen=True)
class Plan:
    """What to make up.

    `options` follow the suite in the command the run was made with, `created` is when that was.
    `asked` are the fields in which cost cells of one shape differ, group by group; checkpointing costs a third of the
    time and saves half of the memory.
    `draws` are the mask seeds of random strategies at each seed, where it is not the seed itself.
    `extra` names extra sets and by how much their score lies below evaluation. `alter` may change any record
    before it is written, or drop it by returning None.
    `calibrated` says whether the machine's own rates were taken around the cost cells.
    `predictions` has, by task, the rows of each sidecar array of test predictions; `labels` the classes of a task.
    """

    suite: str = "embedded"
    options: tuple[str, ...] = ("--seeds", "3")
    created: str = "2025-11-24T08:00:00Z"
    models: tuple[str, ...] = ("minilm",)
    tasks: tuple[str, ...] = tuple(TASKS)
    strategies: tuple[str, ...] = STRATEGIES
    seeds: tuple[int, ...] = (0, 1, 2)
    draws: tuple[int, ...] = ()
    train_sizes: tuple[int | None, ...] = (1000,)
    shapes: tuple[tuple[int, int], ...] = ((16, 64),)
    asked: tuple[Mapping[str, object], ...] = ({},)
    quality: bool = True
    cost: bool = True
    precision: str = "fp32"
    noise: float = 0.006
    jitter: float = 0.008
    layers: int = 6
    predictions: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    random_seed: int = 7
    conditions: dict[str, object] = field(default_factory=dict)
    calibrated: bool = True
    extra: dict[str, float] = field(default_factory=dict)
    alter: Callable[[Record], Record | None] = lambda record: record

    @property
    def cells(self) -> list[QualityCell | CostCell]:
        """The suite's cells: costs first, then seed by seed."""
        cells: list[QualityCell | CostCell] = []
        for model in self.models if self.cost else ():
            for (batch, length), asked in itertools.product(self.shapes, self.asked):
                for name, replicate in [*((name, 0) for name in self.strategies), ("full", 1)]:
                    cells.append(cost_cell(self, model, name, batch, length, replicate).model_copy(update=dict(asked)))
        for seed in self.seeds if self.quality else ():
            for model in self.models:
                cells += [
                    drawn
                    for task in self.tasks
                    for size in self.train_sizes
                    for strategy in self.strategies
                    for drawn in _drawn(self, quality_cell(self, model, task, strategy, seed, size))
                ]
        return cells


def _drawn(plan: Plan, cell: QualityCell) -> list[QualityCell]:
    if not plan.draws or not cell.strategy.startswith("random"):
        return [cell]
    return [cell.model_copy(update={"mask_seed": draw}) for draw in plan.draws]


def cost_cell(plan: Plan, model: str, strategy: str, batch: int, length: int, replicate: int) -> CostCell:
    """One cost cell of the plan."""
    fields = {"model": model, "strategy": strategy, "batch_size": batch, "length": length, "replicate": replicate}
    return CostCell.model_validate(fields | {"precision": plan.precision})


def quality_cell(plan: Plan, model: str, task: str, strategy: str, seed: int, size: int | None = 1000) -> QualityCell:
    """One quality cell of the plan."""
    mask = seed if strategy.startswith("random") else 0
    fields = {"model": model, "task": task, "strategy": strategy, "seed": seed, "mask_seed": mask}
    settings = {"learning_rate": RATES.get(strategy, 3e-3), "epochs": 3, "batch_size": 16, "train_examples": size}
    return QualityCell.model_validate(fields | settings | {"precision": plan.precision, "pooling": "mean"})


def make_run(folder: Path, plan: Plan | None = None, **changes: object) -> Path:
    """Write a run folder after `plan` (or the default one with `changes`); returns the folder."""
    plan = plan or replace(Plan(), **changes)  # type: ignore[arg-type]
    cells = plan.cells
    manifest = Manifest(
        suite=plan.suite,
        suite_hash=suite_hash([cell.key for cell in cells]),
        cells=cells,
        created_utc=plan.created,
        command=["run", plan.suite, *plan.options],
    )
    store = RunStore.create(folder, manifest)
    for index, cell in enumerate(cells):
        random = np.random.default_rng([plan.random_seed, index])
        made = _quality(cell, plan, random) if isinstance(cell, QualityCell) else _cost(cell, plan, random)
        write(store, plan, *made)
    if plan.cost and plan.calibrated:
        for moment, rate in (("start", 9.2e11), ("end", 9.0e11)):
            store.append_calibration(calibration(plan, moment=moment, matmul_flops_per_second={plan.precision: rate}))
    return folder


def calibration(plan: Plan, **changes: object) -> Calibration:
    """The rates of the made-up machine, with changes."""
    machine = conditions(plan, None)
    fields: dict[str, object] = {
        "moment": "start",
        "taken_utc": plan.created,
        "device_name": machine.device_name,
        "threads": machine.threads,
        "matmul_flops_per_second": {plan.precision: 9.2e11},
        "matmul_sizes": {plan.precision: 2048},
        "copied_bytes_per_second": 2.4e10,
    }
    return Calibration.model_validate(fields | changes)


def write(store: RunStore, plan: Plan, record: Record, arrays: dict[str, np.ndarray]) -> None:
    """Append a record as the plan alters it."""
    altered = plan.alter(record)
    if altered is not None:
        store.append(altered, arrays if altered.status == "ok" else None)


def failed(record: Record, reason: str = "CUDA out of memory", status: str = "out_of_memory") -> Record:
    """The same cell without a result."""
    fields = record.model_dump() | {"status": status, "reason": reason, "quality": None, "cost": None, "audit": None}
    return Record.model_validate(fields)


def conditions(plan: Plan, data: str | None) -> Conditions:
    """Conditions of a made-up machine, with the plan's changes."""
    fields: dict[str, object] = {
        "code_commit": "3f9c2a7e51d84b06a1c9e7f2d3b4a5c6d7e8f901",
        "code_dirty": False,
        "code_fingerprint": "c0de" * 16,
        "versions": {"torch": "2.13.0", "transformers": "5.23.0", "numpy": "2.4.6"},
        "data_fingerprint": data,
        "model_fingerprint": "53aa5117" * 8,
        "device": "cpu",
        "device_name": "AMD EPYC 7763",
        "driver": None,
        "threads": 2,
        "precision": plan.precision,
        "attention": "sdpa",
        "python": "3.11.7",
        "platform": "Linux-6.1-x86_64",
    }
    return Conditions.model_validate(fields | plan.conditions)


def _record(cell: QualityCell | CostCell, plan: Plan, **fields: object) -> Record:
    task = cell.task if isinstance(cell, QualityCell) else None
    descriptions = {
        "strategy": SENTENCES.get(cell.strategy, "Trains as many numbers as BitFit, drawn at random."),
        "model": "MiniLM, 6 layers of width 384, a sentence encoder.",
    }
    if task is not None:
        descriptions["task"] = TASKS.get(task, "A task made up for a test.")
    common: dict[str, object] = {
        "key": cell.key,
        "cell": cell,
        "status": "ok",
        "started_utc": "2025-11-24T08:00:03Z",
        "wall_seconds": 21.5,
        "conditions": conditions(plan, None if task is None else f"da7a{task}"),
        "marks": [SYNTHETIC] if task == "pos-synthetic" else [],
        "descriptions": descriptions,
    }
    return Record.model_validate(common | fields)


def missed(strategy: str, examples: int) -> float:
    """How much of its score at 1,000 examples a strategy misses: full fine-tuning needs the most of them."""
    return NEEDS.get(strategy, 0.04) * float(np.log(1000 / examples))


def _level(strategy: str) -> tuple[float, float, float, float, float, int]:
    return LEVELS.get(strategy, UNKNOWN_LEVEL)


def _quality(cell: QualityCell, plan: Plan, random: np.random.Generator) -> tuple[Record, dict[str, np.ndarray]]:
    questions, pos, gap, *_, trainable = _level(cell.strategy)
    level = pos if cell.task == "pos-synthetic" else questions
    shared = np.random.default_rng([plan.random_seed, cell.seed]).normal(0, plan.noise)
    examples = cell.train_examples or ALL_EXAMPLES
    level -= missed(cell.strategy, examples)
    score = float(np.clip(level + shared + random.normal(0, plan.noise / 2), 0, 1))
    train = float(np.clip(score + gap + random.normal(0, plan.noise / 3), 0, 1))
    head = 2_310 if cell.task == "questions" else 6_545
    result = QualityResult(
        headline="accuracy",
        evaluation=_scores(score, cell.task),
        selection=_scores(score + float(random.normal(0, plan.noise)), cell.task),
        train_sample=_scores(train, cell.task),
        curve=_curve(score, train, random),
        counts=Counts(encoder_trainable=trainable, encoder_total=ENCODER, head_trainable=head),
        delta_bytes=4 * (trainable + head) + 3_000,
        delta_encoder_bytes=4 * trainable + 1_500,
        delta_head_bytes=4 * head + 1_500,
        steps=189,
        train_examples=examples,
        padding_ratio=1.055,
        training_seconds=19.0 * _level(cell.strategy)[3],
        scoring_seconds=2.4,
        inserted_randomness=False,
        extra={name: _scores(score - lower, cell.task) for name, lower in plan.extra.items()},
        bias_change=_bias_change(cell, plan),
        labels=list(plan.labels.get(cell.task, ())),
        test_examples=dict(plan.predictions.get(cell.task, {})),
        swap_seconds=[0.0004 + 1e-9 * trainable] * 5,
    )
    arrays = {"step_loss": np.linspace(1.8, 0.4, 189), **_predictions(cell, plan)}
    return _record(cell, plan, quality=result), arrays


def _predictions(cell: QualityCell, plan: Plan) -> dict[str, np.ndarray]:
    """Class indices, or numbers from below to above the scale of STS-B where the task has no classes."""
    random = np.random.default_rng([plan.random_seed, cell.seed, len(cell.strategy)])
    classes = len(plan.labels.get(cell.task, ()))
    return {
        name: random.integers(0, classes, rows) if classes else random.uniform(-1, 6, rows).astype(np.float32)
        for name, rows in plan.predictions.get(cell.task, {}).items()
    }


def _bias_change(cell: QualityCell, plan: Plan) -> list[BiasChange] | None:
    """Changes of the biases of strategies that train some; upper layers move more."""
    random = np.random.default_rng([plan.random_seed, cell.seed, len(cell.task)])
    layers = {role: range(plan.layers) for role in MOVES} | {"embedding_norm": [None], "pooler": [None]}
    found = [
        BiasChange(
            layer=layer,
            role=role,
            values=384,
            mean_absolute_change=move * (1 + 0.2 * (layer or 0)) * float(np.exp(random.normal(0, 0.1))),
        )
        for role, move in BIASES.get(cell.strategy, {}).items()
        for layer in layers[role]
    ]
    return found or None


def _scores(score: float, task: str) -> SplitScores:
    score = min(score, 1.0)
    scores: dict[str, float | None] = {"accuracy": score}
    if task == "questions":
        scores["macro_f1"] = score - 0.021
    return SplitScores(examples=1000, loss=1.6 * (1 - score) + 0.05, scores=scores)


def _curve(score: float, train: float, random: np.random.Generator) -> list[CurvePoint]:
    points = []
    for part in range(1, 6):
        done = 1 - 0.75 * float(np.exp(-0.9 * part))
        here, there = score * done + float(random.normal(0, 0.004)), train * done
        losses = {"train_loss": 1.6 * (1.02 - there), "evaluation_loss": 1.6 * (1.02 - here)}
        scores = {"train_score": there, "evaluation_score": min(here, 1.0)}
        step = round(189 * part / 5)
        points.append(CurvePoint(step=step, examples_seen=16 * step, **scores, **losses))
    return points


def _attribution(peak: int, trainable: int) -> MemoryAttribution:
    parameters, optimizer = 4 * ENCODER, 8 * trainable
    left = peak - parameters - optimizer
    return MemoryAttribution(
        parameters_bytes=parameters,
        gradients_bytes=0,
        optimizer_bytes=optimizer,
        activations_bytes=left - left // 8,
        workspace_bytes=left // 8,
        residual_bytes=0,
        phase="forward",
        peak_by_phase_bytes={"forward": peak},
    )


def _cost(cell: CostCell, plan: Plan, random: np.random.Generator) -> tuple[Record, dict[str, np.ndarray]]:
    _, _, _, ratio, memory, trainable = _level(cell.strategy)
    work = cell.batch_size * cell.length / 1024
    if cell.gradient_checkpointing:
        work, memory = work * 4 / 3, memory / 2
    drift = np.random.default_rng([plan.random_seed, cell.batch_size]).normal(0, 0.05, cell.rounds)
    noise = random.normal(0, plan.jitter, (cell.rounds, cell.steps_per_round))
    seconds = FULL_SECONDS * work * ratio * np.exp(drift[:, None] + noise)
    quartiles = [float(value) for value in np.quantile(seconds, [0.25, 0.5, 0.75, 0.95])]
    peak = round(FULL_BYTES * work * memory)
    result = CostResult(
        group=f"{cell.model} {cell.batch_size}x{cell.length} {cell.setting}",
        step=StepTimes(
            quartile1_seconds=quartiles[0],
            median_seconds=quartiles[1],
            quartile3_seconds=quartiles[2],
            p95_seconds=quartiles[3],
            steps=seconds.size,
            p99_seconds=float(np.quantile(seconds, 0.99)),
            phases=_phases(quartiles[1], trainable),
        ),
        memory=MemoryPeak(
            method="live tensors",
            peak_allocated_bytes=peak,
            peak_reserved_bytes=None,
            resident_high_water_bytes=round(1.29 * peak),
            attribution=_attribution(peak, trainable),
        ),
        memory_reason=None,
        counts=Counts(encoder_trainable=trainable, encoder_total=ENCODER, head_trainable=770),
        order_by_round=[(index + cell.replicate) % 8 for index in range(cell.rounds)],
        validity=_validity(cell),
        energy_reason="no RAPL counter in /sys/class/powercap",
        forecast=MemoryPeak(
            method="forecast",
            peak_allocated_bytes=round(1.01 * peak),
            peak_reserved_bytes=None,
            resident_high_water_bytes=None,
        ),
        arithmetic=None if cell.replicate else _arithmetic(cell.strategy, work, trainable),
        arithmetic_reason="counted once, with replicate 0" if cell.replicate else None,
    )
    return _record(cell, plan, cost=result), {"step_seconds": seconds}


def _phases(median_seconds: float, trainable: int) -> PhaseSeconds:
    """A third of a step forward; the optimizer's part grows with what trains."""
    shares = {"forward": 0.33, "clipping": 0.06 * trainable / ENCODER, "optimizer": 0.09 * trainable / ENCODER}
    shares["backward"] = 1 - sum(shares.values())
    return PhaseSeconds(**{phase: share * median_seconds for phase, share in shares.items()})


def _arithmetic(strategy: str, work: float, trainable: int) -> Arithmetic:
    """Of a step of 1,024 tokens times `work`."""
    backward = BACKWARD.get(strategy, 1.05)
    return Arithmetic(
        forward_flops=round(FORWARD_FLOPS * work),
        backward_flops=round(FORWARD_FLOPS * work * backward) + 100_000,
        weight_bytes=4 * ENCODER * (2 if backward else 1),
        saved_bytes=round(FULL_SAVED_BYTES * work * {0.0: 0.001, 2.0: 1.0}.get(backward, 0.66)),
        gradient_bytes=5 * 4 * (trainable + 770),
        optimizer_bytes=6 * 4 * (trainable + 770),
    )


def _validity(cell: CostCell) -> Validity:
    """A quiet machine of two cores without a card, its load rising while it is measured."""
    loads = (0.4, *(1.2 + 0.1 * index for index in range(cell.rounds)), 1.9)
    moments = [Surroundings(load_average=load, available_memory_bytes=13 * 2**30) for load in loads]
    reason = "cpu is no NVIDIA card here"
    around = {"before": moments[0], "after": moments[-1], "rounds": moments[1:-1]}
    return Validity.model_validate({"cores": 2, "threads": 2, "card_reason": reason, **around})


def only(strategies: Sequence[str]) -> Callable[[Record], Record | None]:
    """An alteration that keeps the records of these strategies alone: the rest is outstanding."""
    return lambda record: record if record.cell.strategy in strategies else None
