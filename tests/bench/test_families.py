"""Families: their shapes have the published counts, and the largest member that fits is what forecasts say."""

import json

import pytest
from rich.console import Console
from transformers import PretrainedConfig
from typer.testing import CliRunner, Result

from bench.cli import app
from bench.configurations import configure
from bench.encoders import Encoder
from bench.errors import InputError
from bench.families import Family, Member, families, find
from bench.family_planning import fitting, largest_members, table
from bench.measure.memory import forecast_peak
from bench.measure.subject import KIND
from bench.models import shape_only
from bench.planning import GIB, Question, cell_of

MEMBERS = [(family, place) for family in families().values() for place in range(len(family.member))]


@pytest.mark.parametrize(("family", "place"), MEMBERS, ids=[f.member[i].name for f, i in MEMBERS])
def test_a_member_has_its_published_parameters(family: Family, place: int) -> None:
    encoder, member = family.encoders[place], family.member[place]
    assert encoder.config is not None
    built = shape_only(configure(encoder.config, None, None), KIND, 2, encoder.pooling).encoder
    assert sum(parameter.numel() for parameter in built.parameters()) == member.parameters


@pytest.mark.parametrize("family", families().values(), ids=lambda family: family.name)
def test_members_stand_in_the_order_of_their_size(family: Family) -> None:
    counts = [member.parameters for member in family.member]
    assert counts == sorted(counts)


def test_an_unknown_family_is_told_its_nearest() -> None:
    assert find("BERT").name == "bert"
    with pytest.raises(InputError, match=r"unknown family 'robert'; nearest: roberta"):
        find("robert")
    with pytest.raises(InputError, match=r"unknown family 'zzz'; known: bert, roberta"):
        find("zzz")


@pytest.fixture
def series(tiny_configs: dict[str, PretrainedConfig]) -> Family:
    """Three tiny members, each twice as wide as the one before."""
    shared = tiny_configs["bert"].to_dict()
    wide = [{"hidden_size": size, "intermediate_size": 4 * size} for size in (16, 32, 64)]
    members = [Member(name=f"tiny-{one['hidden_size']}", parameters=1, shape=one) for one in wide]
    return Family(name="tiny", sentence="", source="made up", grade="R", shared=shared, member=tuple(members))


def question(series: Family, *strategies: str, limit_bytes: int) -> Question:
    reserve = 1 - limit_bytes / GIB
    return Question(series.encoders, strategies, batch_size=4, length=16, limits_gib=[1, 2], reserve_gib=reserve)


def test_the_largest_member_fits_and_the_next_does_not(series: Family) -> None:
    def peak(encoder: Encoder, strategy: str) -> int:
        asked = question(series, strategy, limit_bytes=GIB)
        return forecast_peak(cell_of(asked, encoder, strategy), encoder, accelerator=True).peak_allocated_bytes

    _, middle, largest = series.encoders
    for strategy in ("full", "bitfit"):
        exact = peak(middle, strategy)
        (answer,) = largest_members(series, question(series, strategy, limit_bytes=exact))
        assert answer.largest == {1: "tiny-32", 2: "tiny-64"}
        assert answer.peak_bytes["tiny-32"] == exact
        (less,) = largest_members(series, question(series, strategy, limit_bytes=exact - 1))
        assert less.largest[1] == "tiny-16"
    assert peak(largest, "bitfit") < peak(largest, "full")


def test_members_that_a_strategy_refuses_are_left_out(tiny_configs: dict[str, PretrainedConfig]) -> None:
    shared = tiny_configs["bert"].to_dict()
    shallow = [{"num_hidden_layers": layers, "hidden_size": 16 * layers} for layers in (1, 2, 3, 4, 5)]
    members = tuple(Member(name=f"tiny-{number}", parameters=1, shape=one) for number, one in enumerate(shallow, 1))
    deep = Family(name="deep", sentence="", source="made up", grade="R", shared=shared, member=members)
    asked = question(deep, "last_layers:3", "last_layers:9", limit_bytes=1)
    answer, none = largest_members(deep, asked)
    assert answer.largest == {1: None, 2: "tiny-5"}
    assert set(answer.left_out) == {"tiny-1", "tiny-2"}
    assert "2 layers" in answer.left_out["tiny-2"]
    assert answer.reason is None
    shown = Console(width=200)
    with shown.capture() as captured:
        shown.print(table(deep, [answer, none], asked))
    assert "tiny-2 is left out of last_layers:3" in captured.get()
    assert none.largest == {}
    assert none.seconds is None
    assert "layers" in str(none.reason)
    exact = answer.peak_bytes["tiny-3"]
    (fits,) = largest_members(deep, question(deep, "last_layers:3", limit_bytes=exact))
    assert fits.largest[1] == "tiny-3"


def test_none_fits_and_what_has_no_forecast(series: Family) -> None:
    told: list[str] = []
    asked = question(series, "full", "frozen_cached", limit_bytes=1)
    full, cached = largest_members(series, asked, lambda one: told.append(one.strategy))
    assert told == ["full", "frozen_cached"]
    assert full.largest[1] is None
    assert cached.largest == {}
    assert "needs more than shapes" in str(cached.reason)
    assert cached.seconds is None
    assert full.seconds is not None


def test_a_search_asks_for_few_forecasts() -> None:
    members = [Encoder(str(size), "") for size in range(100)]
    asked: list[str] = []

    def needs(encoder: Encoder) -> int:
        asked.append(encoder.name)
        return int(encoder.name)

    assert fitting(members, needs, 41) == 42
    assert len(asked) <= 7


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["plan", *arguments])


def test_the_command(series: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.families.families", lambda: {"tiny": series})
    asked = ["--family", "tiny", "--strategies", "full,frozen_cached", "--shape", "4x16"]
    full, cached = (json.loads(line) for line in run(*asked, "--json").stdout.splitlines())
    assert set(full["largest"]) == {"8", "12", "16", "24", "40", "48", "80"}
    assert full["largest"]["8"] == "tiny-64"
    assert cached["reason"]
    shown = run(*asked, "--limits", "2").stdout
    assert "tiny: largest member at 4x16, fp32" in shown
    assert "no forecast of frozen_cached" in shown
    assert "made up, grade R" in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--family", "brt"), "unknown family 'brt'; nearest: bert"),
        (("--family", "bert", "--models", "minilm"), "--family and --models exclude each other"),
        (("--family", "bert", "--shape", "2x513"), "bert-tiny has 512 positions, too few for 513 tokens"),
    ],
)
def test_bad_questions(arguments: tuple[str, ...], said: str) -> None:
    found = run(*arguments)
    assert isinstance(found.exception, InputError)
    assert said in str(found.exception)
