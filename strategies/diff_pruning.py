"""Diff pruning: a sparse difference to the pretrained weights (Guo, Rush, Kim, ACL 2021, arXiv 2012.07463).

Every parameter of the encoder becomes w0 + z * delta, where z are hard-concrete gates (`strategies.hard_concrete`):

1.  For the first half of the steps delta and the gates train together, and the loss has a penalty on the number of
    gates that are not 0.
2.  Then the largest |z * delta| of the whole encoder are chosen, exactly as many as wanted,
3.  and for the other half only those train, without noise.

The state of the model says which half it is in, so a training that was saved goes on from there.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from strategies.base import Base, base_of, train_only
from strategies.errors import StrategyError
from strategies.expectation import expected_parameters
from strategies.hard_concrete import GatedDifference
from strategies.interface import Applied, Context, Expected
from strategies.naming import NO_ARGUMENT, Argument
from strategies.sizing import named_size

PENALTY = 1.25e-7
"""Weight of the expected number of gates that are not 0, against the task's mean loss."""

RELAXED = 0.5
"""Share of the steps in which the gates learn."""

Place = tuple[nn.Module, str]


def apply(model: nn.Module, context: Context, argument: Argument = NO_ARGUMENT) -> Applied:
    """Let a gated difference to every parameter of the encoder train.

    Raises StrategyError where the size is given twice, or is larger than the encoder.
    """
    return prune(model, context, argument, grouped=False)


def prune(model: nn.Module, context: Context, argument: Argument, *, grouped: bool) -> Applied:
    """Diff pruning; where `grouped`, every tensor has one more gate that its values share."""
    base = base_of(model, context)
    sizes = expected_parameters(base)
    count = _count(sum(sizes.values()), context, argument)
    train_only(model, context, ())
    gated, places = _insert(base, grouped=grouped)
    hook = base.module.register_forward_pre_hook(_redraw)
    choice = math.ceil(RELAXED * context.total_steps)

    def penalty() -> Tensor:
        return PENALTY * torch.stack([one.expected_count() for one in gated.values()]).sum()

    def before_step(step: int) -> None:
        # Without a number of steps there is no half of them, and the choice is left to the end.
        if context.total_steps and step == choice:
            _choose(gated, count)
            for one in gated.values():
                one.zero_grad()  # it is the gradient of the relaxed model, which is gone

    def finalize() -> Mapping[str, Tensor]:
        if not all(one.settled for one in gated.values()):
            _choose(gated, count)
        hook.remove()
        for module, own in places:
            parametrize.remove_parametrizations(module, own, leave_parametrized=False)
        changes = {name: _write(model.get_parameter(name), one) for name, one in gated.items()}
        return {name: indices for name, indices in changes.items() if indices.numel()}

    return Applied(
        model,
        _expected(sizes, count, grouped=grouped),
        penalty=penalty,
        before_step=before_step,
        finalize=finalize,
        draws=True,
        ready_after=min(choice + 1, context.total_steps),
    )


def _count(available: int, context: Context, argument: Argument) -> int:
    """How many values of the encoder may differ in the end."""
    share = named_size("diff_pruning", context, argument)
    if context.budget is None:
        return max(1, round(share * available))
    if context.budget > available:
        raise StrategyError(
            f"its budget of {context.budget} values is more than the {available} of the encoder; set a smaller one"
        )
    return context.budget


def _insert(base: Base, *, grouped: bool) -> tuple[dict[str, GatedDifference], list[Place]]:
    """Gate every parameter of the encoder; returns the differences by its name, and the places where it is used.

    A parameter used in several places has one difference.
    """
    named = {f"{base.prefix}{name}": parameter for name, parameter in base.module.named_parameters()}
    gated = {name: GatedDifference(parameter, grouped=grouped) for name, parameter in named.items()}
    of_parameter = {parameter: gated[name] for name, parameter in named.items()}
    places = [
        (module, own, parameter)
        for module in base.module.modules()
        for own, parameter in module.named_parameters(recurse=False, remove_duplicate=False)
    ]
    for module, own, parameter in places:
        parametrize.register_parametrization(module, own, of_parameter[parameter])
    return gated, [(module, own) for module, own, _ in places]


def _redraw(encoder: nn.Module, args: object) -> None:  # noqa: ARG001
    """Before each forward pass of the encoder: once for all of it, so that layers that share weights share gates.

    What a gradient checkpoint computes again within the pass, it computes with the same noise.
    """
    for module in encoder.modules():
        if isinstance(module, GatedDifference):
            module.redraw(random=encoder.training)


@torch.no_grad()
def _choose(gated: Mapping[str, GatedDifference], count: int) -> None:
    """Choose the `count` largest differences of all, gates without noise; of equal ones any."""
    # Each tensor's own largest first: a sort of all values at once would need several times their memory.
    tops = []
    for one in gated.values():
        one.redraw(random=False)
        size = one.difference().abs().flatten()
        tops.append(size.topk(min(count, size.numel())))
    values = torch.cat([top.values for top in tops])
    among = torch.zeros_like(values, dtype=torch.bool)
    among[values.topk(count).indices] = True
    parts = torch.split(among, [top.values.numel() for top in tops])
    for one, top, part in zip(gated.values(), tops, parts, strict=True):
        one.choose(top.indices[part])


@torch.no_grad()
def _write(parameter: Tensor, one: GatedDifference) -> Tensor:
    """Add what was chosen to a parameter, as the forward pass does; returns its flat indices, on the CPU.

    A value that does not change keeps every bit: 0 added to -0 would be +0.
    """
    indices = one.chosen()
    before = parameter.view(-1)[indices]
    after = before + one.delta.view(-1)[indices]
    parameter.view(-1)[indices] = torch.where(after == before, before, after)
    return indices.cpu()


def _expected(sizes: Mapping[str, int], count: int, *, grouped: bool) -> Expected:
    """Of each parameter a difference and a gate for each value, and perhaps one for all of them."""
    trainable: dict[str, int] = {}
    for name, size in sizes.items():
        module, _, own = name.rpartition(".")
        leaf = f"{module}.parametrizations.{own}.0"
        trainable |= {f"{leaf}.delta": size, f"{leaf}.log_alpha": size}
        trainable |= {f"{leaf}.group_log_alpha": 1} if grouped else {}
    return Expected(trainable, dict.fromkeys(sizes), kept=count)
