"""Virtual tokens in front of every text: what prompt tuning and prefix tuning share.

Both are hooks on the encoder, which stays the same object. `peft` has model classes for them, but those return the
hidden states of the virtual tokens too, and a pretrained pooler then reads one of them instead of the first word.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from strategies.errors import StrategyError

Inputs = dict[str, Any]


POSITION_TABLES = frozenset({"position_embeddings", "wpe"})
"""What known architectures call the embedding of absolute positions."""


@dataclass(frozen=True)
class Room:
    """The positions of an encoder that texts and virtual tokens share; None where it knows relative ones only."""

    positions: int | None

    @property
    def most_tokens(self) -> int | None:
        """The most virtual tokens that leave a position to the text."""
        return None if self.positions is None else self.positions - 1

    def lengthened(self, inputs: Mapping[str, Any], count: int) -> Inputs:
        """Inputs whose mask lets every word see `count` virtual tokens, and whose positions begin after them.

        Raises StrategyError where the text leaves them no positions.
        """
        mask = inputs["attention_mask"]
        length = mask.shape[1]
        if self.positions is not None and count + length > self.positions:
            raise StrategyError(
                f"{count} virtual tokens and a text of {length} do not fit into the model's {self.positions} "
                "positions; lower max_length or the number of virtual tokens"
            )
        longer = {**inputs, "attention_mask": F.pad(mask, (count, 0), value=1)}
        if "position_ids" in inputs:
            longer["position_ids"] = inputs["position_ids"] + count
        return longer


def room_of(encoder: nn.Module) -> Room:
    """The room of an encoder of known architecture."""
    for name, module in encoder.named_modules():
        if name.rpartition(".")[2] in POSITION_TABLES and isinstance(module, nn.Embedding):
            # Where padding has a position of its own, those of words begin after it.
            before = 0 if module.padding_idx is None else module.padding_idx + 1
            return Room(module.num_embeddings - before)
    return Room(None)


def rows(tokens: Tensor, inputs: Mapping[str, Any]) -> Tensor:
    """`tokens` once for each text of a batch."""
    return tokens.expand(len(inputs["attention_mask"]), *tokens.shape)
