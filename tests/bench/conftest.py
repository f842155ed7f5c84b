"""Tiny encoders in folders, and tiny data folders: what a run needs, made on the spot."""

from __future__ import annotations

import json
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

    from bench.configurations import configure
    from bench.models import config_encoder

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
    from bench.configurations import configure
    from bench.encoders import default_pooling
    from bench.models import config_encoder

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


@pytest.fixture(scope="session")
def tiny_folders(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Encoders by architecture: BERT, which takes segment ids, and RoBERTa and DistilBERT, which do not use any."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import BertTokenizer, RobertaTokenizer

    from bench.configurations import configure
    from bench.models import config_encoder

    root = tmp_path_factory.mktemp("architectures")
    roberta, distilbert = root / "tiny-roberta", root / "tiny-distilbert"
    roberta.mkdir()
    vocabulary = ["<s>", "<pad>", "</s>", "<unk>", *sorted(ByteLevel.alphabet()), "<mask>"]
    (roberta / "vocab.json").write_text(json.dumps({token: place for place, token in enumerate(vocabulary)}))
    (roberta / "merges.txt").write_text("#version: 0.2\n")
    RobertaTokenizer.from_pretrained(roberta).save_pretrained(roberta)
    letters = BertTokenizer.from_pretrained(tiny_folder)
    letters.save_pretrained(distilbert)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    special = {"type_vocab_size": 1, "pad_token_id": 1, "max_position_embeddings": 258}
    fields = {"model_type": "roberta", "vocab_size": len(vocabulary), **sizes, **special}
    config_encoder(configure(fields, None, None), "classification", "cls").save_pretrained(roberta)
    sizes = {"dim": 16, "hidden_dim": 32, "n_layers": 2, "n_heads": 2, "max_position_embeddings": 256}
    fields = {"model_type": "distilbert", "vocab_size": len(letters), **sizes}
    config_encoder(configure(fields, None, None), "classification", "cls").save_pretrained(distilbert)
    return {"bert": tiny_folder, "roberta": roberta, "distilbert": distilbert}


@pytest.fixture(scope="session")
def tiny_glue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CoLA, RTE and STS-B with 40 training and 12 development rows.

    The test files hold the sentences of the development files, in their order, without labels.
    """
    folder = tmp_path_factory.mktemp("glue")
    rest = "main\tx\t2012\t1\tnone\tnone"
    for split, count in (("train", 40), ("dev", 12), ("test", 12)):
        labelled, part = split != "test", "train" if split == "train" else "dev"
        texts = [(f"{part} sentence {n} {'yes' * (n % 2)}", f"it is {n * n}") for n in range(count)]
        label = ("entailment", "not_entailment")
        files = {
            "CoLA": [f"x\t{n % 2}\t\t{a}" if labelled else f"{n}\t{a}" for n, (a, _) in enumerate(texts)],
            "RTE": [f"{n}\t{a}\t{b}" + labelled * f"\t{label[n % 2]}" for n, (a, b) in enumerate(texts)],
            "STS-B": [f"{n}\t{rest}\t{a}\t{b}" + labelled * f"\t{n % 6}" for n, (a, b) in enumerate(texts)],
        }
        names = "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2"
        headers = {
            "CoLA": [] if labelled else ["index\tsentence"],
            "RTE": ["index\tsentence1\tsentence2" + labelled * "\tlabel"],
            "STS-B": [names + labelled * "\tscore"],
        }
        for task, rows in files.items():
            (folder / "glue" / task).mkdir(parents=True, exist_ok=True)
            text = "\n".join([*headers[task], *rows]) + "\n"
            (folder / "glue" / task / f"{split}.tsv").write_text(text, encoding="utf-8")
    return folder
