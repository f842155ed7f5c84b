"""The same data from whatever holds it: TSV, JSON lines, Parquet, saved folders, and a stand-in for the hub."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bench import tasks
from bench.errors import DataError
from bench.tasks import hub as hub_client
from bench.tasks.base import Source
from local_hub import LocalHub, load_elsewhere, serve

SHARED = Path(os.environ.get("BITFIT_BENCH_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
NLI = ("entailment", "neutral", "contradiction")
ENTAILMENT = ("entailment", "not_entailment")

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Form:
    """One task in both layouts, written down independently of the program's own table.

    `tsv` names the columns of the TSV file, of which `text` and `label` are read; `hub` those of the hub.
    """

    folder: str
    tsv: tuple[str, ...]
    text: tuple[str, ...]
    label: str
    hub: tuple[str, ...]
    classes: tuple[str, ...]
    written: tuple[str, ...] = ("0", "1")
    header: bool = True
    parts: tuple[tuple[str, str], ...] = (("train", "train"), ("dev", "validation"))


PAIR = ("sentence1", "sentence2")
FORMS = {
    "cola": Form(
        "CoLA",
        ("source", "label", "mark", "sentence"),
        ("sentence",),
        "label",
        ("sentence",),
        ("unacceptable", "acceptable"),
        header=False,
    ),
    "sst2": Form("SST-2", ("sentence", "label"), ("sentence",), "label", ("sentence",), ("negative", "positive")),
    "mrpc": Form(
        "MRPC",
        ("Quality", "#1 ID", "#2 ID", "#1 String", "#2 String"),
        ("#1 String", "#2 String"),
        "Quality",
        PAIR,
        ("not_equivalent", "equivalent"),
    ),
    "qqp": Form(
        "QQP",
        ("id", "qid1", "qid2", "question1", "question2", "is_duplicate"),
        ("question1", "question2"),
        "is_duplicate",
        ("question1", "question2"),
        ("not_duplicate", "duplicate"),
    ),
    "stsb": Form("STS-B", ("index", *PAIR, "score"), PAIR, "score", PAIR, (), ()),
    "mnli": Form(
        "MNLI",
        ("index", "genre", *PAIR, "label1", "gold_label"),
        PAIR,
        "gold_label",
        ("premise", "hypothesis"),
        NLI,
        NLI,
        parts=(
            ("train", "train"),
            ("dev_matched", "validation_matched"),
            ("dev_mismatched", "validation_mismatched"),
        ),
    ),
    "qnli": Form(
        "QNLI",
        ("index", "question", "sentence", "label"),
        ("question", "sentence"),
        "label",
        ("question", "sentence"),
        ENTAILMENT,
        ENTAILMENT,
    ),
    "rte": Form("RTE", ("index", *PAIR, "label"), PAIR, "label", PAIR, ENTAILMENT, ENTAILMENT),
    "wnli": Form("WNLI", ("index", *PAIR, "label"), PAIR, "label", PAIR, ("not_entailment", "entailment")),
}
SPECIAL = ["NA", "null", 'He said "no', "naïve café № 3", " 'quoted' , 1,5", "trailing space "]


def examples(name: str, part: str, count: int) -> list[tuple[tuple[str, ...], str]]:
    """Made-up sentences and labels as the TSV file writes them, words for missing values among them."""
    form = FORMS[name]
    made = []
    for n in range(count):
        first = SPECIAL[n] if n < len(SPECIAL) and part == "train" else f"{name} {part} number {n}"
        label = form.written[n % len(form.written)] if form.classes else f"{n % 51 / 10:.3f}"
        made.append(((first, f"it follows {n}")[: len(form.text)], label))
    return made


def write_tsv(folder: Path, name: str, part: str, rows: Sequence[tuple[tuple[str, ...], str]]) -> Path:
    form = FORMS[name]
    lines = ["\t".join(form.tsv)] if form.header else []
    for text, label in rows:
        values = dict.fromkeys(form.tsv, "x") | dict(zip(form.text, text, strict=True)) | {form.label: label}
        lines.append("\t".join(values.values()))
    path = folder / "glue" / form.folder / f"{part}.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def read_tsv(path: Path, name: str) -> Rows:
    """The rows of a TSV file as the hub has them: its columns, classes as numbers."""
    form = FORMS[name]
    lines = path.read_text(encoding="utf-8-sig").rstrip("\n").split("\n")
    names = lines[0].split("\t") if form.header else list(form.tsv)
    rows: Rows = []
    for line in lines[form.header :]:
        values = dict(zip(names, line.split("\t"), strict=True))
        text = {hub: values[column] for hub, column in zip(form.hub, form.text, strict=True)}
        label = values[form.label]
        rows.append(text | {"label": form.written.index(label) if form.classes else float(label), "idx": len(rows)})
    return rows


def features(form: Form) -> Any:
    """Features of the hub's data sets: named classes, scores in single precision."""
    import datasets

    label = datasets.ClassLabel(names=list(form.classes)) if form.classes else datasets.Value("float32")
    text = {column: datasets.Value("string") for column in form.hub}
    return datasets.Features(text | {"label": label, "idx": datasets.Value("int32")})


