"""GPU cards by name: memory, bandwidth and peak rates, with where the figures come from. Torch-free.

A card sold with several sizes of memory is several cards here: 'A100 40 GB' and 'A100 80 GB'. Figures are those of
data sheets, which no program reaches; the floor of a step made from them is a floor.
"""

import difflib
import functools
import re
import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from bench.arithmetic import Arithmetic, Floor
from bench.cell import Precision
from bench.errors import InputError

TABLE = Path(__file__).with_name("cards.toml")
SIZES_GIB = (8, 12, 16, 24, 40, 48, 80)
"""How much memory cards have, as a rule."""
GIGA, TERA = 10**9, 10**12
# Words of a full name that tell no card of the table from another: makers, families, forms and kinds of memory.
NOISE = {"nvidia", "geforce", "tesla", "amd", "radeon", "instinct", "tensor", "core", "gpu"}
NOISE |= {"sxm", "sxm2", "sxm4", "sxm5", "hbm2", "hbm2e", "hbm3", "hbm3e"}
MEMORY = re.compile(r"(?<![a-z0-9])(\d+) ?gi?b(?![a-z0-9])")

Positive = Annotated[float, Field(gt=0)]


class _Entry(BaseModel):
    """One entry of the table: a card in one or more sizes, each with its bandwidth.

    A size goes by the figure it is sold by, which is about what the driver shows in GiB; `memory_gib` is what it shows
    where that is less by more than one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str
    memory_gb: tuple[Annotated[int, Field(gt=0)], ...]
    memory_gib: tuple[Annotated[int, Field(gt=0)], ...] | None = None
    bandwidth_gb_s: tuple[Positive, ...]
    fp32_tflops: Positive
    tf32_tflops: Positive | None = None
    bf16_tflops: Positive | None = None
    fp16_tflops: Positive | None = None
    source: str
    grade: Literal["C", "S", "R"]

    @model_validator(mode="after")
    def _paired(self) -> "_Entry":
        if len(self.memory_gb) != len(self.bandwidth_gb_s):
            raise ValueError("each size of memory needs its bandwidth")
        if self.memory_gib is not None and len(self.memory_gib) != len(self.memory_gb):
            raise ValueError("each size of memory needs what the driver shows of it")
        return self


class Card(BaseModel):
    """A card as its data sheet describes it.

    sold_gb           the figure its memory is sold by
    memory_gib        what there is of it, in whole GiB; the driver itself takes up to one of them
    flops_per_second  peak rate of dense products by precision; 'fp16' is there for reading only
    source, grade     where the figures come from and how sure that is: C confirmed, S supported, R recalled only
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    sold_gb: int
    memory_gib: int
    bytes_per_second: float
    flops_per_second: dict[str, float]
    source: str
    grade: Literal["C", "S", "R"]

    def rate(self, precision: Precision) -> float | None:
        """Peak operations a second at a precision; None where the card, or what is known of it, has none."""
        return self.flops_per_second.get(precision)


@functools.cache
def cards() -> tuple[Card, ...]:
    """Every card of the table, in its order."""
    with TABLE.open("rb") as file:
        entries = [_Entry.model_validate(entry) for entry in tomllib.load(file)["card"]]
    return tuple(card for entry in entries for card in _sizes(entry))


def find(name: str) -> Card:
    """The card called `name`, whatever its case, spaces, punctuation and maker.

    Raises InputError with the nearest names where there is none, and with the sizes where several are meant.
    """
    wanted, memory = _read(name)
    meant = [card for card in cards() if _read(card.name)[0] == wanted]
    fitting = [card for card in meant if memory in (None, card.sold_gb)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise InputError(f"GPU {name!r} comes in several sizes: {', '.join(card.name for card in meant)}; name one")
    known = {_read(card.name)[0]: card.name for card in cards()}
    near = [card.name for card in meant] or [
        known[text] for text in difflib.get_close_matches(wanted, known, cutoff=0.4)
    ]
    listed = ", ".join(near or [card.name for card in cards()])
    raise InputError(f"unknown GPU {name!r}; {'nearest' if near else 'known'}: {listed}")


def floor_on_card(arithmetic: Arithmetic, card: Card, precision: Precision) -> tuple[Floor | None, str | None]:
    """The floor of a step on a card, by its data sheet; None and the reason where its rate is not known."""
    rate = card.rate(precision)
    if rate is None:
        known = ", ".join(card.flops_per_second)
        return None, f"no {precision} rate is known of {card.name}, only {known}"
    return arithmetic.floor(rate, card.bytes_per_second), None


def _sizes(entry: _Entry) -> list[Card]:
    rates = {
        "fp32": entry.fp32_tflops,
        "tf32": entry.tf32_tflops,
        "bf16": entry.bf16_tflops,
        "fp16": entry.fp16_tflops,
    }
    several = len(entry.memory_gb) > 1
    return [
        Card(
            name=f"{entry.name} {sold} GB" if several else entry.name,
            sold_gb=sold,
            memory_gib=there,
            bytes_per_second=bandwidth * GIGA,
            flops_per_second={name: rate * TERA for name, rate in rates.items() if rate is not None},
            source=entry.source,
            grade=entry.grade,
        )
        for sold, there, bandwidth in zip(
            entry.memory_gb, entry.memory_gib or entry.memory_gb, entry.bandwidth_gb_s, strict=True
        )
    ]


def _read(name: str) -> tuple[str, int | None]:
    """What a name says of the model, in small letters and digits, and of the memory in GB."""
    text = " ".join(re.split(r"[^a-z0-9]+", name.casefold()))
    memory = MEMORY.search(text)
    words = MEMORY.sub(" ", text).split()
    return "".join(word for word in words if word not in NOISE), None if memory is None else int(memory[1])
