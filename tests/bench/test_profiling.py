"""Traces of a few steps: what they hold adds up, backward time finds its module, and bad input is one line."""

import gzip
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench import overrides, profiling
from bench.cell import CostCell
from bench.encoders import Encoder
from bench.errors import InputError
from bench.measure.memory import peak_of_step
from bench.measure.subject import apply_fresh, cost_base, cost_stepper, random_batch
from bench.measure.trace import DISCARDED_STEPS, PhaseRanges, TraceOptions, activities, module_ranges, record
from bench.profiles import ACCUMULATION, BETWEEN, NO_MODULE, Profile, read
from fake_device import FakeDevice, note_steps
from strategies import StrategyError

CPU = torch.device("cpu")
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
TINY = Encoder("tiny", "A tiny BERT.", {"model_type": "bert", "vocab_size": 50, **SIZES})
CELL = CostCell(model="tiny", strategy="full", batch_size=4, length=16, rounds=1, steps_per_round=3)
STEPS = 2


def recorded(strategy: str, folder: Path, **options: bool) -> Profile:
    """A profile of the tiny model."""
    folder.mkdir()
    cell = CELL.model_copy(update={"strategy": strategy})
    return record(cell, TINY, CPU, folder, STEPS, TraceOptions(**options))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Profiles of full fine-tuning and BitFit, with memory."""
    folder = tmp_path_factory.mktemp("profiles")
    for strategy in ("full", "bitfit"):
        recorded(strategy, folder / strategy, memory=True)
    return folder


@pytest.fixture(scope="module")
def full(folder: Path) -> Profile:
    return read(folder)[0]


@pytest.fixture(scope="module")
def bitfit(folder: Path) -> Profile:
    return read(folder)[1]


def test_times_of_operators_add_up_to_their_phases_and_these_to_the_steps(full: Profile, bitfit: Profile) -> None:
    for profile in (full, bitfit):
        assert len(profile.step_seconds) == STEPS
        assert set(profile.phase_seconds) == {"forward", "backward", "clipping", "optimizer", "other"}
        for step in range(STEPS):
            for phase, seconds in profile.phase_seconds.items():
                own = sum(one.cpu_seconds[step] for one in profile.operators if one.phase == phase)
                assert own == pytest.approx(seconds[step], rel=1e-3, abs=2e-5), phase
            whole = sum(seconds[step] for seconds in profile.phase_seconds.values())
            assert whole == pytest.approx(profile.step_seconds[step])


def test_times_of_modules_add_up_to_both_passes(full: Profile) -> None:
    for phase in ("forward", "backward"):
        for step in range(STEPS):
            own = sum(one.cpu_seconds[step] for one in full.modules if one.phase == phase)
            assert own == pytest.approx(full.phase_seconds[phase][step], rel=1e-3, abs=2e-5)


def test_operators_are_counted_in_the_phase_they_run_in(full: Profile, bitfit: Profile) -> None:
    calls = [{(one.name, one.phase): one.calls for one in profile.operators} for profile in (full, bitfit)]
    # Six products in each of two layers, the pooler and the head.
    assert calls[0]["aten::addmm", "forward"] == calls[1]["aten::addmm", "forward"] == [14, 14]
    assert calls[0]["aten::_fused_adamw_", "optimizer"] == [1, 1]
    # Full fine-tuning takes a product for each weight and each input; BitFit none for a frozen weight, and stops at
    # the first bias: the products before it have an input that needs no gradient.
    assert calls[0]["aten::mm", "backward"] == [28, 28]
    assert calls[1]["aten::mm", "backward"][0] < 28 - 12
    assert calls[0][BETWEEN, "forward"] == [0, 0]
    assert not [name for name, phase in calls[0] if phase != "optimizer" and name.startswith("Optimizer")]


def test_backward_operators_belong_to_the_module_of_their_forward_operator(full: Profile, bitfit: Profile) -> None:
    backward = [{one.name for one in p.modules if one.phase == "backward"} for p in (full, bitfit)]
    for names in backward:
        for layer in range(2):
            assert f"encoder.encoder.layer.{layer}.output.dense" in names
            assert f"encoder.encoder.layer.{layer}.attention.self" in names
        assert {"head.out", ACCUMULATION, NO_MODULE} <= names
    assert "encoder.embeddings.word_embeddings" in backward[0]
    assert "encoder.embeddings.word_embeddings" not in backward[1], "BitFit's graph does not reach it"


def test_modules_that_a_strategy_inserts_are_there(tmp_path: Path) -> None:
    names = {one.name for one in recorded("adapter_pfeiffer:4", tmp_path / "adapter").modules}
    assert any("adapter" in name for name in names)


def test_memory_over_time_has_the_peak_of_a_measured_step(full: Profile, bitfit: Profile) -> None:
    for profile in (full, bitfit):
        curve = profile.memory
        assert curve is not None
        cell = CELL.model_copy(update={"strategy": profile.cell.strategy})
        measured = peak_of_step(cell, TINY, CPU).peak_allocated_bytes
        assert curve.peak_bytes == max(curve.live_bytes) == pytest.approx(measured, rel=0.01)
        # Nothing of a step is left when it is over, but for a few numbers such as its loss.
        assert curve.live_bytes[-1] <= curve.start_bytes + 4 * 16 * 64 * 16
        assert [span.phase for span in curve.phases] == ["forward", "backward", "clipping", "optimizer"]
        assert curve.phases[0].begin_seconds <= curve.peak_seconds <= curve.phases[-1].end_seconds
        assert len(curve.seconds) == len(curve.live_bytes) <= 400


def test_without_memory_there_is_a_reason_and_no_figure(tmp_path: Path) -> None:
    profile = recorded("frozen", tmp_path / "frozen")
    assert profile.memory is None
    assert "--memory" in str(profile.memory_reason)


def test_a_trace_has_the_phases_and_the_steps(folder: Path, full: Profile) -> None:
    (path,) = (folder / "full").glob("*.pt.trace.json.gz")
    assert path.name == full.trace
    assert path.stat().st_size == full.trace_bytes
    names = [event.get("name", "") for event in json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]]
    assert sum(name == "phase: backward" for name in names) == STEPS
    assert sum(name.startswith("ProfilerStep#") for name in names) == STEPS
    assert "module: encoder.encoder.layer.0.output.dense" in names


def test_stacks_make_the_trace_larger_and_are_said(tmp_path: Path, full: Profile) -> None:
    profile = recorded("full", tmp_path / "full", stacks=True)
    assert profile.stacks
    assert profile.trace_bytes > full.trace_bytes


class SilentDevice(FakeDevice):
    """It has an allocator that does not tell."""

    def peak_allocated_bytes(self) -> int:
        return None  # type: ignore[return-value]


def test_a_device_is_idle_before_each_step_of_a_trace_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device, advance = FakeDevice(), torch.profiler.profile.step

    def profiled(profiler: torch.profiler.profile) -> None:
        device.calls.append("profiled")
        advance(profiler)

    note_steps(device, monkeypatch)
    monkeypatch.setattr(torch.profiler.profile, "step", profiled)
    monkeypatch.setattr("bench.measure.trace.device_of", lambda _: device)
    curve = recorded("full", tmp_path / "full", memory=True).memory
    held = ["synchronize", "reset_peak", "synchronize", "peak_allocated", "peak_reserved"]
    traced = ["step", "synchronize", "profiled"] * (DISCARDED_STEPS + STEPS)
    assert device.calls == [*["step"] * CELL.warmup_steps, *held, *traced]
    assert curve is not None
    assert curve.start_bytes == 2000, "what the allocator holds between steps"


def test_memory_that_starts_nobody_knows_where_is_no_curve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.measure.trace.device_of", lambda _: SilentDevice())
    profile = recorded("frozen", tmp_path / "frozen", memory=True)
    assert profile.memory is None
    assert profile.memory_reason == "the device does not tell what its allocator holds as the steps begin"


@pytest.mark.parametrize(
    ("device", "besides"), [("cpu", []), ("cuda:1", ["CUDA"]), ("xpu", ["XPU"]), ("mps", ["PrivateUse1"])]
)
def test_an_accelerator_is_traced_beside_the_cpu(device: str, besides: list[str]) -> None:
    assert [kind.name for kind in activities(torch.device(device))] == ["CPU", *besides]


def test_recording_changes_nothing_that_is_trained() -> None:
    losses = []
    for watched in (False, True):
        applied = apply_fresh(cost_base(CELL, TINY), CELL, CPU)
        stepper = cost_stepper(applied, CELL, CPU)
        batch = random_batch(CELL, 50, CPU)
        if watched:
            with module_ranges(applied.model):
                losses.append([float(replace(stepper, mark=PhaseRanges())(batch, step)) for step in range(3)])
            assert not any(module._forward_hooks or module._forward_pre_hooks for module in applied.model.modules())
        else:
            losses.append([float(stepper(batch, step)) for step in range(3)])
    assert losses[0] == losses[1]


def request(folder: Path, *names: str, length: int = 16, encoder: Path | None = None) -> profiling.Request:
    """A request for the BERT in the folder `encoder`, or for one whose strategies are not checked against it."""
    folders = {} if encoder is None else {"tiny-bert": encoder}
    model = "minilm" if encoder is None else "tiny-bert"
    cells = profiling.plan(model, names, f"2x{length}", "fp32", 1, folders)
    where = profiling.prepare_folder(folder, cells)
    return profiling.Request(cells, where, 1, model_folders=folders, device="cpu")


def test_strategies_are_traced_in_the_order_asked_for(tiny_folder: Path, tmp_path: Path) -> None:
    said: list[str] = []
    profiling.profile(request(tmp_path, "bitfit:query", "full", encoder=tiny_folder), said.append)
    assert [profile.cell.strategy for profile in read(tmp_path)] == ["bitfit:query", "full"]
    assert {path.name for path in tmp_path.iterdir()} == {"bitfit-query", "full"}
    assert [line.split(":")[0] for line in said] == ["bitfit", "full"]
    with pytest.raises(InputError, match="already holds a profile of full"):
        request(tmp_path, "full", encoder=tiny_folder)


def test_a_strategy_that_fails_leaves_no_folder_and_those_before_it_stay(tiny_folder: Path, tmp_path: Path) -> None:
    asked = request(tmp_path, "frozen", "bitfit@7", encoder=tiny_folder)
    with pytest.raises(StrategyError, match="bitfit@7"):
        profiling.profile(asked, lambda line: None)
    assert {path.name for path in tmp_path.iterdir()} == {"frozen"}
    assert [profile.cell.strategy for profile in read(tmp_path)] == ["frozen"]


def test_no_memory_left_is_said_in_one_line(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_memory(*_: object) -> Profile:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes")

    monkeypatch.setattr("bench.measure.trace.record", full_memory)
    with pytest.raises(InputError, match="out of memory with full at 2x16; take a smaller --shape"):
        profiling.profile(request(tmp_path, "full", encoder=tiny_folder), lambda line: None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["8", "8x", "x8", "8x64x2", "0x8", "8x-1", "8 by 64", "99999999999999999999x8", ""])
def test_what_is_no_shape_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="is not a batch size and a length; write --shape 32x128"):
        overrides.parse_shape(text)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--strategies", "full,bitfitt"], "did you mean 'bitfit'"),
        (["--strategies", "full,"], "empty name"),
        (["--strategies", "bitfit,bitfit"], "strategy 'bitfit' is asked for twice"),
        (["--model", "minlm"], "did you mean 'minilm'"),
        (["--model", "./none"], "no config.json"),
        (["--shape", "8by64"], "'8by64' is not a batch size and a length; write --shape 32x128"),
        (["--shape", "2x513"], "minilm has 512 positions, too few for 513 tokens; set a smaller length"),
        (["--precision", "fp8"], "precision 'fp8' is none of fp32, tf32, bf16"),
        (["--steps", "0"], "between 1 and 50"),
        (["--device", "gpu9"], "device 'gpu9' cannot be used"),
        (["--to", "file/there"], "cannot write to file/there"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments: list[str], said: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ended = subprocess.run(
        [sys.executable, "-m", "bench", "profile", *arguments],
        cwd=tmp_path,
        env=os.environ | {"COLUMNS": "120"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2, ended.stderr
    (line,) = ended.stderr.strip().splitlines()
    assert said in line


@pytest.mark.slow
def test_the_command_leaves_traces_and_a_page_and_says_where(tiny_folder: Path, tmp_path: Path) -> None:
    options = ["--model", str(tiny_folder), "--shape", "2x16", "--steps", "1", "--device", "cpu", "--memory"]
    ended = subprocess.run(
        [sys.executable, "-m", "bench", "profile", *options, "--to", "there"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""
    page = tmp_path / "there" / "profile.html"
    assert "page: there/profile.html" in ended.stdout
    assert "Where they differ" in page.read_text(encoding="utf-8")
    for strategy in ("full", "bitfit"):
        (trace,) = (tmp_path / "there" / strategy).glob("*.pt.trace.json.gz")
        assert f"there/{strategy}/{trace.name}" in ended.stdout
