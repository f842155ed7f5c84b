"""The frozen baseline with a memory: what the encoder gives for an example is worked out once, in eval mode, and kept.

`frozen` keeps the study's protocol, in which every step runs the encoder anew and with dropout. This one trains the
same head on the same examples at next to no cost, without the encoder's dropout: a strategy of its own.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from strategies import frozen
from strategies.interface import Applied, Context
from strategies.naming import NO_ARGUMENT, Argument


def apply(model: nn.Module, context: Context, argument: Argument = NO_ARGUMENT) -> Applied:
    """Freeze the encoder of `model` and let its `features` remember what they returned, until it is finished."""
    applied = frozen.apply(model, context, argument)
    model.features = CachedFeatures(model)  # type: ignore[assignment]

    def finalize() -> None:
        del model.features

    return Applied(model, applied.expected, finalize=finalize)


class CachedFeatures:
    """The `features` of a model with a frozen encoder, each example's computed once.

    An example is known by its real tokens and their segments, and kept on the model's device: `width` numbers where
    the head reads one vector an example, as many a real token where it reads every token. An example's numbers are
    those of the batch that it first came in; its padding there changes them by rounding alone.
    """

    def __init__(self, model: nn.Module) -> None:
        self._encoder = model.get_submodule("encoder")
        self._compute: Callable[..., Tensor] = model.features  # type: ignore[assignment]
        self._kept: dict[tuple[bytes, bool], Tensor] = {}

    @torch.no_grad()
    def __call__(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """(batch, width) or (batch, length, width), as the model's own; zeros in the place of padding."""
        keys = _keys(input_ids, attention_mask, token_type_ids)
        missing = [row for row, key in enumerate(keys) if key not in self._kept]
        if missing:
            rows = torch.tensor(missing, device=input_ids.device)
            given = (input_ids, attention_mask, token_type_ids)
            computed = self._in_eval_mode(*(None if tensor is None else tensor[rows] for tensor in given))
            for row, features in zip(missing, computed, strict=True):
                # A copy: a view would keep the whole batch alive.
                real = features if features.dim() == 1 else features[attention_mask[row].bool()]
                self._kept[keys[row]] = real.clone()
        found = [self._kept[key] for key in keys]
        if found[0].dim() == 1:
            return torch.stack(found)
        padded = found[0].new_zeros(*input_ids.shape, found[0].shape[-1])
        padded[attention_mask.bool()] = torch.cat(found)
        return padded

    def _in_eval_mode(self, *given: Tensor | None) -> Tensor:
        """Compute features without dropout; every module of the encoder is then in the mode it was in."""
        modes = {module: module.training for module in self._encoder.modules()}
        self._encoder.eval()
        try:
            return self._compute(*given)
        finally:
            for module, training in modes.items():
                module.training = training


def _keys(input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None) -> list[tuple[bytes, bool]]:
    """What tells examples apart: real tokens, their segments, and whether autocast is on."""
    segments = torch.zeros_like(input_ids) if token_type_ids is None else token_type_ids
    tokens = torch.stack([input_ids, segments]).cpu()
    masks = attention_mask.bool().cpu()
    autocast = torch.is_autocast_enabled(input_ids.device.type)
    return [(tokens[:, row][:, mask].numpy().tobytes(), autocast) for row, mask in enumerate(masks)]
