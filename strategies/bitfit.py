"""BitFit: the biases of the encoder train (Ben Zaken, Ravfogel, Goldberg, ACL 2022, arXiv 2106.10199)."""

from torch import nn

from strategies import ROLES
from strategies.expectation import expected_biases, whole
from strategies.interface import Applied, Context
from strategies.naming import NO_ARGUMENT, Argument
from strategies.roles import base_of, bias_names, role_bias_names, train_only


def apply(model: nn.Module, context: Context, argument: Argument = NO_ARGUMENT) -> Applied:
    """Let the biases of `model` train: all of them, or those of the roles in `argument`.

    Raises StrategyError where the model has no biases, or lacks those of a role asked for.
    """
    base = base_of(model, context)
    roles = argument.words or ROLES
    names = role_bias_names(base, roles) if argument.words else bias_names(base)
    train_only(model, context, frozenset(names))
    return Applied(model, whole(expected_biases(base, roles)))
