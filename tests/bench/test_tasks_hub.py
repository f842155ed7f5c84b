"""Tagging and SQuAD from the hub: the same data as from a folder, from stand-ins in the hub's layouts."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import hub_files
import squad_files
from bench import tasks
from bench.errors import DataError
from bench.tasks import hub as hub_client
from bench.tasks.base import Source, TaskData
from hub_files import Columns
from local_hub import LocalHub, cached, load_elsewhere, serve
from tagged_files import write_conllu, write_ner

SHARED = Path(os.environ.get("BITFIT_BENCH_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
TREEBANK = "ud/UD_English-Made/en_made-ud-{}.conllu"
NAMES = "ner/made/{}.txt"


@dataclass(frozen=True)
class OnHub:
    """Where the hub has a data set and how: the splits by the name of the original part, and what is in them."""

    repository: hub_client.Repository
    splits: dict[str, str]
    original: str
    convert: Callable[[Path], Columns]
    features: dict[str, Any]


def treebank(config: str) -> OnHub:
    return OnHub(
        hub_client.UNIVERSAL_DEPENDENCIES,
        {
            part: f"{config}/universal_dependencies-{name}"
            for part, name in (("train", "train"), ("dev", "validation"))
        },
        TREEBANK,
        hub_files.treebank,
        hub_files.TREEBANK_FEATURES,
    )


SQUAD = OnHub(
    hub_client.SQUAD,
    {"train": "plain_text/train", "dev": "plain_text/validation"},
    "squad/{}-v1.1.json",
    hub_files.squad,
    hub_files.SQUAD_FEATURES,
)
NER = OnHub(
    hub_client.CONLL_2003,
    {"train": "data/train", "dev": "data/validation"},
    NAMES,
    hub_files.names,
    hub_files.names_features(),
)
DATA_SETS = {
    "squad": SQUAD,
    "ner": NER,
    "pos": treebank("en_ewt"),
    "pos-xpos": treebank("en_ewt"),
    "pos:de_gsd": treebank("de_gsd"),
}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder in the original layouts; treat it as read-only."""
    folder = tmp_path_factory.mktemp("original")
    squad_files.write_official(folder, dev=10)
    for part, count in (("train", 40), ("dev", 10)):
        write_conllu(folder / TREEBANK.format(part), part, count)
        write_ner(folder / NAMES.format(part), part, count)
    return folder


def columns(original: Path, name: str, part: str) -> Columns:
    found = DATA_SETS[name]
    return found.convert(original / found.original.format(part))


def publish(original: Path, name: str, root: Path, shards: int = 1) -> Path:
    """Put the data set of a task below `root` as the hub has it."""
    found = DATA_SETS[name]
    for part, place in found.splits.items():
        hub_files.write(root / place, columns(original, name, part), found.features, shards)
    return root


def from_hub(name: str, cache: Path, data_dir: Path | None = None) -> TaskData:
    """The task from what is cached of the hub; the network is never reached for."""
    return tasks.load(name, Source(cache, data_dir, offline=True))


def assert_same(found: TaskData, expected: TaskData) -> None:
    for split in ("train", "selection", "evaluation"):
        assert getattr(found, split) == getattr(expected, split)
    assert (found.labels, found.unseen, found.metrics) == (expected.labels, expected.unseen, expected.metrics)
    assert (found.overlaps, found.unanswerable) == (expected.overlaps, expected.unanswerable)
    assert found.fingerprint == expected.fingerprint


@pytest.mark.parametrize("shards", [1, 2])
@pytest.mark.parametrize("name", DATA_SETS)
def test_the_hub_gives_the_same_data_as_the_folder(name: str, shards: int, original: Path, tmp_path: Path) -> None:
    publish(original, name, cached(DATA_SETS[name].repository, tmp_path), shards)
    expected = tasks.load(name.partition(":")[0], Source(tmp_path, original, offline=True))
    found = from_hub(name, tmp_path)
    assert_same(found, expected)
    assert found.name == name
    (tmp_path / "lacking").mkdir()
    assert from_hub(name, tmp_path, tmp_path / "lacking") == found


def real(name: str, folder: Path) -> Path:
    """A data folder with the real files of a task under the names that `columns` looks for."""
    if name == "squad":
        files = {"train": SHARED / "squad" / "half-1.json", "dev": SHARED / "squad" / "half-2.json"}
    else:
        there = SHARED / "ud" / "UD_English-EWT"
        files = {part: there / f"en_ewt-ud-{part}.conllu" for part in ("train", "dev")}
    for part, path in files.items():
        if not path.is_file():
            pytest.skip(f"no real data at {path}; set BITFIT_BENCH_TEST_DATA to a folder with ud/ and squad/")
        link = folder / DATA_SETS[name].original.format(part)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path)
    return folder


