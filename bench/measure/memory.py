"""Peak memory of one training step, taken in a fresh process that does nothing else.

The parent calls `measure_peak`; the child runs this module, reads a cost cell and a device as JSON from
its standard input and writes a `MemoryPeak`, or what went wrong, as JSON to its standard output.
"""

import contextlib
import dataclasses
import gzip
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from bench import encoders
from bench.cell import CostCell
from bench.device import Device, device_of, peaks_of
from bench.encoders import Encoder
from bench.environment import prepare, worker_command
from bench.errors import because
from bench.measure.fake import fake_stepper
from bench.measure.live import LiveTensors, Peak, gradients, optimizer_tensors
from bench.measure.resident import reset_high_water, resident_bytes
from bench.measure.subject import ready
from bench.results import MEMORY_PARTS, MemoryAttribution, MemoryPeak
from bench.training import END, Stepper

# glibc keeps freed memory for itself by default, which hides a quarter of what a step gives back.
RETURN_FREED_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0", "MALLOC_ARENA_MAX": "1"}
WARMUP_STEPS = 2
FORECAST_WARMUP_STEPS = 1
TIMEOUT_SECONDS = 1800
# A page of a GPU's memory: free memory that changed by no more than that is the same.
SAME_FREE_BYTES = 2 * 2**20


class MemoryFailureError(RuntimeError):
    """The step could not be run in the fresh process; the message says why."""


