"""How large a strategy is whose size can be chosen: as its name says, as a budget allows, or its default."""

from strategies.errors import StrategyError
from strategies.interface import Context
from strategies.naming import Argument, written
from strategies.table import TABLE, Size


def chosen_size(
    stem: str, context: Context, argument: Argument, *, each: int, fixed: int = 0, most: int | None = None
) -> int:
    """The size of strategy `stem`, which trains `fixed + size * each` values; at most `most` where that is given.

    A budget gives the largest size that stays within it. Raises StrategyError where both the name and a budget say
    the size, where the budget is below the smallest one, and where the size named, or the default, is beyond `most`
    or `context.most`.
    """
    size = _chosen(stem, context, argument, each, fixed, most)
    if context.most is not None and fixed + size * each > context.most:
        raise StrategyError(
            f"a {size_of(stem).word} of {size} trains {fixed + size * each} values, "
            f"more than the {context.most} there is room for"
        )
    return size


def _chosen(stem: str, context: Context, argument: Argument, each: int, fixed: int, most: int | None) -> int:
    """The size, whatever `context.most` says."""
    size = size_of(stem)
    number = named_size(stem, context, argument)
    if context.budget is None:
        wanted = int(number)
        if most is not None and wanted > most:
            raise StrategyError(f"a {size.word} of {wanted} is too large for this model; use at most {stem}:{most}")
        return wanted
    if context.budget < fixed + each:
        raise StrategyError(
            f"a budget of {context.budget} values is too small for {stem}: its smallest {size.word}, 1, "
            f"trains {fixed + each}; raise the budget"
        )
    within = (context.budget - fixed) // each
    return within if most is None else min(within, most)


def named_size(stem: str, context: Context, argument: Argument) -> float:
    """The size that the name of strategy `stem` says, or its default.

    Raises StrategyError where there is a budget too, which says the size in its place.
    """
    size = size_of(stem)
    if context.budget is not None and argument.number is not None:
        raise StrategyError(
            f"both {stem}:{written(argument.number)} and a budget of {context.budget} values set its {size.word}; "
            "leave one of them out"
        )
    return size.default if argument.number is None else argument.number


def size_of(stem: str) -> Size:
    """What the number of strategy `stem` says. Raises ValueError where it takes none."""
    size = TABLE[stem].size
    if size is None:
        raise ValueError(f"{stem} has no size in the table")
    return size
