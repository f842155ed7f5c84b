"""The files that users bring: every format reads alike, and what is wrong is named by file and row."""

from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hub_files
from bench import tasks
from bench.errors import DataError, InputError
from bench.tasks import own
from bench.tasks.base import Source, TaskData
from bench.tasks.rows import read_rows
from own_task_files import NAMED_TAGS, QUEUES, TAGS, TEXT, WRITERS, Values, bring, describe, ticket, words, write_csv


def load(path: Path) -> TaskData:
    task = own.read(path)
    name = task.description.name
    return tasks.load(name, Source(path.parent / "cache", offline=True), {name: task})


@pytest.mark.parametrize("ending", ["tsv", "jsonl", "parquet"])
def test_the_same_rows_have_one_fingerprint_however_they_are_written(ending: str, tmp_path: Path) -> None:
    expected = load(bring(tmp_path, TEXT, "csv"))
    found = load(bring(tmp_path, TEXT, ending))
    assert found.fingerprint == expected.fingerprint
    assert found.labels == QUEUES
    assert found.metrics == ("macro_f1", "accuracy")
    texts = {e.text[0] for e in (*found.train, *found.selection)}
    assert texts == {ticket("train", number)["body"] for number in range(40)}


@pytest.mark.parametrize("ending", ["parquet", "conll", "conllu"])
def test_the_same_sentences_have_one_fingerprint_however_they_are_written(ending: str, tmp_path: Path) -> None:
    expected = load(bring(tmp_path, NAMED_TAGS, "jsonl", words))
    found = load(bring(tmp_path, NAMED_TAGS if ending == "parquet" else TAGS, ending, words))
    assert found.fingerprint == expected.fingerprint
    assert found.labels == ("NOUN", "NUM", "VERB")


def test_tags_are_told_by_their_names_where_a_file_has_names(tmp_path: Path) -> None:
    expected = load(bring(tmp_path, NAMED_TAGS, "jsonl", words))
    order = ("VERB", "NUM", "NOUN")
    for part, count in (("train", 40), ("test", 12)):
        rows = [words(part, number) for number in range(count)]
        numbers = [[order.index(tag) for tag in row["tags"]] for row in rows]
        found = {"tokens": [row["tokens"] for row in rows], "tags": numbers}
        features = {"tokens": hub_files.listed(hub_files.TEXT), "tags": hub_files.listed(hub_files.classes(order))}
        hub_files.write(tmp_path / part, found, features)
    assert load(describe(tmp_path, NAMED_TAGS, "parquet")).fingerprint == expected.fingerprint


@pytest.mark.parametrize("ending", ["csv", "jsonl", "conll"])
def test_line_ends_and_byte_order_marks_change_nothing(ending: str, tmp_path: Path) -> None:
    path = bring(tmp_path, TAGS if ending == "conll" else TEXT, ending, words if ending == "conll" else ticket)
    expected = load(path).fingerprint
    for file in tmp_path.glob(f"*.{ending}"):
        text = file.read_text(encoding="utf-8").replace("\r", "").rstrip("\n")
        file.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert load(path).fingerprint == expected


def test_pairs_scores_groups_and_marks(tmp_path: Path) -> None:
    text = TEXT.replace('"classification"', '"regression"').replace('["macro_f1", "accuracy"]', '["spearman"]')
    text = text.replace("\n[files]", "\nsynthetic = true\n[files]").replace('evaluation = "test.{ending}"\n', "")
    text = text.replace('label = "queue"', 'second_text = "queue"\nlabel = "score"\ngroup = "customer"')
    data = load(bring(tmp_path, text, "csv", rows=400))
    assert data.labels == ()
    assert data.marks == ("synthetic data: so says its description",)
    assert all(len(example.text) == 2 and type(example.label) is float for example in data.train)
    groups = [{e.group for e in split} for split in (data.train, data.selection, data.evaluation)]
    assert len(set.union(*groups)) == sum(map(len, groups)) == 200
    assert len(data.evaluation) == 80


def test_a_selection_file_is_used_as_it_is(tmp_path: Path) -> None:
    path = bring(tmp_path, TEXT.replace("[columns]", 'selection = "dev.{ending}"\n[columns]'), "csv")
    write_csv(tmp_path / "dev.csv", [*(ticket("dev", n) for n in range(5)), ticket("test", 7), ticket("train", 7)])
    data = load(path)
    assert {e.text[0] for e in data.selection} == {
        *(ticket("dev", n)["body"] for n in range(5)),
        ticket("train", 7)["body"],
    }
    assert len(data.train) == 39
    assert len(data.evaluation) == 12


