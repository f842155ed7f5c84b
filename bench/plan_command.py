"""The command `plan`: what a training step needs and what fits, before there is a machine to try it on."""

from typing import Annotated

import typer
from rich.console import Console

from bench import cards, encoders, families, overrides
from bench.cards import Card
from bench.errors import InputError


def plan(
    models: Annotated[
        str | None, typer.Option(help="Encoders, comma-separated: names or folders; default: bert-base.")
    ] = None,
    family: Annotated[
        str | None, typer.Option(help="Instead of --models: which members of a family fit, such as 'bert'?")
    ] = None,
    strategies: Annotated[str, typer.Option(help="Strategies, comma-separated.")] = "full,bitfit,bq_b2,frozen",
    shape: Annotated[str, typer.Option(help="Batch size x length in tokens.")] = "32x128",
    precision: Annotated[str, typer.Option(help="fp32, tf32 or bf16.")] = "fp32",
    match: Annotated[str | None, typer.Option(help="As for `run`.")] = None,
    budget: Annotated[float | None, typer.Option(help="As for `run`.")] = None,
    gpu: Annotated[str | None, typer.Option(help="A card by name, such as 'A100 80 GB': how long at least?")] = None,
    limits: Annotated[
        str | None, typer.Option(help="GiB of memory to fill, comma-separated; by default 8 to 80, or the card's.")
    ] = None,
    reserve: Annotated[
        float | None, typer.Option(min=0.0, help="GiB of each to leave free; by default 1, on a CPU none.")
    ] = None,
    on_cpu: Annotated[bool, typer.Option("--cpu", help="Training on a CPU, not on an accelerator.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines instead of tables.")] = False,
) -> None:
    """Forecast what a training step needs and what fits: no accelerator, no weights, a second or two a shape."""
    if family is not None and models is not None:
        raise InputError("--family and --models exclude each other; leave one out")
    asked = None if family is None else families.find(family)
    names, folders = overrides.model_folders(overrides.split(models or "bert-base"))
    batch_size, length = overrides.parse_shape(shape)
    card = None if gpu is None else cards.find(gpu)
    if on_cpu and card is not None:
        raise InputError(f"--gpu {gpu} and --cpu exclude each other; leave one out")
    from bench import family_planning, planning

    question = planning.Question(
        encoders=[encoders.find(name, folders) for name in names or ()] if asked is None else asked.encoders,
        strategies=overrides.split(strategies) or (),
        batch_size=batch_size,
        length=length,
        precision=overrides.parse_precision(precision),
        match=match,
        budget=budget,
        accelerator=not on_cpu,
        limits_gib=_limits(limits, card),
        reserve_gib=reserve if reserve is not None else 0.0 if on_cpu else 1.0,
        card=card,
    )
    if question.limits_gib[0] <= question.reserve_gib:
        raise InputError(f"of {question.limits_gib[0]} GiB {question.reserve_gib:g} are left free, so nothing remains")
    if asked is not None and as_json:
        family_planning.largest_members(asked, question, lambda one: typer.echo(one.model_dump_json()))
    elif asked is not None:
        answers = family_planning.largest_members(asked, question)
        Console().print(family_planning.table(asked, answers, question))
    elif as_json:
        planning.plan(question, lambda one: typer.echo(one.model_dump_json()))
    else:
        Console().print(planning.tables(planning.plan(question), question))


def _limits(text: str | None, card: Card | None) -> list[int]:
    """The limits asked for, else the memory of the card, else the usual ones."""
    if text is not None:
        return overrides.parse_limits(text)
    return list(cards.SIZES_GIB) if card is None else [int(card.memory_bytes / 2**30)]
