"""The last layers of the encoder train in full, those below stay as they were: no gradient is computed there."""

from itertools import accumulate

from torch import nn

from strategies.base import Base, base_of, train_only
from strategies.errors import StrategyError
from strategies.expectation import expected_last_layers, whole
from strategies.interface import Applied, Context
from strategies.naming import NO_ARGUMENT, Argument
from strategies.roles import depth, layer_paths
from strategies.sizing import named_size


def apply(model: nn.Module, context: Context, argument: Argument = NO_ARGUMENT) -> Applied:
    """Let the last layers of `model` train: so many as `argument` says or fit into the budget, or two.

    A norm after the last layer and a pooler are no part of them.

    Raises StrategyError where number and budget are both given, where the model has fewer layers or its architecture
    is not known, and where not even one layer fits.
    """
    base = base_of(model, context)
    layers = layer_paths(base)
    sizes = expected_last_layers(base)
    count = _count(base, context, argument, [sum(layer.values()) for layer in sizes])
    if count > len(layers):
        raise StrategyError(f"{depth(base)}, fewer than {count}; name a smaller number, as in last_layers:1")
    inside = tuple(layers[-count:])
    train_only(model, context, [name for name, _ in model.named_parameters() if name.startswith(inside)])
    return Applied(model, whole({name: size for layer in sizes[:count] for name, size in layer.items()}))


def _count(base: Base, context: Context, argument: Argument, sizes: list[int]) -> int:
    """How many layers train, where those of the model have `sizes`, the last one first."""
    number, budget = named_size("last_layers", context, argument), context.budget
    if budget is None:
        return int(number)
    count = sum(total <= budget for total in accumulate(sizes))
    if not count:
        raise StrategyError(
            f"not even the last layer of the {base} fits into a budget of {budget:,} values: it has {sizes[0]:,}"
        )
    return count
