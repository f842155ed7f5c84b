"""Descriptions of tasks as users write them, and the same rows in every format they may bring."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
from pyarrow import parquet

TEXT = """
name = "tickets"
kind = "classification"
metrics = ["macro_f1", "accuracy"]
[files]
train = "train.{ending}"
evaluation = "test.{ending}"
[columns]
text = "body"
label = "queue"
"""
TAGS = """
name = "words"
kind = "tagging"
metrics = ["accuracy"]
[files]
train = "train.{ending}"
evaluation = "test.{ending}"
"""
NAMED_TAGS = TAGS + '[columns]\nwords = "tokens"\ntags = "tags"\n'
QUEUES = ("billing", "outage", "sales")
Values = dict[str, Any]


def ticket(part: str, number: int) -> Values:
    """A row full of what readers like to get wrong."""
    special = {0: "NA", 1: "null", 2: 'He said "no", twice', 3: f"naïve café № {part}", 4: "1,5; 2"}
    body = f"{special.get(number, 'the ticket')} {part} {number}"
    return {"body": body, "queue": QUEUES[number % 3], "score": number / 4, "customer": f"{part} {number // 2}"}


def words(part: str, number: int) -> Values:
    return {"tokens": [part, str(number), "runs"], "tags": ["NOUN", "NUM", "VERB"], "customer": f"{part} {number}"}


def write_csv(path: Path, rows: list[Values]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_tsv(path: Path, rows: list[Values]) -> None:
    lines = ["\t".join(rows[0]), *("\t".join(str(value) for value in row.values()) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_jsonl(path: Path, rows: list[Values]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_parquet(path: Path, rows: list[Values]) -> None:
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)


def write_columns(path: Path, rows: list[Values]) -> None:
    sentences = ("".join(f"{w} {t}\n" for w, t in zip(row["tokens"], row["tags"], strict=True)) for row in rows)
    path.write_text("\n".join(sentences), encoding="utf-8")


def write_conllu(path: Path, rows: list[Values]) -> None:
    blank = "\t_" * 6
    sentences = (
        "# text = x\n1-2\tx\t_\t_"
        + blank
        + "\n"
        + "".join(
            f"{n}\t{w}\t_\t{t}{blank}\n" for n, (w, t) in enumerate(zip(row["tokens"], row["tags"], strict=True), 1)
        )
        for row in rows
    )
    path.write_text("\n".join(sentences), encoding="utf-8")


WRITERS: dict[str, Callable[[Path, list[Values]], None]] = {
    "csv": write_csv,
    "tsv": write_tsv,
    "jsonl": write_jsonl,
    "parquet": write_parquet,
    "conll": write_columns,
    "conllu": write_conllu,
}


def describe(folder: Path, text: str, ending: str = "csv", name: str = "task.toml") -> Path:
    path = folder / name
    path.write_text(text.format(ending=ending), encoding="utf-8")
    return path


def bring(folder: Path, text: str, ending: str, row: Callable[[str, int], Values] = ticket, rows: int = 40) -> Path:
    """A described task with `rows` training and 12 evaluation rows."""
    for part, count in (("train", rows), ("test", 12)):
        WRITERS[ending](folder / f"{part}.{ending}", [row(part, number) for number in range(count)])
    return describe(folder, text, ending)
