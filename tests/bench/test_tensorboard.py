"""What TensorBoard gets: scalars and hyperparameters of a run, and traces, read back through a real server."""

import hashlib
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]

from bench import scalars
from bench.cell import CostCell
from bench.encoders import Encoder
from bench.errors import InputError
from bench.measure.trace import TraceOptions, record
from bench.profiles import read
from bench.record import Record
from bench.store import RunStore
from synthetic_run import Plan, failed, make_run
from tensorboard_server import Server, serving

PLUGIN = "pytorch_profiler"
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
TINY = Encoder("tiny", "A tiny BERT.", {"model_type": "bert", "vocab_size": 50, **SIZES})


def plan(**changes: object) -> Plan:
    fields = {"tasks": ("questions",), "strategies": ("full", "bitfit"), "seeds": (0, 1), "cost": False, **changes}
    return Plan(**fields)  # type: ignore[arg-type]


def events(folder: Path) -> EventAccumulator:
    found = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    found.Reload()
    return found


def values(folder: Path, tag: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in events(folder).Scalars(tag)]


def test_every_loss_and_every_point_of_a_curve_is_there(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", plan())
    written = scalars.write(run, tmp_path / "out")
    assert written.notes == ()
    names = [str(folder.relative_to(tmp_path / "out")) for folder in written.folders]
    assert sorted(names) == sorted(f"minilm/questions/{s}/seed-{n}" for s in ("full", "bitfit") for n in (0, 1))
    store = RunStore.open(run)
    for folder, one in zip(written.folders, store.latest().values(), strict=True):
        assert one.quality is not None
        wanted = {"loss/step": list(enumerate(store.arrays(one)["step_loss"].tolist(), start=1))}
        for tag, name in scalars.CURVES.items():
            wanted[tag] = [(p.step, getattr(p, name)) for p in one.quality.curve if getattr(p, name) is not None]
        wanted["result/evaluation_score"] = [(189, one.quality.headline_score)]
        there = events(folder).Tags()["scalars"]
        for tag, points in wanted.items():
            assert (tag in there) == bool(points)
            found = values(folder, tag) if points else []
            assert [step for step, _ in found] == [step for step, _ in points]
            assert [value for _, value in found] == pytest.approx([value for _, value in points])


def test_a_score_that_does_not_exist_is_no_scalar(tmp_path: Path) -> None:
    def alter(one: Record) -> Record:
        assert one.quality is not None
        curve = [point.model_copy(update={"evaluation_score": None}) for point in one.quality.curve]
        selection = one.quality.selection.model_copy(update={"scores": {"accuracy": None}})
        changed = one.quality.model_copy(update={"curve": curve, "selection": selection})
        return one.model_copy(update={"quality": changed})

    run = make_run(tmp_path / "run", plan(alter=alter))
    folder = scalars.write(run, tmp_path / "out").folders[0]
    tags = events(folder).Tags()["scalars"]
    assert {"score/evaluation", "result/selection_score"}.isdisjoint(tags)
    assert {"score/train_sample", "result/evaluation_score"} <= set(tags)
    assert all(math.isfinite(event.value) for tag in tags for event in events(folder).Scalars(tag))


def test_cells_that_differ_in_a_setting_have_folders_of_their_own(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", plan(train_sizes=(100, 300), strategies=("full",), seeds=(0,)))
    keys = [one.key for one in RunStore.open(run).latest().values()]
    folders = scalars.write(run, tmp_path / "out").folders
    hashes = [hashlib.sha256(key.encode()).hexdigest()[:8] for key in keys]
    assert [folder.name for folder in folders] == [f"seed-0-{part}" for part in hashes]


def test_failed_cells_and_lost_losses_are_said(tmp_path: Path) -> None:
    def alter(one: Record) -> Record:
        return failed(one, "not finite", "diverged") if one.cell.strategy == "full" else one

    run = make_run(tmp_path / "run", plan(alter=alter))
    # The made-up losses of all seeds are the same, and so one file.
    (lost,) = (run / "arrays").iterdir()
    lost.unlink()
    written = scalars.write(run, tmp_path / "out")
    assert len(written.folders) == 2
    assert [f"cannot read {lost}" in note for note in written.notes] == [True, True, False]
    assert written.notes[2] == "2 quality cells failed and have no curves; the report says why"
    for folder in written.folders:
        tags = events(folder).Tags()["scalars"]
        assert "loss/step" not in tags
        assert "loss/evaluation" in tags


def test_what_cannot_be_written_is_said_in_one_line(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", plan())
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot write to .*file/out"):
        scalars.write(run, tmp_path / "file" / "out")
    scalars.write(run, tmp_path / "out")
    with pytest.raises(InputError, match="already holds events"):
        scalars.write(run, tmp_path / "out")
    with pytest.raises(InputError, match="not a run folder"):
        scalars.write(tmp_path / "none", tmp_path / "other")
    costs = make_run(tmp_path / "costs", Plan(quality=False, strategies=("full",)))
    with pytest.raises(InputError, match="no finished quality cell"):
        scalars.write(costs, tmp_path / "other")


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with traces of two strategies and the scalars of a run."""
    folder = tmp_path_factory.mktemp("logs")
    for strategy in ("full", "bitfit"):
        (folder / "profiles" / strategy).mkdir(parents=True)
        cell = CostCell(model="tiny", strategy=strategy, batch_size=4, length=16, rounds=1, steps_per_round=3)
        record(cell, TINY, torch.device("cpu"), folder / "profiles" / strategy, 2, TraceOptions(memory=True))
    scalars.write(make_run(folder.parent / "run", plan()), folder / "scalars")
    return folder


@pytest.fixture(scope="module")
def server(logs: Path) -> Iterator[Server]:
    with serving(logs) as server:
        yield server


@pytest.mark.slow
def test_a_real_tensorboard_reads_the_traces_back(server: Server, logs: Path) -> None:
    def loaded(answer: dict[str, object]) -> bool:
        return not answer["loading"] and len(answer["runs"]) == 2  # type: ignore[arg-type]

    runs = server.wait_for(f"{PLUGIN}/runs", loaded)["runs"]
    assert sorted(Path(run).name for run in runs) == ["bitfit", "full"]
    profiles = {profile.cell.strategy: profile for profile in read(logs / "profiles")}
    for run in runs:
        profile = profiles[Path(run).name]
        views = server.get(f"{PLUGIN}/views", run=run)
        assert {"Overview", "Operator", "Trace", "Memory"} <= set(views)
        (worker,) = server.get(f"{PLUGIN}/workers", run=run, view="Operator")
        assert worker == profile.trace.split(".")[0]
        where = {"run": run, "worker": worker, "span": 1}
        overview = server.get(f"{PLUGIN}/overview", **where, view="Overview")
        assert len(overview["steps"]["rows"]) == profile.steps
        table = server.get(f"{PLUGIN}/operation/table", **where, group_by="Operation")["data"]
        counted = {row["name"]: row["calls"] for row in table}
        for name in ("aten::addmm", "aten::mm", "aten::_fused_adamw_"):
            ours = sum(sum(one.calls) for one in profile.operators if one.name == name)
            assert counted[name] == ours > 0, (run, name)
        memory = server.get(f"{PLUGIN}/memory_curve", **where)
        assert memory["rows"]["CPU"]


@pytest.mark.slow
def test_a_real_tensorboard_reads_curves_and_hyperparameters_back(server: Server, logs: Path) -> None:
    tags = server.wait_for("scalars/tags", lambda answer: len(answer) == 4)
    assert sorted(tags) == sorted(f"scalars/minilm/questions/{s}/seed-{n}" for s in ("full", "bitfit") for n in (0, 1))
    run = "scalars/minilm/questions/bitfit/seed-0"
    points = server.wait_for("scalars/scalars", lambda answer: len(answer) == 189, run=run, tag="loss/step")
    assert [step for _, step, _ in points] == list(range(1, 190))
    assert points[0][2] == pytest.approx(1.8)
    assert points[-1][2] == pytest.approx(0.4)
    experiment = server.post("hparams/experiment", {"experimentName": ""})
    names = {one["name"] for one in experiment["hparamInfos"]}
    assert {"strategy", "task", "learning_rate", "seed", "batch_size"} <= names
    groups = server.post(
        "hparams/session_groups",
        {
            "experimentName": "",
            "allowedStatuses": ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"],
            "colParams": [],
            "startIndex": 0,
            "sliceSize": 10,
        },
    )["sessionGroups"]
    rates = {(one["hparams"]["strategy"], one["hparams"]["learning_rate"]) for one in groups}
    assert rates == {("full", 1e-4), ("bitfit", 3e-3)}
