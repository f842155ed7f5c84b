"""Bottleneck adapters: a small feed-forward network with a shortcut around it, after linear layers of the encoder."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from strategies.base import base_of, put_module, train_only
from strategies.expectation import expected_linears
from strategies.interface import Applied, Context, Expected
from strategies.naming import Argument
from strategies.roles import role_linears
from strategies.sizing import chosen_size

Activation = Callable[[Tensor], Tensor]


class Bottleneck(nn.Module):
    """x + up(activation(down(x))), with x (..., width) and the bottleneck between `down` and `up`.

    `up` begins at zero, so that the adapter begins as the identity, bit for bit, and the model as the base; the
    weights of `down` begin uniform in +-1/sqrt(width), so that gradients reach `up` at once.
    """

    def __init__(self, width: int, bottleneck: int, activation: Activation, generator: np.random.Generator) -> None:
        super().__init__()
        # By way of the meta device: torch's own first values would come from its global random state.
        self.down = nn.Linear(width, bottleneck, device="meta").to_empty(device="cpu")
        self.up = nn.Linear(bottleneck, width, device="meta").to_empty(device="cpu")
        self.activation = activation
        first = generator.uniform(-1.0, 1.0, (bottleneck, width)) / np.sqrt(width)
        with torch.no_grad():
            self.down.weight.copy_(torch.from_numpy(first))
            for zero in (self.down.bias, self.up.weight, self.up.bias):
                zero.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """Map `x` (..., width) to the same shape."""
        adapted: Tensor = self.up(self.activation(self.down(x)))
        return x + adapted


class AdaptedLinear(nn.Module):
    """A linear layer followed by an adapter; it stands in the layer's place and keeps its parameters' names.

    weight, bias  the layer's own parameters
    adapter       what is inserted
    """

    def __init__(self, linear: nn.Linear | Conv1D, adapter: Bottleneck) -> None:
        super().__init__()
        self.transposed = isinstance(linear, Conv1D)
        self.weight = linear.weight
        self.bias = linear.bias
        self.adapter = adapter

    def forward(self, x: Tensor) -> Tensor:
        """Map `x` (..., in) to (..., out)."""
        # By its own parameters, whatever form they are stored in.
        weight = self.weight.t() if self.transposed else self.weight
        adapted: Tensor = self.adapter(F.linear(x, weight, self.bias))
        return adapted


def insert_adapters(
    stem: str, model: nn.Module, context: Context, argument: Argument, roles: Sequence[str], activation: Activation
) -> Applied:
    """Put an adapter after the linear layer of each of `roles` in every layer; these and the head train.

    Raises StrategyError where the architecture is not known, or the bottleneck does not fit the budget.
    """
    base = base_of(model, context)
    widths = {path: width for path, (_, width) in expected_linears(base, roles).items()}
    each, fixed = sum(2 * width + 1 for width in widths.values()), sum(widths.values())
    bottleneck = chosen_size(stem, context, argument, each=each, fixed=fixed)
    inserted: list[str] = []
    for path, linear in role_linears(base, roles).items():
        width = linear.weight.shape[1 if isinstance(linear, Conv1D) else 0]
        adapter = Bottleneck(width, bottleneck, activation, context.generator).to(linear.weight)
        put_module(model, path, AdaptedLinear(linear, adapter))
        inserted += [f"{path}.adapter.{name}" for name, _ in adapter.named_parameters()]
    train_only(model, context, inserted)
    trainable = {
        f"{path}.adapter.{name}": size
        for path, width in widths.items()
        for name, size in (
            ("down.weight", bottleneck * width),
            ("down.bias", bottleneck),
            ("up.weight", width * bottleneck),
            ("up.bias", width),
        )
    }
    return Applied(model, Expected(trainable, {}), merge=None)
