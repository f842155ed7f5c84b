"""The arithmetic of one training step: floating-point operations of its products, and the bytes it must move.

Counted while a step runs under torch's dispatch modes, as trained: a weight that is frozen has no gradient to work
out, and what is computed again in backward counts again. Fake tensors are enough: it takes no weights and no memory.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from torch.utils.flop_counter import FlopCounterMode

from bench.arithmetic import Arithmetic
from bench.cell import CostCell
from bench.encoders import Encoder
from bench.measure.fake import fake_stepper
from bench.measure.live import LiveTensors, model_tensors, optimizer_tensors
from bench.measure.subject import ready
from bench.training import END, Stepper
from strategies.interface import Batch

aten = torch.ops.aten
Shape = torch.Size

# How often the gradient of a parameter is written or read: made, and read by the optimizer; clipping reads it for its
# norm, and reads and writes it to scale it.
UNCLIPPED_MOVES, CLIPPED_MOVES = 2, 5


def _flash(query: Shape, key: Shape, value: Shape, *_: Any, **__: Any) -> int:
    """Two products: scores, and their mean of the values."""
    return 2 * _pairs(query, key) * (query[-1] + value[-1])


def _flash_backward(grad: Shape, query: Shape, key: Shape, *_: Any, **__: Any) -> int:
    """Five products: the scores again, and the gradients of scores, queries, keys and values."""
    return 2 * _pairs(query, key) * (3 * query[-1] + 2 * grad[-1])


def _pairs(query: Shape, key: Shape) -> int:
    """Scores in all, of queries and keys (batch, heads, length, width)."""
    return query[0] * query[1] * query[2] * key[2]


def _added_matrix_vector(_: Shape, matrix: Shape, *__: Any, **___: Any) -> int:
    return 2 * matrix[0] * matrix[1]


# What torch's own table lacks: attention on a CPU, and the product with a vector that the gradient at single
# coordinates adds up in place, 2 operations for each of n tokens and k coordinates.
# No strategy takes another product of its sort.
FORMULAS: dict[Any, Callable[..., int]] = {
    aten._scaled_dot_product_flash_attention_for_cpu: _flash,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: _flash_backward,
    aten.addmv_: _added_matrix_vector,
}


def arithmetic_of(cell: CostCell, encoder: Encoder, *, accelerator: bool = False) -> Arithmetic:
    """The arithmetic of one step of `cell`, from configuration alone; `accelerator` is as in `fake_stepper`.

    Raises NoShapesError where the step depends on values: `arithmetic_with_weights` can count it.
    """
    with fake_stepper(cell, encoder, accelerator=accelerator) as (stepper, batch):
        return count_step(stepper, batch, 0)


def arithmetic_with_weights(cell: CostCell, encoder: Encoder) -> Arithmetic:
    """The arithmetic of one step of `cell` with random weights, after a step that may fill caches.

    It needs the memory and the time of such a step.
    """
    stepper, batch = ready(cell, encoder, torch.device("cpu"))
    stepper(batch, 0)
    return count_step(stepper, batch, 1)


def count_step(stepper: Stepper, batch: Batch, step: int) -> Arithmetic:
    """Take one step on `batch`, real or fake, and count it. The model must be on the CPU.

    Bytes are a lower bound. Weights: each tensor of the model that an operation reads, once in forward and once in
    backward; of a table of embeddings only single rows are read, which count for nothing. Activations: what lives
    from forward to backward is written once and read once. Gradients: written once and read once by the optimizer,
    with clipping read twice and written once more. Optimizer: its state and what it trains, each read and written.
    """
    model = stepper.applied.model
    counter = FlopCounterMode(display=False, custom_mapping=FORMULAS)
    tracker, reader = LiveTensors(), _Reader(model)
    at: dict[str, _Sum] = {}

    def mark(phase: str) -> None:
        at[phase] = _Sum(counter.get_total_flops(), reader.take(), tracker.live_bytes)

    with tracker, reader, counter:
        tracker.watch([*model_tensors(model), *optimizer_tensors(stepper.optimizer), *batch.values()])
        replace(stepper, mark=mark)(batch, step)
    trained_bytes = _size(stepper.parameters)
    state_bytes = _size(optimizer_tensors(stepper.optimizer))
    return Arithmetic(
        forward_flops=at["backward"].flops,
        backward_flops=at[END].flops - at["backward"].flops,
        weight_bytes=at["backward"].read_bytes + at["clipping"].read_bytes,
        saved_bytes=max(0, at["backward"].live_bytes - at["forward"].live_bytes),
        gradient_bytes=trained_bytes * (UNCLIPPED_MOVES if stepper.clip_norm is None else CLIPPED_MOVES),
        optimizer_bytes=2 * (trained_bytes + state_bytes),
    )


def _size(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.untyped_storage().nbytes() for tensor in tensors)


@dataclass(frozen=True)
class _Sum:
    """Where the counters stand as a phase begins; `read_bytes` is of the phase before alone."""

    flops: int
    read_bytes: int
    live_bytes: int


class _Reader(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the bytes of a model's parameters and buffers that operations read, each once until `take` is called."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        tensors = [*model.parameters(), *model.buffers()]
        self._sizes = {t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in tensors}
        self._left = dict(self._sizes)
        self.read_bytes = 0

    def take(self) -> int:
        """The bytes read so far, which are then forgotten."""
        read, self.read_bytes = self.read_bytes, 0
        self._left = dict(self._sizes)
        return read

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation and count what it reads: views and writes in place read nothing, look-ups a few rows."""
        result = func(*args, **(kwargs or {}))
        if func.namespace == "aten" and func is not aten.embedding.default:
            made = {leaf.untyped_storage()._cdata for leaf in tree_iter(result) if isinstance(leaf, Tensor)}
            for leaf in tree_iter((args, kwargs)):
                if isinstance(leaf, Tensor) and (storage := leaf.untyped_storage()._cdata) not in made:
                    self.read_bytes += self._left.pop(storage, 0)
        return result
