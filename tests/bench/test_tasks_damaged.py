"""Files that readers choke on: JSON and Parquet with what no table should hold, told in one line or passed by."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

import hub_files
from bench import tasks
from bench.errors import DataError
from bench.tasks import own
from bench.tasks.base import Source, TaskData
from own_task_files import NAMED_TAGS, TEXT, WRITERS, bring, ticket, words

SCORES = (
    TEXT.replace('"classification"', '"regression"')
    .replace('["macro_f1", "accuracy"]', '["pearson"]')
    .replace('"queue"', '"score"')
)


def load_own(path: Path) -> TaskData:
    task = own.read(path)
    name = task.description.name
    return tasks.load(name, Source(path.parent / "cache", offline=True), {name: task})


def load_glue(folder: Path, name: str = "cola") -> TaskData:
    return tasks.load(name, Source(folder / "cache", folder, offline=True))


def refused(load: Callable[[], object]) -> str:
    with pytest.raises(DataError) as error:
        load()
    assert "\n" not in str(error.value)
    str(error.value).encode()
    return str(error.value)


def row(number: int, part: str) -> dict[str, Any]:
    return {"sentence": f"{part} sentence {number}", "label": number % 2}


@pytest.fixture
def glue(tmp_path: Path) -> Path:
    """A data folder with a CoLA in JSON lines."""
    folder = tmp_path / "glue" / "CoLA"
    folder.mkdir(parents=True)
    for part, count in (("train", 40), ("dev", 12)):
        lines = (json.dumps(row(number, part)) for number in range(count))
        (folder / f"{part}.jsonl").write_text("\n".join(lines) + "\n")
    return tmp_path


def put(path: Path, line: str) -> None:
    """Put a line in the place of the sixth."""
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[5] = line
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


HALF = r"'\ud83d' is half of a surrogate pair and no character"
DEEP = "lists or objects nested too deep to be read"
LONG = "a number of more than 4300 digits"
LINES = {
    "half a character": (r'"x \ud83d"', "0", HALF),
    "half a character in a list": (r'["\ud83d"]', "0", HALF),
    "half a character as label": ('"x"', r'"\ud83d"', HALF),
    "half a character as key": ('"x"', r'0, "\ud83d": 1', HALF),
    "deep": ("[" * 100_000 + "]" * 100_000, "0", DEEP),
    "deep beside": ('"x"', '0, "more": ' + '{"a":' * 100_000 + "0" + "}" * 100_000, DEEP),
    "long": ('"x"', "1" * 5_000, LONG),
}


@pytest.mark.parametrize("case", LINES)
@pytest.mark.parametrize("part", ["train", "dev"])
def test_a_line_of_json_that_cannot_be_read_is_named(case: str, part: str, glue: Path) -> None:
    text, label, said = LINES[case]
    path = glue / "glue" / "CoLA" / f"{part}.jsonl"
    put(path, f'{{"sentence": {text}, "label": {label}}}')
    assert refused(lambda: load_glue(glue)) == f"{path}, row 6: {said}"


@pytest.mark.parametrize("case", LINES)
def test_it_is_named_in_described_tasks_too(case: str, tmp_path: Path) -> None:
    text, label, said = LINES[case]
    description = bring(tmp_path, TEXT, "jsonl")
    put(tmp_path / "test.jsonl", f'{{"body": {text}, "queue": {label}}}')
    assert refused(lambda: load_own(description)) == f"{tmp_path / 'test.jsonl'}, row 6: {said}"


def test_half_a_character_in_a_word_or_a_group_is_named(tmp_path: Path) -> None:
    for field in ("tokens", "customer"):
        description = bring(tmp_path, NAMED_TAGS + 'group = "customer"\n', "jsonl", words)
        changed = words("train", 5) | {field: ["\ud83d", "5", "runs"]}
        put(tmp_path / "train.jsonl", json.dumps(changed))
        said = refused(functools.partial(load_own, description))
        assert said == f"{tmp_path / 'train.jsonl'}, row 6: {HALF}"


def test_half_a_character_in_a_field_that_nobody_asked_for_is_passed_by(glue: Path) -> None:
    before = load_glue(glue).fingerprint
    put(glue / "glue" / "CoLA" / "train.jsonl", json.dumps(row(5, "train") | {"more": "\ud83d"}))
    assert load_glue(glue).fingerprint == before


def undecodable(texts: list[str], number: int) -> pyarrow.Array:
    """A column of text of which one row is no UTF-8, as a careless writer leaves it."""
    found = [text.encode() for text in texts]
    found[number] = b"x \xed\xa0\xbd"
    return pyarrow.array(found, pyarrow.binary()).view(pyarrow.string())


def test_text_of_parquet_that_is_no_unicode_is_named(tmp_path: Path) -> None:
    description = bring(tmp_path, TEXT, "parquet")
    rows = [ticket("test", number) for number in range(12)]
    texts = undecodable([row["body"] for row in rows], 5)
    path = tmp_path / "test.parquet"
    parquet.write_table(pyarrow.table({"body": texts, "queue": [row["queue"] for row in rows]}), path)
    assert refused(lambda: load_own(description)) == f"{path}, row 6: not UTF-8"


def test_names_of_classes_that_are_no_unicode_are_named(tmp_path: Path) -> None:
    description = bring(tmp_path, TEXT, "parquet")
    found: hub_files.Columns = {"body": ["a", "b"], "queue": [0, 1]}
    hub_files.write(tmp_path / "test", found, {"body": hub_files.TEXT, "queue": hub_files.classes(("\ud83d", "b"))})
    assert refused(lambda: load_own(description)) == f"{tmp_path / 'test.parquet'}: {HALF}"


def parquet_pool() -> dict[str, Any]:
    rows = [ticket("test", number) for number in range(12)]
    return {"body": [row["body"] for row in rows], "queue": [row["queue"] for row in rows]}


def test_what_stands_beside_the_wanted_columns_of_parquet_is_passed_by(tmp_path: Path) -> None:
    description = bring(tmp_path, TEXT, "parquet")
    before, path = load_own(description).fingerprint, tmp_path / "test.parquet"
    columns = parquet_pool()
    pairs = pyarrow.array([[("a", 1)]] * 12, pyarrow.map_(pyarrow.string(), pyarrow.int64()))
    parquet.write_table(pyarrow.table(columns | {"more": pairs}), path)
    assert load_own(description).fingerprint == before

    arrays = [pyarrow.array(values) for values in (*columns.values(), range(12), range(12))]
    parquet.write_table(pyarrow.Table.from_arrays(arrays, names=[*columns, "more", "more"]), path)
    assert load_own(description).fingerprint == before

    features = {"body": hub_files.TEXT, "queue": hub_files.TEXT, "more": {"_type": "Hologram"}}
    hub_files.write(tmp_path / "test", columns | {"more": list(range(12))}, features)
    assert load_own(description).fingerprint == before


def test_wanted_columns_of_parquet_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    description = bring(tmp_path, TEXT, "parquet")
    path, columns = tmp_path / "test.parquet", parquet_pool()
    unreadable = f"{path} cannot be read as Parquet: "
    pairs = pyarrow.array([[("a", 1)]] * 12, pyarrow.map_(pyarrow.string(), pyarrow.int64()))
    parquet.write_table(pyarrow.table(columns | {"queue": pairs}), path)
    assert refused(lambda: load_own(description)).startswith(unreadable)

    arrays = [pyarrow.array(values) for values in (*columns.values(), columns["body"])]
    parquet.write_table(pyarrow.Table.from_arrays(arrays, names=["body", "queue", "body"]), path)
    assert refused(lambda: load_own(description)) == f"{path}: two columns are called 'body'"

    for feature in ({"_type": "Hologram"}, 7):
        hub_files.write(tmp_path / "test", columns, {"queue": feature})
        assert refused(lambda: load_own(description)).startswith(unreadable)


@pytest.mark.parametrize("content", ["[]", "7", "{", '{"features": []}', '{"features": {"label": {"_type": "X"}}}'])
def test_a_saved_folder_with_damaged_features_is_named(content: str, glue: Path) -> None:
    import datasets

    folder = glue / "glue" / "CoLA"
    (folder / "dev.jsonl").unlink()
    saved = datasets.Dataset.from_list([row(number, "dev") for number in range(12)])
    saved.save_to_disk(folder / "validation")
    assert load_glue(glue).evaluation
    (folder / "validation" / "dataset_info.json").write_text(content)
    said = refused(lambda: load_glue(glue))
    assert said.startswith(f"{folder / 'validation'} cannot be read as a saved data set: ")


def test_one_column_may_be_asked_for_twice(tmp_path: Path) -> None:
    text = TEXT.replace('label = "queue"', 'second_text = "body"\nlabel = "queue"')
    expected = load_own(bring(tmp_path, text, "csv")).fingerprint
    for ending in ("jsonl", "parquet"):
        assert load_own(bring(tmp_path, text, ending)).fingerprint == expected


@pytest.mark.parametrize("value", ["1e300", "-4e38", "NaN", "Infinity", "true", '"1_0"', "null", "[1.0]"])
def test_a_score_that_single_precision_does_not_hold_is_named(value: str, tmp_path: Path) -> None:
    description = bring(tmp_path, SCORES, "jsonl")
    put(tmp_path / "test.jsonl", f'{{"body": "x", "score": {value}}}')
    said = refused(lambda: load_own(description))
    assert said.startswith(f"{tmp_path / 'test.jsonl'}, row 6: score ")
    assert said.endswith(" is no finite number of single precision")

    folder = tmp_path / "data" / "glue" / "STS-B"
    folder.mkdir(parents=True)
    for part, count in (("train", 40), ("dev", 12)):
        rows = ({"sentence1": f"{part} {n}", "sentence2": "b", "label": n % 50 / 10} for n in range(count))
        (folder / f"{part}.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    assert load_glue(tmp_path / "data", "stsb").evaluation
    put(folder / "dev.jsonl", f'{{"sentence1": "a", "sentence2": "b", "label": {value}}}')
    said = refused(lambda: load_glue(tmp_path / "data", "stsb"))
    assert said.startswith(f"{folder / 'dev.jsonl'}, row 6: score ")
    assert said.endswith(" is no number from 0 to 5")


@pytest.mark.parametrize("named", ["train-00000-of-00002.parquet", "train-*.parquet", "*train*.parquet"])
def test_a_missing_shard_of_a_described_task_is_noticed(named: str, tmp_path: Path) -> None:
    description = bring(tmp_path, TEXT.replace("train.{ending}", named), "parquet")
    (tmp_path / "train.parquet").rename(tmp_path / "train-00000-of-00002.parquet")
    said = refused(lambda: load_own(description))
    assert said.startswith(f"{tmp_path} holds 1 of 2 shards like train-00000-of-00002.parquet")
    WRITERS["parquet"](tmp_path / "train-00001-of-00002.parquet", [ticket("more", n) for n in range(20)])
    if "*" in named:
        assert len(load_own(description).train) == 54
