"""The machine and the code a measurement was made with."""

import contextlib
import functools
import hashlib
import importlib.metadata
import platform
import subprocess
import sys
from pathlib import Path

import torch

from bench import __version__
from bench.device import device_of
from bench.errors import InputError, first_line
from bench.record import Conditions
from bench.waiting import wait_policy

ROOT = Path(__file__).resolve().parents[1]
MEASURING = ("bench", "strategies")
PACKAGES = ("torch", "transformers", "tokenizers", "datasets", "evaluate", "scikit-learn", "scipy", "numpy")
# Packages of extras that can change a number, told of where they are installed.
OPTIONAL = ("peft",)


def choose_device(name: str | None) -> torch.device:
    """The device called `name`, or the accelerator torch finds, or the CPU.

    Raises InputError where the device does not exist or cannot hold a tensor.
    """
    if name is None:
        found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        return torch.device("cpu") if found is None else found
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).sum().item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"device {name!r} cannot be used: {first_line(error)}") from None
    return device


def prepare(device: torch.device, precisions: set[str], threads: int | None) -> None:
    """Make `device` the current one, set the thread count, and check that it has every precision in `precisions`.

    Raises InputError for tf32 on a device without it, and for bf16 where the accelerator lacks it.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    door = device_of(device)
    door.make_current()
    if "tf32" in precisions and not door.supports("tf32"):
        raise InputError(f"precision tf32 needs an NVIDIA device of compute capability 8.0 or higher, not {device}")
    if "bf16" in precisions and not door.supports("bf16"):
        raise InputError(f"precision bf16 is not supported by {door.name()}")


def set_matmul(precision: str) -> None:
    """Switch float32 products to TensorFloat-32 for 'tf32', and to full float32 for all else."""
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")


def conditions(
    device: torch.device,
    precision: str,
    *,
    attention: str,
    model_fingerprint: str,
    data_fingerprint: str | None,
    test_fingerprint: str | None = None,
) -> Conditions:
    """Everything that surrounds a measurement made now; `attention` is the model's own implementation."""
    commit, dirty = code_commit()
    return Conditions(
        code_commit=commit,
        code_dirty=dirty,
        code_fingerprint=code_fingerprint(),
        versions=versions(),
        data_fingerprint=data_fingerprint,
        test_fingerprint=test_fingerprint,
        model_fingerprint=model_fingerprint,
        device=device.type,
        device_name=device_of(device).name(),
        driver=_driver(device),
        threads=torch.get_num_threads(),
        precision=precision,
        attention=attention,
        python=platform.python_version(),
        platform=platform.platform(),
        wait_policy=wait_policy(),
    )


@functools.cache
def versions() -> dict[str, str]:
    """Versions of the packages that can change a number; torch's own string tells its build."""
    found = {name: importlib.metadata.version(name) for name in PACKAGES}
    for name in OPTIONAL:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found | {"bitfit-bench": __version__, "torch": torch.__version__}


@functools.cache
def code_fingerprint() -> str:
    """sha256 of the measuring code, so that an edited page does not count as a change and an edited loop does."""
    digest = hashlib.sha256()
    for path in sorted(path for package in MEASURING for path in (ROOT / package).rglob("*.py")):
        digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


@functools.cache
def code_commit() -> tuple[str | None, bool | None]:
    """Commit and dirty flag of the checkout this code runs from; (None, None) for an installed copy."""
    try:
        _git("ls-files", "--error-unmatch", "bench/environment.py")
        return _git("rev-parse", "HEAD").strip(), bool(_git("status", "--porcelain").strip())
    except (OSError, subprocess.CalledProcessError):
        return None, None


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603


def _driver(device: torch.device) -> str | None:
    """Version of the accelerator's driver, where the system tells it."""
    if device.type != "cuda":
        return None
    if torch.version.cuda is None:
        return f"HIP {torch.version.hip}"
    version = Path("/proc/driver/nvidia/version")
    line = version.read_text(encoding="utf-8").splitlines()[0] if version.exists() else None
    return line or f"CUDA {torch.version.cuda}"


def worker_command(module: str) -> list[str]:
    """Command that runs one of this project's modules, as imported here, in a fresh interpreter."""
    # -P keeps the current folder, which may hold another copy of the project, off the path.
    start = f"import runpy, sys; sys.path.insert(0, {str(ROOT)!r}); runpy.run_module({module!r}, run_name='__main__')"
    return [sys.executable, "-P", "-c", start]
