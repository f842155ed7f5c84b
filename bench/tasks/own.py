"""Tasks that users bring: described in a TOML file, checked here, read by `bench.tasks.own_data`. Torch-free."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from bench.errors import InputError
from bench.tasks import TABLE
from bench.validation import explain, parse_toml, read_text

Kind = Literal["classification", "regression", "tagging"]
Format = Literal["csv", "tsv", "jsonl", "parquet", "columns", "conllu"]
ENDINGS: Mapping[str, Format] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".parquet": "parquet",
    ".txt": "columns",
    ".conll": "columns",
    ".bio": "columns",
    ".conllu": "conllu",
}
FORMATS: Mapping[Kind, tuple[Format, ...]] = {
    "classification": ("csv", "tsv", "jsonl", "parquet"),
    "regression": ("csv", "tsv", "jsonl", "parquet"),
    "tagging": ("jsonl", "parquet", "columns", "conllu"),
}
METRICS: Mapping[Kind, tuple[str, ...]] = {
    "classification": ("accuracy", "f1", "macro_f1", "matthews_correlation"),
    "regression": ("pearson", "spearman", "mean_absolute_error"),
    "tagging": ("accuracy", "macro_f1", "span_f1"),
}
NAMED_COLUMNS: Mapping[Kind, tuple[str, str]] = {
    "classification": ("text", "label"),
    "regression": ("text", "label"),
    "tagging": ("words", "tags"),
}

# A file with both of these is meant to describe a task; one with any of the others to be a suite.
KEYS = frozenset({"kind", "files"})
SUITE_KEYS = frozenset({"quality", "cost"})

Text = Annotated[str, Field(min_length=1)]
ColumnNumber = Annotated[int, Field(strict=True)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Hub(_Strict):
    """A data set on the hub at a pinned revision, a commit; `config` is the folder of its Parquet files."""

    id: Text
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
    config: Text


class Files(_Strict):
    """The task's files, each a path or a pattern such as train-*.parquet, relative to the description.

    Without an evaluation file, evaluation is cut from train; `format` says what the ending does not.
    """

    train: Text
    selection: Text | None = None
    evaluation: Text | None = None
    format: Format | None = None

    @property
    def given(self) -> dict[str, str]:
        """The files by split."""
        named = {"train": self.train, "selection": self.selection, "evaluation": self.evaluation}
        return {split: name for split, name in named.items() if name is not None}

    @model_validator(mode="after")
    def _readable(self) -> "Files":
        for split, name in self.given.items():
            if self.format is None and Path(name).suffix.lower() not in ENDINGS:
                raise ValueError(f"{split} = {name!r} has none of the endings {', '.join(ENDINGS)}; set `format`")
        if len({Path(name).suffix.lower() for name in self.given.values()}) > 1 and self.format is None:
            raise ValueError("all files need the same ending, or a `format`")
        if self.selection is not None and self.evaluation is None:
            raise ValueError("a selection file needs an evaluation file beside it")
        return self

    @property
    def kind(self) -> Format:
        """How the files are written."""
        return self.format or ENDINGS[Path(self.train).suffix.lower()]


class Columns(_Strict):
    """Names of columns or fields; for column files `words` and `tags` are numbers, from 1, or from -1 backwards."""

    text: Text | None = None
    second_text: Text | None = None
    label: Text | None = None
    words: Text | ColumnNumber | None = None
    tags: Text | ColumnNumber | None = None
    group: Text | None = None


class Description(_Strict):
    """A task as its user describes it. `metrics` come headline first; `synthetic` marks its results everywhere."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    description: str = ""
    kind: Kind
    metrics: Annotated[list[str], Field(min_length=1)]
    labels: Annotated[list[str | ColumnNumber], Field(min_length=2)] | None = None
    synthetic: bool = False
    files: Files
    columns: Columns = Columns()
    hub: Hub | None = None

    @property
    def declared(self) -> tuple[str, ...]:
        """The declared labels as text; empty where they are found in the training file."""
        return tuple(map(str, self.labels or ()))

    @model_validator(mode="after")
    def _consistent(self) -> "Description":
        if self.files.kind not in FORMATS[self.kind]:
            raise ValueError(
                f"files: {self.kind} cannot be read from {self.files.kind}; use {', '.join(FORMATS[self.kind])}"
            )
        for metric in self.metrics:
            if metric not in METRICS[self.kind]:
                raise ValueError(f"metrics: {metric!r} is none of {', '.join(METRICS[self.kind])}")
        if self.hub is not None and self.files.kind != "parquet":
            raise ValueError("files: only Parquet files are fetched from the hub")
        if len(set(self.metrics)) < len(self.metrics) or len(set(self.declared)) < len(self.declared):
            raise ValueError("metrics and labels may name each thing once")
        if self.kind == "regression" and self.declared:
            raise ValueError("labels: regression has none")
        if "f1" in self.metrics and self.declared and len(self.declared) != 2:
            raise ValueError("metrics: 'f1' needs exactly two labels; use macro_f1")
        self._check_columns()
        return self

    def _check_columns(self) -> None:
        needed = NAMED_COLUMNS[self.kind]
        allowed = {*needed, "group"} | ({"second_text"} if self.kind != "tagging" else set())
        numbered = self.files.kind in ("columns", "conllu")
        for name, value in self.columns:
            if value is None and name in needed and not numbered:
                raise ValueError(f"columns: {name!r} is needed for {self.kind}")
            if value is not None and (name not in allowed or (numbered and name == "group")):
                raise ValueError(f"columns: {name!r} has no meaning for {self.kind} from {self.files.kind}")
            if value is not None and (isinstance(value, int) != numbered or value == 0):
                what = "a number from 1, or from -1 backwards" if numbered else "the name of a column"
                raise ValueError(f"columns.{name}: must be {what} in {self.files.kind}")


@dataclass(frozen=True)
class OwnTask:
    """A description, and the file it came from."""

    description: Description
    path: Path


def read(path: Path) -> OwnTask:
    """The task a TOML file describes.

    Raises InputError, naming the file, the field and what is wrong with it, also for a name of the program's own.
    """
    data = parse_toml(read_text(path, "task"), str(path))
    if SUITE_KEYS & data.keys():
        raise InputError(f"{path} is a suite and describes no task; run it with: bitfit-bench run {path}")
    try:
        description = Description.model_validate(data)
    except ValidationError as error:
        raise InputError(f"{path}: {explain(error, (Description, Files, Columns, Hub))}") from None
    if description.name in TABLE:
        raise InputError(f"{path}: {description.name!r} is a task of the program's own; choose another name")
    return OwnTask(description, path.resolve())


def resolve(names: Sequence[str], folder: Path, known: Mapping[str, OwnTask]) -> tuple[list[str], dict[str, OwnTask]]:
    """Task names as cells use them, and the described tasks among them and in `known`, by name.

    What ends in .toml is the description of a task, its path relative to `folder`; it takes the place of one in
    `known` by its name. Raises InputError for a description that is wrong, and where two would go by one name.
    """
    own: dict[str, OwnTask] = {}
    plain = []
    for name in names:
        if name.endswith(".toml"):
            task = read(folder / name)
            name = task.description.name
            if own.setdefault(name, task).path != task.path:
                raise InputError(f"two tasks are called {name!r}: {own[name].path} and {task.path}; rename one")
        plain.append(name)
    return plain, {**known, **own}
