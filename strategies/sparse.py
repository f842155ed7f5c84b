"""Layers of which only some weights train, at the cost of those alone: their gradient exists at no other place."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.autograd.graph import Node
from transformers.pytorch_utils import Conv1D

from strategies.draw import Axis, Drawn
from strategies.recompute import Normalised, can_recompute, normalised, recompute

CHUNK = 2**19
"""Values in one temporary of the gradient at single coordinates; more where a layer has many tokens."""
DENSE_SHARE = 0.01
"""Share of a matrix's coordinates above which one dense product takes less time than gathering for each."""

Columns = Callable[[Tensor | None, slice], Tensor]
"""Some rows of a matrix, at some columns or at all; not to be written to."""
Chosen = Callable[[Tensor, slice], Tensor]
"""Some rows of a matrix, at some columns; a new tensor."""
ALL = slice(None)


class Sparse(nn.Module):
    """A layer whose `weight` is frozen but for the coordinates in `indices`, which hold `values`.

    weight   the replaced layer's own parameter; holds `values` after each forward pass
    values   (n,), the one trainable leaf
    indices  (n,), flat coordinates, int32, sorted, unique; no part of the state
    """

    indices: Tensor

    def __init__(self, replaced: nn.Linear | Conv1D | nn.Embedding, drawn: Drawn) -> None:
        super().__init__()
        # In a tuple, so that its parameters are not found under two names.
        self._replaced = (replaced,)
        self.weight = replaced.weight.requires_grad_(False)
        self.axis = drawn.axis
        indices = torch.from_numpy(drawn.indices).to(self.weight.device, torch.int32)
        self.register_buffer("indices", indices, persistent=False)
        self.values = nn.Parameter(self.weight.detach().flatten()[indices])

    @property
    def replaced(self) -> nn.Linear | Conv1D | nn.Embedding:
        """The layer in whose place this one stands; it shares `weight` and bias."""
        return self._replaced[0]

    def write(self) -> Tensor:
        """Put `values` into `weight`, in place, and return it; autograd does not see it."""
        # Read once: a weight that is stored narrow is a new tensor each time it is widened.
        weight: Tensor = self.weight
        _put(weight, self.indices, self.values)
        return weight

    def extra_repr(self) -> str:
        return f"{tuple(self.weight.shape)}, {self.values.numel()} trainable"


class SparseLinear(Sparse):
    """A sparse linear layer; `weight` is (out, in), or (in, out) in place of a Conv1D."""

    def __init__(self, linear: nn.Linear | Conv1D, drawn: Drawn) -> None:
        super().__init__(linear, drawn)
        self.transposed = isinstance(linear, Conv1D)
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        """Map `x` (..., in) to (..., out), in autocast's type where that is on."""
        arguments = (
            x,
            self.write(),
            self.bias,
            self.values,
            self.indices,
            self.axis,
            self.transposed,
            can_recompute(x),
        )
        out: Tensor = _SparseLinear.apply(*arguments)  # type: ignore[no-untyped-call]
        return out


class SparseEmbedding(Sparse):
    """A sparse embedding; `weight` is (rows, width), and the gradient needs no more memory than the output."""

    def __init__(self, embedding: nn.Embedding, drawn: Drawn) -> None:
        super().__init__(embedding, drawn)
        self.padding_idx = embedding.padding_idx

    def forward(self, ids: Tensor) -> Tensor:
        """Map `ids` (...) to their rows, (..., width)."""
        arguments = (ids, self.write(), self.values, self.indices, self.padding_idx)
        out: Tensor = _SparseEmbedding.apply(*arguments)  # type: ignore[no-untyped-call]
        return out


class _SparseLinear(torch.autograd.Function):
    """Linear layer with a gradient for its input, its bias and `values`.

    `weight` (out, in), or its transpose where it is stored `transposed`, already holds the values; `indices` number
    its coordinates. With `again` the input is computed again in backward.
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
        again: bool,
    ) -> Tensor:
        device = x.device.type
        seen = x.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else x
        ctx.save_for_backward(None if again else seen, weight, indices, values)
        ctx.axis, ctx.transposed = axis, transposed
        return F.linear(seen, weight.t() if transposed else weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, indices, values = ctx.saved_tensors
        needs_x, _, needs_bias, needs_values, *_ = ctx.needs_input_grad
        # A weight that is stored narrow was widened again, without the values.
        _put(weight, indices, values)
        g = grad.reshape(-1, grad.shape[-1])
        grad_values = None
        if needs_values:
            came_in = _recomputed(ctx, g.dtype) if x is None else _columns_of(x.reshape(-1, x.shape[-1]))
            # The gradient of the weight is g.T @ x; where it is stored transposed, x.T @ g.
            left, right = (came_in, _columns_of(g)) if ctx.transposed else (_columns_of(g), came_in)
            if ctx.axis is not None:
                gradient = {"row": _in_rows, "column": _in_columns}[ctx.axis]
                grad_values = gradient(left, right, weight.shape, indices)
            elif indices.numel() > DENSE_SHARE * weight.numel():
                grad_values = (left(None, ALL).t() @ right(None, ALL)).flatten()[indices]
            elif x is None and (norm := normalised(_maker(ctx))) is not None:
                grad_values = _behind_norm(norm, g, weight.shape[1], indices, ctx.transposed)
            else:
                ones = torch.ones(len(g), dtype=_sum_type(g), device=g.device)
                grad_values = _at_coordinates(left, right, weight.shape[1], indices, ones)
            grad_values = grad_values.to(values.dtype)
        mapped = weight.t() if ctx.transposed else weight
        grad_x = grad @ mapped.to(grad.dtype) if needs_x else None
        return grad_x, None, g.sum(0) if needs_bias else None, grad_values, None, None, None, None


class _SparseEmbedding(torch.autograd.Function):
    """Embedding with a gradient for `values`, which `weight` already holds."""

    @staticmethod
    def forward(
        ctx: Any, ids: Tensor, weight: Tensor, values: Tensor, indices: Tensor, padding_idx: int | None
    ) -> Tensor:
        ctx.save_for_backward(ids, indices)
        ctx.padding_idx, ctx.values_dtype = padding_idx, values.dtype
        return F.embedding(ids, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        ids, indices = ctx.saved_tensors
        ids, g = ids.flatten(), grad.reshape(-1, grad.shape[-1]).to(ctx.values_dtype)
        rows, columns = indices.to(ids.dtype) // g.shape[1], indices % g.shape[1]
        # The gradient of a row is summed where its id comes first among all ids in order: no place for other rows.
        ordered = ids.sort().values
        sums = torch.zeros_like(g).index_add_(0, torch.searchsorted(ordered, ids), g)
        places = torch.searchsorted(ordered, rows).clamp_(max=len(ids) - 1)
        present = ordered[places] == rows
        if ctx.padding_idx is not None:
            present &= rows != ctx.padding_idx
        return None, None, torch.where(present, sums[places, columns], 0), None, None


def _put(weight: Tensor, indices: Tensor, values: Tensor) -> None:
    """Write `values` to flat `indices` of `weight`, out of autograd's sight."""
    weight.data.view(-1).index_put_((indices,), values.detach().to(weight.dtype))


