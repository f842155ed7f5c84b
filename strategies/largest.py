"""The coordinates of matrices that score highest."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from strategies.draw import Drawn, share


def largest(scores: Iterable[tuple[str, Tensor]], count: int) -> dict[str, Drawn]:
    """The `count` coordinates of the highest scores over all matrices; matrices without one are left out.

    `scores` are a name and a matrix each, looked at one at a time. On the meta device there are none to compare, and
    each matrix gets its share by size.
    """
    names: list[str] = []
    sizes: dict[str, int] = {}
    best, owners, places = torch.empty(0), torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.int64)
    for name, score in scores:
        if score.is_meta:
            sizes[name] = score.numel()
            continue
        flat = score.detach().flatten()
        values, own = (tensor.cpu() for tensor in flat.topk(min(count, flat.numel())))
        best, owners, places = (
            torch.cat(pair) for pair in ((best, values), (owners, torch.full_like(own, len(names))), (places, own))
        )
        best, kept = best.topk(min(count, best.numel()))
        owners, places = owners[kept], places[kept]
        names.append(name)
    if sizes:
        shares = dict(zip(sizes, share(list(sizes.values()), count), strict=True))
        return {name: Drawn(np.arange(own)) for name, own in shares.items() if own}
    chosen = {name: places[owners == number].sort().values.numpy() for number, name in enumerate(names)}
    return {name: Drawn(indices) for name, indices in chosen.items() if indices.size}
