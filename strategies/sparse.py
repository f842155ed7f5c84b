"""A linear layer of which only some weights train, at the cost of those alone: no dense gradient ever exists."""

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers.pytorch_utils import Conv1D

from strategies.draw import Axis, Draw, Drawn
from strategies.expectation import drawn_subset
from strategies.interface import Applied, Context
from strategies.roles import base_of, bias_count, layer_linears, put_module, train_only, weight_shapes

CHUNK_BYTES = 2**24
"""Bound on one temporary of the gradient at single coordinates."""


class SparseLinear(nn.Module):
    """A linear layer whose `weight` is frozen but for the coordinates in `indices`, which hold `values`.

    linear   the layer in whose place it stands
    weight   (out, in), or (in, out) in place of a Conv1D; frozen, the layer's own parameter; holds `values` after
             each forward pass
    values   (n,), the one trainable leaf
    indices  (n,), flat coordinates, int32, sorted, unique; no part of the state
    """

    indices: Tensor

    def __init__(self, linear: nn.Linear | Conv1D, drawn: Drawn) -> None:
        super().__init__()
        # In a tuple, so that its parameters are not found under two names.
        self._linear = (linear,)
        self.transposed = isinstance(linear, Conv1D)
        self.weight = linear.weight.requires_grad_(False)
        self.bias = linear.bias
        self.axis = drawn.axis
        indices = torch.from_numpy(drawn.indices).to(self.weight.device, torch.int32)
        self.register_buffer("indices", indices, persistent=False)
        self.values = nn.Parameter(self.weight.detach().flatten()[indices])

    @property
    def linear(self) -> nn.Linear | Conv1D:
        """The layer in whose place this one stands; it shares `weight` and bias."""
        return self._linear[0]

    def write(self) -> None:
        """Put `values` into `weight`, in place; autograd does not see it."""
        self.weight.data.view(-1).index_put_((self.indices,), self.values.detach())

    def forward(self, x: Tensor) -> Tensor:
        """Map `x` (..., in) to (..., out), in autocast's type where that is on."""
        self.write()
        weight: Tensor = self.weight.t() if self.transposed else self.weight
        bias: Tensor | None = self.bias
        if torch.is_autocast_enabled(x.device.type):
            # Cast here, as autocast would: the function below then sees, and saves, one type only.
            dtype = torch.get_autocast_dtype(x.device.type)
            x, weight = x.to(dtype), weight.to(dtype)
            bias = None if bias is None else bias.to(dtype)
        arguments = (x, weight, bias, self.values, self.indices, self.axis, self.transposed)
        out: Tensor = _SparseLinear.apply(*arguments)  # type: ignore[no-untyped-call]
        return out

    def extra_repr(self) -> str:
        return f"{tuple(self.weight.shape)}, {self.values.numel()} trainable"


class _SparseLinear(torch.autograd.Function):
    """Linear layer with a gradient for its input, its bias and `values`.

    `weight` (out, in) already holds the values; `indices` number its coordinates, or where it is `transposed`
    those of its transpose, which is how it is stored.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        values: Tensor,
        indices: Tensor,
        axis: Axis | None,
        transposed: bool,
    ) -> Tensor:
        ctx.save_for_backward(x, weight, indices)
        ctx.axis, ctx.values_dtype, ctx.transposed = axis, values.dtype, transposed
        return F.linear(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, indices = ctx.saved_tensors
        needs_x, _, needs_bias, needs_values, *_ = ctx.needs_input_grad
        g, flat = grad.reshape(-1, grad.shape[-1]), x.reshape(-1, x.shape[-1])
        grad_values = None
        if needs_values:
            gradient = {None: _at_coordinates, "row": _in_rows, "column": _in_columns}[ctx.axis]
            # The gradient of the weight is g.T @ x; where it is stored transposed, x.T @ g.
            left, right = (flat, g) if ctx.transposed else (g, flat)
            grad_values = gradient(left, right, indices).to(ctx.values_dtype)
        return (
            grad @ weight if needs_x else None,
            None,
            g.sum(0) if needs_bias else None,
            grad_values,
            None,
            None,
            None,
        )


def _at_coordinates(g: Tensor, x: Tensor, indices: Tensor) -> Tensor:
    """Entries of `g.T @ x` at flat `indices`; g (n, out), x (n, in). Sums in float32 at least."""
    n, columns = x.shape
    wide = torch.promote_types(g.dtype, torch.float32)
    # Transposed once, so that each gather copies contiguous rows.
    g, x = g.t().contiguous(), x.t().contiguous()
    size = max(1, CHUNK_BYTES // (n * wide.itemsize))
    parts = [
        g.index_select(0, chunk // columns).to(wide).mul_(x.index_select(0, chunk % columns)).sum(1)
        for chunk in torch.split(indices, size)
    ]
    return torch.cat(parts)


def _in_rows(g: Tensor, x: Tensor, indices: Tensor) -> Tensor:
    """Entries of `g.T @ x` at `indices` that fill rows of it, the last perhaps in part."""
    columns = x.shape[1]
    rows = indices[::columns] // columns
    return (g.index_select(1, rows).t() @ x).flatten()[: indices.numel()]


def _in_columns(g: Tensor, x: Tensor, indices: Tensor) -> Tensor:
    """Entries of `g.T @ x` at `indices` that fill columns of it, the last perhaps in part."""
    rows = g.shape[1]
    lines = -(-indices.numel() // rows)
    # The last column has the largest number and starts at the top, so the first row holds all of them.
    columns = indices[:lines] % x.shape[1]
    slim = g.t() @ x.index_select(1, columns)
    full = indices.numel() - (lines - 1) * rows
    return torch.cat([slim[:full].flatten(), slim[full:, : lines - 1].flatten()])


def train_drawn(model: nn.Module, context: Context, draw: Draw) -> Applied:
    """Apply a random subset: what `draw` returns trains, in sparse layers that take the place of the drawn ones.

    Raises StrategyError where the architecture of `model` is not known.
    """
    base = base_of(model, context)
    count = bias_count(base)
    linears = layer_linears(base)
    drawn = draw(context.generator, weight_shapes(linears), count)
    train_only(model, context, ())
    sparse = {path: SparseLinear(linears[path], coordinates) for path, coordinates in drawn.items()}
    for path, module in sparse.items():
        put_module(model, path, module)

    def finalize() -> None:
        for path, module in sparse.items():
            module.write()
            put_module(model, path, module.linear)

    return Applied(model, drawn_subset(base, drawn, "values"), finalize=finalize)
