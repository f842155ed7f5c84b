"""Memory of the machine and what of it this process holds, as the kernel tells."""

from pathlib import Path


def reset_high_water() -> bool:
    """Set the kernel's high-water mark of this process back to what is resident now; False where it offers none."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def resident_bytes(field: str) -> int | None:
    """Resident memory of this process: VmRSS now, or VmHWM, the most since the mark was reset; None where not told."""
    status = Path("/proc/self/status")
    for line in status.read_text(encoding="ascii").splitlines() if status.exists() else ():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    return None
