"""Planning: what fits is what a forecast at that shape says, and bad questions get one line."""

import itertools
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from rich.console import Console
from torch import Tensor
from transformers import PretrainedConfig
from typer.testing import CliRunner, Result

from bench.cards import find
from bench.cell import CostCell
from bench.cli import app
from bench.encoders import Encoder
from bench.errors import InputError
from bench.measure.limits import Curve, Phases
from bench.measure.memory import forecast_of, forecast_peak
from bench.planning import GIB, Plan, Question, plan
from bench.planning_tables import tables
from bench.results import MemoryPeak
from bench.training import Stepper
from strategies.errors import StrategyError


@pytest.fixture
def tiny(tiny_configs: dict[str, PretrainedConfig]) -> Encoder:
    """A tiny encoder of which there is nothing but a configuration."""
    return Encoder("tiny", "A test model.", tiny_configs["bert"].to_dict())


def phases(encoder: Encoder, strategy: str, batch_size: int, length: int) -> Phases:
    """What a forecast says."""
    cell = CostCell(model="tiny", strategy=strategy, batch_size=batch_size, length=length)
    found = forecast_peak(cell, encoder, accelerator=True).attribution
    assert found is not None
    return found.peak_by_phase_bytes


@pytest.mark.parametrize("strategy", ["full", "bitfit", "random_uniform"])
def test_the_largest_batch_fits_and_one_more_does_not(tiny: Encoder, strategy: str) -> None:
    curve = Curve(lambda number: phases(tiny, strategy, number, 16))
    curve.at(8, 32)
    limit = 3_000_000
    ratio = curve.verify(limit)
    largest = curve.largest(limit)
    assert ratio == pytest.approx(1, rel=0.01)
    assert largest > 32
    assert max(phases(tiny, strategy, largest, 16).values()) <= 1.01 * limit
    assert max(phases(tiny, strategy, largest + 1, 16).values()) > 0.99 * limit


def test_the_longest_sequence_fits_and_is_none_beyond_the_positions(tiny: Encoder) -> None:
    curve = Curve(lambda number: phases(tiny, "full", 64, number), most=40, degree=2)
    curve.at(8, 16, 32)
    limit = 2_500_000
    ratio = curve.verify(limit)
    longest = curve.largest(limit)
    assert ratio == pytest.approx(1, rel=0.01)
    assert 8 < longest < 40
    assert max(phases(tiny, "full", 64, longest).values()) <= 1.01 * limit
    assert max(phases(tiny, "full", 64, longest + 1).values()) > 0.99 * limit
    assert curve.largest(10**9) == 40
    assert curve.largest(1) == 0


def test_a_curve_that_is_wrong_is_mended_by_its_verification() -> None:
    made: list[int] = []

    def forecast(number: int) -> Phases:
        made.append(number)
        return {"forward": 100 + max(10 * number, 40 * number - 3000)}

    curve = Curve(forecast)
    curve.at(10, 40)
    assert curve.largest(2105) == 200
    ratio = curve.verify(2105)
    assert made[2] == 200
    assert len(made) == 5
    assert ratio == pytest.approx(0.95, abs=0.01)
    assert curve.largest(2105) == 125
    assert curve.largest(400) == 30


def test_an_answer_that_has_its_own_forecast_is_sure_however_wrong_the_curve_was() -> None:
    made: list[int] = []

    def forecast(number: int) -> Phases:
        made.append(number)
        return {"forward": 10 * number if number <= 18 else 12 * number}

    curve = Curve(forecast)
    curve.at(5, 18)
    ratio = curve.verify(199)
    assert made == [5, 18, 19]
    assert curve.largest(199) == 18
    assert ratio == 1.0
    nothing = Curve(forecast, known={4: {"forward": 40}, 8: {"forward": 80}})
    assert nothing.verify(3) is None
    assert made == [5, 18, 19]


def test_a_curve_that_holds_is_verified_once() -> None:
    made: list[int] = []

    def steeper(number: int) -> Phases:
        made.append(number)
        return {"forward": 10 * number, "backward": max(0, 13 * number - 120)}

    curve = Curve(steeper)
    curve.at(10, 20)
    assert curve.verify(100) is None
    assert made == [10, 20]
    curve = Curve(steeper)
    curve.at(50, 100)
    assert curve.verify(1179) == pytest.approx(1)
    assert made[2:] == [50, 100, 99]
    square = Curve(lambda number: {"forward": 5 * number * number + number + 3}, most=1000, degree=2)
    square.at(10, 20, 40)
    assert square.verify(10**6) == pytest.approx(1)
    assert square.largest(10**6) == 447
    assert square.largest(1500) == 17


