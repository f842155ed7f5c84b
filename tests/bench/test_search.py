"""Learning rates and epochs are chosen on the selection split, with everything that was tried on record."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench import harness, quality, runs, search
from bench.cell import QualityCell, TrialCell
from bench.errors import InputError
from bench.record import Record
from bench.results import Checkpoint, Checkpoints, SplitScores, TrialResult
from bench.session import Options, Session
from bench.store import RunStore
from bench.suite import override, parse

SUITE = """
name = "searching"
description = "for tests"
[quality]
models = ["tiny-bert"]
tasks = ["cola"]
strategies = ["bitfit", "random_uniform"]
seeds = [0, 1]
epochs = 2
batch_size = 8
curve_points = 1
curve_examples = 8
checkpoint = "best"
search_method = "{method}"
search_seeds = [11]
[quality.search]
bitfit = [1e-3, 1e-2, 5e-2]
random_uniform = [1e-3, 1e-2, 5e-2]
"""


def cell(method: str = "grid", rates: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1), **fields: Any) -> QualityCell:
    chosen = {"method": method, "rates": rates, "seeds": (11, 12)}
    base = {"model": "m", "task": "t", "strategy": "bitfit", "seed": 0, "epochs": 8, "batch_size": 4}
    return QualityCell.model_validate(base | {"learning_rate": chosen} | fields)


def runner(
    record: Record, score: Callable[[TrialCell], float | None], headline: str, seen: list[TrialCell]
) -> search.RunTrial:
    """Runs no trial: a record of each with the score that `score` gives it; None makes it a failed one."""

    def run(trial: TrialCell) -> Record:
        seen.append(trial)
        value = score(trial)
        scores = SplitScores(examples=10, loss=1.0, scores={headline: value})
        result = TrialResult(headline=headline, selection=scores, steps=1, training_seconds=2.0)
        failed = {"status": "diverged", "reason": "the loss is not finite"} if value is None else {}
        return record.model_copy(update={"cell": trial, "key": trial.key, "trial": result} | failed)

    return run


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Record:
    """Any real record, to be changed."""
    from synthetic_run import make_run

    return next(iter(RunStore.open(make_run(tmp_path_factory.mktemp("made") / "run", seeds=(0,))).latest().values()))


def test_a_grid_trains_every_rate_at_every_seed_and_takes_the_best_mean(record: Record) -> None:
    seen: list[TrialCell] = []
    scores = {(1e-4, 11): 0.5, (1e-4, 12): 0.5, (1e-3, 11): 0.9, (1e-3, 12): 0.2, (1e-2, 11): 0.6, (1e-2, 12): 0.55}
    run = runner(record, lambda t: scores.get((t.learning_rate, t.seed), 0.1), "accuracy", seen)
    found = search.choose(cell(), run)
    assert found is not None
    assert found.learning_rate == 1e-2
    assert {(t.learning_rate, t.seed, t.epochs) for t in seen} == {
        (rate, seed, 8.0) for rate in (1e-4, 1e-3, 1e-2, 1e-1) for seed in (11, 12)
    }
    assert len(found.tried) == 8


def test_lower_wins_where_the_metric_says_so(record: Record) -> None:
    run = runner(record, lambda t: t.learning_rate, "mean_absolute_error", [])
    found = search.choose(cell(), run)
    assert found is not None
    assert found.learning_rate == 1e-4


def test_halving_drops_the_worse_half_and_doubles_the_epochs(record: Record) -> None:
    seen: list[TrialCell] = []
    run = runner(record, lambda t: -abs(t.learning_rate - 1e-3), "accuracy", seen)
    found = search.choose(cell("halving"), run)
    assert found is not None
    assert found.learning_rate == 1e-3
    by_epochs = {epochs: {t.learning_rate for t in seen if t.length == epochs} for epochs in (2.0, 4.0)}
    assert by_epochs == {2.0: {1e-4, 1e-3, 1e-2, 1e-1}, 4.0: {1e-4, 1e-3}}
    assert sum(t.length for t in seen) == search.budget(cell("halving"))


def test_halving_halves_the_steps_of_a_cell_that_names_them(record: Record) -> None:
    seen: list[TrialCell] = []
    found = search.choose(
        cell("halving", epochs=None, steps=50), runner(record, lambda t: t.learning_rate, "accuracy", seen)
    )
    assert found is not None
    assert {(t.epochs, t.steps) for t in seen} == {(None, 12), (None, 25)}
    assert {(one.epochs, one.steps, one.length) for one in found.tried} == {(None, 12, 12), (None, 25, 25)}


def test_a_budget_of_few_steps_counts_the_step_that_every_trial_takes(record: Record) -> None:
    seen: list[TrialCell] = []
    few = cell("halving", rates=tuple(10.0**-n for n in range(1, 9)), epochs=None, steps=4)
    search.choose(few, runner(record, lambda t: t.learning_rate, "accuracy", seen))
    assert sum(t.length for t in seen) == search.budget(few)


@pytest.mark.parametrize("early", [{1e-1: 0.1}, {}])
def test_a_rate_without_a_score_in_an_early_round_can_still_win(record: Record, early: dict[float, float]) -> None:
    """Correlations of short trainings may not exist yet."""
    late = {1e-4: 0.8, 1e-3: 0.7, 1e-1: 0.2}
    run = runner(record, lambda t: (early if t.length < 4 else late).get(t.learning_rate), "accuracy", [])
    found = search.choose(cell("halving"), run)
    assert found is not None
    assert found.learning_rate == 1e-4


def test_what_was_spent_is_what_was_trained_where_trials_stop_early(record: Record) -> None:
    """A trial of 8 epochs that stops after 3 of them has spent 3."""
    stopped = Checkpoints(
        chosen_step=1, stopped=True, tried=[Checkpoint(step=n, score=0.5, loss=1.0) for n in (1, 2, 3)]
    )
    run = runner(record, lambda t: t.learning_rate, "accuracy", [])

    def early(trial: TrialCell) -> Record:
        made = run(trial)
        assert made.trial is not None
        return made.model_copy(update={"trial": made.trial.model_copy(update={"checkpoints": stopped})})

    found = search.choose(cell(), early)
    assert found is not None
    assert {(one.length, one.spent) for one in found.tried} == {(8.0, 3)}


def test_a_rate_with_a_failed_trial_is_never_chosen(record: Record) -> None:
    run = runner(
        record, lambda t: None if t.learning_rate > 1e-3 and t.seed == 12 else t.learning_rate, "accuracy", []
    )
    found = search.choose(cell(), run)
    assert found is not None
    assert found.learning_rate == 1e-3
    assert [one.status for one in found.tried].count("diverged") == 2
    with pytest.raises(search.SearchFailedError, match="not finite"):
        search.choose(cell(), runner(record, lambda t: None, "accuracy", []))


@given(
    scores=st.dictionaries(st.floats(1e-6, 1.0), st.one_of(st.none(), st.floats(-1, 1)), min_size=2, max_size=9),
    method=st.sampled_from(["grid", "halving"]),
)
def test_what_is_chosen_is_never_beaten_where_trials_do_not_vary(
    record: Record, scores: Mapping[float, float | None], method: str
) -> None:
    """With a score that depends on the rate alone, grid and halving both find the best, the smallest of equals."""
    run = runner(record, lambda t: scores[t.learning_rate], "accuracy", [])
    known = {rate: value for rate, value in scores.items() if value is not None}
    if not known:
        with pytest.raises(search.SearchFailedError):
            search.choose(cell(method, tuple(scores)), run)
        return
    found = search.choose(cell(method, tuple(scores)), run)
    assert found is not None
    assert found.learning_rate == min(known, key=lambda rate: (-known[rate], rate))


def test_budgets_must_be_equal_and_rates_are_given_once() -> None:
    text = SUITE.format(method="grid").replace("tiny-bert", "minilm")
    with pytest.raises(InputError, match="same search budget"):
        parse(text.replace("5e-2]\nrandom", "5e-2, 7e-2]\nrandom"), "here").cells(accelerator=False)
    given = text.replace("bitfit = [1e-3, 1e-2, 5e-2]\n", "") + "[quality.learning_rate]\nbitfit = 1e-3\n"
    with pytest.raises(InputError, match=r"bitfit 0 epochs of trials, random_uniform 6 epochs of trials"):
        parse(given, "here").cells(accelerator=False)
    with pytest.raises(InputError, match="seed 11 is one of search_seeds"):
        override(parse(text, "here"), {"seeds": [11]}, {}).cells(accelerator=False)
    with pytest.raises(InputError, match="a value twice"):
        parse(text.replace("search_seeds = [11]", "search_seeds = [11, 11]"), "here")
    with pytest.raises(InputError, match="a value twice"):
        parse(text.replace("5e-2]\nrandom", "5e-2, 5e-2]\nrandom"), "here")
    with pytest.raises(InputError, match="both a learning rate and a search"):
        parse(text + "[quality.learning_rate]\nbitfit = 1e-3\n", "here")
    with pytest.raises(InputError, match="patience"):
        parse(text.replace('checkpoint = "best"', "patience = 1"), "here").cells(accelerator=False)


class Quiet:
    """A listener that takes note of what was worked on."""

    def __init__(self) -> None:
        self.worked: list[str] = []

    def begin(self, cell: Any, what: str) -> None:
        self.worked.append(what)

    def advance(self, what: str, share: float, loss: float | None) -> None: ...

    def finish(self, record: Record) -> None: ...


@pytest.fixture
def session(tiny_folder: Path, tiny_data: Path, tmp_path: Path) -> Session:
    options = Options(torch.device("cpu"), tmp_path / "c", tiny_data, model_folders={"tiny-bert": tiny_folder})
    return Session(options)


def run(session: Session, folder: Path, method: str = "grid") -> tuple[RunStore, list[str]]:
    cells = parse(SUITE.format(method=method), "here").cells(accelerator=False, folders=session.options.model_folders)
    store, _ = runs.open_run("searching", cells, runs_dir=folder, run_dir=folder / "run")
    listener = Quiet()
    with store.lock():
        summary = harness.run(store, session, listener)
    assert summary.failed == 0
    return store, listener.worked


@pytest.mark.parametrize("method", ["grid", "halving"])
def test_a_search_is_recorded_trial_by_trial_and_shared_by_the_seeds(
    session: Session, tmp_path: Path, method: str
) -> None:
    store, worked = run(session, tmp_path, method)
    records = store.latest().values()
    finals = [record for record in records if isinstance(record.cell, QualityCell)]
    trials = [record for record in records if isinstance(record.cell, TrialCell)]
    each = {"grid": 3, "halving": 5}[method]
    assert (len(finals), len(trials)) == (4, 2 * each)
    assert worked.count("try") == 2 * each
    assert all(record.audit is not None and record.audit.passed for record in records)
    for record in finals:
        assert record.quality is not None
        assert record.quality.search is not None
        assert len(record.quality.search.tried) == each
        assert record.quality.search.learning_rate in (1e-3, 1e-2, 5e-2)
        assert record.quality.checkpoints is not None
        scores = [point.score or 0.0 for point in record.quality.checkpoints.tried]
        chosen = next(p for p in record.quality.checkpoints.tried if p.step == record.quality.checkpoints.chosen_step)
        assert chosen.score == max(scores) == record.quality.selection.scores["matthews_correlation"]
    assert {record.cell.mask_seed for record in trials if record.cell.strategy == "random_uniform"} == {11}
    again, worked = run(session, tmp_path, method)
    assert not worked, "nothing finished is done again"
    path = again.folder / "records.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if '"kind":"trial"' in line))
    _, worked = run(session, tmp_path, method)
    assert "try" not in worked, "trials on record are not trained again"


def test_permuted_evaluation_labels_change_neither_rate_nor_epoch(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decisions(store: RunStore) -> dict[str, Any]:
        found = {}
        for record in store.latest().values():
            result = record.trial or record.quality
            assert result is not None
            found[record.key] = (result.selection, result.checkpoints, record.quality and record.quality.search)
        return {key: str(value).replace("training_seconds", "") for key, value in found.items()}

    def strip(text: str) -> str:
        return "".join(part for part in text.split() if not part.startswith("="))

    before, _ = run(session, tmp_path / "before")
    data = session.task("cola")
    labels = np.random.default_rng(0).permutation([int(str(example.label)) for example in data.evaluation])
    permuted = [type(e)(e.text, int(label), e.group) for e, label in zip(data.evaluation, labels, strict=True)]
    fresh = Session(session.options)
    monkeypatch.setattr(fresh, "task", lambda name: replace(data, evaluation=permuted))
    after, _ = run(fresh, tmp_path / "after")
    ours, theirs = decisions(before), decisions(after)
    assert ours.keys() == theirs.keys()
    assert {key: strip(value) for key, value in ours.items()} == {key: strip(value) for key, value in theirs.items()}


def test_patience_stops_and_the_best_weights_are_kept(session: Session, tmp_path: Path) -> None:
    fields = {"model": "tiny-bert", "task": "cola", "strategy": "full", "seed": 0, "learning_rate": 1e-2}
    fields |= {"epochs": 12, "batch_size": 8, "curve_points": 1, "curve_examples": 8}
    patient = QualityCell.model_validate(fields | {"checkpoint": "best", "patience": 1})
    found = quality.run_quality(patient, session, tmp_path, lambda *_: None)
    assert found.status == "ok"
    assert found.quality is not None
    made = found.quality.checkpoints
    assert made is not None
    assert made.stopped
    assert found.quality.steps == made.tried[-1].step < 12 * 14
    assert len(made.tried) >= 2
    assert made.chosen_step == made.tried[-2].step
    assert len(found.arrays["step_loss"]) == found.quality.steps
