"""What a profile of a few training steps holds, and where it lies: one folder a strategy, beside its trace.

This module is torch-free: the profile page reads profiles where no deep-learning package is installed.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import ValidationError, model_validator

from bench.cell import CostCell
from bench.errors import InputError, because
from bench.frozen import Frozen
from bench.record import Conditions

__all__ = ["InputError", "MemoryCurve", "ModuleTime", "OperatorTime", "Phase", "PhaseSpan", "Profile"]

PROFILE = "profile.json"
PROFILE_VERSION: Literal[1] = 1
Phase = Literal["forward", "backward", "clipping", "optimizer", "other"]
# Time inside a phase and in no operator: the interpreter, the autograd engine, and the profiler itself.
BETWEEN = "(between operators)"
# Operators that belong to no module: the loss in the forward pass, and what is left of the backward pass.
NO_MODULE = "(outside modules)"
# Leaves of the graph have no forward operator to go by.
ACCUMULATION = "(gradient accumulation)"


class OperatorTime(Frozen):
    """Time that one operator spent itself, callees apart, in one phase: a value for each recorded step.

    `device_seconds` is the time of the kernels it launched on an accelerator; None on a CPU.
    """

    name: str
    phase: Phase
    calls: list[int]
    cpu_seconds: list[float]
    device_seconds: list[float] | None = None


class ModuleTime(Frozen):
    """Time of the operators of one module, those of modules inside it apart: a value for each recorded step.

    Operators of the backward pass belong to the module that ran the operator of the forward pass they differentiate.
    """

    name: str
    phase: Phase
    cpu_seconds: list[float]
    device_seconds: list[float] | None = None


class PhaseSpan(Frozen):
    """When a phase ran within one step."""

    phase: Phase
    begin_seconds: float
    end_seconds: float


class MemoryCurve(Frozen):
    """Memory over the last recorded step.

    `seconds` since the step began and `live_bytes` then: the most within each of up to some hundred equal spans.
    `start_bytes` were held as recording began: model, optimizer state, batch. `peak_bytes` is exact.
    `method` is as in `MemoryPeak`: what torch allocates for tensors on a CPU, or an accelerator's allocator.
    """

    method: Literal["allocator", "live tensors"]
    start_bytes: int
    peak_bytes: int
    peak_seconds: float
    seconds: list[float]
    live_bytes: list[int]
    phases: list[PhaseSpan]


class Profile(Frozen):
    """A profile of one strategy at one batch shape.

    `step_seconds` and, by phase, `phase_seconds` are wall times of each step under the profiler, which slows small
    operators down: they are no measurement of step time. `clock` says which time tells: that of the CPU, or of the
    accelerator's kernels. `memory` is None unless asked for; `memory_reason` then says why.
    """

    profile_version: Literal[1] = PROFILE_VERSION
    cell: CostCell
    started_utc: str
    conditions: Conditions
    descriptions: dict[str, str]
    steps: int
    clock: Literal["cpu", "device"]
    step_seconds: list[float]
    phase_seconds: dict[Phase, list[float]]
    operators: list[OperatorTime]
    modules: list[ModuleTime]
    memory: MemoryCurve | None
    memory_reason: str | None
    trace: str
    trace_bytes: int
    stacks: bool

    @property
    def shown_step(self) -> int:
        """The step that stands for all: the one of median time, so that what is shown of it still adds up."""
        return sorted(range(self.steps), key=lambda step: self.step_seconds[step])[(self.steps - 1) // 2]

    def times(self, one: OperatorTime | ModuleTime) -> Sequence[float]:
        """Seconds of an operator or module in every step, by this profile's clock."""
        return one.cpu_seconds if self.clock == "cpu" or one.device_seconds is None else one.device_seconds

    @model_validator(mode="after")
    def _whole(self) -> "Profile":
        timed = [*(one.cpu_seconds for one in self.operators), *(one.cpu_seconds for one in self.modules)]
        if any(len(values) != self.steps for values in (self.step_seconds, *self.phase_seconds.values(), *timed)):
            raise ValueError(f"not every time has a value for each of {self.steps} steps")
        on_device = [*(one.device_seconds for one in self.operators), *(one.device_seconds for one in self.modules)]
        if self.clock == "device" and None in on_device:
            raise ValueError("the device's clock tells the time, and some times of it are missing")
        return self


def slug(strategy: str) -> str:
    """A strategy's name as a folder: what file systems may refuse, or take for another folder, becomes a dash."""
    return re.sub(r"[^A-Za-z0-9._+@-]|^\.+", "-", strategy)


def read(folder: Path) -> list[Profile]:
    """Every profile in the folders of `folder`, in the order they were taken.

    Raises InputError where there is none, or where one cannot be read.
    """
    found = [_read(path) for path in sorted(folder.glob(f"*/{PROFILE}"))]
    if not found:
        raise InputError(f"{folder} holds no profile; make one with bitfit-bench profile --to {folder}")
    return sorted(found, key=lambda profile: profile.started_utc)


def _read(path: Path) -> Profile:
    try:
        return Profile.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {because(error)}") from None
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"])) or "the file"
        raise InputError(f"{path} is no profile of this program: {where}: {problem['msg']}") from None
