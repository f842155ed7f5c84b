"""The command line. Torch and its kin are imported only by the commands that need them."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from bench import __version__
from bench.errors import Exit, InputError
from bench.export_benchmark_command import export_benchmark
from bench.plan_command import plan
from bench.profile_command import profile
from bench.run_command import OFFLINE, run
from bench.waiting import wait_quietly
from strategies.errors import StrategyError

app = typer.Typer(
    name="bitfit-bench",
    help="Which fine-tuning strategy to use for your model, your task and your hardware: what each one costs, "
    "what it loses, and how sure we are.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# What the extra `train` brings, by the names it is imported by; reports do without.
TRAINING = frozenset(
    {"datasets", "evaluate", "safetensors", "seqeval", "sklearn", "tensorboard", "torch", "transformers"}
)

RunFolder = Annotated[Path, typer.Argument(help="A run folder, such as runs/embedded-20260101T000000Z.")]


def main() -> None:
    """Entry point: bad input becomes one line and exit code 2, an interrupt exit code 130."""
    wait_quietly()
    try:
        app()
    except (InputError, StrategyError) as error:
        _refuse(str(error))
    except ModuleNotFoundError as error:
        if error.name not in TRAINING:
            raise
        _refuse(f"this command needs {error.name}: pip install -c constraints.txt '.[train]'")


def _refuse(why: str) -> NoReturn:
    Console(stderr=True).print(f"error: {why}", markup=False, highlight=False, soft_wrap=True)
    sys.exit(Exit.BAD_INPUT)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"bitfit-bench {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    """Options of the program itself."""


app.command()(run)


@app.command()
def report(folder: RunFolder) -> None:
    """Render the report of a run folder again."""
    from bench.store import RunStore
    from reports import page, terminal

    written = page.write(folder)
    console = Console()
    console.print(terminal.verdict(folder))
    for bad in RunStore.open(folder).read()[1]:
        console.print(f"warning: {bad}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"report: {written}", highlight=False, soft_wrap=True)


@app.command()
def compare(
    folders: Annotated[list[Path], typer.Argument(help="Two or more run folders; the first is the reference.")],
    fail_on: Annotated[
        list[str] | None, typer.Option(help="METRIC=LIMIT, may be repeated: exit 1 where a change is worse.")
    ] = None,
) -> None:
    """Put runs side by side over the cells they share.

    Exits 1 where a limit is broken, and 3 where nothing shared can be judged.
    """
    from reports import compare as comparing

    if len(folders) < 2:
        raise InputError("compare needs two run folders or more")
    found = comparing.compare(folders, [comparing.parse_limit(text) for text in fail_on or ()])
    Console().print(found)
    raise typer.Exit(found.exit_code)


@app.command()
def export(
    folder: RunFolder,
    to: Annotated[Path, typer.Option(help="Folder for the leaderboard's files.")],
    model: Annotated[str | None, typer.Option(help="Which encoder's, where several have predictions.")] = None,
    strategy: Annotated[str | None, typer.Option(help="Which strategy's, where several have predictions.")] = None,
    seed: Annotated[
        int | None, typer.Option(help="Which seed's; default: per task the best by selection score.")
    ] = None,
) -> None:
    """Write predictions of official test sets, made by `run --predict-test`, as the GLUE leaderboard takes them."""
    from reports import export as exporting

    found = exporting.export(folder, to, model=model, strategy=strategy, seed=seed)
    Console().print(str(found), markup=False, highlight=False, soft_wrap=True)


@app.command()
def tensorboard(
    folder: RunFolder, to: Annotated[Path, typer.Option(help="Folder for TensorBoard's --logdir.")]
) -> None:
    """Write losses, curves and hyperparameters of a run's quality cells as TensorBoard reads them."""
    from bench import scalars

    found = scalars.write(folder, to)
    console = Console()
    for line in (
        *(f"note: {note}" for note in found.notes),
        f"{len(found.folders)} cells written; run: tensorboard --logdir {to}",
    ):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


Model = Annotated[str | None, typer.Option(help="The base: a name or a folder; default: what the delta names.")]
CacheDir = Annotated[Path | None, typer.Option(help="Where archives are kept (XDG default).")]
Offline = Annotated[bool, typer.Option("--offline", help="Never reach for the network.")]


@app.command()
def predict(
    deltas: Annotated[list[Path], typer.Argument(help="Deltas of one encoder, as `run --keep-deltas` leaves them.")],
    text: Annotated[list[str] | None, typer.Option(help="A text, or the first of a pair; may be repeated.")] = None,
    text_pair: Annotated[
        list[str] | None,
        typer.Option(help="The second text of a pair, or a question's context; one for each, or all."),
    ] = None,
    source: Annotated[
        str | None, typer.Option("--input", help="A file with a text a line, '-' for standard input; a tab in pairs.")
    ] = None,
    model: Model = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines instead of a table.")] = False,
    device: Annotated[str | None, typer.Option(help="Any device torch knows; default: the accelerator found.")] = None,
    cache_dir: CacheDir = None,
    offline: Offline = False,
) -> None:
    """Predict texts with trained deltas of one or many tasks, the encoder in memory once."""
    os.environ |= OFFLINE if offline else {}
    from bench import archives, texts

    given = texts.gather(text or (), text_pair or (), source)
    from bench import predicting
    from bench.environment import choose_device

    found = predicting.predict(
        deltas,
        given,
        model=model,
        device=choose_device(device),
        cache_dir=cache_dir or archives.default_cache_dir(),
        offline=offline,
    )
    if as_json:
        for one in found:
            typer.echo(json.dumps(one.fields()))
    else:
        Console().print(predicting.table(found))


@app.command()
def merge(
    delta: Annotated[Path, typer.Argument(help="A delta, as `run --keep-deltas` leaves it.")],
    to: Annotated[Path, typer.Option(help="Folder to write; it must not exist.")],
    model: Model = None,
    cache_dir: CacheDir = None,
    offline: Offline = False,
) -> None:
    """Merge a trained delta into its encoder: a folder for `--models` and for transformers, and the head beside it."""
    os.environ |= OFFLINE if offline else {}
    from bench import archives, merging, texts

    info = merging.merge(delta, to, model=model, cache_dir=cache_dir or archives.default_cache_dir(), offline=offline)
    done = f"{info.strategy} of task {texts.escaped(info.task)} merged into {to}; its head is {merging.HEAD} there"
    Console().print(done, markup=False, highlight=False, soft_wrap=True)


app.command()(plan)
app.command()(profile)
app.command()(export_benchmark)


@app.command(name="list")
def list_names(
    what: Annotated[str, typer.Argument(help="suites, tasks, strategies, models or metrics.")] = "suites",
) -> None:
    """List what the suite knows by name."""
    from bench import listing

    Console().print(listing.table(what))
