"""Bytes of live tensors, tracked by watching every operation torch dispatches.

On a CPU there is no allocator to ask for a peak. This mode sees every storage that an operation creates
and is told when it dies, so the peak it reports is what the tensors of a step need, allocator aside.
"""

import weakref
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter


class LiveTensors(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of living storages while active. `live_bytes` is now, `peak_bytes` the most so far."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live_bytes = 0
        self.peak_bytes = 0
        self._seen: dict[int, weakref.finalize[..., Any]] = {}

    def watch(self, tensors: Iterable[Tensor]) -> None:
        """Count tensors that existed before, such as parameters and a batch."""
        for tensor in tensors:
            self._count(tensor)

    def reset_peak(self) -> None:
        """Forget the peak so far; what lives now still counts."""
        self.peak_bytes = self.live_bytes

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        identity = storage._cdata
        if identity in self._seen:
            return
        size = storage.nbytes()
        self._seen[identity] = weakref.finalize(storage, self._forget, identity, size)
        self.live_bytes += size
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)

    def _forget(self, identity: int, size: int) -> None:
        self._seen.pop(identity, None)
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
    yield from (parameter.grad for parameter in model.parameters() if parameter.grad is not None)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> Iterable[Tensor]:
    """The state an optimizer keeps for its parameters."""
    for state in optimizer.state.values():
        yield from (value for value in state.values() if isinstance(value, Tensor))
