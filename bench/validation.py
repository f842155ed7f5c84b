"""What is wrong with a file a person wrote, in one line. Torch-free."""

import difflib
from collections.abc import Iterable

from pydantic import BaseModel, ValidationError


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
