"""Questions on paragraphs of Wikipedia, answered by a span of the paragraph: SQuAD (Rajpurkar et al., 2016, 2018).

`D/squad/train-v1.1.json` and `dev-v1.1.json` for `squad`, `-v2.0.json` for `squad2`, whose questions may have no
answer; `squad:<train>+<evaluation>` names any other pair of files in the same layout. The evaluation file is the
evaluation split. Examples are grouped by article, so that no article lies in two splits.
"""

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from bench.errors import DataError, InputError
from bench.tasks import Entry
from bench.tasks.base import Answer, Example, Source, TaskData
from bench.tasks.files import data_folder, file_content
from bench.tasks.splits import split_official


class Version(NamedTuple):
    """A version of SQuAD: the official files, and whether a question may have no answer."""

    train: str
    evaluation: str
    unanswerable: bool


VERSIONS = {
    "squad": Version("train-v1.1", "dev-v1.1", unanswerable=False),
    "squad2": Version("train-v2.0", "dev-v2.0", unanswerable=True),
}


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


def load(name: str, entry: Entry, source: Source) -> TaskData:
    """The task `squad` or `squad2`. Raises DataError naming file, article and question where data is malformed."""
    base, _, pair = name.partition(":")
    version = VERSIONS[base]
    train, evaluation = _pair(name, pair) if pair else (version.train, version.evaluation)
    folder = data_folder(source.data_dir, name, f"D/squad/{train}.json and {evaluation}.json") / "squad"
    paths = [folder / f"{file}.json" for file in (train, evaluation)]
    examples = [list(_examples(path, version)) for path in paths]
    shared = {example.group for example in examples[0]} & {example.group for example in examples[1]}
    if shared:
        raise DataError(f"{paths[0]} and {paths[1]} share the article {min(shared)!r}: name files that share none")
    splits = split_official(*examples)
    return TaskData(
        name=name,
        kind="span",
        sentence=f"{entry.sentence} ({train}, {evaluation})",
        labels=("start", "end"),
        metrics=("exact_match", "answer_f1"),
        train=splits.train,
        selection=splits.selection,
        evaluation=splits.evaluation,
        overlaps=("SQuAD",),
        unanswerable=version.unanswerable,
    )


def _pair(name: str, pair: str) -> list[str]:
    """Names of the training and the evaluation file, without their ending."""
    names = pair.split("+")
    if len(names) != 2 or not all(names) or any(Path(file).name != file for file in names):
        form = f"{name.partition(':')[0]}:<train>+<evaluation>"
        raise InputError(f"task {name!r} names no pair of files: write {form!r}, two files of D/squad without .json")
    return names


def _examples(path: Path, version: Version) -> Iterator[Example]:
    """The questions of one file, in its order, every one checked."""
    seen: set[str] = set()
    for article in _read(path).data:
        for paragraph in article.paragraphs:
            for question in paragraph.qas:
                problem = _problem(question, paragraph.context, version)
                if question.id in seen:
                    problem = "its id occurs twice"
                if not article.title.strip():
                    problem = "its article has no title"
                if problem:
                    raise DataError(f"{path}, article {article.title!r}, question {question.id!r}: {problem}")
                seen.add(question.id)
                answers = tuple(Answer(answer.answer_start, answer.text) for answer in question.answers)
                text = (question.question.strip(), paragraph.context)
                yield Example(text, (), article.title, answers)


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
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        raise DataError(f"{path}: {f'{where}: ' if where else ''}{problem['msg']}; expected SQuAD's layout") from None
