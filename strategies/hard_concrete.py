"""Gates that are closed, open or in between, and learn which: the hard-concrete relaxation of an L0 norm.

Louizos, Welling, Kingma: Learning sparse neural networks through L0 regularization, ICLR 2018, arXiv 1712.01312;
with the constants of diff pruning (Guo, Rush, Kim, ACL 2021, arXiv 2012.07463) as its authors' code sets them. A gate

    z = clamp(s * (UPPER - LOWER) + LOWER, 0, 1),    s = sigmoid(log_alpha + log(u) - log(1 - u)),    u ~ U(0, 1)

is 0 and 1 with probabilities above 0, and has a gradient in between. Without noise, u = 1/2, it is deterministic.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

LOWER, UPPER = -1.5, 1.5
"""What s is stretched to."""

START = 5.0
"""Where log_alpha begins: a gate that is open but for one draw in thirty."""

SCALE = 1000.0
"""Log_alpha is this many times the leaf that trains.

Gates want a rate of their own, and the optimizer has one rate for all: Adam moves a leaf by about its rate, so this
moves log_alpha by 0.1 a step where the rate is 1e-4.
"""

MARGIN = 1e-4
"""How far u keeps from 0 and 1, so that its logit is finite."""

_CLOSED_BELOW = math.log(-LOWER / UPPER)


class GatedDifference(nn.Module):
    """A parametrization: a frozen tensor w0 becomes w0 + z * delta, with a gate z for each value.

    A gate whose log_alpha is plus or minus infinity is open or closed for good, noise or not: nothing moves it, and
    where it is closed nothing reaches delta. So this state says all there is to know of which values are chosen.

    delta            in the shape of w0, begins at 0
    log_alpha        in the shape of w0, in units of SCALE
    group_log_alpha  (), likewise, of one more gate that all values of the tensor share; None without it
    """

    group_log_alpha: nn.Parameter | None
    noise: Tensor | None
    group_noise: Tensor | None

    def __init__(self, base: Tensor, *, grouped: bool) -> None:
        super().__init__()
        self.delta = nn.Parameter(torch.zeros_like(base))
        self.log_alpha = nn.Parameter(torch.full_like(base, START / SCALE))
        self.group_log_alpha = nn.Parameter(base.new_full((), START / SCALE)) if grouped else None
        self.register_buffer("noise", None, persistent=False)
        self.register_buffer("group_noise", None, persistent=False)

    def redraw(self, *, random: bool) -> None:
        """Draw new noise, from torch's generator, or where the gates should not be `random` remove it."""
        self.noise = _noise(self.delta) if random else None
        self.group_noise = _noise(self.group_log_alpha) if random and self.group_log_alpha is not None else None

    def forward(self, base: Tensor) -> Tensor:
        """`base` and the difference to it; the same however often it is called between two draws."""
        return base + self.difference()

    def difference(self) -> Tensor:
        """The gated delta."""
        difference: Tensor = _Gated.apply(self.delta, self.log_alpha, self.noise)  # type: ignore[no-untyped-call]
        if self.group_log_alpha is not None:
            difference = difference * _stretched(self.group_log_alpha, self.group_noise).clamp(0, 1)
        return difference

    def expected_count(self) -> Tensor:
        """How many gates are expected not to be 0, which is differentiable: the relaxed L0 norm of the difference."""
        count = _open_probability(self.log_alpha).sum()
        return count if self.group_log_alpha is None else count * _open_probability(self.group_log_alpha)

    @torch.no_grad()
    def choose(self, indices: Tensor) -> None:
        """Keep the difference as it is without noise at flat `indices`, open for good, and close the rest for good."""
        self.redraw(random=False)
        self.delta.copy_(self.difference())
        self.log_alpha.fill_(-math.inf).view(-1)[indices] = math.inf
        if self.group_log_alpha is not None:
            self.group_log_alpha.fill_(math.inf)

    @property
    def settled(self) -> bool:
        """Whether it was chosen which values stay, so that the gates no longer learn."""
        return bool(self.log_alpha.isinf().all())

    def chosen(self) -> Tensor:
        """Flat indices, sorted, of the gates that are open for good."""
        return (self.log_alpha.detach() == math.inf).flatten().nonzero().flatten()


class _Gated(torch.autograd.Function):
    """delta times its gates. Autograd alone would keep three more tensors of this size for the backward pass."""

    @staticmethod
    def forward(ctx: Any, delta: Tensor, log_alpha: Tensor, noise: Tensor | None) -> Tensor:
        ctx.save_for_backward(delta, log_alpha, noise)
        return _stretched(log_alpha, noise).clamp_(0, 1).mul_(delta)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        delta, log_alpha, noise = ctx.saved_tensors
        stretched = _stretched(log_alpha, noise)
        s = (stretched - LOWER) / (UPPER - LOWER)
        slope = SCALE * (UPPER - LOWER) * s * (1 - s) * ((stretched > 0) & (stretched < 1))
        return grad * stretched.clamp(0, 1), grad * delta * slope, None


def _stretched(log_alpha: Tensor, noise: Tensor | None) -> Tensor:
    """The gates before they are clamped."""
    s = SCALE * log_alpha
    return torch.sigmoid(s if noise is None else s + noise) * (UPPER - LOWER) + LOWER


def _open_probability(log_alpha: Tensor) -> Tensor:
    """Of each gate the probability that it is not 0."""
    return torch.sigmoid(SCALE * log_alpha - _CLOSED_BELOW)


def _noise(like: Tensor) -> Tensor:
    """log(u) - log(1 - u)."""
    return torch.empty_like(like, requires_grad=False).uniform_(MARGIN, 1 - MARGIN).logit_()
