"""The run folder: a manifest, append-only records in JSON lines, and raw arrays beside them.

Torch-free. Nothing finished is ever lost: a line is written whole and flushed to disk before the next
cell starts, and a damaged line is reported and passed over, never removed.
"""

import contextlib
import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from filelock import FileLock, Timeout
from pydantic import ValidationError

from bench.arithmetic import Calibration
from bench.errors import InputError
from bench.record import Manifest, Record, Sidecar, parse_calibration, parse_record

__all__ = ["BadLine", "InputError", "RunStore"]

MANIFEST = "run.json"
RECORDS = "records.jsonl"
CALIBRATIONS = "calibrations.jsonl"
ARRAYS = "arrays"

Line = TypeVar("Line", Record, Calibration)


@dataclass(frozen=True)
class BadLine:
    """A line of a records file that could not be read."""

    path: Path
    number: int
    reason: str

    def __str__(self) -> str:
        return f"{self.path}, line {self.number}: {self.reason}; the line is passed over"


class RunStore:
    """One run folder. `create` begins one, `open` reads one; `append` needs the folder's lock."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest
        self._lock = FileLock(folder / ".lock")

    @classmethod
    def create(cls, folder: Path, manifest: Manifest) -> "RunStore":
        """Begin a run in `folder`, which must not hold one yet. Raises InputError where it cannot be written."""
        if (folder / MANIFEST).exists():
            raise InputError(f"{folder} already holds a run; resume it or name another folder")
        if (folder / RECORDS).exists():
            raise InputError(f"{folder} holds {RECORDS} but no {MANIFEST}: put it back, or name another folder")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / MANIFEST).write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise InputError(f"cannot write to the run folder {folder}: {error.strerror}") from None
        return cls(folder, manifest)

    @classmethod
    def open(cls, folder: Path) -> "RunStore":
        """Open an existing run. Raises InputError where `folder` is none or its manifest is damaged."""
        try:
            text = (folder / MANIFEST).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise InputError(f"{folder / MANIFEST} is damaged: it is not UTF-8 text") from None
        except OSError:
            raise InputError(f"{folder} is not a run folder: it has no readable {MANIFEST}") from None
        try:
            manifest = Manifest.model_validate_json(text)
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(map(str, problem["loc"])) or "the file"
            raise InputError(f"{folder / MANIFEST} is damaged: {where}: {problem['msg']}") from None
        return cls(folder, manifest)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder for writing. Raises InputError where another process has it or it cannot be written."""
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise InputError(f"{self.folder} is in use by another bitfit-bench process") from None
        except OSError as error:
            raise InputError(f"cannot write to the run folder {self.folder}: {error.strerror}") from None
        try:
            yield
        finally:
            self._lock.release()

    def append(self, record: Record, arrays: Mapping[str, np.ndarray] | None = None) -> Record:
        """Write `record`, and its raw arrays first; returns it with the sidecar filled in."""
        if arrays:
            record = record.model_copy(update={"sidecar": self._write_arrays(arrays)})
        self._append_line(RECORDS, record.model_dump_json())
        return record

    def append_calibration(self, calibration: Calibration) -> None:
        """Write the machine's rates beside the records."""
        self._append_line(CALIBRATIONS, calibration.model_dump_json())

    def _append_line(self, name: str, text: str) -> None:
        with (self.folder / name).open("ab+") as file:
            file.seek(0, os.SEEK_END)
            if file.tell():
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    file.write(b"\n")
            file.write(text.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def _write_arrays(self, arrays: Mapping[str, np.ndarray]) -> Sidecar:
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **arrays)
        digest = hashlib.sha256(buffer.getvalue()).hexdigest()
        path = Path(ARRAYS) / f"{digest[:16]}.npz"
        (self.folder / ARRAYS).mkdir(exist_ok=True)
        (self.folder / path).write_bytes(buffer.getvalue())
        return Sidecar(path=path.as_posix(), sha256=digest)

    def read(self) -> tuple[list[Record], list[BadLine]]:
        """All readable records in the order written, and the lines that are not."""
        return self._read_lines(RECORDS, parse_record)

    def calibrations(self) -> tuple[list[Calibration], list[BadLine]]:
        """All readable calibrations in the order taken, and the lines that are not; none in runs of old."""
        return self._read_lines(CALIBRATIONS, parse_calibration)

    def _read_lines(self, name: str, parse: Callable[[str], Line]) -> tuple[list[Line], list[BadLine]]:
        path = self.folder / name
        good: list[Line] = []
        bad: list[BadLine] = []
        try:
            lines = path.read_bytes().split(b"\n") if path.exists() else []
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}") from None
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                good.append(parse(line.decode("utf-8")))
            except UnicodeDecodeError:
                bad.append(BadLine(path, number, "not UTF-8"))
            except InputError as error:
                bad.append(BadLine(path, number, str(error)))
        return good, bad

    def latest(self) -> dict[str, Record]:
        """The last readable record of each key: a retried cell supersedes its earlier record."""
        return {record.key: record for record in self.read()[0]}

    def arrays(self, record: Record) -> dict[str, np.ndarray]:
        """The raw arrays of a record. Raises InputError where the sidecar is missing or does not match its hash."""
        if record.sidecar is None:
            return {}
        path = self.folder / record.sidecar.path
        try:
            content = path.read_bytes()
        except OSError as error:
            raise InputError(f"cannot read {path}, the raw values of {record.key}: {error.strerror}") from None
        if hashlib.sha256(content).hexdigest() != record.sidecar.sha256:
            raise InputError(f"{path} does not match the hash in its record ({record.key}): it was changed or cut")
        with np.load(io.BytesIO(content), allow_pickle=False) as loaded:
            return {name: loaded[name] for name in loaded.files}


def suite_hash(keys: list[str]) -> str:
    """A suite's identity: the hash of its sorted keys, never its name."""
    return hashlib.sha256(json.dumps(sorted(keys)).encode()).hexdigest()[:16]
