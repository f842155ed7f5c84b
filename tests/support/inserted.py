"""A strategy for tests that inserts: gains on the first feed-forward layers, or shifts of them by way of a hook.

Of BERT only. Gains move the layer into another module and can be merged; shifts are said to be past merging.
"""

import torch
from torch import Tensor, nn

from strategies.base import put_module, train_only
from strategies.interface import Applied, Context, Expected
from strategies.naming import NO_ARGUMENT, Argument
from strategies.table import Entry

ENTRY = Entry("inserted", "Trains gains or shifts.", words={"gain": "gains", "shift": "shifts"}, order=2)


class Gained(nn.Module):
    """A linear layer whose outputs are multiplied by gains."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear
        self.gain = nn.Parameter(torch.ones(linear.out_features, device=linear.weight.device))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.linear(x) * self.gain
        return out

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """The layer with its gains in its own weight and bias."""
        self.linear.weight.mul_(self.gain.unsqueeze(1))
        self.linear.bias.mul_(self.gain)
        return self.linear


def apply(model: nn.Module, context: Context, argument: Argument = NO_ARGUMENT) -> Applied:
    """Insert what the argument says."""
    train_only(model, context, ())
    paths = [name for name, _ in model.named_modules() if name.endswith("intermediate.dense")]
    linears = {path: model.get_submodule(path) for path in paths}
    if argument.words == ("gain",):
        return _gained(model, linears)
    for linear in linears.values():
        linear.register_parameter("shift", nn.Parameter(torch.zeros(64, device=linear.get_parameter("bias").device)))
        linear.register_forward_hook(lambda module, _, out: out + module.shift)
    return Applied(model, Expected({f"{path}.shift": 64 for path in paths}, {}), merge=None)


def _gained(model: nn.Module, linears: dict[str, nn.Module]) -> Applied:
    gained = {path: Gained(linear) for path, linear in linears.items() if isinstance(linear, nn.Linear)}
    for path, module in gained.items():
        put_module(model, path, module)

    def merge() -> None:
        for path, module in gained.items():
            put_module(model, path, module.merged())

    moved = {f"{path}.{own}": f"{path}.linear.{own}" for path in gained for own in ("weight", "bias")}
    return Applied(model, Expected({f"{path}.gain": 64 for path in gained}, {}), merge=merge, moved=moved)
