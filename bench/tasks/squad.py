"""Questions on paragraphs of Wikipedia, answered by a span of the paragraph: SQuAD (Rajpurkar et al., 2016, 2018).

`D/squad/train-v1.1.json` and `dev-v1.1.json` for `squad`, `-v2.0.json` for `squad2`, whose questions may have no
answer; `squad:<train>+<evaluation>` names any other pair of files in the same layout. The evaluation file is the
evaluation split. Examples are grouped by article, so that no article lies in two splits.

Where the user's folder has neither file of `squad`, it comes from the hub, a row a question.
"""

import codecs
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from bench.errors import DataError, InputError
from bench.tasks import Entry, hub
from bench.tasks.base import EVALUATION, TRAIN, Answer, Example, Source, TaskData
from bench.tasks.files import data_folder, file_content, holds
from bench.tasks.rows import Row, read_rows
from bench.tasks.splits import split_official


class Version(NamedTuple):
    """A version of SQuAD: the official files, whether a question may have no answer, and where the hub has it."""

    train: str
    evaluation: str
    unanswerable: bool
    on_hub: hub.Repository | None = None


VERSIONS = {
    "squad": Version("train-v1.1", "dev-v1.1", unanswerable=False, on_hub=hub.SQUAD),
    "squad2": Version("train-v2.0", "dev-v2.0", unanswerable=True),
}
HUB_CONFIG = "plain_text"
HUB_SPLITS = ("train", "validation")
FILES_ALONE = "; of this version no revision on the hub is known, so it is read from files alone"


class _Layout(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)


class _GoldAnswer(_Layout):
    text: str
    answer_start: int


class _Question(_Layout):
    id: str
    question: str
    answers: list[_GoldAnswer]
    is_impossible: bool | None = None


class _Paragraph(_Layout):
    context: str
    qas: list[_Question]


class _Article(_Layout):
    title: str
    paragraphs: list[_Paragraph]


class _File(_Layout):
    data: list[_Article]


class _HubAnswers(_Layout):
    text: list[str]
    answer_start: list[int]


class _HubRow(_Layout):
    id: str
    title: str
    context: str
    question: str
    answers: _HubAnswers


class _Entry(NamedTuple):
    """A question with what it is asked about; `where` is the file, on the hub also the row, for messages."""

    where: str
    title: str
    context: str
    question: _Question


class _Part(NamedTuple):
    """A split: what messages call its files, what the task's sentence calls it, and its questions in order."""

    place: str
    name: str
    entries: Iterable[_Entry]


def load(name: str, entry: Entry, source: Source) -> TaskData:
    """The task `squad` or `squad2`.

    Raises DataError naming file, article and question where data is malformed, and where it would have to come from
    the hub and cannot.
    """
    base, _, pair = name.partition(":")
    version = VERSIONS[base]
    train, evaluation = _parts(name, pair, version, source)
    examples = [list(_examples(part.entries, version)) for part in (train, evaluation)]
    shared = {example.group for example in examples[0]} & {example.group for example in examples[1]}
    if shared:
        raise DataError(
            f"{train.place} and {evaluation.place} share the article {min(shared)!r}: name files that share none"
        )
    splits = split_official(*examples)
    return TaskData(
        name=name,
        kind="span",
        sentence=f"{entry.sentence} ({train.name}, {evaluation.name})",
        labels=("start", "end"),
        metrics=("exact_match", "answer_f1"),
        train=splits.train,
        selection=splits.selection,
        evaluation=splits.evaluation,
        overlaps=("SQuAD",),
        places={TRAIN: train.place, EVALUATION: evaluation.place},
        unanswerable=version.unanswerable,
    )


def _pair(name: str, pair: str) -> list[str]:
    """Names of the training and the evaluation file, without their ending."""
    names = pair.split("+")
    if len(names) != 2 or not all(names) or any(Path(file).name != file for file in names):
        form = f"{name.partition(':')[0]}:<train>+<evaluation>"
        raise InputError(f"task {name!r} names no pair of files: write {form!r}, two files of D/squad without .json")
    return names