@pytest.mark.parametrize("name", ["squad", "pos", "pos-xpos"])
def test_the_same_holds_of_the_real_files(name: str, tmp_path: Path) -> None:
    data = real(name, tmp_path / "data")
    publish(data, name, cached(DATA_SETS[name].repository, tmp_path))
    assert_same(from_hub(name, tmp_path), tasks.load(name, Source(tmp_path, data, offline=True)))


@pytest.fixture
def hub(original: Path, tmp_path: Path) -> Iterator[LocalHub]:
    """What the hub would serve of every data set."""
    for name in DATA_SETS:
        publish(original, name, tmp_path / "served")
    with serve(tmp_path / "served") as server:
        yield server


@pytest.mark.parametrize(
    ("name", "place", "files"),
    [
        ("squad", "rajpurkar/squad/resolve/7b6d24c440a36b6815f21b70d25016731768db1f", {"plain_text"}),
        ("ner", "lhoestq/conll2003/resolve/19edcb426bfd625c275c17b9a99b2239243f4377", {"data", "de_gsd", "en_ewt"}),
        (
            "pos",
            "universal-dependencies/universal_dependencies/resolve/0aea309eeadf22549ceca852f17e4e5d4d2073dc",
            {"en_ewt"},
        ),
    ],
)
def test_the_hub_is_asked_once_and_at_its_revision(
    name: str, place: str, files: set[str], hub: LocalHub, original: Path, tmp_path: Path
) -> None:
    if name == "ner":  # all Parquet files of its data set are fetched, wherever they lie
        for file in hub.files("plain_text"):
            (hub.root / file).unlink()
    expected = tasks.load(name, Source(tmp_path, original, offline=True)).fingerprint
    cache = tmp_path / "cache"
    first = load_elsewhere(name, Source(cache), HF_ENDPOINT=hub.address)
    assert first.stdout.strip() == expected, first.stdout + first.stderr
    assert first.stderr == ""
    assert {path for path in hub.asked if "resolve" in path} == {
        f"/datasets/{place}/{file}" for folder in files for file in hub.files(folder)
    }
    hub.asked.clear()
    again = load_elsewhere(name, Source(cache, offline=True), HF_ENDPOINT=hub.address)
    assert again.stdout.strip() == expected, again.stdout + again.stderr
    assert not hub.asked


def test_offline_the_hub_is_never_asked(hub: LocalHub, tmp_path: Path) -> None:
    for name, lacking in (("squad", "squad/train-v1.1.json"), ("ner", "ner/"), ("pos:de_gsd", "ud/de_gsd")):
        found = load_elsewhere(name, Source(tmp_path / "cache", tmp_path, offline=True), HF_ENDPOINT=hub.address)
        assert found.stdout.startswith(f"refused: task {name!r}: {tmp_path} has no {lacking}")
        assert "is not cached and the network is off: run once online; or give --data-dir D with D/" in found.stdout
        assert found.stdout.count("\n") == 1
        assert not hub.asked


def test_a_treebank_that_the_hub_lacks_is_one_line(hub: LocalHub, tmp_path: Path) -> None:
    found = load_elsewhere("pos:en_none", Source(tmp_path / "cache"), HF_ENDPOINT=hub.address)
    assert "'en_none' of universal-dependencies/universal_dependencies" in found.stdout
    assert "there is no such file" in found.stdout
    assert found.stdout.count("\n") == 1


@pytest.mark.parametrize("name", ["squad", "ner", "pos", "pos-xpos", "pos:UD_English-Made"])
def test_a_folder_that_has_the_task_is_not_looked_up_on_the_hub(
    name: str, original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_client, "fetch", lambda *_: pytest.fail("the hub was asked"))
    assert tasks.load(name, Source(tmp_path, original)).evaluation


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("squad2", "'squad2' needs a data folder: give --data-dir D with D/squad/train-v2.0.json"),
        ("squad2", "no revision on the hub is known, so it is read from files alone"),
        ("squad:a+b", "give --data-dir D with D/squad/a.json and D/squad/b.json"),
        ("ner:made", "give --data-dir D with D/ner/<Dataset>/train.txt"),
        ("pos:UD_German-GSD", "give --data-dir D with D/ud/<Treebank>/"),
    ],
)
def test_what_is_read_from_folders_alone_is_not_looked_up_on_the_hub(
    name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_client, "fetch", lambda *_: pytest.fail("the hub was asked"))
    with pytest.raises(DataError) as error:
        tasks.load(name, Source(tmp_path))
    assert said in str(error.value)
    with pytest.raises(DataError) as error:
        tasks.load(name, Source(tmp_path, tmp_path))
    assert f"{tmp_path}/" in str(error.value)
    assert f"needs {said.partition(' with ')[2]}" in str(error.value)