def measure_peak(cell: CostCell, encoder: Encoder, device: torch.device, snapshot: Path | None = None) -> MemoryPeak:
    """The peak of one step of `cell` on `device`, measured in a fresh process.

    That process writes what the allocator did in one more step to `snapshot`, where a path is given and the device
    keeps such a history. Raises MemoryFailureError where that process gave no answer, with what it said last.
    """
    door = device_of(device)
    free = door.free_bytes()
    request = {
        "cell": cell.model_dump(),
        "folder": None if encoder.folder is None else str(encoder.folder),
        "device": str(device),
        "threads": torch.get_num_threads(),
        "free_bytes": free,
        "snapshot": None if snapshot is None else str(snapshot.absolute()),
    }
    environment = os.environ | RETURN_FREED_MEMORY if device.type == "cpu" else None
    try:
        child = subprocess.run(  # noqa: S603
            worker_command("bench.measure.memory"),
            input=json.dumps(request),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise MemoryFailureError(f"the memory measurement took longer than {TIMEOUT_SECONDS} s") from None
    if child.returncode == 0:
        return _undisturbed(_answer(child.stdout), free, door.free_bytes())
    reason = (child.stderr.strip().splitlines() or [f"the process ended with status {child.returncode}"])[-1]
    raise MemoryFailureError(reason)


def _answer(text: str) -> MemoryPeak:
    """What the fresh process wrote. Raises MemoryFailureError where that is no peak."""
    try:
        return MemoryPeak.model_validate_json(text)
    except ValidationError:
        raise MemoryFailureError(f"the process answered with what is no peak: {text.strip()[:80]!r}") from None


def _undisturbed(found: MemoryPeak, before: int | None, after: int | None) -> MemoryPeak:
    """`found` without its context where another process took or gave memory of the device meanwhile.

    What was free before the fresh process began is free again when it has ended, if nobody else was at work.
    """
    if found.context_bytes is None or before is None or after is None or abs(after - before) <= SAME_FREE_BYTES:
        return found
    reason = (
        f"another process changed the free memory of the device by {abs(after - before) / 2**20:,.0f} MiB meanwhile"
    )
    return found.model_copy(update={"context_bytes": None, "context_reason": reason})


def peak_of_step(
    cell: CostCell,
    encoder: Encoder,
    device: torch.device,
    free_bytes: int | None = None,
    snapshot: Path | None = None,
) -> MemoryPeak:
    """The peak of one step, in this process, after warm-up steps that create gradients and optimizer state.

    `free_bytes` is what was free on the device before this process had anything of it; None where that is not known.
    """
    before = resident_bytes("VmRSS")
    stepper, batch = ready(cell, encoder, device)
    for step in range(WARMUP_STEPS):
        stepper(batch, step)
    door = device_of(device)
    can_reset = reset_high_water()
    allocated, reserved = peaks_of(door, lambda: stepper(batch, WARMUP_STEPS))
    resident = resident_bytes("VmHWM") if can_reset else None
    if allocated is None:
        peak = live_peak(stepper, batch, WARMUP_STEPS + 1)
        return MemoryPeak(
            method="live tensors",
            peak_allocated_bytes=peak.bytes,
            peak_reserved_bytes=None,
            resident_high_water_bytes=resident,
            attribution=attribution(peak, peak.bytes),
            resident_before_bytes=before,
        )
    context, reason = _context(door, free_bytes)
    found = MemoryPeak(
        method="allocator",
        peak_allocated_bytes=allocated,
        peak_reserved_bytes=reserved,
        resident_high_water_bytes=None,
        allocated_by_phase_bytes=_phase_peaks(stepper, batch, WARMUP_STEPS + 1, door),
        attribution=attribution(live_peak(stepper, batch, WARMUP_STEPS + 2), allocated),
        fragmentation_bytes=None if reserved is None else reserved - allocated,
        context_bytes=context,
        context_reason=reason,
    )
    if snapshot is None:
        return found
    reason = _snapshot(snapshot, cell, lambda: door.history(lambda: stepper(batch, WARMUP_STEPS + 3)))
    return found.model_copy(update={"snapshot_reason": reason})


def _snapshot(path: Path, cell: CostCell, history: Callable[[], Mapping[str, Any] | None]) -> str | None:
    """Take a snapshot and write it; returns why there is none, which costs no figure measured before it."""
    try:
        found = history()
        if found is not None:
            write_snapshot(path, cell, found)
    except Exception as error:  # Whatever a full disk, a full device or a private interface of torch may raise.
        # Half a file would pass for a snapshot until somebody reads it.
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        return f"{type(error).__name__}: {because(error)}"
    return None


def write_snapshot(path: Path, cell: CostCell, history: Mapping[str, Any]) -> None:
    """Write an allocator's history as gzip JSON, with the key of its cell; the folder is made where it is not there.

    What JSON has no form for is written as text.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8") as file:
        json.dump({"cell": cell.key, **history}, file, default=str)


def _phase_peaks(stepper: Stepper, batch: Mapping[str, Tensor], step: int, device: Device) -> dict[str, int]:
    """The allocator's peak in each phase of one step, which waits for the device between them."""
    peaks: dict[str, int] = {}
    running: list[str] = []

    def mark(phase: str) -> None:
        device.synchronize()
        peak = device.peak_allocated_bytes()
        if running and peak is not None:
            peaks[running.pop()] = peak
        running.append(phase)
        device.reset_peak()

    dataclasses.replace(stepper, mark=mark)(batch, step)
    return peaks


def _context(device: Device, before: int | None) -> tuple[int | None, str | None]:
    """What this process holds of the device beyond its allocator, or None and the reason why that is not told.

    It is the free memory that went since `before`, when this process held nothing of the device, less what its
    allocator holds now.
    """
    free, reserved = device.free_bytes(), device.reserved_bytes()
    if free is None or reserved is None:
        return None, f"{device.torch_device.type} does not tell how much of its memory is free"
    if before is None:
        return None, "what was free before this process began is not known"
    held = before - free - reserved
    if held < 0:
        return None, "another process gave memory of the device back meanwhile"
    return held, None


def live_peak(stepper: Stepper, batch: Mapping[str, Tensor], step: int) -> Peak:
    """Most bytes of tensors alive at once in one step, and what they were.

    Kinds are those of MemoryAttribution: parameters with buffers, gradients, optimizer state; activations, which live
    on from the forward pass to the backward pass and end there; workspace, which an operation or two need; and as
    residual what nothing of that explains, such as what forward makes or touches and backward does not free.
    """
    tracker, model = LiveTensors(), stepper.applied.model

    def mark(phase: str) -> None:
        if phase == "backward":
            tracker.name_new("activations")
        elif phase == "clipping":
            tracker.watch(gradients(model), "gradients")
            tracker.rename_living("activations", "residual")
        elif phase == END:
            # What the step made and leaves behind.
            tracker.name_new("residual")
        tracker.begin(phase)

    with tracker:
        tracker.watch(itertools.chain(model.parameters(), model.buffers()), "parameters")
        tracker.watch(optimizer_tensors(stepper.optimizer), "optimizer")
        tracker.watch(batch.values(), "workspace")
        tracker.reset_peak()
        dataclasses.replace(stepper, mark=mark)(batch, step)
    return tracker.peak()


def attribution(peak: Peak, allocated_bytes: int) -> MemoryAttribution:
    """What the peak of `allocated_bytes` consists of; bytes that no tensor accounts for are residual."""
    sizes = {f"{part}_bytes": peak.by_kind.get(part, 0) for part in MEMORY_PARTS if part != "residual"}
    return MemoryAttribution(
        **sizes,
        residual_bytes=allocated_bytes - sum(sizes.values()),
        phase=peak.phase,
        peak_by_phase_bytes={phase: size for phase, size in peak.by_phase.items() if phase != END},
    )


def forecast_peak(cell: CostCell, encoder: Encoder, *, accelerator: bool = False) -> MemoryPeak:
    """The peak of one step of `cell` as its shapes alone tell it, in about a second and without its memory.

    On an accelerator its context, the workspace of its kernels and what its allocator cannot use come on top.
    Raises NoShapesError and StrategyError as `fake_stepper` does.
    """
    with fake_stepper(cell, encoder, accelerator=accelerator) as (stepper, batch):
        for step in range(FORECAST_WARMUP_STEPS):
            stepper(batch, step)
        return forecast_of(stepper, batch)


def forecast_of(stepper: Stepper, batch: Mapping[str, Tensor]) -> MemoryPeak:
    """The peak of one step of a fake stepper, which has taken FORECAST_WARMUP_STEPS others of whatever shape."""
    peak = live_peak(stepper, batch, FORECAST_WARMUP_STEPS)
    return MemoryPeak(
        method="forecast",
        peak_allocated_bytes=peak.bytes,
        peak_reserved_bytes=None,
        resident_high_water_bytes=None,
        attribution=attribution(peak, peak.bytes),
    )


def main() -> None:
    """Child process: measure the cell on standard input.

    Standard output is for the answer alone: whatever a library prints goes where errors go.
    """
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    request = json.load(sys.stdin)
    cell = CostCell.model_validate(request["cell"])
    device = torch.device(request["device"])
    prepare(device, {cell.precision}, request["threads"])
    folders = {cell.model: Path(request["folder"])} if request["folder"] else {}
    snapshot = Path(request["snapshot"]) if request["snapshot"] else None
    encoder = encoders.find(cell.model, folders)
    with answer:
        answer.write(peak_of_step(cell, encoder, device, request["free_bytes"], snapshot).model_dump_json())


if __name__ == "__main__":
    main()