def _parts(name: str, pair: str, version: Version, source: Source) -> list[_Part]:
    """The training and the evaluation part, from the user's folder or the hub."""
    files = _pair(name, pair) if pair else (version.train, version.evaluation)
    paths = [f"squad/{file}.json" for file in files]
    told = " and ".join(f"D/{path}" for path in paths)
    if version.on_hub is None:
        told += FILES_ALONE
    elif not pair and not holds(source.data_dir, name, told, *paths):
        folder = hub.fetch_for(name, " or ".join(paths), told, version.on_hub, HUB_CONFIG, source)
        return [_hub_part(folder, split, version.on_hub) for split in HUB_SPLITS]
    root = data_folder(source.data_dir, name, told)
    for path in paths:
        if not (root / path).is_file():
            raise DataError(f"{root / path} is missing: task {name!r} needs {told}")
    return [_Part(str(root / path), file, _file_entries(root / path)) for path, file in zip(paths, files, strict=True)]


def _file_entries(path: Path) -> Iterator[_Entry]:
    """The questions of a file in the original layout."""
    for article in _read(path).data:
        for paragraph in article.paragraphs:
            for question in paragraph.qas:
                yield _Entry(str(path), article.title, paragraph.context, question)


def _hub_part(folder: Path, split: str, repository: hub.Repository) -> _Part:
    found = hub.split_of(folder, split)
    rows = (row for path in found.paths for row in read_rows(path, "parquet", tuple(_HubRow.model_fields)))
    return _Part(found.place, f"{repository[0]} {split}", (_hub_entry(row) for row in rows))


def _hub_entry(row: Row) -> _Entry:
    """A row of the hub, whose answers lie in two lists."""
    try:
        read = _HubRow.model_validate(dict(row.values))
    except ValidationError as error:
        raise DataError(f"{row.where}: {_first(error)}; expected the hub's layout of SQuAD") from None
    texts, starts = read.answers.text, read.answers.answer_start
    if len(texts) != len(starts):
        raise DataError(f"{row.where}: {len(texts)} texts of answers and {len(starts)} places of them")
    answers = [_GoldAnswer(text=text, answer_start=start) for text, start in zip(texts, starts, strict=True)]
    return _Entry(row.where, read.title, read.context, _Question(id=read.id, question=read.question, answers=answers))


def _examples(entries: Iterable[_Entry], version: Version) -> Iterator[Example]:
    """The questions of one part, in its order, every one checked."""
    seen: set[str] = set()
    for where, title, context, question in entries:
        problem = _problem(question, context, version)
        if question.id in seen:
            problem = "its id occurs twice"
        if not title.strip():
            problem = "its article has no title"
        if problem:
            raise DataError(f"{where}, article {title!r}, question {question.id!r}: {problem}")
        seen.add(question.id)
        answers = tuple(Answer(answer.answer_start, answer.text) for answer in question.answers)
        yield Example((question.question.strip(), context), (), title, answers)


def _problem(question: _Question, context: str, version: Version) -> str | None:
    """What is wrong with a question, or None."""
    if not (question.question.strip() and context.strip()):
        return "the question or its paragraph is empty"
    if question.is_impossible is not None and question.is_impossible == bool(question.answers):
        return f"is_impossible is {str(question.is_impossible).lower()} and it has {len(question.answers)} answers"
    if not (question.answers or version.unanswerable):
        return "it has no answer; the task 'squad2' allows that"
    for answer in question.answers:
        begin = answer.answer_start
        if begin < 0 or not answer.text.strip() or not context.startswith(answer.text, begin):
            return f"the answer {answer.text!r} does not stand at character {begin} of its paragraph"
    return None


def _read(path: Path) -> _File:
    content = file_content(path).removeprefix(codecs.BOM_UTF8)
    if not content.strip():
        raise DataError(f"{path} is empty")
    try:
        return _File.model_validate_json(content)
    except ValidationError as error:
        raise DataError(f"{path}: {_first(error)}; expected SQuAD's layout") from None


def _first(error: ValidationError) -> str:
    """The first thing that is wrong, and where."""
    problem = error.errors()[0]
    where = ".".join(map(str, problem["loc"]))
    return f"{where}: {problem['msg']}" if where else problem["msg"]
