"""The coordinates of matrices that score highest."""

from collections.abc import Iterable

import torch
from torch import Tensor

from strategies.draw import Drawn


def largest(scores: Iterable[tuple[str, Tensor]], count: int) -> dict[str, Drawn]:
    """The `count` coordinates of the highest scores over all matrices; matrices without one are left out.

    `scores` are a name and a matrix each, looked at one at a time. On the meta device there are none to compare, and
    any coordinates are chosen.
    """
    names: list[str] = []
    best, owners, places = torch.empty(0), torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.int64)
    for name, score in scores:
        flat = torch.zeros(score.numel()) if score.is_meta else score.detach().flatten()
        values, own = (tensor.cpu() for tensor in flat.topk(min(count, flat.numel())))
        best, owners, places = (
            torch.cat(pair) for pair in ((best, values), (owners, torch.full_like(own, len(names))), (places, own))
        )
        best, kept = best.topk(min(count, best.numel()))
        owners, places = owners[kept], places[kept]
        names.append(name)
    chosen = {name: places[owners == number].sort().values.numpy() for number, name in enumerate(names)}
    return {name: Drawn(indices) for name, indices in chosen.items() if indices.size}
