"""A tiny encoder in a folder, and a tiny data folder: what a run needs, made on the spot."""

import string
from pathlib import Path

import pytest

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
    letters = [*string.ascii_lowercase, *string.digits, *".,?!'-"]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    BertTokenizer.from_pretrained(folder).save_pretrained(folder)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    fields = {"model_type": "bert", "vocab_size": len(vocabulary), "max_position_embeddings": 256, **sizes}
    config_encoder(configure(fields, None, None), "classification", "cls").save_pretrained(folder)
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
