"""Prefix tuning: keys and values before those of every text, in every layer (Li and Liang 2021, arXiv 2101.00190).

Without the network that makes them in that paper: they train themselves, as in P-tuning v2 (arXiv 2110.07602).
"""

import inspect
from functools import partial
from typing import Any

import torch
from torch import nn
from transformers import DynamicCache

from strategies.base import base_of, train_only
from strategies.errors import StrategyError
from strategies.interface import Applied, Context, Expected
from strategies.naming import NO_ARGUMENT, Argument
from strategies.sizing import chosen_size
from strategies.virtual_tokens import Inputs, Room, room_of, rows

NAME = "prefix_states"


def apply(model: nn.Module, context: Context, argument: Argument = NO_ARGUMENT) -> Applied:
    """Begin with standard normal values.

    Raises StrategyError where the architecture is not known or its attention takes no keys and values from outside,
    the prefix leaves the text no position, or under gradient checkpointing.
    """
    base = base_of(model, context)
    _check_checkpointing(base.module)
    if "past_key_values" not in inspect.signature(type(base.module).forward).parameters:
        raise StrategyError(
            f"the attention of the {base} takes no keys and values from outside; use prompt, or a BERT, RoBERTa, "
            "ELECTRA or GPT-2 model"
        )
    layers: int = getattr(base.config, base.layout.layers[0][1])
    hidden: int = base.config.hidden_size
    room = room_of(base.module)
    count = chosen_size("prefix", context, argument, each=2 * layers * hidden, most=room.most_tokens)
    heads: int = base.config.num_attention_heads
    shape = (layers, 2, heads, count, hidden // heads)
    like = next(base.module.parameters())
    first = torch.from_numpy(context.generator.standard_normal(shape)).to(like)
    base.module.register_parameter(NAME, nn.Parameter(first))
    base.module.register_forward_pre_hook(partial(_put_in_front, room), with_kwargs=True)
    train_only(model, context, (f"{base.prefix}{NAME}",))
    trainable = {f"{base.prefix}{NAME}": count * 2 * layers * hidden}
    return Applied(model, Expected(trainable, {}), start="changed", merge=None, virtual_tokens=count)


def _put_in_front(
    room: Room, encoder: nn.Module, arguments: tuple[Any, ...], inputs: Inputs
) -> tuple[tuple[Any, ...], Inputs]:
    """The prefix as what went before the text.

    Raises StrategyError under gradient checkpointing, which leaves out what went before when it computes again.
    """
    if encoder.training:
        _check_checkpointing(encoder)
    states = encoder.get_parameter(NAME)
    past = DynamicCache()
    for layer, (key, value) in enumerate(states):
        past.update(rows(key, inputs), rows(value, inputs), layer)
    return arguments, {**room.lengthened(inputs, states.shape[3]), "past_key_values": past}


def _check_checkpointing(encoder: nn.Module) -> None:
    if any(getattr(module, "gradient_checkpointing", False) for module in encoder.modules()):
        raise StrategyError("prefix cannot train with gradient checkpointing, which drops keys and values of before")
