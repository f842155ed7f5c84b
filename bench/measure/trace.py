"""A trace of a few training steps: taken apart from any timing, written for trace viewers, and summed up.

The steps are those that cost cells time, in a model of its own after warm-up. The profiler slows small operators down,
so nothing of this is a step time: it shows where the time goes, and where two strategies differ.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile, record_function, schedule, tensorboard_trace_handler

import strategies
from bench.audit import AuditError, wrong_selection
from bench.cell import CostCell
from bench.configurations import attention_of
from bench.device import device_of, peaks_of
from bench.encoders import Encoder
from bench.environment import conditions
from bench.fingerprints import config_fingerprint
from bench.measure import trace_events
from bench.measure.live import model_tensors, optimizer_tensors
from bench.measure.subject import cost_config, ready
from bench.profiles import PROFILE, MemoryCurve, Profile
from bench.training import END, Stepper

NO_MEMORY = "not recorded; ask for it with --memory"
UNTOLD = "the device does not tell what its allocator holds as the steps begin"
# Before the first recorded step the profiler takes one that it throws away: its own start would be in it.
DISCARDED_STEPS = 1


@dataclass(frozen=True)
class TraceOptions:
    """What to record besides times: `memory` every allocation; `stacks` shapes and Python stacks, which take room."""

    memory: bool = False
    stacks: bool = False


class PhaseRanges:
    """Marks the phases of steps in the trace; to be called as `Stepper.mark`."""

    def __init__(self) -> None:
        self._open: record_function | None = None

    def __call__(self, phase: str) -> None:
        """End the phase that runs and begin `phase`, unless that is END."""
        if self._open is not None:
            self._open.__exit__(None, None, None)
        self._open = None if phase == END else record_function(trace_events.PHASE + phase)
        if self._open is not None:
            self._open.__enter__()  # type: ignore[no-untyped-call]


@contextmanager
def module_ranges(model: nn.Module) -> Iterator[None]:
    """While open, every module of `model` marks its forward pass in the trace by its name."""
    hooks = []
    for name, module in model.named_modules():
        if name:
            ranges = _ModuleRanges(name)
            hooks.append(module.register_forward_pre_hook(ranges.enter))
            hooks.append(module.register_forward_hook(ranges.leave))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


class _ModuleRanges:
    """The open ranges of one module: more than one where it runs inside itself."""

    def __init__(self, name: str) -> None:
        self._name = trace_events.MODULE + name
        self._open: list[record_function] = []

    def enter(self, module: nn.Module, inputs: Any) -> None:  # noqa: ARG002
        """Begin a range."""
        self._open.append(record_function(self._name))
        self._open[-1].__enter__()  # type: ignore[no-untyped-call]

    def leave(self, module: nn.Module, inputs: Any, output: Any) -> None:  # noqa: ARG002
        """End the innermost range."""
        self._open.pop().__exit__(None, None, None)


def record(
    cell: CostCell, encoder: Encoder, device: torch.device, folder: Path, steps: int, options: TraceOptions
) -> Profile:
    """Trace `steps` steps of `cell` into `folder`: the trace itself, and the profile that sums it up.

    Raises AuditError where the strategy trains the wrong values, StrategyError where it does not fit the model,
    torch.OutOfMemoryError where the step does not fit the device.
    """
    # Finer than records write it: profiles are shown in the order they were taken.
    started = datetime.now(UTC).isoformat(timespec="milliseconds")
    stepper, batch = ready(cell, encoder, device)
    wrong = wrong_selection(stepper.applied)
    if wrong:
        raise AuditError(wrong)
    stepper = replace(stepper, mark=PhaseRanges())
    for step in range(cell.warmup_steps):
        stepper(batch, step)
    held = _held_bytes(stepper, batch.values(), device)
    with module_ranges(stepper.applied.model):
        profiler = _profile(stepper, batch, cell.warmup_steps, steps, device, folder, options)
    (trace,) = folder.glob("*.pt.trace.json.gz")
    config = cost_config(cell, encoder)
    found = _summary(profiler, device, held, options) | {
        "cell": cell,
        "started_utc": started,
        "conditions": conditions(
            device,
            cell.precision,
            attention=attention_of(config),
            model_fingerprint=config_fingerprint(config),
            data_fingerprint=None,
        ),
        "descriptions": {"strategy": strategies.sentence(cell.strategy), "model": encoder.sentence},
        "steps": steps,
        "trace": trace.name,
        "trace_bytes": trace.stat().st_size,
        "stacks": options.stacks,
    }
    result = Profile.model_validate(found)
    (folder / PROFILE).write_text(result.model_dump_json() + "\n", encoding="utf-8")
    return result


def _profile(
    stepper: Stepper,
    batch: dict[str, Tensor],
    first: int,
    steps: int,
    device: torch.device,
    folder: Path,
    options: TraceOptions,
) -> Any:
    """Run the steps under torch's profiler, which writes its trace into `folder`; returns the profiler."""
    door = device_of(device)
    verbose = torch._C._profiler._ExperimentalConfig(verbose=True) if options.stacks else None
    with profile(
        activities=activities(device),
        schedule=schedule(wait=0, warmup=DISCARDED_STEPS, active=steps, repeat=1),
        on_trace_ready=tensorboard_trace_handler(str(folder), f"bitfit-bench_{os.getpid()}", use_gzip=True),
        profile_memory=options.memory,
        record_shapes=options.stacks,
        with_stack=options.stacks,
        experimental_config=verbose,
    ) as profiler:
        for step in range(first, first + DISCARDED_STEPS + steps):
            stepper(batch, step)
            door.synchronize()
            profiler.step()
    return profiler


