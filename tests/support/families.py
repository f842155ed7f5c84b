"""The encoder families of the study, two layers or so each, as keyword arguments of their configurations.

Free of torch, so that tests can be parametrised over the names where it is not installed.
"""

from typing import Any

VOCABULARY = 60
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 40,
}
_WIDER = {"hidden_size": 24, "num_hidden_layers": 3, "intermediate_size": 96}
_DEBERTA_V3 = {
    "relative_attention": True,
    "position_buckets": 8,
    "pos_att_type": "p2c|c2p",
    "share_att_key": True,
    "norm_rel_ebd": "layer_norm",
    "position_biased_input": False,
    "type_vocab_size": 0,
}
_DISTILBERT = {"vocab_size": VOCABULARY, "dim": 16, "hidden_dim": 64, "n_layers": 2, "n_heads": 2}
_GPT2 = {"vocab_size": VOCABULARY, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 40}

ENCODERS: dict[str, dict[str, Any]] = {
    "bert": {"model_type": "bert", **SIZES},
    "roberta": {"model_type": "roberta", **SIZES, "pad_token_id": 1},
    "xlm-roberta": {"model_type": "xlm-roberta", **SIZES, "pad_token_id": 1},
    "distilbert": {"model_type": "distilbert", **_DISTILBERT},
    "electra": {"model_type": "electra", **SIZES, "embedding_size": 8},
    "mpnet": {"model_type": "mpnet", **SIZES},
    "deberta-v3": {"model_type": "deberta-v2", **SIZES, **_DEBERTA_V3},
    "albert": {"model_type": "albert", **SIZES, "embedding_size": 8, "num_hidden_layers": 3},
    "minilm": {"model_type": "bert", **SIZES, **_WIDER},
}
"""Encoders whose query, key and value have a bias each."""

DECODERS: dict[str, dict[str, Any]] = {"gpt2": {"model_type": "gpt2", **_GPT2, "bos_token_id": 0, "eos_token_id": 0}}
"""Decoders, which fuse those three."""

_SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}
BIASLESS: dict[str, dict[str, Any]] = {
    "modernbert": {"model_type": "modernbert", **SIZES, **_SPECIAL, "name_or_path": "tiny/ModernBERT"},
    "llama": {"model_type": "llama", **SIZES, "name_or_path": "tiny/Llama"},
}
"""Models without biases; ModernBERT fuses query, key and value, and Llama's roles are not known."""
