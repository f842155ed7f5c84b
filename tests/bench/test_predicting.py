"""Predictions with deltas: the trained model's own, from real processes, and one clear line for what does not fit."""

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoModel

import strategies
from bench import encoders, merging, predicting, quality, texts
from bench.batching import collate, encode
from bench.cell import QualityCell
from bench.errors import InputError
from bench.fingerprints import fingerprint
from bench.models import TaskModel, build_model, load_encoder
from bench.outcome import Outcome
from bench.session import Options, Session
from bench.tasks.base import Example
from strategies import StrategyError, delta
from strategies.delta import Use
from strategies.interface import Context

CPU = torch.device("cpu")
USES = {
    "cola": Use("tiny-bert", "classification", "cls", 2, 64),
    "topics": Use("tiny-bert", "classification", "mean", 3, 64),
    "ratings": Use("tiny-bert", "regression", "mean", 1, 64, pair=True),
    "tags": Use("tiny-bert", "tagging", "cls", 3, 16),
    "squad2": Use("tiny-bert", "span", "cls", 2, 32, pair=True, unanswerable=True),
}
LABELS = {"cola": ("bad", "good"), "topics": ("a", "b", "c"), "tags": ("X", "Y", "Z"), "squad2": ("start", "end")}
# A line separator, which ends no line of a file and must end none of the output.
TEXTS = ["the cat sat on the mat", "a dog\u2028ran home, it did"]
CONTEXT = "the dog ran to the old house on the hill. it was cold there. nobody sat on the mat at home."


@pytest.fixture(scope="module")
def written(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, TaskModel]]:
    """A delta of each kind of task with the model it was made of."""
    folder = tmp_path_factory.mktemp("deltas")
    return {task: write(folder / f"{task}.safetensors", task, use, tiny_folder) for task, use in USES.items()}


def write(path: Path, task: str, use: Use, folder: Path, noise: float = 0.4) -> tuple[Path, TaskModel]:
    known = encoders.find("tiny-bert", {"tiny-bert": folder})
    encoder, _ = load_encoder(known, use.kind, use.pooling, cache_dir=path.parent, offline=True)
    base = fingerprint(encoder)
    model = build_model(encoder, use.kind, use.outputs, use.pooling, seed=1)
    applied = strategies.resolve("bitfit")(model, Context(np.random.default_rng(0)))
    generator = torch.Generator().manual_seed(len(task))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=noise)
    info = delta.DeltaInfo("bitfit", 0, base, task, LABELS.get(task, ()), use=use)
    delta.save(path, applied.finished(), info)
    return path, model.eval()


def program(*arguments: str | Path, given: str = "") -> subprocess.CompletedProcess[str]:
    """Run the program to its end."""
    return subprocess.run(
        [sys.executable, "-m", "bench", *map(str, arguments)],
        env=os.environ | {"COLUMNS": "100"},
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )


def logits(model: TaskModel, use: Use, example: Example, folder: Path) -> torch.Tensor:
    """The trained model's own, for one text."""
    known = encoders.find("tiny-bert", {"tiny-bert": folder})
    _, tokenizer = load_encoder(known, use.kind, use.pooling, cache_dir=folder, offline=True)
    batch = collate(encode([example], use.kind, tokenizer, use.max_length), np.array([0]))
    del batch["labels"]
    with torch.no_grad():
        found: torch.Tensor = model(**batch)[0]
    return found


