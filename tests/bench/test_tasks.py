"""One contract over every task, and what the folder tasks make of good and bad files."""

import dataclasses
import functools
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

import squad_files
from bench import archives, tasks
from bench.errors import DataError, InputError
from bench.metrics import METRICS
from bench.tasks import own
from bench.tasks.base import Answer, Example, Source, TaskData
from tagged_files import write_conllu, write_ner

SHARED = Path(os.environ.get("BITFIT_BENCH_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
SPLITS = ("train", "selection", "evaluation")
FOLDER_TASKS = [name for name, entry in tasks.TABLE.items() if entry.needs in ("folder", "hub")]

# Header, and a row made from a number, a sentence, another sentence and a label of 0 or 1.
Row = Callable[[int, str, str, int], str]
GLUE: dict[str, tuple[str, str, Row]] = {
    "cola": ("CoLA", "", lambda _, a, __, y: f"gj04\t{y}\t{'*' if y == 0 else ''}\t{a}"),
    "sst2": ("SST-2", "sentence\tlabel\n", lambda _, a, __, y: f"{a} \t{y}"),
    "mrpc": (
        "MRPC",
        "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n",
        lambda n, a, b, y: f"{y}\t{n}\t{n + 1}\t{a}\t{b}",
    ),
    "rte": (
        "RTE",
        "index\tsentence1\tsentence2\tlabel\n",
        lambda n, a, b, y: f"{n}\t{a}\t{b}\t{'not_entailment' if y else 'entailment'}",
    ),
    "stsb": (
        "STS-B",
        "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore\n",
        lambda n, a, b, y: f"{n}\tmain\tx\t2012\t1\tnone\tnone\t{a}\t{b}\t{4.2 if y else 0.4}",
    ),
    "wnli": ("WNLI", "index\tsentence1\tsentence2\tlabel\n", lambda n, a, b, y: f"{n}\t{a}\t{b}\t{y}"),
    "qqp": (
        "QQP",
        "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n",
        lambda n, a, b, y: f"{n}\t{2 * n}\t{2 * n + 1}\t{a}\t{b}\t{y}",
    ),
    "qnli": (
        "QNLI",
        "index\tquestion\tsentence\tlabel\n",
        lambda n, a, b, y: f"{n}\t{a}\t{b}\t{'not_entailment' if y else 'entailment'}",
    ),
    "mnli": (
        "MNLI",
        "index\tgenre\tsentence1\tsentence2\tlabel1\tgold_label\n",
        lambda n, a, b, _: f"{n}\tfiction\t{a}\t{b}\tneutral\t{('entailment', 'neutral', 'contradiction')[n % 3]}",
    ),
}
CLASSES = {"mnli": 3}
MNLI_PARTS = ("dev_matched", "dev_mismatched")
TREEBANK = "UD_English-Made"
DATASET = "made"
DEV_FILES = {name: f"glue/{task}/dev.tsv" for name, (task, _, _) in GLUE.items()} | {
    "mnli": "glue/MNLI/dev_matched.tsv",
    "pos": f"ud/{TREEBANK}/en_made-ud-dev.conllu",
    "pos-xpos": f"ud/{TREEBANK}/en_made-ud-dev.conllu",
    "ner": f"ner/{DATASET}/testa.txt",
    "squad": "squad/dev-v1.1.json",
    "squad2": "squad/dev-v2.0.json",
}
# The names under which real data lies where the usual ones do not.
REAL_NAMES = {"squad": "squad:half-1+half-2", "squad2": "squad2:half-2+half-1"}


def sentence(name: str, part: str, number: int) -> str:
    """Texts that readers like to get wrong: words for missing values, unpaired quotes, other alphabets."""
    special = {0: "NA", 1: "null", 2: f'He said "{part}, no', 3: f"naïve {part} café № 3", 4: f"'{part}' , 1,5"}
    text = special.get(number, f"the {name} sentence number {number} of {part}")
    return text if part == "train" else f"{text} ({part})"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small data folder in the original layouts: 40 training and 10 evaluation rows a task."""
    for name, (task, header, row) in GLUE.items():
        for part, count in (("train", 40), *((part, 10) for part in (MNLI_PARTS if name == "mnli" else ("dev",)))):
            rows = [row(n, sentence(name, part, n), f"it follows {n}", n % 2) for n in range(count)]
            path = tmp_path / "data" / "glue" / task / f"{part}.tsv"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(header + "\n".join(rows) + "\n", encoding="utf-8", newline="")
    for part, count in (("train", 40), ("dev", 10)):
        write_conllu(tmp_path / "data" / "ud" / TREEBANK / f"en_made-ud-{part}.conllu", part, count)
        write_ner(tmp_path / "data" / "ner" / DATASET / f"{part.replace('dev', 'testa')}.txt", part, count)
    squad_files.write_official(tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def source(folder: Path, tmp_path: Path) -> Source:
    return Source(tmp_path / "cache", folder, offline=True)


def dev_file(folder: Path, name: str) -> Path:
    """The evaluation file of a task of the data folder."""
    return folder / DEV_FILES[name]


def assert_contract(data: TaskData) -> None:
    """What every task promises, whatever its data."""
    examples = [example for name in SPLITS for example in getattr(data, name)]
    assert all(getattr(data, name) for name in SPLITS)
    assert data.metrics
    assert set(data.metrics) <= set(METRICS)
    assert set(data.extra_headlines) <= set(data.extra)
    assert set(data.extra_headlines.values()) <= set(data.metrics)
    assert data.kind != "regression" or not data.labels
    assert data.kind == "regression" or data.outputs == len(set(data.labels)) > 1
    for example in (*examples, *(example for extra in data.extra.values() for example in extra)):
        assert_example(data, example)
    assert_tags(data)
    if data.kind == "classification":
        assert {example.label for example in data.evaluation} == set(range(data.outputs))
    if data.kind == "tagging":
        assert any(len(set(tags)) > 1 for tags in (example.label for example in examples) if isinstance(tags, tuple))
    texts = {name: {example.text_key for example in getattr(data, name)} for name in SPLITS}
    assert not texts["evaluation"] & (texts["train"] | texts["selection"])
    for extra in data.extra.values():
        assert extra
        assert not {example.text_key for example in extra} & (texts["train"] | texts["selection"])
    assert not texts["selection"] & texts["train"]
    groups = {name: {example.group for example in getattr(data, name)} - {""} for name in SPLITS}
    assert not groups["evaluation"] & (groups["train"] | groups["selection"])
    assert not groups["selection"] & groups["train"]


def assert_example(data: TaskData, example: Example) -> None:
    assert all(isinstance(part, str) and part.strip() for part in example.text)
    assert not example.answers or data.kind == "span"
    if data.kind == "span":
        _, context = example.text
        assert example.label == ()
        assert example.answers or data.unanswerable
        assert all(answer.text and context[answer.start : answer.end] == answer.text for answer in example.answers)
    elif data.kind == "tagging":
        assert isinstance(example.label, tuple)
        assert len(example.label) == len(example.text)
    else:
        assert len(example.text) in (1, 2)
        kind = float if data.kind == "regression" else int
        assert type(example.label) is kind
        assert data.kind == "regression" or 0 <= example.label < data.outputs


def assert_tags(data: TaskData) -> None:
    """Tags are numbers of labels, in evaluation also of those that training never shows."""
    found = {name: set[int]() for name in SPLITS}
    for name in SPLITS:
        for example in getattr(data, name):
            found[name].update(example.label if isinstance(example.label, tuple) else ())
    assert data.kind == "tagging" or not data.unseen
    assert not set(data.labels) & set(data.unseen)
    assert found["train"] | found["selection"] <= set(range(data.outputs))
    assert found["evaluation"] <= set(range(data.outputs + len(data.unseen)))


def relabelled(data: TaskData, name: str) -> TaskData:
    """The task with the label or the answers of the last example of one split changed."""
    splits = {split: list(getattr(data, split)) for split in SPLITS}
    last = splits[name].pop()
    if data.kind == "span":
        changed = dataclasses.replace(last, answers=(*last.answers, Answer(0, last.text[1][:1])))
    elif isinstance(last.label, tuple):
        changed = dataclasses.replace(last, label=(*last.label[:-1], (last.label[-1] + 1) % 2))
    else:
        changed = dataclasses.replace(last, label=last.label + 1)
    splits[name].append(changed)
    return dataclasses.replace(
        data, train=splits["train"], selection=splits["selection"], evaluation=splits["evaluation"]
    )


EMBEDDED = Source(archives.default_cache_dir())


@functools.cache
def embedded(name: str) -> TaskData:
    """A task of a pinned archive; the test is skipped where it cannot be fetched."""
    try:
        return tasks.load(name, EMBEDDED)
    except InputError as error:
        if not str(error).startswith("cannot fetch"):
            raise
        pytest.skip(f"the pinned archive cannot be had: {error}")


def contract(name: str, source: Source, described: Mapping[str, own.OwnTask] | None = None) -> None:
    data = tasks.load(name, source, described or {})
    assert_contract(data)
    assert data.name == name
    assert data.sentence.startswith("As described." if described else tasks.check(name).sentence.rstrip("."))
    again = tasks.load(name, source, described or {})
    assert again == data
    assert again.fingerprint == data.fingerprint
    assert len({data.fingerprint, *(relabelled(data, split).fingerprint for split in SPLITS)}) == 4


@pytest.mark.parametrize("name", tasks.TABLE)
def test_contract(name: str, source: Source) -> None:
    if tasks.TABLE[name].needs == "archive":
        embedded(name)
        source = EMBEDDED
    contract(name, source)


# What users describe, on the files of tasks that are known: kind, metric, files without their part, columns.
DESCRIBED = {
    "class": ("classification", "f1", "glue/SST-2/{}.tsv", 'text = "sentence"\nlabel = "label"'),
    "pair": (
        "regression",
        "pearson",
        "glue/STS-B/{}.tsv",
        'text = "sentence1"\nsecond_text = "sentence2"\nlabel = "score"',
    ),
    "spans": ("tagging", "span_f1", f"ner/{DATASET}/{{}}.txt", ""),
    "tags": ("tagging", "accuracy", f"ud/{TREEBANK}/en_made-ud-{{}}.conllu", "tags = 5"),
}


def described(name: str, folder: Path) -> own.OwnTask:
    kind, metric, file, columns = DESCRIBED[name]
    train, evaluation = file.format("train"), file.format("testa" if name == "spans" else "dev")
    path = folder / f"{name}.toml"
    path.write_text(
        f'name = "own-{name}"\nkind = "{kind}"\ndescription = "As described."\nmetrics = ["{metric}"]\n'
        f'[files]\ntrain = "{train}"\nevaluation = "{evaluation}"\n[columns]\n{columns}\n'
    )
    return own.read(path)


@pytest.mark.parametrize("name", DESCRIBED)
def test_contract_of_what_users_describe(name: str, source: Source, folder: Path) -> None:
    contract(f"own-{name}", source, {f"own-{name}": described(name, folder)})


def test_a_described_task_has_the_fingerprint_of_the_task_it_repeats(source: Source, folder: Path) -> None:
    for name, task in (("spans", "ner"), ("tags", "pos-xpos"), ("pair", "stsb")):
        found = tasks.load("x", source, {"x": described(name, folder)})
        assert found.fingerprint == tasks.load(task, source).fingerprint


@pytest.mark.parametrize("name", FOLDER_TASKS)
def test_contract_on_real_files(name: str, tmp_path: Path) -> None:
    there = SHARED / ("glue/" + GLUE[name][0] if name in GLUE else DEV_FILES[name].partition("/")[0])
    if not there.is_dir():
        pytest.skip(f"no real data at {there}; set BITFIT_BENCH_TEST_DATA to a folder with glue/, ud/ and squad/")
    assert_contract(tasks.load(REAL_NAMES.get(name, name), Source(tmp_path, SHARED)))


@pytest.mark.parametrize(
    ("name", "sizes"),
    [("questions", 5381), ("reviews", 10070), ("ratings", 10603), ("relevance", 10923)],
)
def test_the_embedded_data_is_used_whole(name: str, sizes: int) -> None:
    data = embedded(name)
    assert sum(len(getattr(data, split)) for split in SPLITS) == sizes
    assert len(data.evaluation) in (1076, 2000)


def test_relevance_keeps_every_clause_in_one_split() -> None:
    data = embedded("relevance")
    clauses = [{example.text[1] for example in getattr(data, split)} for split in SPLITS]
    assert len(set.union(*clauses)) == sum(map(len, clauses)) > 1000


def test_the_table_is_imported_without_torch_and_datasets() -> None:
    code = "import sys, bench.tasks, bench.archives; print(sorted({'torch', 'datasets'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("question", "'questions'"),
        ("cola:x", "'cola'"),
        ("pos:", "'pos:<treebank>'"),
        ("squad:", "<train+evaluation>"),
        ("zzz", "known are questions"),
    ],
)
def test_unknown_names_get_a_hint(name: str, hint: str) -> None:
    with pytest.raises(InputError) as error:
        tasks.check(name)
    assert name in str(error.value)
    assert hint in str(error.value)


def test_texts_come_through_unchanged(source: Source) -> None:
    for name in GLUE:
        data = tasks.load(name, source)
        found = {example.text[0] for split in ("train", "selection") for example in getattr(data, split)}
        assert found == {sentence(name, "train", number) for number in range(40)}


def test_labels_are_read_from_their_column(source: Source) -> None:
    for name in GLUE:
        data = tasks.load(name, source)
        part = dev_file(Path(), name).stem
        number = {sentence(name, part, n): n for n in range(10)}
        for example in data.evaluation:
            expected = number[example.text[0]] % CLASSES.get(name, 2)
            assert example.label == ((0.4, 4.2)[expected] if name == "stsb" else expected)
    assert tasks.load("rte", source).labels == ("entailment", "not_entailment")
    assert tasks.load("rte", source).overlaps == ("NLI",)


def test_words_of_a_treebank_leave_out_ranges_and_empty_nodes(source: Source) -> None:
    data = tasks.load(f"pos:{TREEBANK}", source)
    assert data.evaluation[0].text[:2] == ("ca", "n't")
    assert data.evaluation[0].text[2].startswith("dev ")
    assert isinstance(data.evaluation[0].label, tuple)
    assert [data.labels[tag] for tag in data.evaluation[0].label] == ["AUX", "PART", "VERB", "PUNCT"]
    assert tasks.load("pos", source).fingerprint == data.fingerprint


def test_a_changed_file_is_read_anew_even_at_the_same_time_and_size(source: Source, folder: Path) -> None:
    path = folder / "glue" / "SST-2" / "dev.tsv"
    before, status = tasks.load("sst2", source), path.stat()
    path.write_bytes(path.read_bytes().replace(b"number 7", b"number 5"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert tasks.load("sst2", source).fingerprint != before.fingerprint


@pytest.mark.parametrize("name", FOLDER_TASKS)
def test_line_ends_and_byte_order_marks_change_nothing(name: str, source: Source, folder: Path) -> None:
    before = tasks.load(name, source)
    for path in (path for path in folder.rglob("*") if path.is_file()):
        text = path.read_text(encoding="utf-8-sig").rstrip("\n")
        path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert tasks.load(name, source).fingerprint == before.fingerprint


BAD_ROWS: dict[str, tuple[str, str, str, str]] = {
    "wrong class": ("cola", "gj04\t2\t\tA sentence.", "row 6", "label '2' is none of 0, 1"),
    "class of another task": ("rte", "4\ta\tb\t1", "row 6", "label '1' is none of entailment, not_entailment"),
    "empty class": ("sst2", "a sentence\t", "row 6", "label '' is none of"),
    "no number": ("stsb", "\t".join([*"123456789", "high"]), "row 6", "score 'high' is no number"),
    "not finite": ("stsb", "\t".join([*"123456789", "nan"]), "row 6", "score 'nan' is no number"),
    "out of range": ("stsb", "\t".join([*"123456789", "5.5"]), "row 6", "score '5.5' is no number from 0 to 5"),
    "short row": ("mrpc", "1\t2\t3\tonly one", "row 6", "4 columns, expected 5"),
    "long row": ("wnli", "1\ta\tb\t0\tmore", "row 6", "5 columns, expected 4"),
    "blank line": ("sst2", "", "row 6", "1 columns, expected 2"),
    "empty sentence": ("sst2", " \t1", "row 6", "a sentence is empty"),
    "carriage return": ("cola", "gj04\t1\t\tone\rtwo", "row 6", "carriage return"),
    "not UTF-8": ("cola", "gj04\t1\t\tcaf\udce9", "row 6", "not UTF-8"),
    "short token": ("pos", "1\tword\tword\tNOUN", "row 6", "4 columns, expected 10"),
    "wrong tag": ("pos", "4\tword\tword\tNN\tNN\t_\t0\troot\t_\t_", "row 6", "tag 'NN' is none of ADJ"),
    "no own tag": ("pos-xpos", "1\tword\tword\tNOUN\t_\t_\t0\troot\t_\t_", "row 6", "'word' has no tag"),
    "no span": ("ner", "word NN I-NP PER", "row 6", "tag 'PER' is neither O nor B- or I- and a type"),
    "no type": ("ner", "word NN I-NP I-", "row 6", "tag 'I-' is neither O nor"),
    "short column row": ("ner", "word O", "row 6", "2 columns, expected 4"),
    "no token number": ("pos", "x\tword\tword\tNOUN\tNN\t_\t0\troot\t_\t_", "row 6", "'x' is no token number"),
}


@pytest.mark.parametrize("case", BAD_ROWS)
@pytest.mark.parametrize("part", ["train", "dev"])
def test_a_bad_row_is_named(case: str, part: str, source: Source, folder: Path) -> None:
    name, row, where, what = BAD_ROWS[case]
    path = folder / DEV_FILES[name]
    path = path if part == "dev" else path.with_name(path.name.replace("dev", part).replace("testa", part))
    lines = path.read_bytes().split(b"\n")
    lines[5] = row.encode("utf-8", "surrogateescape")
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(DataError) as error:
        tasks.load(name, source)
    assert f"{path}, {where}: " in str(error.value)
    assert what in str(error.value)
    assert "\n" not in str(error.value)
    assert "\r" not in str(error.value)


@pytest.mark.parametrize("name", FOLDER_TASKS)
@pytest.mark.parametrize("content", [None, b"", b"\n\n"])
def test_missing_and_empty_files_are_named(name: str, content: bytes | None, source: Source, folder: Path) -> None:
    path = dev_file(folder, name)
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    with pytest.raises(DataError) as error:
        tasks.load(name, source)
    named = content is not None or name in GLUE or name in REAL_NAMES
    assert str(path if named else path.parent) in str(error.value)
    assert ("is empty" in str(error.value)) == (content is not None)
    assert ("original GLUE layout" in str(error.value)) == (content is None and name in GLUE)


@pytest.mark.parametrize("name", [name for name, (_, header, _) in GLUE.items() if header])
def test_a_header_without_rows_and_a_header_without_its_column_are_named(
    name: str, source: Source, folder: Path
) -> None:
    path, header = dev_file(folder, name), GLUE[name][1]
    path.write_text(header, encoding="utf-8")
    with pytest.raises(DataError, match="has a header and no rows"):
        tasks.load(name, source)
    path.write_text("a\tb\n1\t2\n", encoding="utf-8")
    with pytest.raises(DataError) as error:
        tasks.load(name, source)
    assert f"{path}, row 1: the header has no column" in str(error.value)


@pytest.mark.parametrize("name", FOLDER_TASKS)
def test_without_a_data_folder_the_layout_is_told(name: str, tmp_path: Path) -> None:
    layout = f"D/{DEV_FILES[name].partition('/')[0]}/"
    for data_dir in (None, tmp_path / "absent"):
        with pytest.raises(DataError) as error:
            tasks.load(name, Source(tmp_path, data_dir, offline=True))
        assert layout in str(error.value)


def test_a_cache_that_cannot_be_written_is_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(InputError) as error:
        tasks.load("sst2", Source(tmp_path / "file", folder))
    assert f"cannot write to the cache {tmp_path / 'file'}" in str(error.value)


def test_a_training_file_too_small_to_split_is_refused(source: Source, folder: Path) -> None:
    path = folder / "glue" / "SST-2" / "train.tsv"
    path.write_text("".join(path.read_text(encoding="utf-8").splitlines(keepends=True)[:6]), encoding="utf-8")
    with pytest.raises(
        DataError, match=r"train\.tsv: task 'sst2' is too small to split: 5 train, 0 selection, 10 eval"
    ):
        tasks.load("sst2", source)


def test_comments_alone_are_no_treebank(source: Source, folder: Path) -> None:
    path = folder / "ud" / TREEBANK / "en_made-ud-dev.conllu"
    path.write_text("# only a comment\n", encoding="utf-8")
    with pytest.raises(DataError) as error:
        tasks.load("pos", source)
    assert f"{path} holds no sentences" in str(error.value)


def test_one_of_several_treebanks_has_to_be_named(source: Source, folder: Path) -> None:
    (folder / "ud" / "UD_French-Made").mkdir()
    with pytest.raises(DataError, match="name one, as in 'pos:UD_English-Made'"):
        tasks.load("pos", source)
    assert tasks.load(f"pos:{TREEBANK}", source).evaluation
    with pytest.raises(DataError, match="did you mean 'pos:UD_English-Made'"):
        tasks.load("pos:UD_English-Mad", source)
    with pytest.raises(DataError, match="UD_French-Made holds 0 files"):
        tasks.load("pos:UD_French-Made", source)


def test_a_tag_that_training_never_shows_keeps_its_name(source: Source, folder: Path) -> None:
    path = folder / DEV_FILES["pos-xpos"]
    path.write_text(path.read_text(encoding="utf-8").replace("\tRB\t", "\tNEG\t", 1), encoding="utf-8")
    data = tasks.load("pos-xpos", source)
    assert data.labels == (".", "MD", "RB", "VB")
    assert data.unseen == ("NEG",)
    assert sum(4 in example.label for example in data.evaluation if isinstance(example.label, tuple)) == 1


def test_spans_are_turned_into_iob2(source: Source) -> None:
    data = tasks.load(f"ner:{DATASET}", source)
    assert data.labels == ("B-PER", "O")
    assert data.unseen == ("B-PLACE",)
    assert data.metrics == ("span_f1", "accuracy")
    named = {tuple((*data.labels, *data.unseen)[tag] for tag in e.label) for e in data.evaluation}  # type: ignore[union-attr]
    assert named == {("B-PER", "B-PER", "O", "B-PER"), ("B-PER", "B-PER", "O", "B-PLACE")}


def test_one_evaluation_file_of_names_is_expected(source: Source, folder: Path) -> None:
    write_ner(folder / "ner" / DATASET / "valid.txt", "dev", 10)
    with pytest.raises(DataError, match=r"holds 2 of dev\.txt, valid\.txt, testa\.txt, expected 1"):
        tasks.load("ner", source)
