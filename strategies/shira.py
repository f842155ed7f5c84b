"""SHiRA: a random few of the weights of the query and value projections (Bhardwaj et al. 2024, arXiv 2406.13175)."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import torch
from peft import ShiraConfig, ShiraModel
from torch import Tensor, nn

from strategies.base import base_of
from strategies.errors import StrategyError
from strategies.expectation import expected_linears
from strategies.injection import ADAPTER, inject, targets_of, unwrap
from strategies.interface import Applied, Context, no_merge
from strategies.naming import NO_ARGUMENT, Argument
from strategies.roles import held_in, refuse_shared
from strategies.sizing import chosen_size

ROLES = ("query", "value")


def apply(model: nn.Module, context: Context, argument: Argument = NO_ARGUMENT) -> Applied:
    """As many weights a matrix as LoRA of the same rank trains, rank * (in + out), drawn anew for each.

    What training adds to them goes into the weights themselves at the end, so that a plain model is left.
    """
    base = base_of(model, context)
    targets = targets_of(model, context, ROLES)
    if targets.transposed:
        raise StrategyError(f"peft's SHiRA knows no Conv1D, which the {base} has; use random_uniform or lora")
    refuse_shared(targets.linears)
    # Off is what it is by default. Said aloud, torch does not warn of it in each process.
    if not torch.sparse.check_sparse_tensor_invariants.is_enabled():  # type: ignore[no-untyped-call]
        torch.sparse.check_sparse_tensor_invariants.disable()  # type: ignore[no-untyped-call]
    sizes = expected_linears(base, held_in(base, ROLES))
    most = min(rows * columns // (rows + columns) for columns, rows in sizes.values())
    rank = chosen_size("shira", context, argument, each=sum(map(sum, sizes.values())), most=most)
    drawn = {
        path: context.generator.choice(columns * rows, rank * (columns + rows), replace=False, shuffle=False)
        for path, (columns, rows) in sizes.items()
    }
    indices = {path: torch.from_numpy(chosen).sort().values for path, chosen in drawn.items()}
    config = ShiraConfig(r=rank, target_modules=targets.modules)
    config.mask_fn = _masks({targets.linears[path]: chosen for path, chosen in indices.items()})
    trainable = {f"{path}.shira_weight.{ADAPTER}": rank * sum(widths) for path, widths in sizes.items()}
    applied = inject(model, context, targets, ShiraModel, config, trainable)
    changes: dict[str, Tensor | None] = {f"{path}.weight": chosen for path, chosen in indices.items()}
    whole = replace(applied.expected, changes=changes)
    return replace(applied, expected=whole, finalize=partial(unwrap, model, targets), merge=no_merge)


def _masks(drawn: Mapping[nn.Module, Tensor]) -> Callable[..., Tensor]:
    """A mask function as `peft` asks for it: 1 at the drawn coordinates of a layer's weight, on the CPU."""

    def mask(linear: nn.Module, rank: int, **_: object) -> Tensor:  # noqa: ARG001
        chosen = torch.zeros(linear.get_parameter("weight").shape, dtype=torch.bool)
        chosen.view(-1)[drawn[linear]] = True
        return chosen

    return mask
