"""How threads wait that have nothing to do. Torch-free: it is read by OpenMP when torch loads."""

import os

POLICY = "OMP_WAIT_POLICY"
# Two processes that wait for each other by spinning slow both down many times.
QUIET = {POLICY: "PASSIVE", "GOMP_SPINCOUNT": "0"}


def wait_quietly() -> None:
    """Have threads sleep while they wait, unless the environment says otherwise; to be called before torch loads."""
    os.environ |= {name: value for name, value in QUIET.items() if name not in os.environ}


def wait_policy() -> str | None:
    """What the environment says of it; None where it says nothing, and OpenMP's own default holds."""
    return os.environ.get(POLICY)