def test_a_folder_with_half_of_the_task_is_refused(original: Path, tmp_path: Path) -> None:
    (tmp_path / "squad").mkdir()
    (tmp_path / "squad" / "train-v1.1.json").symlink_to(original / "squad" / "train-v1.1.json")
    with pytest.raises(DataError, match=r"dev-v1\.1\.json is missing: task 'squad' needs D/squad/"):
        from_hub("squad", tmp_path, tmp_path)
    (tmp_path / "ud" / "en_ewt").mkdir(parents=True)
    with pytest.raises(DataError, match=r"en_ewt holds 0 files \*-ud-train\.conllu"):
        from_hub("pos:en_ewt", tmp_path, tmp_path)


def test_a_treebank_of_the_hub_may_stand_beside_those_of_the_folder(original: Path, tmp_path: Path) -> None:
    publish(original, "pos:de_gsd", cached(hub_client.UNIVERSAL_DEPENDENCIES, tmp_path))
    assert from_hub("pos:de_gsd", tmp_path, original).sentence.endswith("(de_gsd).")


def test_classes_are_told_by_their_names_whatever_their_order(original: Path, tmp_path: Path) -> None:
    order, root = hub_files.NER[::-1], cached(NER.repository, tmp_path)
    for part, place in NER.splits.items():
        found = hub_files.names(original / NAMES.format(part), order)
        hub_files.write(root / place, found, hub_files.names_features(order))
    assert_same(from_hub("ner", tmp_path), tasks.load("ner", Source(tmp_path, original, offline=True)))


def test_the_files_of_names_are_found_wherever_they_lie_and_only_once(original: Path, tmp_path: Path) -> None:
    root = cached(NER.repository, tmp_path)
    publish(original, "ner", root)
    expected = from_hub("ner", tmp_path).fingerprint
    (root / "data").rename(root / "conll2003")
    assert from_hub("ner", tmp_path).fingerprint == expected
    publish(original, "ner", root)
    with pytest.raises(DataError, match="holds 2 folders with the Parquet files of train and validation, expected 1"):
        from_hub("ner", tmp_path)
    for folder in ("data", "conll2003"):
        (root / folder / "validation.parquet").unlink()
    with pytest.raises(DataError, match="holds 0 folders with the Parquet files of train and validation, expected 1"):
        from_hub("ner", tmp_path)


def test_a_split_that_is_not_there_is_named(original: Path, tmp_path: Path) -> None:
    root = publish(original, "pos", cached(hub_client.UNIVERSAL_DEPENDENCIES, tmp_path))
    (root / "en_ewt" / "universal_dependencies-train.parquet").unlink()
    with pytest.raises(DataError, match="en_ewt holds no split 'universal_dependencies-train'"):
        from_hub("pos", tmp_path)


def test_rows_without_a_word_are_passed_over(original: Path, tmp_path: Path) -> None:
    root = publish(original, "pos", cached(hub_client.UNIVERSAL_DEPENDENCIES, tmp_path))
    expected = from_hub("pos", tmp_path).fingerprint
    found = columns(original, "pos", "dev")
    for name, cell in (("tokens", "gone"), ("upos", 16), ("xpos", "VB"), ("head", "None")):
        found[name].append([cell])
    hub_files.write(root / "en_ewt" / "universal_dependencies-validation", found, hub_files.TREEBANK_FEATURES)
    assert from_hub("pos", tmp_path).fingerprint == expected
    found["head"] = [["None"] * len(cells) for cells in found["head"]]
    hub_files.write(root / "en_ewt" / "universal_dependencies-validation", found, hub_files.TREEBANK_FEATURES)
    with pytest.raises(DataError, match=r"universal_dependencies-validation\.parquet holds no sentences"):
        from_hub("pos", tmp_path)


Spoil = Callable[[Columns], None]


def cell(column: str, value: Any) -> Spoil:
    """Put a value in the third row of a column."""

    def spoil(found: Columns) -> None:
        found[column][2] = value

    return spoil


def item(column: str, place: int, value: Any) -> Spoil:
    """Put a value in the list in the third row of a column."""

    def spoil(found: Columns) -> None:
        found[column][2][place] = value

    return spoil


def answers(**lists: Any) -> Spoil:
    return lambda found: found["answers"][2].update(lists)


def empty(found: Columns) -> None:
    for values in found.values():
        values[2] = []


