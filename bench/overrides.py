"""What the command line may change of a suite, parsed from what a person types. Torch-free."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from reprlib import repr as shown
from typing import Any, get_args

import strategies
from bench import encoders, matrix
from bench import suite as suites
from bench.cell import Attention, Precision
from bench.errors import InputError
from bench.settings import ALL, RATES, Training
from bench.suite import Suite

# More seeds than anybody runs: a slip of the keyboard must not fill the memory.
MOST_SEEDS = 1000


def split(text: str | None) -> list[str] | None:
    """Comma-separated names as a list; None stays None. Raises InputError for an empty name."""
    if text is None:
        return None
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise InputError(f"empty name in {text!r}; write names separated by single commas")
    return names


def parse_seeds(text: str | None, option: str = "--seeds") -> list[int] | None:
    """Seeds from '0,1,2' or '0-4' or a mix of both. Raises InputError for anything else, and for too many."""
    seeds: dict[int, None] = {}
    for part in split(text) or []:
        match = re.fullmatch(r"(\d{1,18})(?:-(\d{1,18}))?", part)
        if match is None:
            raise InputError(
                f"seed {shown(part)} is neither a number nor a range; write {option} 0,1,2 or {option} 0-4"
            )
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise InputError(f"the seed range {part!r} runs backwards")
        seeds |= dict.fromkeys(range(first, min(last, first + MOST_SEEDS) + 1))
        if len(seeds) > MOST_SEEDS:
            raise InputError(f"{option} names more than {MOST_SEEDS} seeds with {part!r}; name fewer")
    return None if text is None else list(seeds)


def parse_sizes(text: str | None) -> list[int | str] | None:
    """Training-set sizes from '100,300,all'. Raises InputError for what is neither a number nor 'all'."""
    parts = split(text)
    for part in parts or ():
        if part != ALL and not re.fullmatch(r"\d{1,18}", part):
            raise InputError(f"size {shown(part)} is neither a number nor 'all'; write --train-sizes 100,300,all")
    return None if parts is None else [part if part == ALL else int(part) for part in parts]


def parse_shape(text: str) -> tuple[int, int]:
    """Batch size and length from '32x128'. Raises InputError for anything else."""
    match = re.fullmatch(r"([1-9]\d{0,8})x([1-9]\d{0,8})", text.strip())
    if match is None:
        raise InputError(f"shape {shown(text)} is not a batch size and a length; write --shape 32x128")
    return int(match[1]), int(match[2])


def parse_limits(text: str) -> list[int]:
    """Amounts of memory in GiB from '8,16,80', each once. Raises InputError for what is no positive number."""
    parts = split(text) or []
    for part in parts:
        if not re.fullmatch(r"[1-9]\d{0,5}", part):
            raise InputError(f"limit {shown(part)} is no whole number of GiB; write --limits 8,16,80")
    return sorted({int(part) for part in parts})


def parse_precision(text: str) -> Precision:
    """A precision by its name. Raises InputError for an unknown one."""
    known: dict[str, Precision] = {name: name for name in get_args(Precision)}
    if text not in known:
        raise InputError(f"precision {shown(text)} is none of {', '.join(known)}")
    return known[text]


def parse_attention(text: str | None) -> Attention | None:
    """An attention by its name; None stays None. Raises InputError for an unknown one."""
    known: dict[str | None, Attention | None] = {None: None} | {name: name for name in get_args(Attention)}
    if text not in known:
        raise InputError(f"attention {shown(text)} is none of {', '.join(get_args(Attention))}")
    return known[text]


def parse_rates(texts: Sequence[str] | None, known: Sequence[str]) -> dict[str, float]:
    """Learning rates from 'STRATEGY=RATE', or a bare 'RATE' for all of `known`, the run's strategies; later ones win.

    Raises InputError for what is no positive number and for a strategy that the run does not have, by which one with
    an argument also goes without it, and StrategyError for an unknown strategy.
    """
    rates: dict[str, float] = {}
    used = {name for one in known for name in matrix.rated_as(strategies.canonical(one))}
    for text in texts or ():
        name, _, number = text.rpartition("=")
        try:
            rate = float(number)
        except ValueError:
            rate = 0.0
        if not 0.0 < rate < float("inf"):
            raise InputError(f"--learning-rate {text!r}: {number!r} is no positive number; write bitfit=1e-3 or 1e-3")
        if name and strategies.canonical(name) not in used:
            raise InputError(f"--learning-rate {text!r}: the run has no strategy {name!r}, but {', '.join(known)}")
        rates |= {name: rate} if name else dict.fromkeys(known, rate)
    return rates


def model_folders(names: Sequence[str] | None) -> tuple[list[str] | None, dict[str, Path]]:
    """Model names as cells use them, and the folders among them: a folder goes by its own name in keys.

    What holds a path separator, or is an existing folder, is a folder. Raises InputError where a folder is
    none, or where two would go by one name.
    """
    folders: dict[str, Path] = {}
    if names is None:
        return None, folders
    plain = []
    for name in names:
        path = Path(name)
        if "/" not in name and "\\" not in name and not (path / "config.json").is_file():
            plain.append(name)
            continue
        if not (path / "config.json").is_file():
            raise InputError(f"{name} holds no encoder: it has no config.json")
        own = path.resolve().name
        if own in encoders.TABLE:
            raise InputError(f"the model folder {path} is called {own!r} like a model of the program; rename it")
        if own in folders:
            raise InputError(f"two model folders are called {own!r}; rename one")
        folders[own] = path.resolve()
        plain.append(own)
    return plain, folders


def settings_of(suite: Suite) -> str:
    """What the quality section of a suite sets for the tasks that are named in the place of its own."""
    if suite.quality is None:
        return ""
    kept = {"strategies", "seeds", "mask_seeds", *Training.model_fields}
    found = suite.quality.model_dump(include=kept, exclude_none=True, exclude_defaults=True)
    rated = {name for kind in RATES & found.keys() for name in found[kind]}
    used = {next((name for name in matrix.rated_as(one) if name in rated), one) for one in suite.quality.strategies}
    for kind in RATES & found.keys():
        found[kind] = {name: rate for name, rate in found[kind].items() if name in used}
    return ", ".join(f"{name} = {_plainly(value)}" for name, value in found.items() if value != {})


def _plainly(value: object) -> str:
    """A setting as one would type it."""
    if isinstance(value, list):
        return ",".join(map(_plainly, value))
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plainly(one)}" for name, one in value.items())
    return f"{value:g}" if isinstance(value, float) else str(value)


def apply(
    suite: Suite, *, skip: str | None, quality: Mapping[str, Any], cost: Mapping[str, Any], rates: Sequence[str] | None
) -> Suite:
    """The suite with what was asked for on the command line in place; values of None were not asked for."""
    if skip not in (None, "cost", "quality"):
        raise InputError(f"--skip {skip!r} is neither 'cost' nor 'quality'")
    if skip is not None:
        suite = suite.model_copy(update={"cost": []} if skip == "cost" else {"quality": None})
    wanted = {name: value for name, value in quality.items() if value is not None}
    names = wanted.get("strategies") or (suite.quality.strategies if suite.quality else [])
    if rates:
        # Without quality cells there is no rate to set, whatever it is: `suites.override` says so.
        wanted["learning_rate"] = parse_rates(rates, names) if suite.quality is not None else {}
    both = {name: value for name, value in cost.items() if value is not None}
    if suite.quality is None:
        wanted = {name: value for name, value in wanted.items() if name not in both}
    return suites.override(suite, wanted, both) if wanted or both else suite
