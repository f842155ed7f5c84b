"""Where each known architecture keeps its roles: module paths, and the configuration fields with their sizes."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Layout:
    """The module paths of one architecture.

    layers             the list that holds the layers, or lists nested in one another, outermost first: each by its
                       path inside the one around it and the configuration field with its length
    linears, norms     role -> path inside a layer
    outside            role -> path in the encoder; these may be absent (a pooler not loaded)
    optional           roles inside layers that a configuration may leave out
    embeddings         paths of the embeddings of words, positions and types; these may be absent
    intermediate_size  configuration field with the width of the first feed-forward layer; None there means 4d
    embedding_size     configuration field with the width of the norm of the embeddings
    gated              whether the first feed-forward layer holds its gate too, and is twice as wide for it
    bare               whether a configuration may leave out biases, and a norm here and there
    """

    layers: tuple[tuple[str, str], ...]
    linears: Mapping[str, str]
    norms: Mapping[str, str]
    outside: Mapping[str, str]
    optional: Collection[str] = ()
    embeddings: Sequence[str] = (
        "embeddings.word_embeddings",
        "embeddings.position_embeddings",
        "embeddings.token_type_embeddings",
    )
    intermediate_size: str = "intermediate_size"
    embedding_size: str = "hidden_size"
    gated: bool = False
    bare: bool = False


FUSED: dict[str, tuple[str, ...]] = {"query_key_value": ("query", "key", "value")}
"""Roles that are several others in one tensor, in equal parts that follow one another in this order."""

_ENCODER_LAYERS = (("encoder.layer", "num_hidden_layers"),)
_BERT_LINEARS = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attention_output": "attention.output.dense",
    "intermediate": "intermediate.dense",
    "output": "output.dense",
}
_BERT_NORMS = {"attention_norm": "attention.output.LayerNorm", "output_norm": "output.LayerNorm"}
_BERT_OUTSIDE = {"embedding_norm": "embeddings.LayerNorm", "pooler": "pooler.dense"}

_BERT = Layout(_ENCODER_LAYERS, _BERT_LINEARS, _BERT_NORMS, _BERT_OUTSIDE)
_ELECTRA = Layout(
    _ENCODER_LAYERS,
    _BERT_LINEARS,
    _BERT_NORMS,
    {"embedding_norm": "embeddings.LayerNorm", "embedding_projection": "embeddings_project"},
    embedding_size="embedding_size",
)
_MPNET = Layout(
    _ENCODER_LAYERS,
    _BERT_LINEARS
    | {
        "query": "attention.attn.q",
        "key": "attention.attn.k",
        "value": "attention.attn.v",
        "attention_output": "attention.attn.o",
    },
    _BERT_NORMS | {"attention_norm": "attention.LayerNorm"},
    _BERT_OUTSIDE,
)
_DEBERTA_V2 = Layout(
    _ENCODER_LAYERS,
    _BERT_LINEARS
    | {
        "query": "attention.self.query_proj",
        "key": "attention.self.key_proj",
        "value": "attention.self.value_proj",
        # Version 3 shares query and key projections with the positions (share_att_key) and has neither of these.
        "position_key": "attention.self.pos_key_proj",
        "position_query": "attention.self.pos_query_proj",
    },
    _BERT_NORMS,
    {
        "embedding_norm": "embeddings.LayerNorm",
        "position_norm": "encoder.LayerNorm",
        "convolution": "encoder.conv.conv",
        "convolution_norm": "encoder.conv.LayerNorm",
    },
    optional=("position_key", "position_query"),
)
_DISTILBERT = Layout(
    (("transformer.layer", "num_hidden_layers"),),
    {
        "query": "attention.q_lin",
        "key": "attention.k_lin",
        "value": "attention.v_lin",
        "attention_output": "attention.out_lin",
        "intermediate": "ffn.lin1",
        "output": "ffn.lin2",
    },
    {"attention_norm": "sa_layer_norm", "output_norm": "output_layer_norm"},
    {"embedding_norm": "embeddings.LayerNorm"},
    intermediate_size="hidden_dim",
)
# Layers of one group share their weights, so the model holds one layer a group however deep it is.
_ALBERT = Layout(
    (("encoder.albert_layer_groups", "num_hidden_groups"), ("albert_layers", "inner_group_num")),
    {
        "query": "attention.query",
        "key": "attention.key",
        "value": "attention.value",
        "attention_output": "attention.dense",
        "intermediate": "ffn",
        "output": "ffn_output",
    },
    {"attention_norm": "attention.LayerNorm", "output_norm": "full_layer_layer_norm"},
    {
        "embedding_norm": "embeddings.LayerNorm",
        "embedding_projection": "encoder.embedding_hidden_mapping_in",
        "pooler": "pooler",
    },
    embedding_size="embedding_size",
)
# Norms come before what they belong to: ln_1 before attention, ln_2 before the feed-forward layers.
_GPT2 = Layout(
    (("h", "num_hidden_layers"),),
    {
        "query_key_value": "attn.c_attn",
        "attention_output": "attn.c_proj",
        "intermediate": "mlp.c_fc",
        "output": "mlp.c_proj",
    },
    {"attention_norm": "ln_1", "output_norm": "ln_2"},
    {"final_norm": "ln_f"},
    embeddings=("wte", "wpe"),
    intermediate_size="n_inner",
)
# The embedding's norm stands in for the first layer's attention norm.
_MODERNBERT = Layout(
    (("layers", "num_hidden_layers"),),
    {"query_key_value": "attn.Wqkv", "attention_output": "attn.Wo", "intermediate": "mlp.Wi", "output": "mlp.Wo"},
    {"attention_norm": "attn_norm", "output_norm": "mlp_norm"},
    {"embedding_norm": "embeddings.norm", "final_norm": "final_norm"},
    gated=True,
    bare=True,
)

LAYOUTS: dict[str, Layout] = {
    "bert": _BERT,
    "roberta": _BERT,
    "xlm-roberta": _BERT,
    "electra": _ELECTRA,
    "distilbert": _DISTILBERT,
    "mpnet": _MPNET,
    "deberta-v2": _DEBERTA_V2,
    "albert": _ALBERT,
    "gpt2": _GPT2,
    "modernbert": _MODERNBERT,
}
"""Known architectures by the `model_type` of their configuration."""
