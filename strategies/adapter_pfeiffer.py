"""One adapter a layer, after the feed-forward layers (Pfeiffer et al. 2021, arXiv 2005.00247)."""

import torch.nn.functional as F  # noqa: N812
from torch import nn

from strategies.adapters import insert_adapters
from strategies.interface import Applied, Context
from strategies.naming import NO_ARGUMENT, Argument


def apply(model: nn.Module, context: Context, argument: Argument = NO_ARGUMENT) -> Applied:
    """Insert it after the projection back to the model's width, before dropout, shortcut and LayerNorm."""
    return insert_adapters("adapter_pfeiffer", model, context, argument, ("output",), F.relu)