def activities(device: torch.device) -> list[ProfilerActivity]:
    """What is to be traced of a step on `device`: the CPU always, and the accelerator it gives its work to."""
    kinds = {"cuda": "CUDA", "xpu": "XPU", "mtia": "MTIA", "hpu": "HPU"}
    more = [getattr(ProfilerActivity, kinds.get(device.type, "PrivateUse1"))] if device.type != "cpu" else []
    return [ProfilerActivity.CPU, *more]


def _summary(profiler: Any, device: torch.device, held: int | None, options: TraceOptions) -> dict[str, object]:
    """The fields of a profile that come from the profiler's events."""
    on_device = device.type != "cpu"
    events = trace_events.on_cpu(profiler.events())
    where = trace_events.spans(events)
    curve: MemoryCurve | None = None
    reason = NO_MEMORY if not options.memory else UNTOLD if held is None else None
    if options.memory and held is not None:
        curve = trace_events.memory_curve(_changes(profiler, device), held, where, device=on_device)
    return {
        "clock": "device" if on_device else "cpu",
        "step_seconds": [end - begin for begin, end in where.steps],
        "phase_seconds": where.phase_seconds(),
        "operators": trace_events.operator_times(events, where, device=on_device),
        "modules": trace_events.module_times(events, where, device=on_device),
        "memory": curve,
        "memory_reason": reason,
    }


def _changes(profiler: Any, device: torch.device) -> list[tuple[float, int]]:
    """Every allocation (positive) and release of memory on the device, with its time."""
    results = profiler.profiler.kineto_results
    start = results.trace_start_ns()
    return [
        ((event.start_ns() - start) * trace_events.NANOSECOND, event.nbytes())
        for event in results.events()
        if event.name() == "[memory]" and event.device_type().name.lower() == device.type
    ]


def _held_bytes(stepper: Stepper, batch: Iterable[Tensor], device: torch.device) -> int | None:
    """Bytes held between two steps: by the allocator, or on a CPU by the tensors that outlive a step; None untold."""
    door = device_of(device)
    if door.counts_memory:
        # The peak of doing nothing is what is held.
        return peaks_of(door, lambda: None)[0]
    tensors = [*model_tensors(stepper.applied.model), *optimizer_tensors(stepper.optimizer), *batch]
    return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}.values())
