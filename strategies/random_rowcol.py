"""A random control of BitFit's size: whole rows or columns of the weight matrices (arXiv 2106.10199, section 4).

Each matrix of the encoder layers gets a share in proportion to its size, and one orientation; the last slice
may be partial, so that the count is met exactly.
"""

from torch import nn

from strategies import draw
from strategies.interface import Applied, Context
from strategies.naming import NO_ARGUMENT, Argument
from strategies.roles import weight_shapes
from strategies.subset import train_subset


def apply(model: nn.Module, context: Context, argument: Argument = NO_ARGUMENT) -> Applied:
    """Let randomly drawn rows or columns of `model` train: a budget of weights, by default as many as it has biases.

    With the word 'embeddings' those of the embeddings of words, positions and types are drawn from too. Raises
    StrategyError where the model has no biases to count, too few weights, or an architecture that is not known.
    """
    return train_subset(
        model,
        context,
        lambda matrices, count: draw.rows_or_columns(context.generator, weight_shapes(matrices), count),
        with_embeddings="embeddings" in argument.words,
    )
