"""The command `plan`: what a training step needs and what fits, before there is a machine to try it on."""

from typing import Annotated

import typer
from rich.console import Console

from bench.errors import InputError


def plan(
    models: Annotated[str, typer.Option(help="Encoders, comma-separated: names or folders.")] = "bert-base",
    strategies: Annotated[str, typer.Option(help="Strategies, comma-separated.")] = "full,bitfit,bq_b2,frozen",
    shape: Annotated[str, typer.Option(help="Batch size x length in tokens.")] = "32x128",
    precision: Annotated[str, typer.Option(help="fp32, tf32 or bf16.")] = "fp32",
    match: Annotated[str | None, typer.Option(help="As for `run`.")] = None,
    budget: Annotated[float | None, typer.Option(help="As for `run`.")] = None,
    limits: Annotated[str, typer.Option(help="GiB of memory to fill, comma-separated.")] = "8,12,16,24,40,48,80",
    reserve: Annotated[
        float | None, typer.Option(min=0.0, help="GiB of each to leave free; by default 1, on a CPU none.")
    ] = None,
    on_cpu: Annotated[bool, typer.Option("--cpu", help="Training on a CPU, not on an accelerator.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines instead of tables.")] = False,
) -> None:
    """Forecast what a training step needs and what fits: no accelerator, no weights, a second or two a shape."""
    from bench import encoders, overrides

    names, folders = overrides.model_folders(overrides.split(models))
    batch_size, length = overrides.parse_shape(shape)
    from bench import planning

    question = planning.Question(
        encoders=[encoders.find(name, folders) for name in names or ()],
        strategies=overrides.split(strategies) or (),
        batch_size=batch_size,
        length=length,
        precision=overrides.parse_precision(precision),
        match=match,
        budget=budget,
        accelerator=not on_cpu,
        limits_gib=overrides.parse_limits(limits),
        reserve_gib=reserve if reserve is not None else 0.0 if on_cpu else 1.0,
    )
    if question.limits_gib[0] <= question.reserve_gib:
        raise InputError(f"of {question.limits_gib[0]} GiB {question.reserve_gib:g} are left free, so nothing remains")
    if as_json:
        planning.plan(question, lambda one: typer.echo(one.model_dump_json()))
    else:
        Console().print(planning.tables(planning.plan(question), question))
