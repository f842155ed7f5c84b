"""Tiny encoders in folders, and a tiny data folder: what a run needs, made on the spot."""

from __future__ import annotations

import string
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from families import DECODERS, ENCODERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from transformers import PreTrainedTokenizerBase

CHARACTERS = [*string.ascii_lowercase, *string.digits, *".,?!'-"]

COLA = [
    ("1", "the cat sat on the mat"),
    ("0", "cat the on sat mat the"),
    ("1", "a dog ran home"),
    ("0", "home a ran dog"),
]


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of two layers, 16 wide, with a tokenizer that spells words letter by letter."""
    # Imported here, so that tests of this folder which need no torch run where there is none.
    from transformers import BertTokenizer

    from bench.models import config_encoder, configure

    folder = tmp_path_factory.mktemp("models") / "tiny-bert"
    folder.mkdir()
    inner = [f"##{character}" for character in CHARACTERS]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *CHARACTERS, *inner]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    BertTokenizer.from_pretrained(folder).save_pretrained(folder)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    fields = {"model_type": "bert", "vocab_size": len(vocabulary), "max_position_embeddings": 256, **sizes}
    config_encoder(configure(fields, None, None), "classification", "cls").save_pretrained(folder)
    return folder


def _sentencepiece(family: str) -> PreTrainedTokenizerBase:
    """A tokenizer that spells, of the kind DeBERTa-v3 and ALBERT have."""
    from transformers import AlbertTokenizer, DebertaV2Tokenizer

    kind = {"albert": AlbertTokenizer, "deberta-v3": DebertaV2Tokenizer}[family]
    special = [(str(token), 0.0) for token in dict.fromkeys(kind().all_special_tokens)]
    tokenizer: PreTrainedTokenizerBase = kind(vocab=[*special, *((c, -1.0) for c in ["\u2581", *CHARACTERS])])
    return tokenizer


def _bytes() -> PreTrainedTokenizerBase:
    """A tokenizer of the kind GPT-2 has: bytes, one special token, none for padding."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import GPT2Tokenizer

    vocabulary = ["<|endoftext|>", *sorted(ByteLevel.alphabet())]
    return GPT2Tokenizer(vocab={token: i for i, token in enumerate(vocabulary)}, merges=[])


@pytest.fixture(scope="session")
def family_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Saves a tiny model of a family, with a tokenizer of the kind the family has, and gives the folder."""
    from bench.encoders import default_pooling
    from bench.models import config_encoder, configure

    parent = tmp_path_factory.mktemp("families")

    def folder(family: str) -> Path:
        path = parent / family
        if not path.exists():
            tokenizer = _bytes() if family == "gpt2" else _sentencepiece(family)
            fields = {**ENCODERS, **DECODERS}[family] | {"vocab_size": len(tokenizer)}
            config = configure(fields, None, None)
            config_encoder(config, "classification", default_pooling(config.model_type)).save_pretrained(path)
            tokenizer.save_pretrained(path)
        return path

    return folder


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a CoLA of 120 training and 40 development sentences, all different."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "glue" / "CoLA").mkdir(parents=True)
    for split, count, word in (("train", 30, "one"), ("dev", 10, "two")):
        rows = [f"x\t{label}\t\t{text} {word} {number}" for number in range(count) for label, text in COLA]
        (folder / "glue" / "CoLA" / f"{split}.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder
