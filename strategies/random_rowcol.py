"""A random control of BitFit's size: whole rows or columns of the weight matrices (arXiv 2106.10199, section 4).

Each matrix of the encoder layers gets a share in proportion to its size, and one orientation; the last slice
may be partial, so that the count is BitFit's exactly.
"""

from torch import nn

from strategies import draw
from strategies.interface import Applied, Context
from strategies.naming import NO_ARGUMENT, Argument
from strategies.sparse import train_drawn


def apply(model: nn.Module, context: Context, argument: Argument = NO_ARGUMENT) -> Applied:  # noqa: ARG001
    """Let randomly drawn rows or columns of `model` train, as many weights as it has biases.

    Raises StrategyError where the model has no biases to count or its architecture is not known.
    """
    return train_drawn(model, context, draw.rows_or_columns)