@pytest.mark.slow
def test_one_base_predicts_for_many_tasks(
    written: dict[str, tuple[Path, TaskModel]], tiny_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS) + "\n")
    asked = [written[task][0] for task in ("cola", "topics", "tags")]
    options: list[str | Path] = [
        "--model",
        tiny_folder,
        "--cache-dir",
        tmp_path / "cache",
        "--offline",
        "--device",
        "cpu",
    ]
    ended = program("predict", *asked, *options, "--json", "--input", tmp_path / "texts.txt")
    assert ended.returncode == 0, ended.stderr
    found = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [(one["task"], one["text"]) for one in found] == [
        (task, text) for task in ("cola", "topics", "tags") for text in TEXTS
    ]
    for one in found:
        task, text = one["task"], one["text"]
        words = text.split()
        example = Example(tuple(words), tuple(range(len(words)))) if task == "tags" else Example((text,), 0)
        expected = logits(written[task][1], USES[task], example, tiny_folder)
        if task == "tags":
            assert one["words"] == words
            # Spelt letter by letter, 14 tokens hold the first four words and what is cut off has no tag.
            firsts = np.cumsum([1, *(len(word) for word in words)])[:-1]
            tags = [LABELS[task][int(expected[i].argmax())] if i < 15 else None for i in firsts]
            assert one["tags"] == tags
            assert None in tags
        else:
            shares = expected.softmax(-1)
            assert one["label"] == LABELS[task][int(shares.argmax())]
            assert one["probability"] == pytest.approx(float(shares.max()), abs=1e-5)

    piped = program("predict", *asked[:2], *options, "--input", "-", given="\n".join(TEXTS))
    assert piped.returncode == 0, piped.stderr
    assert all(text in piped.stdout for text in ("cola", "topics", "bitfit", TEXTS[0]))


def predict(path: Path, given: list[tuple[str, ...]], folder: Path) -> list[predicting.Prediction]:
    return predicting.predict([path], given, model=str(folder), device=CPU, cache_dir=folder, offline=True)


def test_pairs_have_a_value(written: dict[str, tuple[Path, TaskModel]], tiny_folder: Path) -> None:
    path, model = written["ratings"]
    (one,) = predict(path, [(TEXTS[0], TEXTS[1])], tiny_folder)
    expected = float(logits(model, USES["ratings"], Example((TEXTS[0], TEXTS[1]), 0.0), tiny_folder))
    assert one.result == {"value": pytest.approx(expected, abs=1e-5)}
    assert one.fields()["text_pair"] == TEXTS[1]


def test_questions_have_an_answer_of_their_context(
    written: dict[str, tuple[Path, TaskModel]], tiny_folder: Path
) -> None:
    found = predict(written["squad2"][0], [("who ran?", CONTEXT), ("where?", CONTEXT)], tiny_folder)
    answers = [one.result["answer"] for one in found]
    assert all(answer is None or answer in CONTEXT for answer in answers)
    path = written["squad2"][0].with_name("squad.safetensors")
    write(path, "squad2", replace(USES["squad2"], unanswerable=False), tiny_folder)
    answers = [one.result["answer"] for one in predict(path, [("who ran?", CONTEXT)], tiny_folder)]
    assert answers[0] in CONTEXT


@pytest.mark.parametrize(
    ("task", "given", "said"),
    [
        ("ratings", [TEXTS[:1]], "text 1 lacks its pair"),
        ("squad2", [TEXTS, TEXTS[:1]], "text 2 lacks its context"),
        ("cola", [TEXTS], "text 1 is a pair: task 'cola'"),
    ],
)
def test_texts_that_do_not_fit_the_task_are_refused(
    task: str, given: list[list[str]], said: str, written: dict[str, tuple[Path, TaskModel]], tiny_folder: Path
) -> None:
    with pytest.raises(InputError, match=said):
        predict(written[task][0], [tuple(text) for text in given], tiny_folder)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (((), (), None), "no text to predict"),
        ((("a", " "), (), None), "--text 2: the text is empty"),
        ((("a",), ("",), None), "--text 1: a text of the pair is empty"),
        ((("a", "b", "c"), ("x", "y"), None), "3 --text and 2 --text-pair"),
        (((), (), "none.txt"), "cannot read texts from none.txt"),
    ],
)
def test_bad_texts_are_refused(arguments: tuple[tuple[str, ...], tuple[str, ...], str | None], said: str) -> None:
    with pytest.raises(InputError, match=said):
        texts.gather(*arguments)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a\n\nb\n", "line 2: the text is empty"),
        (b"a\tb\tc\n", "line 1 holds 3 texts"),
        (b"a\t\n", "line 1: a text of the pair is empty"),
        (b"\xff\xfe", "is not UTF-8 text: byte 0"),
        (b"", "no text to predict"),
    ],
)
def test_bad_files_of_texts_are_refused(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "texts").write_bytes(content)
    with pytest.raises(InputError, match=said):
        texts.gather((), (), str(tmp_path / "texts"))


