"""Biases for models that have none: BitFit then trains them as it trains those of other models.

Many encoders and decoders since 2020 leave out biases (ModernBERT, Llama). An added one is zero, so the model computes
what it did, and the rest of the combination decides whether it trains, as in `bitfit+add`.
"""

from torch import nn

from strategies.base import base_of, train_only
from strategies.expectation import whole
from strategies.interface import Applied, Context
from strategies.naming import NO_ARGUMENT, Argument

ROUNDING = 1e-3
"""Bound on what step-0 logits move by where the kernel for layers with a bias is another one, on accelerators."""


def apply(model: nn.Module, context: Context, argument: Argument = NO_ARGUMENT) -> Applied:  # noqa: ARG001
    """Give every linear layer inside the layers of `model` that has no bias one of zeros; others stay as they are.

    The layers are what lies in an nn.ModuleList, so that the architecture need not be known. Norms without a bias
    stay without: an RMSNorm has no place for one. There is nothing to merge added biases into, since a plain model
    of the base's architecture has none.
    """
    lists = [module for module in base_of(model, context).module.modules() if isinstance(module, nn.ModuleList)]
    linears = [module for layers in lists for module in layers.modules() if isinstance(module, nn.Linear)]
    # A Conv1D always has a bias.
    bare = [linear for linear in linears if linear.bias is None]
    for linear in bare:
        linear.bias = nn.Parameter(linear.weight.new_zeros(linear.out_features))
    train_only(model, context, ())
    if not bare:
        return Applied(model, whole({}))
    exact = bare[0].weight.device.type in ("cpu", "meta")
    return Applied(model, whole({}), "exact" if exact else "near", 0.0 if exact else ROUNDING, merge=None)
