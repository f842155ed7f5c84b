"""The command `plan`: what a training step needs and what fits, before there is a machine to try it on."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

import strategies as strategy_names
from bench import cards, encoders, families, overrides
from bench import suite as suites
from bench.cards import Card
from bench.errors import InputError

if TYPE_CHECKING:
    from bench.planning import Question

PIPED_WIDTH = 160
MODELS, STRATEGIES, SHAPE, PRECISION = "bert-base", "full,bitfit,bq_b2,frozen", "32x128", "fp32"


@dataclass(frozen=True)
class Asked:
    """The options of the command as they were given; None where they were not."""

    models: str | None
    family: str | None
    strategies: str | None
    shape: str | None
    precision: str | None
    match: str | None
    budget: float | None
    card: Card | None
    limits: str | None
    reserve: float | None
    attention: str | None
    checkpointing: bool
    on_cpu: bool
    as_json: bool
    suite: str | None
    like: Path | None
    train_examples: int | None
    tokens: int | None


def plan(
    models: Annotated[
        str | None, typer.Option(help=f"Encoders, comma-separated: names or folders; default: {MODELS}.")
    ] = None,
    family: Annotated[
        str | None, typer.Option(help="Instead of --models: which members of a family fit, such as 'bert'?")
    ] = None,
    suite: Annotated[str | None, typer.Option(help="How long does a suite take, on --gpu or --like a run?")] = None,
    strategies: Annotated[str | None, typer.Option(help=f"Comma-separated; default: {STRATEGIES}.")] = None,
    shape: Annotated[str | None, typer.Option(help=f"Batch size x length in tokens; default: {SHAPE}.")] = None,
    precision: Annotated[str | None, typer.Option(help=f"fp32, tf32 or bf16; default: {PRECISION}.")] = None,
    match: Annotated[str | None, typer.Option(help="As for `run`.")] = None,
    budget: Annotated[float | None, typer.Option(help="As for `run`.")] = None,
    gpu: Annotated[str | None, typer.Option(help="A card by name, such as 'A100 80 GB': how long at least?")] = None,
    limits: Annotated[
        str | None, typer.Option(help="GiB of memory to fill, comma-separated; by default 8 to 80, or the card's.")
    ] = None,
    reserve: Annotated[
        float | None, typer.Option(min=0.0, help="GiB of each to leave free; by default 1, on a CPU none.")
    ] = None,
    like: Annotated[
        Path | None, typer.Option(help="With --suite: a run folder of the machine, whose cells to go by.")
    ] = None,
    train_examples: Annotated[int | None, typer.Option(min=1, help="With --suite: as for `run`.")] = None,
    tokens: Annotated[
        int | None, typer.Option(min=1, help="With --suite and --gpu: how long a batch is; default: max_length.")
    ] = None,
    attention: Annotated[str | None, typer.Option(help="sdpa or eager; default: the architecture's best.")] = None,
    checkpointing: Annotated[
        bool, typer.Option("--checkpointing", help="Layers keep their input alone and compute again.")
    ] = False,
    on_cpu: Annotated[bool, typer.Option("--cpu", help="Training on a CPU, not on an accelerator.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines instead of tables.")] = False,
) -> None:
    """Forecast what a training step needs and what fits: no accelerator and no weights."""
    card = None if gpu is None else cards.find(gpu)
    asked = Asked(
        models=models, family=family, strategies=strategies, shape=shape, precision=precision, match=match,
        budget=budget, card=card, limits=limits, reserve=reserve, attention=attention, checkpointing=checkpointing,
        on_cpu=on_cpu, as_json=as_json, suite=suite, like=like, train_examples=train_examples, tokens=tokens,
    )  # fmt: skip
    _check(asked)
    if suite is not None:
        _suite(asked, suite)
    elif family is not None:
        _family(asked, family)
    else:
        _models(asked)


def _check(asked: Asked) -> None:
    """Raises InputError for options that mean nothing together."""
    if asked.on_cpu and asked.card is not None:
        raise InputError(f"--gpu {asked.card.name} and --cpu exclude each other; leave one out")
    if asked.suite is None:
        for option in ("like", "train_examples", "tokens"):
            if getattr(asked, option) is not None:
                raise InputError(f"--{option.replace('_', '-')} says something of a suite; give --suite too")
        if asked.family is not None and asked.models is not None:
            raise InputError("--family and --models exclude each other; leave one out")
        return
    for option in ("family", "shape", "limits", "reserve", "attention", "checkpointing"):
        if getattr(asked, option) not in (None, False):
            raise InputError(f"--{option} and --suite exclude each other; leave one out")
    if (asked.card is None) == (asked.like is None):
        raise InputError("how long a suite takes depends on the machine: give either --gpu or --like, a run folder")
    if asked.like is not None and asked.tokens is not None:
        raise InputError("--tokens is for --gpu; a run given with --like has its own lengths")


def _check_budget(asked: Asked) -> None:
    """Raises InputError for a budget that is no share of anything, and for one beside a strategy to match."""
    if asked.budget is None:
        return
    if not 0.0 < asked.budget <= 1.0:
        raise InputError(
            f"--budget {asked.budget:g} is no share of the encoder's parameters; write a number above 0 and at most 1"
        )
    if asked.match is not None:
        raise InputError("--budget and --match exclude each other; leave one out")


def _question(asked: Asked, members: list[encoders.Encoder]) -> "Question":
    """The question that the options make, of these encoders. Raises InputError for what cannot be asked."""
    _check_budget(asked)
    batch_size, length = overrides.parse_shape(asked.shape or SHAPE)
    named = overrides.split(asked.strategies or STRATEGIES) or ()
    for name in filter(None, (*named, asked.match)):
        strategy_names.check(name)
    precision = overrides.parse_precision(asked.precision or PRECISION)
    attention = overrides.parse_attention(asked.attention)
    limits_gib = _limits(asked.limits, asked.card)
    # What is wrong with an option is said before torch loads.
    from bench import planning

    question = planning.Question(
        encoders=members,
        strategies=named,
        batch_size=batch_size,
        length=length,
        precision=precision,
        match=asked.match,
        budget=asked.budget,
        accelerator=not asked.on_cpu,
        limits_gib=limits_gib,
        reserve_gib=asked.reserve if asked.reserve is not None else 0.0 if asked.on_cpu else 1.0,
        card=asked.card,
        attention=attention,
        gradient_checkpointing=asked.checkpointing,
    )
    if question.limits_gib[0] <= question.reserve_gib:
        raise InputError(f"of {question.limits_gib[0]} GiB {question.reserve_gib:g} are left free, so nothing remains")
    return question


def _models(asked: Asked) -> None:
    """What a step of each encoder needs, and what fits."""
    names, folders = overrides.model_folders(overrides.split(asked.models or MODELS))
    question = _question(asked, [encoders.find(name, folders) for name in names or ()])
    from bench import planning, planning_tables

    if asked.as_json:
        planning.plan(question, lambda one: typer.echo(one.model_dump_json()))
    else:
        _console().print(planning_tables.tables(planning.plan(question), question))


def _family(asked: Asked, name: str) -> None:
    """The largest member of a family that fits."""
    family = families.find(name)
    question = _question(asked, family.encoders)
    from bench import family_planning

    if asked.as_json:
        family_planning.largest_members(family, question, lambda one: typer.echo(one.model_dump_json()))
    else:
        answers = family_planning.largest_members(family, question)
        _console().print(family_planning.table(family, answers, question))


def _suite(asked: Asked, name: str) -> None:
    """How long a suite takes, as `run` would run it with the same options."""
    names, folders = overrides.model_folders(overrides.split(asked.models))
    shared = {
        "models": names,
        "strategies": overrides.split(asked.strategies),
        "precision": None if asked.precision is None else overrides.parse_precision(asked.precision),
        "match": asked.match,
        "budget": asked.budget,
    }
    own = {"train_examples": asked.train_examples}
    suite = overrides.apply(suites.load(name), skip=None, quality=shared | own, cost=shared, rates=None)
    from bench import run_pace, suite_planning, suite_time_table

    if asked.card is not None:
        cells = suite.cells(accelerator=True, folders=folders)
        found = suite_planning.on_card(
            suite.name, cells, asked.card, lambda model: encoders.find(model, folders), tokens=asked.tokens
        )
    else:
        pace = run_pace.Pace.read(asked.like or Path())
        cells = suite.cells(accelerator=pace.accelerator, folders=folders)
        found = suite_planning.like_run(suite.name, cells, pace)
    if asked.as_json:
        typer.echo(found.model_dump_json())
    else:
        _console().print(suite_time_table.table(found))


def _console() -> Console:
    """A terminal as wide as it is; where there is none, and no one says how wide, room for the tables."""
    return Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else PIPED_WIDTH)


def _limits(text: str | None, card: Card | None) -> list[int]:
    """The limits asked for, else the memory of the card, else the usual ones."""
    if text is not None:
        return overrides.parse_limits(text)
    return list(cards.SIZES_GIB) if card is None else [card.memory_gib]
