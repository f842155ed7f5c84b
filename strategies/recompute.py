"""The input of a layer, computed again in backward from what autograd keeps of it anyway.

A LayerNorm keeps its own input for its gradient, and so does a GELU; what comes out of either is cheap to compute
again. A layer behind one that needs its input in backward therefore saves nothing: the node of the autograd graph
that made the input holds all it takes, and is let go only after the layer's own backward.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torch.autograd.graph import Node


def can_recompute(x: Tensor) -> bool:
    """Whether autograd keeps, as plain tensors, what `x` was computed from."""
    node = x.grad_fn
    recipe = None if node is None else _RECIPES.get(node.name())
    # Once written to out of autograd's sight, `x` is no longer what the node made.
    if recipe is None or x.output_nr != 0 or x._version != 0:
        return False
    # Hooks pack what is saved, as gradient checkpointing does, and most of it may be unpacked only once.
    hooks = [getattr(node, f"_raw_saved_{name}").unpack_hook for name in (*recipe.matrices, *recipe.vectors)]
    if not all(hook is None or getattr(hook, "repeatable", False) for hook in hooks):
        return False
    shapes = (x.shape, (*x.shape[:-1], 1))
    saved = [getattr(node, f"_saved_{name}") for name in recipe.matrices]
    return all(tensor is not None and tensor.shape in shapes for tensor in saved) and saved[0].shape == x.shape


def recompute(node: Node, columns: Tensor | None = None, rows: slice = slice(None)) -> Tensor:
    """What `node` made, (n, width), or some rows and its `columns` alone; of a node whose output `can_recompute`."""
    matrices, vectors = _saved(node)
    matrices = [matrix[rows] for matrix in matrices]
    if columns is not None:
        width = matrices[0].shape[1]
        matrices = [matrix if matrix.shape[1] != width else matrix.index_select(1, columns) for matrix in matrices]
        vectors = [None if vector is None else vector[columns] for vector in vectors]
    return _RECIPES[node.name()].compute(node, *matrices, *vectors)


@dataclass(frozen=True)
class Normalised:
    """What a LayerNorm keeps: its output is (input - mean) * rstd * weight + bias.

    input is (n, width), mean and rstd are (n,), weight and bias (width,) or None.
    """

    input: Tensor
    mean: Tensor
    rstd: Tensor
    weight: Tensor | None
    bias: Tensor | None


def normalised(node: Node) -> Normalised | None:
    """What `node` keeps if it is a LayerNorm whose output `can_recompute`, else None."""
    if _RECIPES[node.name()].compute is not _layer_norm:
        return None
    (x, mean, rstd), (weight, bias) = _saved(node)
    return Normalised(x, mean.flatten(), rstd.flatten(), weight, bias)


def _saved(node: Node) -> tuple[list[Tensor], list[Tensor | None]]:
    """What the recipe of `node` computes from: matrices, as (n, width) or (n, 1), and vectors."""
    recipe = _RECIPES[node.name()]
    matrices = [getattr(node, f"_saved_{name}") for name in recipe.matrices]
    vectors = [getattr(node, f"_saved_{name}") for name in recipe.vectors]
    return [matrix.reshape(-1, matrix.shape[-1]) for matrix in matrices], vectors


@dataclass(frozen=True)
class _Recipe:
    """How to compute a node's output, or columns of it, again from tensors it saved, given by their names.

    matrices  shaped like the output, or with one value for each of its rows; the first of the former sort
    vectors   with one value for each of its columns, or None
    compute   the node, those matrices and those vectors -> the output
    """

    compute: Callable[..., Tensor]
    matrices: tuple[str, ...]
    vectors: tuple[str, ...] = ()


def _layer_norm(_: Node, x: Tensor, mean: Tensor, rstd: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    out = (x - mean).mul_(rstd)
    if weight is not None:
        out.mul_(weight)
    return out if bias is None else out.add_(bias)


def _gelu(node: Node, x: Tensor) -> Tensor:
    return F.gelu(x, approximate=node._saved_approximate)  # type: ignore[attr-defined]


_RECIPES = {
    "NativeLayerNormBackward0": _Recipe(_layer_norm, ("input", "result1", "result2"), ("weight", "bias")),
    "GeluBackward0": _Recipe(_gelu, ("self",)),
    "SiluBackward0": _Recipe(lambda _, x: F.silu(x), ("self",)),
    # How activations end that torch has no kernel for, gelu_new among them.
    "MulBackward0": _Recipe(lambda _, one, other: one * other, ("self", "other")),
}
