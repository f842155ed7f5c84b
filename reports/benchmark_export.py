"""Writes the step times of a run's cost cells as pytest-benchmark's JSON, for its `compare` and its histograms."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.record import CostCell, InputError, Record
from bench.store import RunStore
from reports.benchmark_statistics import summary
from reports.files import write_atomic

FORMAT_VERSION = "5.3.1"
"""The version of pytest-benchmark whose layout this is."""
TIMES = "step_seconds"
# What may tell two benchmarks of one model, strategy and shape apart; a name tells what is not the default.
ASKED: tuple[str, ...] = ("precision", "attention", "gradient_checkpointing", "hidden_dropout", "attention_dropout")
ASKED += ("clip_norm", "labels", "budget", "match", "mask_seed")


@dataclass(frozen=True)
class Exported:
    """How many benchmarks a file holds, and what a reader should know of them, one line each."""

    benchmarks: int
    notes: tuple[str, ...]


def write(folder: Path, to: Path, *, replace: bool = False) -> Exported:
    """Write the finished cost cells of the run `folder` into the file `to`.

    Raises InputError where there is no finished cost cell, where raw times are missing or damaged, and where `to`
    exists and is not to be replaced.
    """
    if to.is_dir():
        raise InputError(f"{to} is a folder; name a file, such as {to / 'steps.json'}")
    if to.exists() and not replace:
        raise InputError(f"{to} exists; name another file, or replace it with --force")
    store = RunStore.open(folder)
    records, damaged = _records(store)
    finished = [record for record in records if record.status == "ok"]
    if not finished:
        raise InputError(f"{folder} holds no finished cost cell, so there are no step times to export")
    document = {
        "machine_info": _machine(finished[0]),
        "commit_info": _commit(finished[0]),
        "benchmarks": [_benchmark(store, record) for record in finished],
        "datetime": store.manifest.created_utc,
        "version": FORMAT_VERSION,
    }
    write_atomic(to, (json.dumps(document, indent=4) + "\n").encode())
    failed = [f"left out: {one.key}: {one.status}: {one.reason}" for one in records if one.status != "ok"]
    return Exported(len(finished), (*damaged, *failed, *_mixed(finished)))


def _records(store: RunStore) -> tuple[list[Record], list[str]]:
    """The last record of each cost cell in the order of the suite, and the lines that could not be read."""
    read, bad = store.read()
    latest = {record.key: record for record in read if record.cell.kind == "cost"}
    planned = [cell.key for cell in store.manifest.cells if cell.key in latest]
    keys = dict.fromkeys([*planned, *latest])
    return [latest[key] for key in keys], [str(line) for line in bad]


def _benchmark(store: RunStore, record: Record) -> dict[str, Any]:
    """One cost cell: a group is what was timed together, its members are strategies."""
    cell, arrays = record.cell, store.arrays(record)
    if not isinstance(cell, CostCell) or TIMES not in arrays:
        raise InputError(f"{record.key} has no raw step times in {store.folder}; it cannot be exported")
    seconds = arrays[TIMES].ravel().tolist()
    shape = f"{cell.batch_size}x{cell.length}"
    asked = {name: getattr(cell, name) for name in (*ASKED, "replicate")}
    usual = {name: CostCell.model_fields[name].default for name in asked}
    apart = "".join(f", {name.replace('_', ' ')} {asked[name]}" for name in asked if asked[name] != usual[name])
    return {
        "group": cell.step.group.replace(" strategy=*", ""),
        "name": f"{cell.strategy}{apart} [{cell.model}-{shape}]",
        "fullname": record.key,
        "params": {"model": cell.model, "strategy": cell.strategy, "shape": shape, "pooling": cell.pooling, **asked},
        "param": f"{cell.model}-{shape}-{cell.strategy}{apart}",
        "extra_info": _about(record),
        "options": {"rounds": cell.rounds, "steps_per_round": cell.steps_per_round, "warmup_steps": cell.warmup_steps},
        "stats": {**summary(seconds), "data": seconds, "iterations": 1},
    }


def _about(record: Record) -> dict[str, Any]:
    """What else was measured of a cell, and what a reader should know; None where a figure does not exist."""
    result = record.cost
    memory = None if result is None else result.memory
    return {
        "peak_allocated_bytes": None if memory is None else memory.peak_allocated_bytes,
        "encoder_trainable": None if result is None else result.counts.encoder_trainable,
        "device": record.conditions.device_name,
        "commit": record.conditions.code_commit,
        "warnings": list(record.warnings),
    }


def _machine(record: Record) -> dict[str, Any]:
    """What is known of the machine, where pytest-benchmark looks for it; what no record holds is None."""
    found = record.conditions
    system, _, _ = found.platform.partition("-")
    return {
        "node": None,
        "processor": None,
        "machine": None,
        "python_compiler": None,
        "python_implementation": None,
        "python_implementation_version": None,
        "python_version": found.python,
        "python_build": None,
        "release": None,
        "system": system,
        "cpu": {"brand_raw": found.device_name if found.device == "cpu" else None},
        "device": found.device,
        "device_name": found.device_name,
        "driver": found.driver,
        "threads": found.threads,
        "platform": found.platform,
        "versions": found.versions,
    }


def _commit(record: Record) -> dict[str, Any]:
    """The commit of the code; 'unversioned', as pytest-benchmark says, for an installed copy."""
    found = record.conditions
    return {
        "id": found.code_commit or "unversioned",
        "time": None,
        "author_time": None,
        "dirty": found.code_dirty,
        "project": "bitfit-bench",
        "branch": "(unknown)",
    }


def _mixed(records: list[Record]) -> list[str]:
    """A note where the run was continued on another machine or with other code: a file names one of each."""
    machines = {record.conditions.device_name for record in records}
    commits = {record.conditions.code_commit for record in records}
    return [
        f"the cells were timed {what} ({', '.join(sorted(map(str, found)))}); each benchmark's extra_info says which"
        for what, found in (("on several machines", machines), ("with several commits", commits))
        if len(found) > 1
    ]
