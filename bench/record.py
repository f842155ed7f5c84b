"""Records: what one cell produced, schema-versioned and immutable, and the manifest of a run.

This module is torch-free: reports read records where no deep-learning package is installed.
"""

import json
from collections.abc import Sequence
from typing import Literal, TypeVar

from pydantic import Field, ValidationError, model_validator

from bench.arithmetic import Calibration
from bench.cell import Cell, CostCell, Planned, QualityCell, TrialCell
from bench.errors import InputError
from bench.frozen import Frozen
from bench.results import Audit, CostResult, QualityResult, Status, TrialResult

__all__ = ["CostCell", "InputError", "QualityCell", "Record", "TrialCell"]

SCHEMA_VERSION: Literal[1] = 1
# Name of the sidecar array with predictions of the official test rows, in the order of their file; those of further
# test files append their name.
TEST_PREDICTIONS = "test_predictions"
# Options of `run` that put others in the place of a suite's own, and the field of a cell that names them.
REPLACING = {"--tasks": "task", "--models": "model", "--strategies": "strategy"}
# So many names a title spells out.
TITLED = 3


Line = TypeVar("Line", "Record", Calibration)


class Conditions(Frozen):
    """What surrounded a measurement. Two records are comparable in full only where these agree.

    `test_fingerprint` is that of the official test rows; None where none were predicted, and in records of old.
    `wait_policy` is how OpenMP's threads wait (OMP_WAIT_POLICY); None where the environment did not say, and in
    records of old.
    """

    code_commit: str | None
    code_dirty: bool | None
    code_fingerprint: str
    versions: dict[str, str]
    data_fingerprint: str | None
    test_fingerprint: str | None = None
    model_fingerprint: str
    device: str
    device_name: str
    driver: str | None
    threads: int
    precision: str
    attention: str
    python: str
    platform: str
    wait_policy: str | None = None


class Sidecar(Frozen):
    """Where the raw arrays of a record lie, relative to the run folder, and the hash of that file."""

    path: str
    sha256: str


class Record(Frozen):
    """The outcome of one cell.

    `marks` are warnings that must appear wherever the result does (synthetic data, a contaminated
    encoder). `descriptions` holds one sentence each on the 'strategy', the 'task' and the 'model'.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    key: str
    cell: Cell
    status: Status
    reason: str | None = None
    started_utc: str
    wall_seconds: float
    conditions: Conditions
    marks: list[str] = Field(default=[])
    warnings: list[str] = Field(default=[])
    descriptions: dict[str, str] = Field(default={})
    quality: QualityResult | None = None
    trial: TrialResult | None = None
    cost: CostResult | None = None
    audit: Audit | None = None
    sidecar: Sidecar | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "Record":
        if self.key != self.cell.key:
            raise ValueError(f"key {self.key!r} is not the key of its cell, {self.cell.key!r}")
        if self.status == "ok" and getattr(self, self.cell.kind) is None:
            raise ValueError("a record with status ok needs its result")
        if (self.status == "ok") != (self.reason is None):
            raise ValueError("a reason is given exactly where the status is not ok")
        return self


class Manifest(Frozen):
    """What a run folder is for: the resolved suite, whose identity is the hash of its sorted keys."""

    schema_version: Literal[1] = SCHEMA_VERSION
    suite: str
    suite_hash: str
    cells: list[Planned]
    created_utc: str
    command: list[str]

    @property
    def title(self) -> str:
        """What a person should call the run."""
        return title(self.suite, self.cells, self.command)


def title(suite: str, cells: Sequence[Planned], command: Sequence[str]) -> str:
    """A suite's name and what the command put in the place of its own: 'embedded (tasks: tickets)'."""
    options = {word.partition("=")[0] for word in command}
    replaced = []
    for option, field in REPLACING.items():
        names = list(dict.fromkeys(getattr(cell, field) for cell in cells if hasattr(cell, field)))
        if option in options and names:
            more = f" and {len(names) - TITLED} more" if len(names) > TITLED else ""
            replaced.append(f"{option.removeprefix('--')}: {', '.join(names[:TITLED])}{more}")
    return f"{suite} ({'; '.join(replaced)})" if replaced else suite


def parse_record(line: str) -> Record:
    """Read one line of a records file, migrating older schema versions.

    Raises InputError with one line that says what is wrong with it.
    """
    return _parse(line, Record)


def parse_calibration(line: str) -> Calibration:
    """Read one line of a calibrations file. Raises InputError with one line that says what is wrong with it."""
    return _parse(line, Calibration)


def _version(kind: type[Frozen]) -> int:
    """The schema version that a kind of line is written with: records and calibrations are counted apart."""
    version: int = kind.model_fields["schema_version"].default
    return version


def _parse(line: str, kind: type[Line]) -> Line:
    name = kind.__name__.lower()
    try:
        data = json.loads(line)
    except json.JSONDecodeError as error:
        raise InputError(f"not JSON ({error.msg} at column {error.colno})") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"not a {name} ({error})") from None
    version, known = data.get("schema_version") if isinstance(data, dict) else None, _version(kind)
    if version != known:
        raise InputError(f"schema version {version!r}; this program reads version {known}")
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or name
        raise InputError(f"{where}: {first['msg']}") from None
