"""What changes: one module a strategy, one line a strategy in the table below.

This file imports no torch, so that names can be listed and checked at once.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """A strategy's line in the table.

    module    where its `apply` lives
    sentence  what it trains, for people
    argument  what may follow a colon: None for nothing, else a short description of it
    random    whether it draws coordinates, so that a mask seed makes sense
    """

    module: str
    sentence: str
    argument: str | None = None
    random: bool = False


TABLE: dict[str, Entry] = {
    "full": Entry("strategies.full", "Trains every parameter of the encoder."),
}
