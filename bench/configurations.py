"""Configurations of encoders: made from fields, with the dropout asked for, and what they say of a model."""

from collections.abc import Mapping
from typing import Any

import transformers
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, PretrainedConfig

from bench.errors import InputError

transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call]

# What architectures call the dropout of their hidden states and of their attention; GPT-2 has two of the former.
HIDDEN_DROPOUT = ("hidden_dropout_prob", "dropout", "resid_pdrop", "embd_pdrop")
ATTENTION_DROPOUT = ("attention_probs_dropout_prob", "attention_dropout", "attn_pdrop")


def configure(
    fields: Mapping[str, Any], hidden_dropout: float | None, attention_dropout: float | None
) -> PretrainedConfig:
    """A configuration from keyword arguments (`model_type` among them), with dropout set where it is not None.

    Raises InputError where they make no configuration.
    """
    try:
        config: PretrainedConfig = AutoConfig.for_model(**fields)
    except (TypeError, ValueError, StrictDataclassError) as error:
        raise InputError(f"not the configuration of an encoder: {' '.join(str(error).split())}") from None
    return with_dropout(config, hidden_dropout, attention_dropout)


def with_dropout(config: PretrainedConfig, hidden: float | None, attention: float | None) -> PretrainedConfig:
    """Set the dropout rates of `config` in place where they are not None, under the names its architecture uses."""
    for names, value in ((HIDDEN_DROPOUT, hidden), (ATTENTION_DROPOUT, attention)):
        if value is None:
            continue
        present = [name for name in names if hasattr(config, name)]
        if not present:
            raise InputError(f"{config.model_type} has none of {', '.join(names)}: its dropout cannot be set")
        for name in present:
            setattr(config, name, value)
    return config


def attention_of(config: PretrainedConfig) -> str:
    """The attention a model of this configuration is built with: the one it asks for, or its architecture's best.

    That is torch's fused one, 'sdpa', where the architecture has it. Raises InputError for an architecture that is not
    known.
    """
    # Asked for, transformers refuses sdpa where it is lacking; left to itself, it may choose something else.
    best = "sdpa" if getattr(architecture(config), "_supports_sdpa", False) else "eager"
    return config._attn_implementation or best


def positions(config: PretrainedConfig) -> int | None:
    """The most tokens a model of this configuration takes; None where it sets no bound.

    Raises InputError where that cannot be told.
    """
    # RoBERTa and its kin count positions from behind the padding token's id.
    counted = config.model_type in ("roberta", "xlm-roberta", "mpnet")
    if counted and not isinstance(config.pad_token_id, int):
        raise InputError(f"a {config.model_type} model counts positions from its pad_token_id; set it to a number")
    offset = config.pad_token_id + 1 if counted else 0
    most = getattr(config, "max_position_embeddings", None)
    return None if most is None else most - offset


def check_length(name: str, config: PretrainedConfig, length: int) -> None:
    """Raises InputError where the model called `name` has too few positions for `length` tokens."""
    try:
        most = positions(config)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    if most is not None and length > most:
        raise InputError(f"{name} has {most} positions, too few for {length} tokens; set a smaller length")


def architecture(config: PretrainedConfig) -> Any:
    """The base model's class. Raises InputError where transformers has none."""
    try:
        return transformers.MODEL_MAPPING[type(config)]
    except KeyError:
        raise InputError(f"{config.model_type!r} is no architecture with a base model in transformers") from None
