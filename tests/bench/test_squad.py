"""SQuAD files: what is read from good ones, and what is said of bad ones."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import squad_files
from bench import tasks
from bench.errors import DataError, InputError
from bench.tasks.base import Answer, Source

Articles = list[dict[str, Any]]


@pytest.fixture
def source(tmp_path: Path) -> Source:
    squad_files.write_official(tmp_path / "data", dev=10)
    return Source(tmp_path / "cache", tmp_path / "data", offline=True)


def test_answers_keep_their_order_and_place(source: Source) -> None:
    data = tasks.load("squad", source)
    found = {example.text: example for example in data.evaluation}
    context = "In house 2 of dev, the hat is blue and nobody knows why it is."
    example = found["What colour is the hat?", context]
    assert example.answers == (Answer(30, "blue"), Answer(27, "is blue"))
    assert example.group == "dev_2"
    assert data.headline == "exact_match"


def test_only_the_second_version_has_unanswerable_questions(source: Source) -> None:
    first, second = tasks.load("squad", source), tasks.load("squad2", source)
    assert not first.unanswerable
    assert second.unanswerable
    assert {bool(example.answers) for example in first.train} == {True}
    assert {bool(example.answers) for example in second.train} == {True, False}


def test_any_pair_of_files_can_be_named(source: Source) -> None:
    swapped = tasks.load("squad:dev-v1.1+train-v1.1", Source(source.cache_dir, source.data_dir))
    assert len(swapped.evaluation) == 40
    with pytest.raises(DataError, match="share the article 'dev_0'"):
        tasks.load("squad:dev-v1.1+dev-v1.1", source)
    for name in ("squad:dev-v1.1", "squad:a+b+c", "squad:+b", "squad:../squad/dev-v1.1+train-v1.1"):
        with pytest.raises(InputError, match="write 'squad:<train>\\+<evaluation>'"):
            tasks.load(name, source)


def first_question(data: Articles) -> Any:
    return data[0]["paragraphs"][0]["qas"][0]


def wrong_place(data: Articles) -> None:
    first_question(data)["answers"][0]["answer_start"] += 1


def negative_place(data: Articles) -> None:
    answer, context = first_question(data)["answers"][0], data[0]["paragraphs"][0]["context"]
    answer["answer_start"] -= len(context)


def empty_answer(data: Articles) -> None:
    first_question(data)["answers"][0]["text"] = ""


def repeated_id(data: Articles) -> None:
    data[0]["paragraphs"][0]["qas"][1]["id"] = first_question(data)["id"]


def no_answer(data: Articles) -> None:
    first_question(data)["answers"] = []


def impossible_with_answers(data: Articles) -> None:
    first_question(data)["is_impossible"] = True


def empty_question(data: Articles) -> None:
    first_question(data)["question"] = "  "


def no_title(data: Articles) -> None:
    data[0]["title"] = ""


def text_for_a_number(data: Articles) -> None:
    first_question(data)["answers"][0]["answer_start"] = "28"


def no_context(data: Articles) -> None:
    del data[0]["paragraphs"][0]["context"]


WHERE = "article 'train_0', question 'train-0-{}'"
BAD: list[tuple[Callable[[Articles], None], str, str]] = [
    (wrong_place, WHERE.format("a"), "the answer 'red' does not stand at character 34"),
    (negative_place, WHERE.format("a"), "the answer 'red' does not stand at character -"),
    (empty_answer, WHERE.format("a"), "the answer '' does not stand"),
    (repeated_id, WHERE.format("a"), "its id occurs twice"),
    (no_answer, WHERE.format("a"), "it has no answer; the task 'squad2' allows that"),
    (impossible_with_answers, WHERE.format("a"), "is_impossible is true and it has 2 answers"),
    (empty_question, WHERE.format("a"), "the question or its paragraph is empty"),
    (no_title, "article '', question 'train-0-a'", "its article has no title"),
    (text_for_a_number, "data.0.paragraphs.0.qas.0.answers.0.answer_start", "valid integer"),
    (no_context, "data.0.paragraphs.0.context", "Field required"),
]


@pytest.mark.parametrize(("spoil", "where", "what"), BAD, ids=[case[0].__name__ for case in BAD])
def test_a_bad_entry_is_named(
    spoil: Callable[[Articles], None], where: str, what: str, source: Source, tmp_path: Path
) -> None:
    data = squad_files.articles("train", 20)
    spoil(data)
    path = tmp_path / "data" / "squad" / "train-v1.1.json"
    squad_files.write(path, data)
    with pytest.raises(DataError) as error:
        tasks.load("squad", source)
    assert str(error.value).startswith(f"{path}")
    assert where in str(error.value)
    assert what in str(error.value)
    assert "\n" not in str(error.value)


def test_no_answer_needs_no_mark_and_a_contradictory_one_is_refused(source: Source, tmp_path: Path) -> None:
    path = tmp_path / "data" / "squad" / "train-v2.0.json"
    data = squad_files.articles("train", 20, unanswerable=True)
    del data[0]["paragraphs"][0]["qas"][1]["is_impossible"]
    squad_files.write(path, data)
    assert tasks.load("squad2", source).train
    no_answer(data)
    first_question(data)["is_impossible"] = False
    squad_files.write(path, data)
    with pytest.raises(DataError, match="is_impossible is false and it has 0 answers"):
        tasks.load("squad2", source)


@pytest.mark.parametrize("content", ["{", "[]", json.dumps({"version": "1.1"}), "\ufeff[1]"])
def test_a_file_of_another_layout_is_named(content: str, source: Source, tmp_path: Path) -> None:
    path = tmp_path / "data" / "squad" / "dev-v1.1.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError) as error:
        tasks.load("squad", source)
    assert str(error.value).startswith(f"{path}: ")
    assert str(error.value).endswith("; expected SQuAD's layout")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("part", "count"), [("train", 0), ("dev", 0), ("train", 1)])
def test_files_too_small_to_split_are_named(part: str, count: int, source: Source, tmp_path: Path) -> None:
    path = tmp_path / "data" / "squad" / f"{part}-v1.1.json"
    squad_files.write(path, squad_files.articles(part, count))
    with pytest.raises(DataError) as error:
        tasks.load("squad", source)
    assert str(error.value).startswith(f"{path}: task 'squad' is too small to split: ")


def test_training_questions_that_evaluation_repeats_name_the_training_file(source: Source, tmp_path: Path) -> None:
    path = tmp_path / "data" / "squad" / "train-v1.1.json"
    repeated = [article | {"title": f"other {n}"} for n, article in enumerate(squad_files.articles("dev", 10))]
    squad_files.write(path, repeated)
    with pytest.raises(DataError) as error:
        tasks.load("squad", source)
    assert str(error.value).startswith(f"{path}: task 'squad' is too small to split: 0 train, 0 selection, 20 eval")


@pytest.mark.parametrize(
    "content", [r'{"data": [{"title": "\ud83d", "paragraphs": []}]}', "[" * 100_000, '{"data": ' + "1" * 5_000 + "}"]
)
def test_json_that_cannot_be_read_names_the_file(content: str, source: Source, tmp_path: Path) -> None:
    path = tmp_path / "data" / "squad" / "dev-v1.1.json"
    path.write_text(content)
    with pytest.raises(DataError) as error:
        tasks.load("squad", source)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)
    str(error.value).encode()
