"""The encoders the suite knows by name: where their weights come from, and their shapes for cost cells.

Torch-free. Any other encoder is named by the folder that holds it.
"""

import difflib
import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.archives import MODEL_SHA256
from bench.cell import Pooling
from bench.errors import InputError

WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Encoder:
    """An encoder.

    config     keyword arguments of its `transformers` configuration, `model_type` among them; enough for
               cost cells, which need no weights
    embedded   whether its weights come as a pinned archive
    hub        repository and pinned revision, where the weights are on the hub
    pooling    the head it is used with unless a suite says otherwise
    tuned_on   families of corpora it was tuned on after pretraining; tasks made from them are marked
    weights    sha256 of its safetensors file, by which a copy in a folder is known
    """

    name: str
    sentence: str
    config: Mapping[str, Any] | None = None
    embedded: bool = False
    hub: tuple[str, str] | None = None
    folder: Path | None = None
    pooling: Pooling = "cls"
    tuned_on: tuple[str, ...] = field(default=())
    weights: str | None = None


_BERT_BASE = {"model_type": "bert", "vocab_size": 28996}
_BERT_LARGE = _BERT_BASE | {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
}
_ROBERTA_BASE = {
    "model_type": "roberta",
    "vocab_size": 50265,
    "max_position_embeddings": 514,
    "type_vocab_size": 1,
    "layer_norm_eps": 1e-5,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
}
_MINILM = {
    "model_type": "bert",
    "vocab_size": 30522,
    "hidden_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
}

TABLE: dict[str, Encoder] = {
    encoder.name: encoder
    for encoder in (
        Encoder(
            "minilm",
            "MiniLM-L6-H384: BERT architecture, 6 layers, 384 wide, tuned on text pairs (NLI, QQP, captions, SQuAD).",
            _MINILM,
            embedded=True,
            pooling="mean",
            tuned_on=("NLI", "QQP", "captions", "SQuAD"),
            weights=MODEL_SHA256[WEIGHTS],
        ),
        Encoder(
            "bert-base",
            "BERT-base, cased: 12 layers, 768 wide.",
            _BERT_BASE,
            hub=("google-bert/bert-base-cased", "cd5ef92a9fb2f889e972770a36d4ed042daf221e"),
        ),
        Encoder(
            "bert-large",
            "BERT-large, cased: 24 layers, 1024 wide.",
            _BERT_LARGE,
            hub=("google-bert/bert-large-cased", "d9238236d8326ce4bc117132bb3b7e62e95f3a9a"),
        ),
        Encoder(
            "roberta-base",
            "RoBERTa-base: 12 layers, 768 wide.",
            _ROBERTA_BASE,
            hub=("FacebookAI/roberta-base", "e2da8e2f811d1448a5b465c236feacd80ffbac7b"),
        ),
    )
}


DECODERS = frozenset(
    {
        "bloom",
        "gemma",
        "gpt2",
        "gpt_bigcode",
        "gpt_neo",
        "gpt_neox",
        "gptj",
        "llama",
        "mistral",
        "olmo",
        "opt",
        "phi",
        "qwen2",
        "qwen3",
    }
)
"""Architectures, by `model_type`, whose tokens see only those before them: the first one sees nothing of a text."""


def default_pooling(model_type: str) -> Pooling:
    """The head an architecture is used with unless something else is known of the model or asked for."""
    return "last" if model_type in DECODERS else "cls"


def find(name: str, folders: Mapping[str, Path] | None = None) -> Encoder:
    """The encoder called `name`: one of `folders` (name -> folder) or of the table.

    Raises InputError for a folder whose configuration cannot be read and, with the nearest name, for any other name.
    """
    if folders and name in folders:
        return _in_folder(name, folders[name])
    if name not in TABLE:
        near = difflib.get_close_matches(name, TABLE, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(TABLE)}."
        raise InputError(f"unknown model {name!r}; {hint} A folder with an encoder works too: ./folder")
    return TABLE[name]


@functools.cache
def _in_folder(name: str, folder: Path) -> Encoder:
    """The encoder in a folder, with what is known of its architecture, and of weights that are those of the table."""
    weights = folder / WEIGHTS
    if weights.is_file():
        with weights.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    else:
        digest = ""
    known = next((encoder for encoder in TABLE.values() if encoder.weights == digest), None)
    sentence = f"The encoder in the folder {name}" + (f", a copy of {known.name}." if known else ".")
    pooling = known.pooling if known else default_pooling(folder_config(folder)["model_type"])
    return Encoder(name, sentence, folder=folder, pooling=pooling, tuned_on=known.tuned_on if known else ())


def folder_config(folder: Path) -> dict[str, Any]:
    """The `config.json` of an encoder's folder. Raises InputError where it is missing or no JSON object."""
    path = folder / "config.json"
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise InputError(f"{folder} holds no encoder: it has no config.json") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON: {error}") from None
    if not isinstance(fields, dict) or not isinstance(fields.get("model_type"), str):
        raise InputError(f"{path} names no model_type; it is not the configuration of a transformers model")
    return fields