def dataset(form: Form, rows: Rows) -> Any:
    import datasets

    columns = {column: [row[column] for row in rows] for column in (*form.hub, "label", "idx")}
    return datasets.Dataset.from_dict(columns, features=features(form))


def jsonl(folder: Path, form: Form, part: str, rows: Rows) -> None:
    text = "\r\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    (folder / f"{part}.jsonl").write_bytes(b"\xef\xbb\xbf" + text.encode() + b"\r\n")


def jsonl_with_names(folder: Path, form: Form, part: str, rows: Rows) -> None:
    named = [row | {"label": form.classes[row["label"]] if form.classes else row["label"]} for row in rows]
    (folder / f"{part}.jsonl").write_text("\n".join(map(json.dumps, named)), encoding="utf-8")


def parquet(folder: Path, form: Form, part: str, rows: Rows) -> None:
    """Two shards, as the hub writes them."""
    for shard in range(2):
        dataset(form, rows).shard(2, shard, contiguous=True).to_parquet(
            folder / f"{part}-0000{shard}-of-00002.parquet"
        )


def plain_parquet(folder: Path, form: Form, part: str, rows: Rows) -> None:
    """A file of another program: no features beside it."""
    import pyarrow
    from pyarrow import parquet as writer

    writer.write_table(pyarrow.Table.from_pylist(rows), folder / f"{part}.parquet")


def saved(folder: Path, form: Form, part: str, rows: Rows) -> None:
    dataset(form, rows).save_to_disk(folder / part)


def reordered(folder: Path, form: Form, part: str, rows: Rows) -> None:
    """Classes numbered in another order, by features that name them."""
    import datasets

    names = form.classes[::-1]
    other = [row | {"label": names.index(form.classes[row["label"]])} for row in rows]
    fields = features(form) | {"label": datasets.ClassLabel(names=list(names))}
    datasets.Dataset.from_list(other, features=datasets.Features(fields)).to_parquet(folder / f"{part}.parquet")


