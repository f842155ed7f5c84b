"""Tasks that users describe in a TOML file: strict fields, and names that reach cells."""

from pathlib import Path

import pytest

from bench import overrides, scoring, suite
from bench.errors import InputError
from bench.tasks import own
from own_task_files import TAGS, TEXT, bring, describe


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("[files]", 'metric = "f1"\n[files]'), "unknown key 'metric'; did you mean 'metrics'?"),
        (('metrics = ["', 'metrcs = ["'), "unknown key 'metrcs'; did you mean 'metrics'?"),
        (("evaluation", "evalation"), "unknown key 'files.evalation'; did you mean 'evaluation'?"),
        (("text = ", "txt = "), "unknown key 'columns.txt'; did you mean 'text'?"),
        (('name = "tickets"', 'name = "my tickets"'), "name: String should match pattern"),
        (('name = "tickets"', 'name = "cola"'), "'cola' is a task of the program's own; choose another name"),
        (('"classification"', '"classify"'), "kind: should be 'classification', 'regression' or 'tagging'"),
        (('"macro_f1"', '"span_f1"'), "metrics: 'span_f1' is none of accuracy, f1, macro_f1"),
        (('"macro_f1"', '"accuracy"'), "metrics and labels may name each thing once"),
        (("test.csv", "test.xlsx"), "files: evaluation = 'test.xlsx' has none of the endings .csv"),
        (("test.csv", "test.tsv"), "files: all files need the same ending"),
        (("evaluation", "selection"), "files: a selection file needs an evaluation file"),
        (('label = "queue"\n', ""), "columns: 'label' is needed for classification"),
        (("text = ", "words = "), "columns: 'text' is needed for classification"),
        (('text = "body"', 'text = "body"\nwords = "x"'), "columns: 'words' has no meaning for classification"),
        (("csv", "conllu"), "files: classification cannot be read from conllu"),
        (("[files]", 'labels = ["a"]\n[files]'), "labels: List should have at least 2 items"),
        (('"macro_f1", "accuracy"]', '"f1"]\nlabels = ["a", "b", "c"]'), "needs exactly two labels; use macro_f1"),
        (("name = ", "name : "), "is not TOML"),
        (("[columns]", '[hub]\nid = "a/b"\nrevision = "main"\nconfig = "x"\n[columns]'), "hub.revision"),
    ],
)
def test_what_is_wrong_with_a_description_is_said(change: tuple[str, str], said: str, tmp_path: Path) -> None:
    path = describe(tmp_path, TEXT.format(ending="csv").replace(*change))
    with pytest.raises(InputError) as error:
        own.read(path)
    assert str(path) in str(error.value)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("columns", "ending", "said"),
    [
        ('words = "form"', "conll", "columns.words: must be a number from 1"),
        ("tags = 0", "conll", "columns.tags: must be a number from 1"),
        ('words = 1\ntags = "x"', "jsonl", "columns.words: must be the name of a column"),
        ('words = "a"', "jsonl", "columns: 'tags' is needed for tagging"),
        ('group = "a"', "conll", "columns: 'group' has no meaning for tagging from columns"),
    ],
)
def test_columns_of_tagging_are_numbers_or_names(columns: str, ending: str, said: str, tmp_path: Path) -> None:
    path = describe(tmp_path, f"{TAGS}[columns]\n{columns}\n", ending)
    with pytest.raises(InputError, match=said):
        own.read(path)


def test_every_metric_a_description_may_name_can_be_computed() -> None:
    named = {metric for metrics in own.METRICS.values() for metric in metrics}
    assert named <= set(scoring.SCORES)


SUITE = """
name = "mine"
description = "a test"
[quality]
models = ["minilm"]
tasks = ["questions", "tasks/task.toml"]
strategies = ["full"]
seeds = [0]
epochs = 2
batch_size = 8
learning_rate = {full = 1e-4}
[quality.task.tickets]
epochs = 5
"""


def test_cells_hold_the_name_of_a_task_and_never_its_path(tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    bring(tmp_path / "tasks", TEXT, "csv")
    (tmp_path / "mine.toml").write_text(SUITE)
    chosen = suite.load(str(tmp_path / "mine.toml"))
    cells = chosen.cells(accelerator=False)
    assert [(c.task, c.epochs) for c in cells if c.kind == "quality"] == [("questions", 2), ("tickets", 5)]
    assert str(tmp_path) not in "".join(cell.key for cell in cells)
    assert chosen.own_tasks["tickets"].path == (tmp_path / "tasks" / "task.toml").resolve()

    other = describe(tmp_path, TEXT.replace('"tickets"', '"other"'), name="other.toml")
    changed = overrides.apply(
        chosen, skip=None, quality={"tasks": [str(other), "tickets"], "epochs": 1.0}, cost={}, rates=None
    )
    found = [(c.task, c.epochs) for c in changed.cells(accelerator=False) if c.kind == "quality"]
    assert found == [("other", 1), ("tickets", 1)]
    assert set(changed.own_tasks) == {"tickets", "other"}

    twin = describe(tmp_path, TEXT, name="twin.toml")
    replaced = overrides.apply(chosen, skip=None, quality={"tasks": [str(twin)]}, cost={}, rates=None)
    assert replaced.own_tasks["tickets"].path == twin.resolve()
    both = [str(twin), str(tmp_path / "tasks" / "task.toml")]
    with pytest.raises(InputError, match="two tasks are called 'tickets'"):
        overrides.apply(chosen, skip=None, quality={"tasks": both}, cost={}, rates=None)
    with pytest.raises(InputError, match="cannot read the task"):
        overrides.apply(chosen, skip=None, quality={"tasks": ["none.toml"]}, cost={}, rates=None)


def test_a_suite_cannot_smuggle_in_a_description() -> None:
    with pytest.raises(InputError, match=r"own_tasks\.x: should be an instance of OwnTask"):
        suite.parse(SUITE + '[own_tasks.x]\npath = "y"\n', "here")