def test_texts_are_paired_and_read_in_order(tmp_path: Path) -> None:
    (tmp_path / "texts").write_bytes(b"\xef\xbb\xbfe\tf\r\ng\n")
    assert texts.gather(("a", "b"), ("x",), None) == [("a", "x"), ("b", "x")]
    assert texts.gather(("a", "b"), ("x", "y"), str(tmp_path / "texts")) == [
        ("a", "x"),
        ("b", "y"),
        ("e", "f"),
        ("g",),
    ]


def test_lines_end_at_newlines_alone(tmp_path: Path) -> None:
    (tmp_path / "texts").write_bytes("a\u2028b\r\nc\x0cd\x85e\n".encode())
    assert texts.gather((), (), str(tmp_path / "texts")) == [("a\u2028b",), ("c\x0cd\x85e",)]


def test_a_folder_that_cannot_be_named_is_one_clear_line(
    written: dict[str, tuple[Path, TaskModel]], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"cannot write the folder .*File name too long") as error:
        merging.merge(written["cola"][0], tmp_path / ("x" * 300), model=None, cache_dir=tmp_path)
    assert "\n" not in str(error.value)


def test_what_a_delta_says_reaches_no_terminal_raw(tmp_path: Path) -> None:
    info = delta.DeltaInfo("bitfit", 0, "f00d", "a\x1b[1mtask", ("\x1b[2Jbad\nlabel",), use=USES["cola"])
    one = predicting.Prediction(
        tmp_path, info, ("na\u00efve\u3000\u202etext",), {"label": info.labels[0], "probability": 1}
    )
    console = Console(width=200, file=io.StringIO(), color_system=None)
    console.print(predicting.table([one]))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert r"\x1b[2Jbad\nlabel (1.000)" in shown
    assert r"a\x1b[1mtask" in shown
    assert "na\u00efve\u3000\\u202etext" in shown
    assert "\x1b" not in shown


