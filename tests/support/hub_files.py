"""Data sets of the hub in its layouts, made from files in the original ones: what a stand-in for the hub serves.

They are written with the features beside them as the hub's own conversion wrote them, so the programs that read
them are tried on that form too.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow
from pyarrow import parquet

Columns = dict[str, list[Any]]
TEXT = {"dtype": "string", "id": None, "_type": "Value"}
UPOS = (
    *("NOUN", "PUNCT", "ADP", "NUM", "SYM", "SCONJ", "ADJ", "PART", "DET", "CCONJ"),
    *("PROPN", "PRON", "X", "_", "ADV", "INTJ", "VERB", "AUX"),
)
NER = ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-PLACE", "I-PLACE")


def listed(feature: Any) -> dict[str, Any]:
    """The feature of a column of lists."""
    return {"feature": feature, "length": -1, "id": None, "_type": "Sequence"}


def classes(names: Sequence[str]) -> dict[str, Any]:
    """The feature of a column of classes."""
    return {"num_classes": len(names), "names": list(names), "id": None, "_type": "ClassLabel"}


def write(path: Path, columns: Columns, features: dict[str, Any], shards: int = 1) -> None:
    """Write a split, `path` without the ending, with its features in the metadata, in so many shards."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pyarrow.table(columns).replace_schema_metadata(
        {"huggingface": json.dumps({"info": {"features": features}})}
    )
    size = -(-len(table) // shards)
    for shard in range(shards):
        name = f"{path.name}-{shard:05}-of-{shards:05}.parquet" if shards > 1 else f"{path.name}.parquet"
        parquet.write_table(table.slice(shard * size, size), path.with_name(name))


SQUAD_FEATURES = {
    **dict.fromkeys(("id", "title", "context", "question"), TEXT),
    "answers": listed({"text": TEXT, "answer_start": {"dtype": "int32", "id": None, "_type": "Value"}}),
}


def squad(source: Path) -> Columns:
    """A file in SQuAD's original layout, a row a question."""
    rows = [
        {
            "id": question["id"],
            "title": article["title"],
            "context": paragraph["context"],
            "question": question["question"],
            "answers": {key: [answer[key] for answer in question["answers"]] for key in ("text", "answer_start")},
        }
        for article in json.loads(source.read_text(encoding="utf-8"))["data"]
        for paragraph in article["paragraphs"]
        for question in paragraph["qas"]
    ]
    return {name: [row[name] for row in rows] for name in rows[0]}


TREEBANK_FEATURES = {
    **dict.fromkeys(("tokens", "xpos", "head"), listed(TEXT)),
    "upos": listed(classes(UPOS)),
}


def treebank(source: Path) -> Columns:
    """A CoNLL-U file, a row a sentence; multi-word tokens and empty nodes stay, a blank is null or the text 'None'."""
    found: Columns = {name: [] for name in ("tokens", "upos", "xpos", "head")}
    for block in source.read_text(encoding="utf-8").strip("\n").split("\n\n"):
        fields = [line.split("\t") for line in block.split("\n") if not line.startswith("#")]
        found["tokens"].append([row[1] for row in fields])
        found["upos"].append([UPOS.index(row[3]) for row in fields])
        found["xpos"].append([None if row[4] == "_" else row[4] for row in fields])
        found["head"].append(["None" if row[6] == "_" else row[6] for row in fields])
    return found


def names_features(names: Sequence[str] = NER) -> dict[str, Any]:
    """The features of CoNLL-2003, its classes in the order given."""
    return {"tokens": listed(TEXT), "ner_tags": listed(classes(names))}


def names(source: Path, order: Sequence[str] = NER) -> Columns:
    """A column file with the names of CoNLL-2003 in IOB1, none longer than a word, a row a sentence in IOB2."""
    found: Columns = {"tokens": [], "ner_tags": []}
    for block in source.read_text(encoding="utf-8").strip("\n").split("\n\n"):
        rows = [line.split(" ") for line in block.split("\n") if not line.startswith("-DOCSTART-")]
        if rows:
            found["tokens"].append([row[0] for row in rows])
            found["ner_tags"].append([order.index(row[-1].replace("I-", "B-")) for row in rows])
    return found
