"""A random control of BitFit's size: single weights of the encoder layers (arXiv 2106.10199, section 4).

Drawn without replacement; gradients exist at the drawn weights alone.
"""

from torch import nn

from strategies import draw
from strategies.interface import Applied, Context
from strategies.naming import NO_ARGUMENT, Argument
from strategies.sparse import train_drawn


def apply(model: nn.Module, context: Context, argument: Argument = NO_ARGUMENT) -> Applied:  # noqa: ARG001
    """Let randomly drawn weights of `model` train, as many as it has biases.

    Raises StrategyError where the model has no biases to count or its architecture is not known.
    """
    return train_drawn(model, context, draw.uniform)
