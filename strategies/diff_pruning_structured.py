"""Structured diff pruning: one more gate a tensor, so that whole tensors can stay as they were.

Guo, Rush, Kim, ACL 2021, arXiv 2012.07463: the gate of a value is its own times that of its group, and a group is a
parameter tensor.
"""

from torch import nn

from strategies.diff_pruning import prune
from strategies.interface import Applied, Context
from strategies.naming import NO_ARGUMENT, Argument


def apply(model: nn.Module, context: Context, argument: Argument = NO_ARGUMENT) -> Applied:
    """Let a gated difference to every parameter of the encoder train, with one more gate a tensor.

    Raises StrategyError where the size is given twice, or is larger than the encoder.
    """
    return prune(model, context, argument, grouped=True)
