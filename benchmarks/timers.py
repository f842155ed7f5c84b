"""A clock for work that is given to a device and goes on there after the call has returned."""

import time
from collections.abc import Callable

from bench.device import Device


def synchronising(device: Device) -> Callable[[], float]:
    """A timer for pytest-benchmark: it waits until `device` has done all it was given, then reads the clock."""

    def synchronised_seconds() -> float:
        device.synchronize()
        return time.perf_counter()

    return synchronised_seconds
