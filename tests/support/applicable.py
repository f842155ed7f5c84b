"""Which strategies the contract is kept by, and on which encoder families. Free of torch."""

import strategies
from families import DECODERS, ENCODERS

ALONE = [name for name, entry in strategies.TABLE.items() if entry.alone]
COMBINED = [
    "bitfit+random_uniform",
    "layernorm+bq_b2",
    "random_rowcol+bitfit:query",
    "bitfit+lora",
    "bitfit+shira",
    "layernorm+adapter_houlsby",
    "bitfit+bf16",
    "lora+bf16",
    "random_uniform+bf16",
    "gradient_subset+int8",
    "gradient_subset+prompt:2",
]
NAMES = [
    *ALONE,
    "bitfit:query",
    "bitfit:intermediate+query",
    "bitfit:query_key_value+output_norm+embedding",
    "bitfit@0",
    "bitfit:linear+norm@0",
    "layernorm:gain",
    "layernorm:bias@0",
    "last_layers:1",
    "bitfit+add",
    "random_uniform:embeddings",
    *COMBINED,
]
# Norms elsewhere, and no draw from a layer that trains a part of its bias.
NOT_FUSED = ("bitfit:query_key_value+output_norm+embedding", "random_rowcol+bitfit:query")
FUSED = ["bitfit:value+key+output@1", "bitfit:query+linear", "bq_b2+last_layers:1"]
BIASLESS = [
    "bitfit+add",
    "bq_b2+add",
    "bitfit:linear@1+add",
    "bitfit+random_uniform+add",
    "last_layers:1+add",
    "layernorm:gain",
]
REFUSED = {
    ("last_layers", "albert"): "holds 1 layer",
    ("prefix", "distilbert"): "takes no keys and values from outside",
    ("prefix", "mpnet"): "takes no keys and values from outside",
    ("prefix", "deberta-v3"): "takes no keys and values from outside",
    ("prefix", "albert"): "takes no keys and values from outside",
    ("shira", "gpt2"): "knows no Conv1D",
    ("bitfit+shira", "gpt2"): "knows no Conv1D",
}
"""What an architecture cannot have, and a part of what is said of it."""

APPLICABLE = [
    *((name, family) for name in NAMES for family in ENCODERS if (name, family) not in REFUSED),
    *(
        (name, family)
        for name in [*NAMES, *FUSED]
        for family in DECODERS
        if name not in NOT_FUSED and (name, family) not in REFUSED
    ),
    *((name, "modernbert") for name in BIASLESS),
    ("bitfit+add", "llama"),
]
