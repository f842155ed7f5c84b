"""A listener for runs that nobody watches."""

from bench.cell import Cell
from bench.record import Record


class Silent:
    """A listener that does not listen."""

    def begin(self, cell: Cell, what: str) -> None: ...

    def advance(self, what: str, share: float, loss: float | None) -> None: ...

    def finish(self, record: Record) -> None: ...