def _columns_of(matrix: Tensor) -> Columns:
    return lambda columns, rows: matrix[rows] if columns is None else matrix[rows].index_select(1, columns)


def _recomputed(ctx: Any, dtype: torch.dtype) -> Columns:
    """Columns of what came into the layer whose node in the autograd graph is `ctx`."""
    return lambda columns, rows: recompute(_maker(ctx), columns, rows).to(dtype)


def _maker(ctx: Any) -> Node:
    """The node that made what came into the layer whose node in the autograd graph is `ctx`."""
    (node, _), *_ = ctx.next_functions
    made_by: Node = node
    return made_by


# Each of these gives entries of left.T @ right at flat `indices`, which number its rows and columns.


def _at_coordinates(left: Chosen, right: Chosen, columns: int, indices: Tensor, weights: Tensor) -> Tensor:
    """At any indices. Of the sums, each product has its weight, (n,), in whose type they are added.

    A few of the n at a time: in memory the values of a column are far apart.
    """
    row, column = indices // columns, indices % columns
    sums = weights.new_zeros(indices.shape)
    size = max(1, max(CHUNK, len(weights) * columns // 8) // indices.numel())
    for rows in (slice(begin, begin + size) for begin in range(0, len(weights), size)):
        products = left(row, rows).to(weights.dtype).mul_(right(column, rows))
        sums.addmv_(products.t(), weights[rows])
    return sums


def _behind_norm(norm: Normalised, g: Tensor, columns: int, indices: Tensor, transposed: bool) -> Tensor:
    """At any indices of a weight behind a LayerNorm, whose output is not computed again.

    With x, m and s the norm's input, mean and reciprocal deviation, w and b its parameters, i a column of the output
    and o one of the layer's: sum_n g[n,o] ((x[n,i] - m[n]) s[n] w[i] + b[i]) is
    w[i] sum_n s[n] g[n,o] (x[n,i] - m[n]) + b[i] sum_n g[n,o].
    """

    def centred(numbers: Tensor, rows: slice) -> Tensor:
        # Before the sum: out of it, the mean would take most digits of the result along.
        return norm.input[rows].index_select(1, numbers).sub_(norm.mean[rows, None])

    gradient, dtype = _columns_of(g), _sum_type(g)
    left: Chosen = centred if transposed else gradient
    right: Chosen = gradient if transposed else centred
    sums = _at_coordinates(left, right, columns, indices, norm.rstd.to(dtype))
    row, column = indices // columns, indices % columns
    inputs, outputs = (row, column) if transposed else (column, row)
    if norm.weight is not None:
        sums *= norm.weight[inputs]
    return sums if norm.bias is None else sums.add_(norm.bias[inputs] * g.sum(0, dtype=dtype)[outputs])


def _sum_type(g: Tensor) -> torch.dtype:
    """The type that sums of `g` are taken in, float32 at least."""
    return torch.promote_types(g.dtype, torch.float32)


def _in_rows(left: Columns, right: Columns, shape: torch.Size, indices: Tensor) -> Tensor:
    """At indices that fill rows, the last perhaps in part."""
    _, columns = shape
    return (left(indices[::columns] // columns, ALL).t() @ right(None, ALL)).flatten()[: indices.numel()]


def _in_columns(left: Columns, right: Columns, shape: torch.Size, indices: Tensor) -> Tensor:
    """At indices that fill columns, the last perhaps in part."""
    rows, columns = shape
    lines = -(-indices.numel() // rows)
    # The last column has the largest number and starts at the top, so the first row holds all of them.
    slim = left(None, ALL).t() @ right(indices[:lines] % columns, ALL)
    full = indices.numel() - (lines - 1) * rows
    return torch.cat([slim[:full].flatten(), slim[full:, : lines - 1].flatten()])
