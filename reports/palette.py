"""How a strategy looks: one name for people, one colour and one marker, the same in every figure and table.

The colours are of medium lightness, readable on white and on near-black, and kept apart under the common colour
blindnesses; the marker tells strategies apart without any colour.
"""

import hashlib
import re
from dataclasses import dataclass
from functools import cache

from matplotlib.markers import MarkerStyle
from matplotlib.path import Path as Outline
from matplotlib.transforms import Affine2D


@dataclass(frozen=True)
class Style:
    """A strategy's name for people, its colour, and its marker in matplotlib's code."""

    label: str
    colour: str
    marker: str


KNOWN: dict[str, Style] = {
    "full": Style("full fine-tuning", "#606a78", "s"),
    "bitfit": Style("BitFit", "#006fb5", "o"),
    "bq_b2": Style("bQ+b2", "#41a0da", "^"),
    "layernorm": Style("LayerNorm", "#009a70", "D"),
    "random_uniform": Style("random uniform", "#c28400", "P"),
    "random_rowcol": Style("random row/col", "#c94a00", "X"),
    "random_uniform_dense": Style("random uniform (dense)", "#8a6a3a", "*"),
    "frozen": Style("frozen", "#c56fa0", "v"),
    "frozen_cached": Style("frozen, cached", "#9a4f7c", "<"),
}
LABELS: dict[str, str] = {name: style.label for name, style in KNOWN.items()} | {
    "last_layers": "last layers",
    "magnitude_subset": "largest weights",
    "gradient_subset": "largest gradients",
    "diff_pruning": "Diff-Pruning",
    "diff_pruning_structured": "Diff-Pruning, structured",
    "adapter_houlsby": "adapters (Houlsby)",
    "adapter_pfeiffer": "adapters (Pfeiffer)",
    "lora": "LoRA",
    "ia3": "(IA)³",
    "vera": "VeRA",
    "shira": "SHiRA",
    "prompt": "prompt tuning",
    "prefix": "prefix tuning",
    "add": "added biases",
    "bf16": "bf16",
    "int8": "int8",
}
"""Names for people. Those without a style of their own get one from their name, always the same."""

OTHER_COLOURS = ("#7a5cc0", "#a0563b", "#4f7f2a", "#b0307a", "#2b7f8c", "#8f8420", "#6d7fc9", "#9c4a5c")
OTHER_MARKERS = ("p", "h", "<", ">", "d", "8", "H")


def style(strategy: str) -> Style:
    """The style of a strategy; one without a style of its own in the table gets it from its name, always the same."""
    if strategy in KNOWN:
        return KNOWN[strategy]
    digest = hashlib.sha256(strategy.encode()).digest()
    return Style(
        _label(strategy), OTHER_COLOURS[digest[0] % len(OTHER_COLOURS)], OTHER_MARKERS[digest[1] % len(OTHER_MARKERS)]
    )


def _label(strategy: str) -> str:
    """The name for people of one with an argument, 'bitfit:query+key@0-5', or of a combination, 'bitfit+lora:8'."""
    parts: list[str] = []
    for word in strategy.split("+"):
        # A word that is no strategy's name belongs to the argument before it.
        if parts and ":" in parts[-1] and re.split("[:@]", word)[0] not in LABELS:
            parts[-1] += f"+{word}"
        else:
            parts.append(word)
    return " + ".join(map(_part, parts))


def _part(text: str) -> str:
    stem = re.split("[:@]", text)[0]
    argument = text.removeprefix(stem).removeprefix(":")
    label = LABELS.get(stem, stem)
    return f"{label} ({argument})" if argument else label


def label(name: str, strategy: str) -> str:
    """The name for people of a row, whose name is the strategy's with or without settings behind it."""
    return style(strategy).label + name.removeprefix(strategy)


@cache
def outline(marker: str) -> str:
    """A marker as SVG path data within a box of 10 by 10 around 0."""
    shape = MarkerStyle(marker)
    path = shape.get_path().transformed(shape.get_transform() + Affine2D().scale(7.5, -7.5))
    commands = {Outline.MOVETO: "M", Outline.LINETO: "L", Outline.CURVE3: "Q", Outline.CURVE4: "C"}
    words: list[str] = []
    for points, code in path.iter_segments(simplify=False):
        if code == Outline.CLOSEPOLY:
            words.append("Z")
        elif code in commands:
            words.append(commands[Outline.code_type(code)] + " ".join(f"{value:.2f}" for value in points))
    return "".join(words)
