"""Families of encoders whose sizes form a series, by name, with where their shapes come from. Torch-free."""

import difflib
import functools
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from bench.encoders import Encoder, default_pooling
from bench.errors import InputError

TABLE = Path(__file__).with_name("families.toml")

Positive = Annotated[int, Field(gt=0)]


class Member(BaseModel):
    """A size of a family: what its configuration adds to what all members share, and its published parameters."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    parameters: Positive
    shape: dict[str, Any]


class Family(BaseModel):
    """Encoders of one kind, the one that needs least first.

    shared         fields of every member's `transformers` configuration, `model_type` among them
    source, grade  where the shapes come from and how sure that is; the file says what the grades mean
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    sentence: str
    source: str
    grade: Literal["C", "S", "R"]
    shared: dict[str, Any]
    member: Annotated[tuple[Member, ...], Field(min_length=2)]

    @property
    def encoders(self) -> list[Encoder]:
        """The members, without weights, in the order of what they need."""
        pooling = default_pooling(self.shared["model_type"])
        return [
            Encoder(one.name, f"A member of {self.name}.", self.shared | one.shape, pooling=pooling)
            for one in self.member
        ]


@functools.cache
def families() -> dict[str, Family]:
    """Every family of the table by name."""
    with TABLE.open("rb") as file:
        entries = [Family.model_validate(entry) for entry in tomllib.load(file)["family"]]
    return {family.name: family for family in entries}


def find(name: str) -> Family:
    """The family called `name`, whatever its case. Raises InputError with the nearest names where there is none."""
    known = families()
    wanted = name.strip().casefold()
    if wanted not in known:
        near = difflib.get_close_matches(wanted, known, cutoff=0.4)
        raise InputError(f"unknown family {name!r}; {'nearest' if near else 'known'}: {', '.join(near or known)}")
    return known[wanted]
