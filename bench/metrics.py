"""One table that says of every metric what it is, in which unit, which direction is better, and how to print it."""

from dataclasses import dataclass
from typing import Literal

Unit = Literal["fraction", "seconds", "bytes", "ratio", "loss", "count"]


@dataclass(frozen=True)
class Metric:
    """A metric. `higher_is_better` is None where neither direction is a merit; a score lies from `lowest` to 1."""

    name: str
    label: str
    unit: Unit
    higher_is_better: bool | None
    lowest: float = 0.0

    def merit(self, value: float | None) -> float:
        """The value turned so that more is better, for ranking; what does not exist ranks last."""
        if value is None:
            return float("-inf")
        return -value if self.higher_is_better is False else value

    def format(self, value: float | None, digits: int | None = None) -> str:
        """Print a value with its unit; fractions as percentage points, None as 'n/a'."""
        if value is None:
            return "n/a"
        if self.unit == "fraction":
            return f"{100 * value:.{1 if digits is None else digits}f}"
        if self.unit == "bytes":
            return format_bytes(value)
        if self.unit == "seconds":
            return format_seconds(value)
        if self.unit == "count":
            return f"{value:,.0f}"
        return f"{value:.{2 if digits is None else digits}f}"


def format_bytes(value: float) -> str:
    """Bytes in the largest binary unit that leaves at least 1: '105 kiB', '1.21 GiB'."""
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("kiB", 2**10)):
        if abs(value) >= size:
            return f"{value / size:.3g} {unit}" if abs(value) < 1000 * size else f"{value / size:.0f} {unit}"
    return f"{value:.0f} B"


def format_seconds(value: float) -> str:
    """Seconds with three digits: '12.3 ms', '1.24 s', '3 min 05 s'."""
    if value >= 60:
        minutes, seconds = divmod(round(value), 60)
        return f"{minutes} min {seconds:02d} s"
    return f"{value:.3g} s" if value >= 1 else f"{1000 * value:.3g} ms"


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("accuracy", "accuracy", "fraction", True),
        Metric("f1", "F1", "fraction", True),
        Metric("span_f1", "span F1 (strict IOB2)", "fraction", True),
        Metric("macro_f1", "macro F1", "fraction", True),
        Metric("matthews_correlation", "Matthews correlation", "fraction", True, lowest=-1.0),
        Metric("exact_match", "exact match", "fraction", True),
        Metric("answer_f1", "answer F1", "fraction", True),
        Metric("pearson", "Pearson correlation", "fraction", True, lowest=-1.0),
        Metric("spearman", "Spearman correlation", "fraction", True, lowest=-1.0),
        Metric("mean_absolute_error", "mean absolute error", "loss", False),
        Metric("loss", "loss", "loss", False),
        Metric("generalization_gap", "generalization gap", "fraction", False),
        Metric("error_gap", "generalization gap in the error", "loss", False),
        Metric("training_seconds", "training time", "seconds", False),
        Metric("step_seconds", "step time", "seconds", False),
        Metric("step_ratio", "step time / full", "ratio", False),
        Metric("peak_allocated_bytes", "peak memory", "bytes", False),
        Metric("peak_reserved_bytes", "peak reserved memory", "bytes", False),
        Metric("resident_high_water_bytes", "resident high-water", "bytes", False),
        Metric("memory_ratio", "peak memory / full", "ratio", False),
        Metric("delta_bytes", "delta size", "bytes", False),
        Metric("trainable_fraction", "trainable share of the encoder", "fraction", None),
        Metric("trainable_parameters", "trainable encoder parameters", "count", None),
    )
}