def test_declared_labels_fix_their_order_and_whole_numbers_count_from_0(tmp_path: Path) -> None:
    text = TEXT.replace("\n[files]", '\nlabels = ["sales", "outage", "billing"]\n[files]')
    first = load(bring(tmp_path, text, "jsonl"))
    assert first.labels == ("sales", "outage", "billing")
    path = bring(tmp_path, text, "jsonl", lambda part, n: ticket(part, n) | {"queue": 2 - n % 3})
    assert load(path).fingerprint == first.fingerprint


def test_spans_of_span_f1_become_iob2_and_unseen_tags_keep_their_name(tmp_path: Path) -> None:
    path = bring(tmp_path, TAGS.replace('"accuracy"', '"span_f1"'), "conll", words)
    (tmp_path / "train.conll").write_text("\n".join(f"in O\nNew{n} I-LOC\nYork I-LOC\n" for n in range(20)))
    (tmp_path / "test.conll").write_text("Bo S-PER\nof O\n")
    data = load(path)
    assert data.labels == ("B-LOC", "I-LOC", "O")
    assert data.unseen == ("B-PER",)


def test_patterns_take_every_file(tmp_path: Path) -> None:
    path = bring(tmp_path, TEXT.replace('"train.{ending}"', '"part-*.{ending}"'), "csv")
    for number in range(3):
        rows = [ticket(f"part {number}", n) for n in range(10)]
        write_csv(tmp_path / f"part-{number}.csv", rows)
    assert len(load(path).train) + len(load(path).selection) == 30
    describe(tmp_path, TEXT.replace('"train.{ending}"', '"*.csv"'))
    with pytest.raises(DataError, match=r"test\.csv is named for train and for evaluation"):
        load(path)


BAD_ROWS: dict[str, tuple[str, Values | str, str]] = {
    "empty text": ("csv", {"body": " "}, "row 7: 'body' is empty"),
    "empty label": ("csv", {"queue": ""}, "row 7: the label is empty"),
    "short row": ("csv", "a,b", "row 7: 2 columns, expected 4 as in the header"),
    "blank line": ("csv", "", "row 7: 0 columns, expected 4"),
    "open quote": ("csv", '"a,b,1,c', "row 7: not CSV (unexpected end of data); is a quote left open"),
    "stray quote": ("csv", '"a"b,c,1,d', "row 7: not CSV"),
    "long row": ("tsv", "a\tb\tc\td\te", "row 7: 5 columns, expected 4"),
    "no text": ("jsonl", {"body": 7}, "row 6: 'body' is 7, expected text"),
    "null text": ("jsonl", {"body": None}, "row 6: 'body' is None, expected text"),
    "no label": ("jsonl", {"queue": 1.5}, "row 6: label 1.5 is neither text nor a whole number"),
    "null label": ("jsonl", {"queue": None}, "row 6: label None is neither"),
    "no json": ("jsonl", "{'body'", "row 6: not JSON"),
    "no object": ("jsonl", "[1]", "row 6: not a JSON object"),
    "no field": ("jsonl", '{"body": "x"}', "row 6: there is no column 'queue'; it has body"),
    "null in parquet": ("parquet", {"body": None}, "row 6: 'body' is None, expected text"),
}


def spoil(path: Path, row: Values | str, ending: str, whole: Values) -> None:
    """Put a bad row in the place of the sixth, counted without the header."""
    if isinstance(row, dict):
        part = path.stem
        original = ticket if "body" in whole else words
        rows = [original(part, n) | (row if n == 5 else {}) for n in range(40 if part == "train" else 12)]
        WRITERS[ending](path, rows)
        return
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[5 if ending == "jsonl" else 6] = row
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.mark.parametrize("case", BAD_ROWS)
@pytest.mark.parametrize("part", ["train", "test"])
def test_a_bad_row_is_named(case: str, part: str, tmp_path: Path) -> None:
    ending, row, said = BAD_ROWS[case]
    description = bring(tmp_path, TEXT, ending)
    path = tmp_path / f"{part}.{ending}"
    spoil(path, row, ending, ticket(part, 5))
    with pytest.raises(DataError) as error:
        load(description)
    assert str(error.value).startswith(f"{path}, {said}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"tokens": []}, "row 6: 0 words and 3 tags"),
        ({"tokens": [], "tags": []}, "row 6: no words"),
        ({"tags": ["X"]}, "row 6: 3 words and 1 tags"),
        ({"tokens": ["a", " ", "c"]}, "row 6: word 2 is ' ', expected text that is not empty"),
        ({"tokens": "abc"}, "row 6: words and tags must be lists"),
        ({"tags": ["X", None, "X"]}, "row 6: label None is neither"),
    ],
)
def test_a_bad_sentence_is_named(row: Values, said: str, tmp_path: Path) -> None:
    description = bring(tmp_path, NAMED_TAGS, "jsonl", words)
    spoil(tmp_path / "test.jsonl", row, "jsonl", words("test", 5))
    with pytest.raises(DataError) as error:
        load(description)
    assert str(error.value).startswith(f"{tmp_path / 'test.jsonl'}, {said}")


