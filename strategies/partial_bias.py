"""A linear layer of whose bias only a part trains: one role of several in a fused projection."""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D


class PartialBias(nn.Module):
    """A linear layer whose `bias` is frozen but for the coordinates in `indices`, for which `bias_values` stand.

    replaced     the layer in whose place it stands; `weight` and `bias` are its own parameters
    indices      (n,), coordinates of the bias, int64, sorted, unique; no part of the state
    bias_values  (n,), the trainable leaf
    """

    indices: Tensor

    def __init__(self, linear: nn.Linear | Conv1D, indices: Tensor) -> None:
        super().__init__()
        # In a tuple, so that its parameters are not found under two names.
        self._replaced = (linear,)
        self.weight, self.bias = linear.weight, linear.bias
        self.register_buffer("indices", indices.to(linear.weight.device), persistent=False)
        self.bias_values = nn.Parameter(self.bias.detach()[self.indices])

    @property
    def replaced(self) -> nn.Linear | Conv1D:
        """The layer in whose place this one stands."""
        return self._replaced[0]

    @torch.no_grad()
    def write(self) -> None:
        """Put `bias_values` into `bias`, in place."""
        self.bias[self.indices] = self.bias_values

    def forward(self, x: Tensor) -> Tensor:
        """Map `x` (..., in) to (..., out)."""
        weight = self.weight.t() if isinstance(self.replaced, Conv1D) else self.weight
        return F.linear(x, weight, self.bias.index_copy(0, self.indices, self.bias_values))

    def extra_repr(self) -> str:
        return f"{tuple(self.weight.shape)}, {self.indices.numel()} of {self.bias.numel()} biases trainable"
