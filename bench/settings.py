"""What a suite may say of its cells: the sections of its file, their fields, and what each field takes."""

from typing import Annotated, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, Strict, model_validator

from bench.cell import Attention, Fraction, Pooling, Positive, Precision, Rate, Seed, Share

Item = TypeVar("Item")
Names = Annotated[list[str], Field(min_length=1)]
ALL = "all"
# How a learning rate is said: as a number, or as numbers to search.
RATES = frozenset({"learning_rate", "search"})
# Two ways to say one thing: a layer of settings that says it in one way puts away what layers below said in the other.
ALTERNATIVES = {
    "epochs": "steps",
    "steps": "epochs",
    "train_examples": "train_sizes",
    "train_sizes": "train_examples",
    "budget": "match",
    "match": "budget",
}


def _size(value: object) -> object:
    if value != ALL and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise ValueError(f'{value!r} is no training-set size; write numbers of examples and "all"')
    return value


def _distinct(sizes: list[int | str]) -> list[int | str]:
    if len(sizes) < 2 or len(set(sizes)) < len(sizes):
        raise ValueError(f"{sizes} are not two or more different sizes; for a single one write train_examples")
    return sizes


def _unique(values: list[Item]) -> list[Item]:
    if len(set(values)) < len(values):
        raise ValueError(f"{values} holds a value twice")
    return values


Size = Annotated[int | Literal["all"], BeforeValidator(_size)]
Sizes = Annotated[list[Size], AfterValidator(_distinct)]


class Section(BaseModel):
    """What a person writes: unknown keys and wrong types are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        for one, other in ALTERNATIVES.items():
            if getattr(self, one, None) is not None and getattr(self, other, None) is not None:
                raise ValueError(f"set either {one} or {other}, not both")
        return self


class Training(Section):
    """Settings of quality cells; a model may override each, and a task any. None leaves the cell's own default.

    Each strategy has a learning rate, or rates to search; a layer that sets one of the two replaces the other.
    `train_sizes` makes a cell of each of its sizes, "all" being the whole training split. One of two
    alternatives (epochs or steps, train_examples or train_sizes, budget or match) may be set, not both, and replaces
    the other too.
    """

    epochs: Annotated[float, Field(gt=0.0)] | None = None
    steps: Positive | None = None
    batch_size: Positive | None = None
    pooling: Pooling | None = None
    train_examples: Positive | None = None
    train_sizes: Sizes | None = None
    selection_examples: Positive | None = None
    evaluation_examples: Positive | None = None
    max_length: Annotated[int, Field(ge=8)] | None = None
    warmup_fraction: Fraction | None = None
    weight_decay: Annotated[float, Field(ge=0.0)] | None = None
    clip_norm: Annotated[float, Field(gt=0.0)] | None = None
    hidden_dropout: Fraction | None = None
    attention_dropout: Fraction | None = None
    precision: Precision | None = None
    curve_points: Annotated[int, Field(ge=1, le=10)] | None = None
    curve_examples: Positive | None = None
    checkpoint: Literal["last", "best"] | None = None
    patience: Positive | None = None
    budget: Share | None = None
    match: str | None = None
    learning_rate: dict[str, Rate] = {}
    search: dict[str, Annotated[list[Rate], Field(min_length=2), AfterValidator(_unique)]] = {}


class Quality(Training):
    """The matrix of quality cells: every model x task x strategy x seed.

    `search_seeds` are trained at by the trials of a search; they must not be seeds of the results themselves.
    `mask_seeds` are the draws of strategies that draw: each seed of theirs trains once with each of them. None draws
    anew for each seed.
    """

    search_method: Literal["grid", "halving"] = "grid"
    search_seeds: Annotated[list[Seed], Field(min_length=1), AfterValidator(_unique)] = [11]
    models: Names
    tasks: Names
    strategies: Names
    seeds: Annotated[list[Seed], Field(min_length=1)]
    mask_seeds: Annotated[list[Seed], Field(min_length=1), AfterValidator(_unique)] | None = None
    model: dict[str, Training] = {}
    task: dict[str, Training] = {}


class Cost(Section):
    """A matrix of cost cells: every model x strategy x shape, each shape [batch size, length].

    `attention` and `gradient_checkpointing` are one value a section; two sections give both.
    """

    when: Literal["always", "accelerator"] = "always"
    models: Names
    strategies: Names
    shapes: Annotated[list[Annotated[tuple[Positive, Positive], Strict(False)]], Field(min_length=1)]
    precision: Precision = "fp32"
    attention_dropout: Fraction | None = None
    rounds: Positive | None = None
    steps_per_round: Positive | None = None
    budget: Share | None = None
    match: str | None = None
    attention: Attention | None = None
    gradient_checkpointing: bool = False