@pytest.mark.parametrize("value", ["nan", "inf", "-Infinity", "1_000", "", "high", "1e999", "1e300", "-4e38"])
def test_a_score_that_is_no_finite_number_is_named(value: str, tmp_path: Path) -> None:
    text = TEXT.replace('"classification"', '"regression"').replace('["macro_f1", "accuracy"]', '["pearson"]')
    path = bring(tmp_path, text.replace('"queue"', '"score"'), "csv")
    spoil(tmp_path / "test.csv", {"score": value}, "csv", ticket("test", 5))
    with pytest.raises(DataError) as error:
        load(path)
    assert (
        str(error.value) == f"{tmp_path / 'test.csv'}, row 7: score {value!r} is no finite number of single precision"
    )


def test_labels_that_training_or_the_declaration_lacks_are_named(tmp_path: Path) -> None:
    path = bring(tmp_path, TEXT, "csv")
    spoil(tmp_path / "test.csv", {"queue": "praise"}, "csv", ticket("test", 5))
    with pytest.raises(
        DataError, match=r"test\.csv, row 7: label 'praise' is none of the labels of the training file"
    ):
        load(path)
    describe(tmp_path, TEXT.replace("\n[files]", '\nlabels = ["billing", "sales"]\n[files]'))
    with pytest.raises(DataError, match=r"train\.csv, row 3: label 'outage' is none of the declared labels 'billing'"):
        load(path)


def test_rows_after_a_field_of_several_lines_keep_their_number(tmp_path: Path) -> None:
    path = bring(tmp_path, TEXT, "csv")
    write_csv(
        tmp_path / "test.csv", [{"body": "one\ntwo\r\n\nthree", "queue": "sales"}, {"body": "", "queue": "sales"}]
    )
    with pytest.raises(DataError, match=r"test\.csv, row 6: 'body' is empty"):
        load(path)


