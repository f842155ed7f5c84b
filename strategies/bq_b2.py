"""bQ+b2: the biases of the query projection and of the first feed-forward layer (arXiv 2106.10199, section 4).

The paper writes the second one b_m2. It is the layer of width 4d, not the feed-forward output.
"""

from torch import nn

from strategies import bitfit
from strategies.interface import Applied, Context
from strategies.naming import NO_ARGUMENT, Argument


def apply(model: nn.Module, context: Context, argument: Argument = NO_ARGUMENT) -> Applied:  # noqa: ARG001
    """Let the query and intermediate biases of `model` train. Raises StrategyError where it lacks them."""
    return bitfit.apply(model, context, Argument(("query", "intermediate")))
