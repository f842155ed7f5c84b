"""Time of a swap: one delta taken off an encoder in memory, another one put on."""

import time
from pathlib import Path

from torch import nn

from bench.device import device_of
from strategies import loading

SWAPS = 5


def swap_seconds(path: Path, base: nn.Module, base_fingerprint: str) -> list[float]:
    """Seconds of each of a few swaps on `base`, which is left untouched.

    The delta at `path` stands for both: it is read and checked beforehand, and then taken off and put on again.
    """
    device = device_of(next(base.parameters()).device)
    delta = loading.load(path, base, base_fingerprint)
    seconds = []
    for _ in range(SWAPS):
        device.synchronize()
        begin = time.perf_counter()
        delta.remove()
        delta.apply()
        device.synchronize()
        seconds.append(time.perf_counter() - begin)
    delta.remove()
    return seconds