def test_a_plan_answers_for_every_strategy(tiny: Encoder) -> None:
    told: list[str] = []
    names = ["full", "bitfit", "frozen_cached", "lora"]
    question = Question([tiny], names, batch_size=4, length=16, match="bitfit", limits_gib=[2], reserve_gib=1.5)
    plans = plan(question, lambda one: told.append(one.strategy))
    assert told == names == [one.strategy for one in plans]
    full, bitfit, cached, _ = plans
    assert full.encoder_trainable == full.encoder_total
    assert full.memory is not None
    assert bitfit.memory is not None
    assert full.memory.method == "forecast"
    assert bitfit.memory.peak_allocated_bytes < full.memory.peak_allocated_bytes
    assert 0 < full.largest_batch[2] < bitfit.largest_batch[2]
    assert bitfit.verified == pytest.approx(1, abs=0.01)
    assert bitfit.verified_length is None
    assert bitfit.forecasts == 5
    assert full.longest == {2: 40}
    assert cached.memory is None
    assert "needs more than shapes" in str(cached.reason)
    assert (cached.forecasts, cached.seconds) == (None, None)
    assert bitfit.seconds is not None
    usable = {"forward": GIB // 2}
    assert max(phases(tiny, "full", full.largest_batch[2], 16).values()) <= 1.01 * usable["forward"]


def test_the_longest_sequence_is_verified_and_doubts_are_told(tiny: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    (one,) = plan(question := Question([tiny], ["full"], 4, 4, limits_gib=[1], reserve_gib=1 - 250_000 / GIB))
    assert 4 < one.longest[1] < 40
    assert one.verified_length == pytest.approx(1, abs=0.01)
    assert "less sure" not in drawn([one], question)
    real, made = forecast_of, itertools.count()

    def crooked(stepper: Stepper, batch: Mapping[str, Tensor]) -> MemoryPeak:
        """A forecast that no curve through those before it foretells: each is more than the last."""
        found = real(stepper, batch)
        assert found.attribution is not None
        by_phase = found.attribution.peak_by_phase_bytes
        factor = 1.1 ** next(made)
        bent = {phase: round(factor * size) for phase, size in by_phase.items()}
        return found.model_copy(
            update={"attribution": found.attribution.model_copy(update={"peak_by_phase_bytes": bent})}
        )

    monkeypatch.setattr("bench.measure.forecast.forecast_of", crooked)
    (bent,) = plan(question)
    assert bent.verified_length is not None
    assert abs(bent.verified_length - 1) > 0.01
    assert bent.forecasts is not None
    assert bent.forecasts <= 10
    assert "full: the longest sequence is less sure" in drawn([bent], question)


def drawn(plans: list[Plan], question: Question) -> str:
    """The tables as a terminal shows them."""
    console = Console(width=200)
    with console.capture() as captured:
        console.print(tables(plans, question))
    return captured.get()


@pytest.mark.parametrize("strategy", ["prompt:5", "bitfit+prefix:5"])
def test_tokens_put_before_the_text_take_their_positions_from_it(tiny: Encoder, strategy: str) -> None:
    asked = Question([tiny], ["bitfit", strategy], batch_size=4, length=16, limits_gib=[2])
    plain, found = plan(asked)
    assert plain.reason is None
    assert found.reason is None
    assert max(found.longest.values()) == max(plain.longest.values()) - 5


def test_what_cannot_be_asked(tiny: Encoder) -> None:
    with pytest.raises(InputError, match="tiny has 40 positions, too few for 41 tokens"):
        plan(Question([tiny], ["full"], batch_size=1, length=41))
    with pytest.raises(StrategyError, match="did you mean 'bitfit'"):
        plan(Question([tiny], ["bitfitt"], batch_size=1, length=8))
    with pytest.raises(StrategyError, match="its rank 'inf' must be a whole number"):
        plan(Question([tiny], ["bitfit"], batch_size=1, length=8, match="lora:inf"))


def run(*arguments: str) -> Result:
    """The command in this process."""
    return CliRunner().invoke(app, ["plan", *arguments])


def test_the_command_on_a_folder_without_weights(tmp_path: Path, tiny_configs: dict[str, PretrainedConfig]) -> None:
    folder = tmp_path / "tiny-thing"
    tiny_configs["bert"].save_pretrained(folder)
    asked = ["--models", str(folder), "--strategies", "full,bitfit", "--shape", "4x16"]
    lines = [json.loads(line) for line in run(*asked, "--json").stdout.splitlines()]
    assert [line["strategy"] for line in lines] == ["full", "bitfit"]
    assert set(lines[0]["largest_batch"]) == {"8", "12", "16", "24", "40", "48", "80"}
    assert set(json.loads(run(*asked, "--json", "--gpu", "t4").stdout.splitlines()[0])["longest"]) == {"15"}
    assert set(json.loads(run(*asked, "--json", "--gpu", "h100").stdout.splitlines()[0])["longest"]) == {"80"}
    shown = run(*asked, "--cpu", "--limits", "1").stdout
    assert "tiny-thing, a step of 4x16, fp32" in shown
    assert "a CPU's kernels; 0 GiB" in shown


@pytest.mark.parametrize(
    ("family", "fields", "said"),
    [
        ("bert", {"hidden_size": 33, "num_attention_heads": 2}, "odd: no bert model can be built"),
        ("bert", {"hidden_size": "x"}, "odd: not the configuration of an encoder"),
        ("bert", {"hidden_size": -32}, "odd: no bert model can be built"),
        ("bert", {"hidden_size": 0}, "odd: no bert model can be built"),
        ("bert", {"num_attention_heads": 0}, "odd: no bert model can be built"),
        ("bert", {"hidden_act": "swoosh"}, "odd: no bert model can be built"),
        ("bert", {"hidden_dropout_prob": 2.0}, "odd: no bert model can be built"),
        ("bert", {"pad_token_id": 10**6}, "odd: no bert model can be built"),
        ("bert", {"vocab_size": 4}, "odd has 5 tokens or fewer in its vocabulary"),
        ("bert", {"model_type": ["bert"]}, "names no model_type"),
        ("roberta", {"pad_token_id": None}, "odd: a roberta model counts positions from its pad_token_id"),
    ],
)
def test_a_folder_whose_configuration_contradicts_itself(
    family: str, fields: dict[str, object], said: str, tmp_path: Path, tiny_configs: dict[str, PretrainedConfig]
) -> None:
    (tmp_path / "odd").mkdir()
    text = json.dumps(tiny_configs[family].to_dict() | fields)
    (tmp_path / "odd" / "config.json").write_text(text, encoding="utf-8")
    found = run("--models", str(tmp_path / "odd"), "--shape", "2x8", "--strategies", "bitfit")
    assert isinstance(found.exception, InputError)
    assert said in str(found.exception)
    assert "\n" not in str(found.exception)


def test_checkpointing_is_planned_for_where_it_is_asked(
    tmp_path: Path, tiny_configs: dict[str, PretrainedConfig]
) -> None:
    folder = tmp_path / "tiny-thing"
    tiny_configs["bert"].save_pretrained(folder)
    asked = ["--models", str(folder), "--strategies", "full,bitfit", "--shape", "8x32"]
    kept = [json.loads(line) for line in run(*asked, "--json").stdout.splitlines()]
    again = [json.loads(line) for line in run(*asked, "--json", "--checkpointing").stdout.splitlines()]
    for one, other in zip(kept, again, strict=True):
        assert other["memory"]["peak_allocated_bytes"] < one["memory"]["peak_allocated_bytes"]
        assert other["arithmetic"]["backward_flops"] > one["arithmetic"]["backward_flops"]
        assert other["largest_batch"]["8"] > one["largest_batch"]["8"]
        assert other["verified"] == pytest.approx(1, abs=0.01)
    assert (
        "a step of 8x32, fp32, eager attention, checkpointing"
        in run(*asked, "--attention", "eager", "--checkpointing").stdout
    )


def test_a_card_sets_a_floor_and_the_limit(tiny: Encoder) -> None:
    card = find("A100 80 GB")
    (one,) = plan(Question([tiny], ["bitfit"], batch_size=4, length=16, card=card, limits_gib=[2]))
    assert one.arithmetic is not None
    assert one.floor == one.arithmetic.floor(card.flops_per_second["fp32"], card.bytes_per_second)
    (other,) = plan(
        Question([tiny], ["bitfit"], batch_size=4, length=16, precision="bf16", card=find("T4"), limits_gib=[2])
    )
    assert other.floor is None
    assert "no bf16 rate is known of T4" in str(other.floor_reason)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--shape", "8"), "shape '8' is not a batch size and a length; write --shape 32x128"),
        (("--shape", "0x8"), "write --shape 32x128"),
        (("--limits", "8,x"), "limit 'x' is no whole number of GiB"),
        (("--limits", "1"), "of 1 GiB 1 are left free, so nothing remains"),
        (("--precision", "fp8"), "precision 'fp8' is none of fp32, tf32, bf16"),
        (("--attention", "flash"), "attention 'flash' is none of sdpa, eager"),
        (("--suite", "smoke", "--gpu", "t4", "--checkpointing"), "--checkpointing and --suite exclude each other"),
        (("--models", "nope"), "unknown model 'nope'"),
        (("--gpu", "a1000"), "unknown GPU 'a1000'; nearest: A100 80 GB"),
        (("--gpu", "t4", "--cpu"), "--gpu T4 and --cpu exclude each other"),
        *((("--budget", share), f"--budget {share} is no share") for share in ("2", "0", "-0.1", "nan", "inf")),
        (("--budget", "0.1", "--match", "bitfit"), "--budget and --match exclude each other"),
    ],
)
def test_bad_questions(arguments: tuple[str, ...], said: str) -> None:
    found = run(*arguments)
    assert isinstance(found.exception, InputError)
    assert said in str(found.exception)