@pytest.fixture(scope="module")
def wrong(
    written: dict[str, tuple[Path, TaskModel]], tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder of what is no delta that can be used, and `other`, an encoder of other weights."""
    folder = tmp_path_factory.mktemp("wrong")
    other = AutoModel.from_pretrained(tiny_folder)
    other.embeddings.word_embeddings.weight.data[7] += 1
    other.save_pretrained(folder / "other")
    for file in tiny_folder.glob("*token*"):
        (folder / "other" / file.name).write_bytes(file.read_bytes())
    torch.save({"weight": torch.zeros(2)}, folder / "pickle")
    (folder / "weights").write_bytes((tiny_folder / "model.safetensors").read_bytes())
    (folder / "cola").write_bytes(written["cola"][0].read_bytes())
    write(folder / "wide", "wide", USES["cola"], tiny_folder)
    write(folder / "astray", "cola", USES["cola"], tiny_folder, noise=float("nan"))
    content = load_file(folder / "cola")
    save_file(content, folder / "bare", {"format": delta.FORMAT, "delta": json.dumps(asdict(BARE))})
    return folder


BARE = delta.DeltaInfo("bitfit", 0, "f00d", "cola")


@pytest.mark.parametrize(
    ("name", "model", "said"),
    [
        ("absent", "{base}", "not a readable safetensors file"),
        ("other", "{base}", "is a folder; name the delta in it"),
        ("pickle", "{base}", "not a readable safetensors file"),
        ("weights", "{base}", "not a delta this program reads"),
        ("cola", None, "an encoder in a folder called 'tiny-bert': name it with --model"),
        ("cola", "minlm", "did you mean 'minilm'"),
        ("bare", "{base}", "does not say which head it is for"),
        ("wide", "{base}", "its labels and of its head does not agree"),
        ("astray", "{base}", "not a finite number"),
    ],
)
def test_what_is_no_delta_of_this_base_is_refused(
    name: str, model: str | None, said: str, wrong: Path, tiny_folder: Path
) -> None:
    named = model and model.format(base=tiny_folder)
    with pytest.raises((InputError, StrategyError), match=said) as error:
        predicting.predict([wrong / name], [("a",)], model=named, device=CPU, cache_dir=wrong, offline=True)
    assert "\n" not in str(error.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", [["predict", "--text", "hello", "--device", "cpu"], ["merge", "--to", "{wrong}/to"]]
)
def test_a_delta_of_another_base_is_one_line_and_exit_code_2(command: list[str], wrong: Path) -> None:
    arguments = [word.format(wrong=wrong) for word in command]
    ended = program(*arguments, wrong / "cola", "--model", wrong / "other", "--offline")
    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stderr
    (line,) = ended.stderr.partition("error: ")[2].strip().splitlines()
    assert "belongs to another encoder" in line
    assert not ended.stdout
    assert not (wrong / "to").exists()


def test_no_text_is_said_before_torch_is_loaded(wrong: Path) -> None:
    code = "import sys; sys.modules['torch'] = None; from bench.cli import main; main()"
    command = [sys.executable, "-c", code, "predict", str(wrong / "cola")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: there is no text to predict")


def test_deltas_of_two_encoders_need_two_calls(
    written: dict[str, tuple[Path, TaskModel]], tiny_folder: Path, tmp_path: Path
) -> None:
    path, _ = write(tmp_path / "other", "cola", replace(USES["cola"], model="other"), tiny_folder)
    with pytest.raises(InputError, match=r"several encoders: tiny-bert \(.*\), other \(.*\)"):
        predicting.predict([written["cola"][0], path], [("a",)], model=None, device=CPU, cache_dir=tmp_path)


@pytest.fixture(scope="module")
def trained(
    tiny_folder: Path, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], tuple[Path, Session, Outcome]]:
    """Trains a cell on the tiny CoLA and gives its delta, the session and the outcome."""
    folder = tmp_path_factory.mktemp("trained")

    def train(strategy: str) -> tuple[Path, Session, Outcome]:
        fields = {"model": "tiny-bert", "task": "cola", "strategy": strategy, "seed": 0, "learning_rate": 1e-2}
        fields |= {"epochs": 1, "batch_size": 8, "curve_points": 1, "curve_examples": 4, "pooling": "mean"}
        options = Options(CPU, folder, tiny_data, model_folders={"tiny-bert": tiny_folder}, keep_deltas=True)
        session, into = Session(options), folder / strategy
        into.mkdir()
        outcome = quality.run_quality(QualityCell.model_validate(fields), session, into, lambda *_: None)
        assert outcome.status == "ok", outcome.reason
        (path,) = (into / "deltas").iterdir()
        return path, session, outcome

    return train


@pytest.mark.parametrize("strategy", ["bitfit", "full"])
def test_a_kept_delta_predicts_what_its_cell_predicted(
    strategy: str, trained: Callable[[str], tuple[Path, Session, Outcome]], tiny_folder: Path
) -> None:
    path, session, outcome = trained(strategy)
    task = session.task("cola")
    info = delta.info(path)
    assert info.use == Use("tiny-bert", "classification", "mean", 2, 128)
    assert (info.task, info.strategy, info.labels) == ("cola", strategy, task.labels)
    found = predict(path, [example.text for example in task.evaluation], tiny_folder)
    labels = [task.labels[int(i)] for i in outcome.arrays["evaluation_predictions"]]
    assert [one.result["label"] for one in found] == labels
    assert outcome.quality is not None
    assert len(outcome.quality.swap_seconds) == 5
    assert min(outcome.quality.swap_seconds) > 0


@pytest.mark.slow
def test_merging_writes_an_encoder_that_any_program_reads(
    written: dict[str, tuple[Path, TaskModel]], tiny_folder: Path, tmp_path: Path
) -> None:
    path, model = written["topics"]
    to = tmp_path / "new" / "topics-bert"
    ended = program("merge", path, "--to", to, "--model", tiny_folder, "--offline")
    assert ended.returncode == 0, ended.stderr
    assert [one.name for one in to.parent.iterdir()] == ["topics-bert"]
    assert {"config.json", "model.safetensors", "head.safetensors", "tokenizer_config.json"} <= {
        one.name for one in to.iterdir()
    }
    ids = torch.tensor([[2, 7, 8, 9, 3]])
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    plain = AutoModel.from_pretrained(to).eval()
    with torch.no_grad():
        ours, theirs = (one(**inputs).last_hidden_state for one in (model.encoder, plain))
    torch.testing.assert_close(theirs, ours, rtol=1e-5, atol=1e-5)
    head = load_file(to / "head.safetensors")
    assert head.keys() == {"out.weight", "out.bias"}
    assert all(torch.equal(head[name], tensor) for name, tensor in model.head.state_dict().items())
    # The pooler, which this head does not read, is the base's own.
    base = AutoModel.from_pretrained(tiny_folder)
    assert torch.equal(plain.pooler.dense.weight, base.pooler.dense.weight)
    load_encoder(encoders.find("topics-bert", {"topics-bert": to}), "classification", "cls", cache_dir=tmp_path)

    with pytest.raises(InputError, match="exists already"):
        merging.merge(path, to, model=str(tiny_folder), cache_dir=tmp_path)


def test_a_folder_that_only_seems_new_is_refused_and_leaves_none(
    written: dict[str, tuple[Path, TaskModel]], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="exists already"):
        merging.merge(written["cola"][0], tmp_path / "new" / "..", model=None, cache_dir=tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_merged_leaves_no_folder(
    written: dict[str, tuple[Path, TaskModel]],
    tiny_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise StrategyError("cannot be merged")

    monkeypatch.setattr("strategies.loading.merge", refuse)
    with pytest.raises(StrategyError, match="cannot be merged"):
        merging.merge(written["cola"][0], tmp_path / "to", model=str(tiny_folder), cache_dir=tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_swap_that_the_docs_show_runs_as_it_is_written(
    written: dict[str, tuple[Path, TaskModel]],
    tiny_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "deltas.md").read_text(encoding="utf-8")
    lines = page.split("## Swap")[1].split("`prepare` reads")[0].splitlines()
    shown = "\n".join(line[4:] for line in lines if not line or line.startswith("    "))
    monkeypatch.chdir(written["cola"][0].parent)
    exec(compile(shown.replace("None)", f"{str(tiny_folder)!r})"), "docs/deltas.md", "exec"), {})  # noqa: S102
    tasks = ("cola", "topics")
    found = [
        logits(written[task][1], USES[task], Example(("the cat sat on the mat",), 0), tiny_folder).softmax(-1)
        for task in tasks
    ]
    told = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in told] == ["cola", "topics", "cola"]
    for line, (task, expected) in zip(told, [*zip(tasks, found, strict=True)], strict=False):
        numbers = [float(one) for one in re.findall(r"\d\.\d+", line)]
        assert numbers == pytest.approx(expected.tolist(), abs=2e-4), task


def test_two_deltas_of_one_task_and_strategy_are_told_by_their_files(
    written: dict[str, tuple[Path, TaskModel]],
) -> None:
    info = delta.info(written["cola"][0])
    found = [
        predicting.Prediction(Path(name), info, ("a text",), {"label": "good", "probability": 0.9})
        for name in ("one.safetensors", "two.safetensors")
    ]
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(predicting.table(found))
    text = console.export_text()
    assert "one.safetensors" in text
    assert "two.safetensors" in text
    console.print(predicting.table(found[:1]))
    assert "safetensors" not in console.export_text()


def test_what_is_not_finite_is_not_merged(
    written: dict[str, tuple[Path, TaskModel]], tiny_folder: Path, tmp_path: Path
) -> None:
    tensors, path = load_file(written["cola"][0]), tmp_path / "cola.safetensors"
    name = next(name for name in tensors if name.endswith("query.bias"))
    tensors[name][3] = float("nan")
    with safe_open(written["cola"][0], framework="pt") as file:
        save_file(tensors, path, file.metadata())
    ended = program("merge", path, "--to", tmp_path / "merged", "--model", tiny_folder, "--offline")
    assert ended.returncode == 2
    assert "it holds values that are no finite numbers" in " ".join(ended.stderr.split())
    assert not (tmp_path / "merged").exists()
