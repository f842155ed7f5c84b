"""What is wrong with a file a person wrote, in one line. Torch-free."""

import difflib
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from bench.errors import InputError, because


def read_text(path: Path, what: str) -> str:
    """The text of a file, without a byte order mark. Raises InputError, calling it `what`, where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the {what} {path}: {because(error)}") from None


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """What stands in a TOML file. Raises InputError, which names it by `where`, for text that is no TOML."""
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number may have too many digits, a list be nested too deep
        raise InputError(f"{where} is not TOML: {error}") from None


def explain(error: ValidationError, models: Iterable[type[BaseModel]]) -> str:
    """What is wrong, in one line: unknown keys first, each with the nearest one of `models`; else what is missing.

    An unknown key is often a needed one misspelt, so it is named before that one is missed. Where no key is unknown or
    missing, the first problem is told.
    """
    known = {name for model in models for name in model.model_fields}
    places: dict[str, list[str]] = {}
    for problem in error.errors():
        places.setdefault(problem["type"], []).append(".".join(map(str, problem["loc"])))
    if unknown := places.get("extra_forbidden"):
        return " ".join(_unknown(where, known) for where in unknown)
    if missing := places.get("missing"):
        return f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    said = first["msg"].removeprefix("Value error, ").replace("Input should be", "should be")
    return f"{where}: {said}" if where else said


def _unknown(where: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(where.rpartition(".")[2], known, n=1)
    return f"unknown key {where!r}" + (f"; did you mean {near[0]!r}?" if near else "")