Writer = Callable[[Path, Form, str, Rows], None]
WRITERS: list[Writer] = [jsonl, jsonl_with_names, parquet, plain_parquet, saved]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with every GLUE task in the original layout; treat it as read-only."""
    folder = tmp_path_factory.mktemp("original")
    for name, form in FORMS.items():
        for part, _ in form.parts:
            write_tsv(folder, name, part, examples(name, part, 60 if part == "train" else 12))
    return folder


def converted(data: Path, name: str, writer: Writer, folder: Path) -> Path:
    """The task of a data folder once more, in another form."""
    form = FORMS[name]
    target = folder / "glue" / form.folder
    target.mkdir(parents=True)
    for part, hub in form.parts:
        writer(target, form, hub, read_tsv(data / "glue" / form.folder / f"{part}.tsv", name))
    return folder


def fingerprint(data: Path, name: str, cache: Path) -> str:
    return tasks.load(name, Source(cache, data, offline=True)).fingerprint


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("name", FORMS)
def test_every_form_of_the_same_data_has_the_same_fingerprint(
    name: str, writer: Writer, original: Path, tmp_path: Path
) -> None:
    other = converted(original, name, writer, tmp_path / "other")
    assert fingerprint(other, name, tmp_path) == fingerprint(original, name, tmp_path)


@pytest.mark.parametrize(
    ("name", "writer"),
    [("cola", saved), ("mrpc", parquet), ("stsb", jsonl), ("stsb", parquet), ("rte", jsonl), ("wnli", plain_parquet)],
)
def test_the_same_holds_of_the_real_files(name: str, writer: Writer, tmp_path: Path) -> None:
    if not (SHARED / "glue" / FORMS[name].folder).is_dir():
        pytest.skip(f"no real data at {SHARED}; set BITFIT_BENCH_TEST_DATA to a folder with glue/")
    other = converted(SHARED, name, writer, tmp_path / "other")
    assert fingerprint(other, name, tmp_path) == fingerprint(SHARED, name, tmp_path)


@pytest.mark.parametrize("name", [name for name, form in FORMS.items() if form.classes])
def test_classes_are_told_by_their_names_where_there_are_names(name: str, original: Path, tmp_path: Path) -> None:
    other = converted(original, name, reordered, tmp_path / "other")
    assert fingerprint(other, name, tmp_path) == fingerprint(original, name, tmp_path)


def test_words_for_missing_values_are_words(original: Path, tmp_path: Path) -> None:
    for writer in (jsonl, parquet, saved):
        other = converted(original, "rte", writer, tmp_path / writer.__name__)
        data = tasks.load("rte", Source(tmp_path, other))
        found = {example.text[0] for example in (*data.train, *data.selection)}
        assert {text.strip() for text in SPECIAL} <= found


@pytest.fixture
def hub(original: Path, tmp_path: Path) -> Iterator[LocalHub]:
    """What the hub would serve: MNLI as Parquet, below the name of its configuration."""
    made = converted(original, "mnli", parquet, tmp_path / "made") / "glue"
    (made / "MNLI").rename(made / "mnli")
    with serve(made) as server:
        yield server


def test_the_hub_gives_the_same_data_and_is_asked_once(hub: LocalHub, original: Path, tmp_path: Path) -> None:
    name, cache = "mnli", tmp_path / "cache"
    expected = fingerprint(original, name, tmp_path / "other-cache")
    lacking = tmp_path / "lacking"
    lacking.mkdir()
    first = load_elsewhere(name, Source(cache, lacking), HF_ENDPOINT=hub.address)
    assert first.stdout.strip() == expected, first.stdout + first.stderr
    assert first.stderr == ""
    assert {path for path in hub.asked if "resolve" in path} == {
        f"/datasets/nyu-mll/glue/resolve/bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c/{file}" for file in hub.files(name)
    }
    hub.asked.clear()
    again = load_elsewhere(name, Source(cache, offline=True), HF_ENDPOINT=hub.address)
    assert again.stdout.strip() == expected, again.stdout + again.stderr
    assert not hub.asked


def test_a_folder_that_has_the_task_is_not_looked_up_on_the_hub(
    original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_client, "fetch", lambda *_: pytest.fail("the hub was asked"))
    assert tasks.load("cola", Source(tmp_path, original)).evaluation
    (tmp_path / "glue" / "CoLA").mkdir(parents=True)
    with pytest.raises(DataError, match=r"CoLA/train\.tsv is missing"):
        tasks.load("cola", Source(tmp_path, tmp_path))


def test_a_network_that_refuses_ends_in_one_line(hub: LocalHub, tmp_path: Path) -> None:
    hub.forbid = True
    for address, why in ((hub.address, "403"), ("http://127.0.0.1:9", "refused")):
        found = load_elsewhere("cola", Source(tmp_path / "cache"), HF_ENDPOINT=address)
        assert found.stdout.count("\n") == 1
        assert found.stdout.startswith("refused: task 'cola': no --data-dir is given, and 'cola' of nyu-mll/glue")
        assert why in found.stdout
        assert "--data-dir D with D/glue/CoLA/" in found.stdout
        assert found.stderr == ""


def test_offline_on_the_command_line_never_asks_the_hub(hub: LocalHub, tmp_path: Path) -> None:
    words = ["run", "smoke", "--skip", "cost", "--tasks", "cola", "--offline", "--cache-dir", str(tmp_path / "cache")]
    ended = subprocess.run(
        [sys.executable, "-m", "bench", *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=os.environ | {"HF_ENDPOINT": hub.address},
    )
    assert ended.returncode == 2
    assert "is not cached and the network is off" in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert not hub.asked


def good(count: int = 12) -> Rows:
    return [{"sentence": f"sentence {n}", "label": n % 2, "idx": n} for n in range(count)]


BAD: dict[str, tuple[Writer, Rows, str]] = {
    "unlabelled": (parquet, [row | {"label": -1} for row in good()], "means unlabelled"),
    "unlabelled lines": (jsonl, [*good()[:3], good()[3] | {"label": -1}], "validation.jsonl, row 4: label -1"),
    "no such class": (jsonl, [*good()[:2], good()[2] | {"label": 2}], "row 3: label 2 is none of unacceptable"),
    "no such name": (jsonl, [good()[0] | {"label": "fine"}], "row 1: label 'fine' is none of unacceptable"),
    "no label": (jsonl, [good()[0] | {"label": None}], "row 1: label None is none of"),
    "a truth value": (jsonl, [good()[0] | {"label": True}], "row 1: label True is none of"),
    "a number": (jsonl, [good()[0] | {"sentence": 3}], "row 1: a sentence is 3, not text"),
    "no text": (plain_parquet, [*good()[:4], good()[4] | {"sentence": None}], "row 5: a sentence is empty"),
    "no rows": (parquet, [], "holds no rows"),
    "no rows saved": (saved, [], "validation holds no rows"),
    "one class": (
        saved,
        [row | {"label": 1} for row in good()],
        "has 12 examples for evaluation, all with the same label",
    ),
    "no column": (plain_parquet, [{"text": "a", "label": 0}], "there is no column 'sentence'; it has text, label"),
    "no key": (jsonl, [good()[0], {"sentence": "a"}], "row 2: there is no column 'label'"),
}


def cola(folder: Path, writer: Writer, validation: Rows) -> Path:
    """A CoLA whose training data is fine."""
    target = folder / "glue" / "CoLA"
    target.mkdir(parents=True)
    jsonl(target, FORMS["cola"], "train", [row | {"sentence": f"train {row['idx']}"} for row in good(40)])
    writer(target, FORMS["cola"], "validation", validation)
    return target


@pytest.mark.parametrize("case", BAD)
def test_bad_data_is_one_line_that_names_the_file(case: str, tmp_path: Path) -> None:
    writer, rows, said = BAD[case]
    folder = cola(tmp_path / "data", writer, rows)
    with pytest.raises(DataError) as error:
        tasks.load("cola", Source(tmp_path, tmp_path / "data"))
    assert said in str(error.value)
    assert str(folder / "validation") in str(error.value)
    assert "\n" not in str(error.value)


def refused(tmp_path: Path, name: str = "cola") -> str:
    with pytest.raises(DataError) as error:
        tasks.load(name, Source(tmp_path / "cache", tmp_path / "data", offline=True))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_files_that_are_not_what_their_name_says_are_named(tmp_path: Path) -> None:
    folder = cola(tmp_path / "data", parquet, good())
    (folder / "validation-00001-of-00002.parquet").write_bytes(b"PAR1 cut")
    assert f"{folder}/validation-00001-of-00002.parquet cannot be read as Parquet" in refused(tmp_path)
    (folder / "validation-00001-of-00002.parquet").unlink()
    assert "holds 1 of 2 shards like validation-00000-of-00002.parquet" in refused(tmp_path)
    (folder / "validation-00000-of-00002.parquet").unlink()
    (folder / "validation.jsonl").write_text('{"sentence": "a", "label": 1}\nnot JSON\n')
    assert f"{folder}/validation.jsonl, row 2: not JSON" in refused(tmp_path)
    (folder / "validation.jsonl").write_text("[1]\n")
    assert "row 1: not a JSON object" in refused(tmp_path)
    (folder / "validation.jsonl").unlink()
    (folder / "validation").mkdir()
    (folder / "validation" / "state.json").write_text("{}")
    assert f"{folder}/validation cannot be read as a saved data set" in refused(tmp_path)


def test_a_split_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    folder = cola(tmp_path / "data", parquet, good())
    jsonl(folder, FORMS["cola"], "dev", good())
    said = refused(tmp_path)
    assert f"{folder}/dev.jsonl and {folder}/validation-00000-of-00002.parquet hold the same split" in said


@pytest.mark.parametrize("part", ["train", "dev"])
def test_a_file_of_one_class_is_refused(part: str, original: Path, tmp_path: Path) -> None:
    for made in ("train", "dev"):
        rows = [(text, "0" if made == part else label) for text, label in examples("sst2", made, 40)]
        write_tsv(tmp_path / "data", "sst2", made, rows)
    said = refused(tmp_path, "sst2")
    assert f"SST-2/{part}.tsv: task 'sst2' has " in said
    assert said.endswith("all with the same label")


def test_a_changed_file_changes_the_fingerprint(original: Path, tmp_path: Path) -> None:
    for writer in (jsonl, parquet, saved):
        other = converted(original, "wnli", writer, tmp_path / writer.__name__)
        before = fingerprint(other, "wnli", tmp_path)
        rows = read_tsv(original / "glue" / "WNLI" / "dev.tsv", "wnli")
        rows[3]["sentence1"] = rows[3]["sentence1"].replace("number", "numeral")
        writer(other / "glue" / "WNLI", FORMS["wnli"], "validation", rows)
        assert fingerprint(other, "wnli", tmp_path) != before


def mnli(folder: Path, **rows: Sequence[tuple[tuple[str, ...], str]]) -> Path:
    for part, _ in FORMS["mnli"].parts:
        write_tsv(folder, "mnli", part, rows.get(part) or examples("mnli", part, 60 if part == "train" else 12))
    return folder


def test_rows_without_an_agreed_label_are_left_out_and_counted(tmp_path: Path) -> None:
    undecided = [(("undecided", str(n)), "-") for n in range(3)]
    data = mnli(tmp_path / "data", dev_matched=[*undecided, *examples("mnli", "dev_matched", 12)])
    found = tasks.load("mnli", Source(tmp_path, data))
    assert found.notes == ("dev_matched.tsv: 3 of 15 rows left out: no agreed label ('-')",)
    assert len(found.evaluation) == 12
    plain = tasks.load("mnli", Source(tmp_path, mnli(tmp_path / "plain")))
    assert found.fingerprint == plain.fingerprint
    assert plain.notes == ()


def test_incomplete_rows_of_qqp_are_left_out_and_counted(original: Path, tmp_path: Path) -> None:
    for part in ("train", "dev"):
        path = write_tsv(tmp_path / "data", "qqp", part, examples("qqp", part, 60 if part == "train" else 12))
        if part == "train":
            with path.open("a", encoding="utf-8") as file:
                file.write("1\t2\t3\tonly a question\n7\t8\t9\tNA\t\t1\n")
    found = tasks.load("qqp", Source(tmp_path, tmp_path / "data"))
    assert found.notes == ("train.tsv: 2 of 62 rows left out: incomplete",)
    assert found.fingerprint == fingerprint(original, "qqp", tmp_path)


DIAGNOSTIC = [("A premise.", f"A hypothesis, number {n}.", NLI[n % 3]) for n in range(9)]


@pytest.mark.parametrize("folder", ["AX", "diagnostic", "MNLI"])
def test_the_labelled_diagnostic_is_an_extra_set_of_mnli(folder: str, tmp_path: Path) -> None:
    data = mnli(tmp_path / "data")
    before = tasks.load("mnli", Source(tmp_path, data))
    assert list(before.extra) == ["mismatched"]
    assert len(before.extra["mismatched"]) == 12
    place = data / "glue" / folder
    place.mkdir(exist_ok=True)
    (place / "diagnostic.tsv").write_text("index\tsentence1\tsentence2\n0\ta\tb\n", encoding="utf-8")
    assert tasks.load("mnli", Source(tmp_path, data)).fingerprint == before.fingerprint
    rows = ["Logic\tDomain\tPremise\tHypothesis\tLabel", *("\tNews\t" + "\t".join(row) for row in DIAGNOSTIC)]
    (place / "diagnostic-full.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    after = tasks.load("mnli", Source(tmp_path, data))
    assert {(*example.text, NLI[int(str(example.label))]) for example in after.extra["ax"]} == set(DIAGNOSTIC)
    assert after.extra_headlines == {"ax": "matthews_correlation"}
    assert after.train == before.train
    assert after.fingerprint != before.fingerprint


def test_contamination_is_told_of_the_new_tasks(original: Path, tmp_path: Path) -> None:
    found = {name: tasks.load(name, Source(tmp_path, original)).overlaps for name in ("qqp", "mnli", "qnli")}
    assert found == {"qqp": ("QQP",), "mnli": ("NLI",), "qnli": ("NLI",)}