@given(rows=st.lists(st.lists(st.text("ab \n,\"'\t;#", max_size=6), min_size=2, max_size=2), min_size=1, max_size=6))
def test_csv_comes_through_as_the_csv_module_wrote_it(
    rows: list[list[str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    write_csv(path, [dict(zip(("x", "y"), row, strict=True)) for row in rows])
    found = list(read_rows(path, "csv", ["x", "y"]))
    assert [[row.values["x"], row.values["y"]] for row in found] == rows
    begin = 2
    for row in found:
        assert row.number == begin
        begin += 1 + sum(value.count("\n") for value in row.values.values())


@pytest.mark.parametrize(
    ("ending", "content", "said"),
    [
        ("csv", "body,body,queue\na,b,c\n", "row 1: the header names 'body' twice"),
        ("csv", "body,que\na,b\n", "row 1: the header has no column 'queue'; it has 'body', 'que'"),
        ("csv", "body,queue\n", "has no rows"),
        ("csv", "", "is empty"),
        ("parquet", "no table", "cannot be read as Parquet"),
    ],
)
def test_a_file_that_is_wrong_as_a_whole_is_named(ending: str, content: str, said: str, tmp_path: Path) -> None:
    path = bring(tmp_path, TEXT, ending)
    (tmp_path / f"test.{ending}").write_text(content)
    with pytest.raises(DataError) as error:
        load(path)
    assert str(error.value).startswith(str(tmp_path / f"test.{ending}"))
    assert said in str(error.value)
    (tmp_path / f"test.{ending}").unlink()
    for name in (f"test.{ending}", f"/none/test.{ending}", f"**test.{ending}", f"x-*.{ending}"):
        describe(tmp_path, TEXT.replace("test.{ending}", name), ending)
        with pytest.raises(DataError, match=r"is missing: task\.toml names it"):
            load(path)


def test_splits_of_one_label_are_refused(tmp_path: Path) -> None:
    path = bring(tmp_path, TEXT, "csv")
    write_csv(tmp_path / "test.csv", [ticket("test", n) | {"queue": "sales"} for n in range(12)])
    with pytest.raises(
        DataError, match=r"test\.csv: task 'tickets' has 12 examples for evaluation, all with the same"
    ):
        load(path)
    write_csv(tmp_path / "train.csv", [ticket("train", n) | {"queue": "sales"} for n in range(20)])
    with pytest.raises(DataError, match=r"train\.csv: task 'tickets' has 18 examples for train, all with the same"):
        load(path)


def test_a_task_too_small_to_split_is_refused(tmp_path: Path) -> None:
    path = bring(tmp_path, TEXT, "csv")
    write_csv(tmp_path / "train.csv", [ticket("train", n) for n in range(6)])
    with pytest.raises(DataError, match=r"train\.csv: task 'tickets' is too small to split: 6 train, 0 selection"):
        load(path)
    write_csv(tmp_path / "train.csv", [ticket("test", n) for n in range(12)])
    with pytest.raises(DataError, match=r"train\.csv: .* 0 train, 0 selection, 12 evaluation .* does not repeat"):
        load(path)


def test_a_selection_file_of_one_label_is_refused_and_one_cut_from_training_is_noted(tmp_path: Path) -> None:
    path = bring(tmp_path, TEXT, "csv")
    assert load(path).notes == ()
    write_csv(tmp_path / "train.csv", [ticket("train", n) for n in range(12)])
    assert load(path).notes == (
        "the selection split, 1 of the training examples, has one label only: do not choose by it",
    )
    describe(tmp_path, TEXT.replace("[columns]", 'selection = "dev.{ending}"\n[columns]'))
    write_csv(tmp_path / "dev.csv", [ticket("dev", n) | {"queue": "sales"} for n in range(5)])
    with pytest.raises(DataError, match=r"dev\.csv: task 'tickets' has 5 examples for selection, all with the same"):
        load(path)
    write_csv(tmp_path / "dev.csv", [ticket("test", n) for n in range(5)])
    with pytest.raises(DataError, match=r"dev\.csv: task 'tickets' is too small to split: 12 train, 0 selection"):
        load(path)


def test_a_group_in_two_files_is_refused(tmp_path: Path) -> None:
    path = bring(tmp_path, TEXT + 'group = "customer"\n', "csv", lambda part, n: ticket(part, n) | {"customer": "A"})
    with pytest.raises(DataError, match=r"test\.csv: group 'A' is also in .*train\.csv"):
        load(path)


def test_f1_needs_two_labels(tmp_path: Path) -> None:
    path = bring(tmp_path, TEXT.replace('["macro_f1", "accuracy"]', '["f1"]'), "csv")
    with pytest.raises(DataError, match=r"train\.csv has 3 labels and metric 'f1' needs two; use macro_f1"):
        load(path)


HUB = '[hub]\nid = "someone/tickets"\nrevision = "0123456789abcdef0123456789abcdef01234567"\nconfig = "english"\n'


def test_a_data_set_of_the_hub_is_read_at_its_revision(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The hub is stood in for by a folder in its layout."""
    (tmp_path / "snapshot" / "english").mkdir(parents=True)
    path = bring(tmp_path, TEXT.replace("train.{ending}", "train-*.parquet") + HUB, "parquet")
    (tmp_path / "train.parquet").rename(tmp_path / "snapshot" / "english" / "train-00000-of-00001.parquet")
    (tmp_path / "test.parquet").rename(tmp_path / "snapshot" / "english" / "test.parquet")
    asked = []

    def download(identifier: str, **options: Any) -> str:
        asked.append((identifier, options["revision"], options["repo_type"], options["local_files_only"]))
        return str(tmp_path / "snapshot")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert load(path).labels == QUEUES
    assert asked[0] == ("someone/tickets", "0123456789abcdef0123456789abcdef01234567", "dataset", True)


def test_a_data_set_that_is_not_cached_is_one_line_when_offline(tmp_path: Path) -> None:
    path = bring(tmp_path, TEXT + HUB, "parquet")
    with pytest.raises(InputError, match="someone/tickets") as error:
        load(path)
    assert "\n" not in str(error.value)
    assert "network is off" in str(error.value)
