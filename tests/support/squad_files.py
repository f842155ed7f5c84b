"""SQuAD files of any shape, made on the spot."""

import json
from pathlib import Path
from typing import Any

COLOURS = ("red", "green", "blue", "white", "black", "brown", "grey", "pink")
THINGS = ("door", "car", "hat", "bird")


def question(
    identifier: str, text: str, context: str, *answers: str, impossible: bool | None = None
) -> dict[str, Any]:
    """One entry of `qas`; each answer stands where it first occurs in the context."""
    found = [{"text": answer, "answer_start": context.index(answer)} for answer in answers]
    marked = {} if impossible is None else {"is_impossible": impossible}
    return {"id": identifier, "question": text, "answers": found, **marked}


def articles(part: str, count: int, *, unanswerable: bool = False) -> list[dict[str, Any]]:
    """Articles of one paragraph and two questions; the second is unanswerable in every other one, if asked for."""
    made = []
    for number in range(count):
        colour, thing = COLOURS[number % 8], THINGS[number % 4]
        context = f"In house {number} of {part}, the {thing} is {colour} and nobody knows why it is."
        impossible = unanswerable and number % 2 == 0
        qas = [
            question(f"{part}-{number}-a", f" What colour is the {thing}?", context, colour, f"is {colour}"),
            question(
                f"{part}-{number}-b",
                "Which house is it?",
                context,
                *([] if impossible else [str(number)]),
                impossible=impossible if unanswerable else None,
            ),
        ]
        made.append({"title": f"{part}_{number}", "paragraphs": [{"context": context, "qas": qas}]})
    return made


def write(path: Path, data: list[dict[str, Any]], version: str = "1.1") -> None:
    """Write a file in the original layout."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"version": version, "data": data}, indent=1), encoding="utf-8")


def write_official(folder: Path, train: int = 20, dev: int = 5) -> None:
    """Both versions' training and development files under `folder`/squad, of so many articles."""
    for version in ("1.1", "2.0"):
        for part, count in (("train", train), ("dev", dev)):
            made = articles(part, count, unanswerable=version == "2.0")
            write(folder / "squad" / f"{part}-v{version}.json", made, version)
