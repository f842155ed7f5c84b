"""A subset of the weights trains: chosen one way or another, and put into sparse layers."""

from collections.abc import Callable, Mapping

from torch import nn
from transformers.pytorch_utils import Conv1D

from strategies.base import Base, base_of, stand_in, train_only
from strategies.draw import Drawn
from strategies.errors import StrategyError
from strategies.expectation import drawn_subset
from strategies.interface import Applied, Context
from strategies.roles import bias_count, embeddings, layer_linears, refuse_shared
from strategies.sparse import Sparse, SparseEmbedding, SparseLinear

Matrices = Mapping[str, nn.Linear | Conv1D | nn.Embedding]
"""Modules that hold a weight matrix, by their names in the task model."""

Choose = Callable[[Matrices, int], dict[str, Drawn]]
"""Chooses a number of coordinates from the weights of matrices."""


def train_subset(model: nn.Module, context: Context, choose: Choose, *, with_embeddings: bool = False) -> Applied:
    """What `choose` picks from the weight matrices of the layers trains, in sparse layers in the place of theirs.

    `with_embeddings` has it pick from the embedding matrices too. Raises StrategyError where the architecture of
    `model` is not known or where there is not as much to pick as there should be.
    """
    base = base_of(model, context)
    matrices, count = to_choose(base, context, with_embeddings=with_embeddings)
    chosen = choose(matrices, count)
    train_only(model, context, ())
    sparse = {path: _sparse(matrices[path], drawn) for path, drawn in chosen.items()}
    finalize = stand_in(model, sparse)
    expected = drawn_subset(base, chosen, "values", context.budget, with_embeddings=with_embeddings)
    return Applied(model, expected, finalize=finalize)


def to_choose(base: Base, context: Context, *, with_embeddings: bool = False) -> tuple[Matrices, int]:
    """The matrices to choose from, and how many weights: the budget, by default as many as there are biases.

    Raises StrategyError where there are no biases, fewer weights than that, two layers with one weight, or the
    architecture is not known.
    """
    count = bias_count(base) if context.budget is None else context.budget
    linears = layer_linears(base)
    matrices: Matrices = {**linears, **embeddings(base)} if with_embeddings else linears
    refuse_shared(matrices)
    there = sum(matrix.weight.numel() for matrix in matrices.values())
    if count > there:
        raise StrategyError(f"it should train {count} weights and has {there} to choose from; lower the budget")
    return matrices, count


def _sparse(matrix: nn.Linear | Conv1D | nn.Embedding, drawn: Drawn) -> Sparse:
    return SparseEmbedding(matrix, drawn) if isinstance(matrix, nn.Embedding) else SparseLinear(matrix, drawn)