# Sentences of the treebank are "can't ca n't dev-2 . (run)", of which the first and the last are no words.
BAD: dict[str, tuple[str, Spoil, str]] = {
    "no words": ("ner", cell("tokens", None), "words and tags must be lists"),
    "no tags": ("ner", cell("ner_tags", None), "words and tags must be lists"),
    "empty": ("ner", empty, "no words"),
    "fewer tags": ("ner", cell("ner_tags", [0]), "4 words and 1 tags"),
    "empty word": ("ner", item("tokens", 1, " "), "word 2 is ' ', expected text that is not empty"),
    "null word": ("ner", item("tokens", 1, None), "word 2 is None, expected text that is not empty"),
    "null tag": ("ner", item("ner_tags", 1, None), "word 2 has no tag"),
    "beyond the names": ("ner", item("ner_tags", 1, 7), "tag 7 of word 2 is none of those that the file names"),
    "below the names": ("ner", item("ner_tags", 1, -1), "tag -1 of word 2 is none of those that the file names"),
    "fewer heads": ("pos", cell("head", ["0"]), "6 words and 6 tags and 1 heads"),
    "no heads": ("pos", cell("head", None), "words and tags and heads must be lists"),
    "null head": ("pos", item("head", 2, None), "head None is neither a number nor 'None'"),
    "no number": ("pos", item("head", 2, "-1"), "head '-1' is neither a number nor 'None'"),
    "an empty token": ("pos", item("tokens", 2, ""), "word 2 is '', expected text"),
    "a blank tag": ("pos", item("upos", 2, hub_files.UPOS.index("_")), "word 2 has no tag"),
    "no universal tag": ("pos", item("upos", 2, 18), "tag 18 of word 2 is none of those"),
    "no own tag": ("pos-xpos", item("xpos", 2, None), "word 2 has no tag"),
    "null text": ("squad", cell("context", None), "context: Input should be a valid string"),
    "null title": ("squad", cell("title", None), "title: Input should be a valid string"),
    "null answers": ("squad", cell("answers", None), "answers: Input should be"),
    "null answer": ("squad", answers(text=[None, "is blue"]), "answers.text.0: Input should be a valid string"),
    "null place": (
        "squad",
        answers(answer_start=[None, 3]),
        "answers.answer_start.0: Input should be a valid integer",
    ),
    "fewer places": ("squad", answers(answer_start=[3]), "2 texts of answers and 1 places of them"),
    "no answer": ("squad", answers(text=[], answer_start=[]), "'dev-1-a': it has no answer"),
    "wrong place": (
        "squad",
        answers(answer_start=[1, 2]),
        "'dev-1-a': the answer 'green' does not stand at character 1",
    ),
    "id twice": ("squad", cell("id", "dev-0-a"), "article 'dev_1', question 'dev-0-a': its id occurs twice"),
    "no title": ("squad", cell("title", " "), "its article has no title"),
    "an empty question": ("squad", cell("question", " "), "the question or its paragraph is empty"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_row_is_named(case: str, original: Path, tmp_path: Path) -> None:
    name, spoil, said = BAD[case]
    data_set = DATA_SETS[name]
    root = publish(original, name, cached(data_set.repository, tmp_path))
    found = columns(original, name, "dev")
    spoil(found)
    hub_files.write(root / data_set.splits["dev"], found, data_set.features)
    with pytest.raises(DataError) as error:
        from_hub(name, tmp_path)
    assert str(error.value).startswith(f"{root / data_set.splits['dev']}.parquet, row 3")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_numbers_that_the_file_does_not_name_are_refused(original: Path, tmp_path: Path) -> None:
    root = publish(original, "ner", cached(NER.repository, tmp_path))
    hub_files.write(
        root / "data" / "train", columns(original, "ner", "train"), {"tokens": hub_files.listed(hub_files.TEXT)}
    )
    with pytest.raises(
        DataError, match=r"train\.parquet, row 1: tag 1 of word 1 is none of those that the file names"
    ):
        from_hub("ner", tmp_path)


@pytest.mark.parametrize(("name", "column"), [("ner", "ner_tags"), ("pos", "head"), ("squad", "answers")])
def test_a_column_that_is_not_there_is_named(name: str, column: str, original: Path, tmp_path: Path) -> None:
    data_set = DATA_SETS[name]
    root = publish(original, name, cached(data_set.repository, tmp_path))
    found = columns(original, name, "dev")
    del found[column]
    features = {key: value for key, value in data_set.features.items() if key != column}
    hub_files.write(root / data_set.splits["dev"], found, features)
    with pytest.raises(DataError, match=f"parquet: there is no column {column!r}"):
        from_hub(name, tmp_path)
