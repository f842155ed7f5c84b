"""A random control of BitFit's size: single weights of the encoder layers (arXiv 2106.10199, section 4).

Drawn without replacement; gradients exist at the drawn weights alone.
"""

from torch import nn

from strategies import draw
from strategies.interface import Applied, Context
from strategies.naming import NO_ARGUMENT, Argument
from strategies.roles import weight_shapes
from strategies.subset import train_subset


def apply(model: nn.Module, context: Context, argument: Argument = NO_ARGUMENT) -> Applied:
    """Let randomly drawn weights of `model` train: a budget of them, by default as many as it has biases.

    With the word 'embeddings' the embeddings of words, positions and types are drawn from too. Raises StrategyError
    where the model has no biases to count, too few weights, or an architecture that is not known.
    """
    return train_subset(
        model,
        context,
        lambda matrices, count: draw.uniform(context.generator, weight_shapes(matrices), count),
        with_embeddings="embeddings" in argument.words,
    )
