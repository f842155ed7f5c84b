"""Two adapters a layer, after attention and after the feed-forward layers (Houlsby et al. 2019, arXiv 1902.00751)."""

import torch.nn.functional as F  # noqa: N812
from torch import nn

from strategies.adapters import insert_adapters
from strategies.interface import Applied, Context
from strategies.naming import NO_ARGUMENT, Argument


def apply(model: nn.Module, context: Context, argument: Argument = NO_ARGUMENT) -> Applied:
    """Insert them after both projections back to the model's width, before dropout, shortcut and LayerNorm."""
    return insert_adapters("adapter_houlsby", model, context, argument, ("attention_output", "output"), F.gelu)
