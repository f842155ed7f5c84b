"""What is wrong with a file a person wrote, in one line. Torch-free."""

import difflib
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from bench.errors import InputError


def read_text(path: Path, what: str) -> str:
    """The text of a file, without a byte order mark. Raises InputError, calling it `what`, where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the {what} {path}: {error}") from None


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """What stands in a TOML file. Raises InputError, which names it by `where`, for text that is no TOML."""
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number may have too many digits, a list be nested too deep
        raise InputError(f"{where} is not TOML: {error}") from None


def explain(error: ValidationError, models: Iterable[type[BaseModel]]) -> str:
    """The first problem in one line; for a key that is in none of `models`, with the nearest one that is."""
    problem = error.errors()[0]
    where = ".".join(map(str, problem["loc"]))
    if problem["type"] != "extra_forbidden":
        said = problem["msg"].removeprefix("Value error, ")
        return f"{where}: {said}" if where else said
    known = {name for model in models for name in model.model_fields}
    near = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1)
    return f"unknown key {where!r}" + (f"; did you mean {near[0]!r}?" if near else "")
