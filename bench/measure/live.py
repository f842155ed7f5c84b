"""Bytes of live tensors, tracked by watching every operation torch dispatches.

On a CPU there is no allocator to ask for a peak. This mode sees every storage that an operation creates
and is told when it dies, so the peak it reports is what the tensors of a step need, allocator aside. It works on
fake tensors as well, which have shapes and no memory.
"""

import itertools
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

TEMPORARY = "workspace"
"""What a storage is until somebody says otherwise."""


@dataclass(frozen=True)
class Peak:
    """The most bytes alive at once since `reset_peak`, and what they were.

    `by_kind` are bytes by what their storages were named, which add up to `bytes`. `phase` is the one it fell into,
    and `by_phase` the most bytes alive in each.
    """

    bytes: int
    by_kind: dict[str, int]
    phase: str | None
    by_phase: dict[str, int]


class LiveTensors(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of living storages while active. `live_bytes` is now."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live_bytes = 0
        self._numbers = itertools.count()
        # By the address of a storage, which another may have once it is dead; the number is its own for good.
        self._alive: dict[int, tuple[int, weakref.finalize[..., Any]]] = {}
        self._kinds: dict[int, str] = {}
        self._events: list[tuple[int, int]] = []
        self._phases: list[tuple[int, str]] = []

    def watch(self, tensors: Iterable[Tensor], kind: str = TEMPORARY) -> None:
        """Count tensors that existed before, such as parameters and a batch, and say what they are."""
        for tensor in tensors:
            self._kinds[self._count(tensor)] = kind

    def name_new(self, kind: str) -> None:
        """Everything that lives now and has not been named is of this kind."""
        for number, _ in self._alive.values():
            self._kinds.setdefault(number, kind)

    def rename_living(self, kind: str, to: str) -> None:
        """What was named `kind` and still lives was something else all along."""
        for number, _ in self._alive.values():
            if self._kinds.get(number) == kind:
                self._kinds[number] = to

    def begin(self, phase: str) -> None:
        """Another phase begins."""
        self._phases.append((len(self._events), phase))

    def reset_peak(self) -> None:
        """Forget the peak so far; what lives now still counts."""
        sizes = Counter[int]()
        for number, size in self._events:
            sizes[number] += size
        self._events = [(number, size) for number, size in sizes.items() if size]
        self._phases = []

    def peak(self) -> Peak:
        """What lived when most did."""
        totals = list(itertools.accumulate((size for _, size in self._events), initial=0))
        at = max(range(len(totals)), key=totals.__getitem__)
        by_kind = Counter[str]()
        for number, size in self._events[:at]:
            by_kind[self._kinds.get(number, TEMPORARY)] += size
        ranges = list(self._ranges())
        return Peak(
            bytes=totals[at],
            by_kind={kind: size for kind, size in by_kind.items() if size},
            phase=next((phase for phase, begin, end in reversed(ranges) if begin < at <= end), None),
            by_phase={phase: max(totals[begin : end + 1]) for phase, begin, end in ranges},
        )

    def _ranges(self) -> Iterator[tuple[str, int, int]]:
        """Each phase, and the events it reaches from and to."""
        bounds = itertools.pairwise([*(begin for begin, _ in self._phases), len(self._events)])
        for (_, phase), (begin, end) in zip(self._phases, bounds, strict=True):
            yield phase, begin, end

    def _count(self, tensor: Tensor) -> int:
        """Count the storage of a tensor, unless it is counted already, and return its number."""
        storage = tensor.untyped_storage()
        address = storage._cdata
        if address in self._alive:
            return self._alive[address][0]
        number, size = next(self._numbers), storage.nbytes()
        self._alive[address] = number, weakref.finalize(storage, self._forget, address, number, size)
        self._events.append((number, size))
        self.live_bytes += size
        return number

    def _forget(self, address: int, number: int, size: int) -> None:
        self._alive.pop(address, None)
        self._events.append((number, -size))
        self.live_bytes -= size

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation and count the storages of what it returns."""
        result = func(*args, **(kwargs or {}))
        for leaf in tree_iter(result):
            if isinstance(leaf, Tensor) and leaf.layout == torch.strided:
                self._count(leaf)
        return result


def model_tensors(model: nn.Module) -> Iterable[Tensor]:
    """Parameters, buffers and gradients of a model."""
    yield from model.parameters()
    yield from model.buffers()
    yield from gradients(model)


def gradients(model: nn.Module) -> Iterable[Tensor]:
    """The gradients that parameters of a model have."""
    return (parameter.grad for parameter in model.parameters() if parameter.grad is not None)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> Iterable[Tensor]:
    """The state an optimizer keeps for its parameters."""
    for state in optimizer.state.values():
        yield from (value for value in state.values() if isinstance(value, Tensor))
