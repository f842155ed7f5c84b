"""Prompt tuning: embeddings of virtual tokens in front of every text (Lester et al. 2021, arXiv 2104.08691)."""

from functools import partial
from typing import Any, cast

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from transformers import PreTrainedModel

from strategies.base import base_of, train_only
from strategies.interface import Applied, Context, Expected
from strategies.naming import NO_ARGUMENT, Argument
from strategies.sizing import chosen_size
from strategies.virtual_tokens import Inputs, Room, room_of, rows

NAME = "prompt_tokens"


def apply(model: nn.Module, context: Context, argument: Argument = NO_ARGUMENT) -> Applied:
    """Begin with embeddings of words drawn from the vocabulary. The head and the pooler see the text alone.

    Raises StrategyError where the architecture is not known, or the tokens leave the text no position.
    """
    base = base_of(model, context)
    width: int = getattr(base.config, base.layout.embedding_size)
    room = room_of(base.module)
    count = chosen_size("prompt", context, argument, each=width, most=room.most_tokens)
    words = _word_embeddings(base.module).weight.detach()
    drawn = torch.from_numpy(context.generator.integers(len(words), size=count))
    base.module.register_parameter(NAME, nn.Parameter(words[drawn.to(words.device)].clone()))
    base.module.register_forward_pre_hook(partial(_put_in_front, room), with_kwargs=True)
    # A pooler reads the first of the hidden states, so they are cut before it: where the layers end.
    pooled = getattr(base.module, "pooler", None) is not None
    end = base.module.get_submodule("encoder") if pooled else base.module
    end.register_forward_hook(partial(_cut_off, count))
    train_only(model, context, (f"{base.prefix}{NAME}",))
    return Applied(
        model, Expected({f"{base.prefix}{NAME}": count * width}, {}), start="changed", merge=None, virtual_tokens=count
    )


def _put_in_front(
    room: Room, encoder: nn.Module, arguments: tuple[Any, ...], inputs: Inputs
) -> tuple[tuple[Any, ...], Inputs]:
    """Word embeddings with the virtual tokens before them, in place of the ids."""
    tokens = encoder.get_parameter(NAME)
    longer = room.lengthened(inputs, len(tokens))
    words: Tensor = _word_embeddings(encoder)(longer.pop("input_ids"))
    longer["inputs_embeds"] = torch.cat([rows(tokens, inputs), words], 1)
    if "token_type_ids" in inputs:
        longer["token_type_ids"] = F.pad(inputs["token_type_ids"], (len(tokens), 0))
    if "position_ids" in inputs:
        own = torch.arange(len(tokens), device=tokens.device).expand(len(words), -1)
        longer["position_ids"] = torch.cat([own, longer["position_ids"]], 1)
    return arguments, longer


def _word_embeddings(encoder: nn.Module) -> nn.Embedding:
    found = cast(PreTrainedModel, encoder).get_input_embeddings()
    return cast(nn.Embedding, found)


def _cut_off(count: int, module: nn.Module, arguments: tuple[Any, ...], output: Any) -> Any:  # noqa: ARG001
    """Hidden states of the text alone."""
    output.last_hidden_state = output.last_hidden_state[:, count:]
    return output
