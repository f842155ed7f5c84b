"""The same weights as `random_uniform`, by the costly way: a dense gradient of every touched matrix, then masked.

This is how the reference code of arXiv 2106.10199 does it, kept to show what it costs. The optimizer sees whole
matrices, so weight decay must be 0: it would move the weights that are not selected.
"""

import torch
from torch import nn

from strategies import draw
from strategies.base import base_of, train_only
from strategies.expectation import drawn_subset
from strategies.interface import Applied, Context
from strategies.naming import NO_ARGUMENT, Argument
from strategies.roles import weight_shapes
from strategies.subset import to_choose


def apply(model: nn.Module, context: Context, argument: Argument = NO_ARGUMENT) -> Applied:  # noqa: ARG001
    """Let randomly drawn weights of `model` train: a budget of them, by default as many as it has biases.

    Raises StrategyError where the model has no biases to count, too few weights, or an architecture that is not known.
    """
    base = base_of(model, context)
    matrices, count = to_choose(base, context)
    drawn = draw.uniform(context.generator, weight_shapes(matrices), count)
    train_only(model, context, frozenset(f"{path}.weight" for path in drawn))
    selected = [
        (matrices[path].weight, torch.from_numpy(coordinates.indices).to(matrices[path].weight.device))
        for path, coordinates in drawn.items()
    ]

    def mask(step: int) -> None:  # noqa: ARG001
        for weight, indices in selected:
            if weight.grad is not None:
                flat = weight.grad.view(-1)
                kept = flat[indices]
                flat.zero_()[indices] = kept

    return Applied(model, drawn_subset(base, drawn, "weight", context.budget), before_step=mask)
