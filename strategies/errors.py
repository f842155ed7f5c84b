"""The error a strategy raises; torch-free, so that names can be checked without it."""


class StrategyError(ValueError):
    """A strategy is unknown or cannot be applied.

    The message is one line that names the strategy, the model where there is one, and what it lacks.
    """
