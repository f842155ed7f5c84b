"""What running a cell leaves, before it becomes a record, and how a failure becomes an outcome."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from bench.audit import AuditError
from bench.errors import DataError
from bench.results import Audit, CostResult, QualityResult, Status, TrialResult
from bench.training import DivergedError, TimedOutError

Arrays = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True)
class Outcome:
    """A status with its reason, and whatever was measured. `error` is kept for the log, where there is one."""

    status: Status = "ok"
    reason: str | None = None
    quality: QualityResult | None = None
    trial: TrialResult | None = None
    cost: CostResult | None = None
    audit: Audit | None = None
    arrays: Arrays = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    error: BaseException | None = None


def failure(error: Exception) -> Outcome:
    """The outcome of a cell that raised `error`."""
    reason = " ".join(str(error).split()) or type(error).__name__
    status = _status(error, reason)
    if status == "error":
        reason = f"{type(error).__name__}: {reason}"
    return Outcome(status=status, reason=reason, error=error)


def attempt(run: Callable[[], Outcome]) -> Outcome:
    """Run a cell; a failure is a result like any other. An interrupt is not: it passes through."""
    try:
        return run()
    except Exception as error:
        return failure(error)


def _status(error: Exception, reason: str) -> Status:
    # torch's CPU allocator raises a plain RuntimeError, told apart by its words alone.
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in reason:
        return "out_of_memory"
    if isinstance(error, DivergedError | FloatingPointError):
        return "diverged"
    if isinstance(error, TimedOutError):
        return "timeout"
    if isinstance(error, AuditError):
        return "audit_failed"
    return "bad_data" if isinstance(error, DataError) else "error"
