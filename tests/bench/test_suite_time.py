"""How long a suite takes: its steps are counted as it would run them, and seconds rest on a card or on a run."""

import json
from pathlib import Path

import pytest
from rich.console import Console
from transformers import PretrainedConfig
from typer.testing import CliRunner, Result

from bench import task_sizes
from bench.cards import find
from bench.cell import CostCell, QualityCell, TrialCell
from bench.cli import app
from bench.encoders import Encoder
from bench.errors import InputError
from bench.measure.flops import arithmetic_of
from bench.record import Record
from bench.run_pace import Pace
from bench.store import RunStore
from bench.suite_planning import Part, SuiteTime, as_cost_cell, like_run, on_card
from bench.suite_time_table import duration, table
from bench.task_sizes import Sizes
from bench.workload import Work, workload
from synthetic_run import failed, make_run

SIZES = Sizes(1000, 100, 300, "made up")


def cell(**changes: object) -> QualityCell:
    fields: dict[str, object] = {"model": "tiny", "task": "cola", "strategy": "bitfit", "seed": 0}
    fields |= {"learning_rate": 1e-3, "epochs": 3, "batch_size": 16, "max_length": 16}
    return QualityCell.model_validate(fields | changes)


def only(*cells: QualityCell | CostCell, sizes: Sizes | None = SIZES) -> Work:
    (work,) = workload(cells, lambda _: sizes)
    return work


def test_steps_and_scored_examples_of_a_training() -> None:
    work = only(cell(), cell(seed=1))
    assert (work.count, work.steps) == (2, 3 * 63)
    # Ten points of three samples of 500 at most, then evaluation, selection and as much of train as of evaluation.
    assert work.scored == 10 * (500 + 100 + 300) + 300 + 100 + 300
    small = only(cell(train_examples=64, evaluation_examples=200, curve_points=1, curve_examples=10))
    assert small.steps == 3 * 4
    assert small.scored == 30 + 200 + 100 + 64 + 64
    assert only(cell(epochs=None, steps=7)).steps == 7
    best = only(cell(checkpoint="best", curve_points=1, curve_examples=1))
    assert best.scored == 3 + 300 + 100 + 300 + 3 * 100


def test_the_trials_of_a_search_are_made_once_for_all_seeds() -> None:
    search = {"rates": (1e-4, 1e-3, 1e-2, 1e-1), "seeds": (11, 12)}
    full, trials = workload([cell(learning_rate=search), cell(learning_rate=search, seed=1)], lambda _: SIZES)
    assert (full.count, trials.count) == (2, 8)
    assert isinstance(trials.cell, TrialCell)
    assert (trials.steps, trials.scored) == (189, 100)
    halving = workload([cell(learning_rate=search | {"method": "halving"}, epochs=4)], lambda _: SIZES)
    assert [(work.count, work.steps) for work in halving[1:]] == [(8, 63), (4, 126)]


def test_the_steps_of_a_cost_cell() -> None:
    shape = {"model": "tiny", "strategy": "full", "batch_size": 4, "length": 8, "rounds": 3, "steps_per_round": 6}
    first, again = (CostCell.model_validate(shape | {"replicate": number}) for number in (0, 1))
    assert (only(first).steps, only(again).steps) == (3 * 8 + 4, 3 * 8)


def test_what_is_not_known_has_a_reason_and_no_figure() -> None:
    work = only(cell(), sizes=None)
    assert work.steps is None
    assert work.reason == "how many examples cola has is not known here; give --train-examples"
    assert only(cell(epochs=None, steps=5), sizes=None).steps == 5


def test_published_sizes_are_split_as_tasks_are() -> None:
    cola = task_sizes.published("cola")
    assert cola is not None
    assert cola[:3] == (8551 - 855, 855, 1043)
    questions = task_sizes.published("questions")
    assert questions is not None
    assert questions[:3] == (3876, 430, 1076)
    assert task_sizes.published("pos:other") is None


@pytest.fixture
def tiny(tiny_configs: dict[str, PretrainedConfig]) -> Encoder:
    return Encoder("tiny", "A test model.", tiny_configs["bert"].to_dict())


def test_a_card_takes_the_floor_of_every_step(tiny: Encoder) -> None:
    card = find("A100 80 GB")
    one = cell(epochs=None, steps=10, train_examples=64)
    found = on_card("made-up", [one, one.model_copy(update={"seed": 1})], card, lambda _: tiny)
    arithmetic = arithmetic_of(as_cost_cell(one), tiny, accelerator=True)
    step = arithmetic.floor(card.flops_per_second["fp32"], card.bytes_per_second).seconds
    forward = arithmetic.forward_flops / 16 / card.flops_per_second["fp32"]
    scored = only(one, sizes=task_sizes.published("cola")).scored
    assert scored is not None
    assert found.seconds == pytest.approx(2 * (10 * step + scored * forward))
    assert [(part.cells, part.steps) for part in found.parts] == [(2, 20)]
    assert "which no program reaches" in found.basis
    assert "max_length" in found.basis
    shorter = on_card("made-up", [one], card, lambda _: tiny, tokens=8)
    assert 2 * shorter.seconds < found.seconds
    assert "as long as 8 tokens" in shorter.basis


def test_what_a_card_cannot_tell(tiny: Encoder) -> None:
    cells = [cell(strategy="frozen_cached"), cell(task="mine"), cell(precision="bf16")]
    found = on_card("made-up", cells, find("T4"), lambda _: tiny)
    assert found.seconds == 0
    assert found.unknown_cells == 3
    cached, mine, narrow = (str(part.reason) for part in found.parts)
    assert "needs more than shapes" in cached
    assert "how many examples mine has is not known" in mine
    assert "no bf16 rate is known of T4" in narrow
    with pytest.raises(InputError, match="tiny has 40 positions, too few for 41 tokens"):
        on_card("made-up", [cell()], find("T4"), lambda _: tiny, tokens=41)


def test_a_run_foretells_itself(tmp_path: Path) -> None:
    store = RunStore.open(make_run(tmp_path / "run", strategies=("full", "bitfit")))
    found = like_run("made-up", store.manifest.cells, Pace.read(store.folder))
    assert found.unknown_cells == 0
    assert found.seconds == pytest.approx(sum(record.wall_seconds for record in store.latest().values()))


def test_more_steps_take_longer_at_their_own_pace(tmp_path: Path) -> None:
    store = RunStore.open(make_run(tmp_path / "run", strategies=("full",), tasks=("questions",), seeds=(0,)))
    (planned,) = (one for one in store.manifest.cells if isinstance(one, QualityCell))
    record = store.latest()[planned.key]
    assert record.quality is not None
    pace = Pace.read(store.folder)
    steps = {}
    for epochs in (3.0, 6.0):
        longer = planned.model_copy(update={"epochs": epochs, "seed": 5})
        (part,) = like_run("made-up", [longer], pace).parts
        assert part.steps == epochs * 63
        steps[epochs] = part.seconds or 0
    each = record.quality.training_seconds / record.quality.steps
    assert steps[6.0] - steps[3.0] == pytest.approx(189 * each)
    scored = planned.model_copy(update={"curve_points": 1, "epochs": 3.0})
    (less,) = like_run("made-up", [scored], pace).parts
    assert (less.seconds or 0) < steps[3.0]


# A step of full fine-tuning takes a thousand times one of the others, and a group 80 seconds beside its steps.
SLOW, QUICK, BESIDES = 2.0, 0.002, 80.0


def timed(record: Record) -> Record:
    """A cost record as a group of `full` twice and three others leaves it: wall time shared evenly."""
    assert record.cost is not None
    full = record.cell.strategy == "full"
    step = record.cost.step.model_copy(update={"median_seconds": SLOW if full else QUICK})
    wall = SLOW * (39 + 35) + QUICK * 39 * 3 + BESIDES
    update = {"cost": record.cost.model_copy(update={"step": step}), "wall_seconds": wall / 5}
    return record.model_copy(update=update)


def test_cost_cells_take_their_own_steps_and_a_share_of_what_their_group_took_beside_them(tmp_path: Path) -> None:
    names = ("full", "bitfit", "layernorm", "frozen")
    run = make_run(tmp_path / "run", strategies=names, quality=False, alter=timed)
    cells = RunStore.open(run).manifest.cells
    pace = Pace.read(run)

    def foretold(**changes: object) -> dict[str, float]:
        changed = [one.model_copy(update=changes) for one in cells]
        return {part.strategy: part.seconds or 0.0 for part in like_run("made-up", changed, pace).parts}

    same, shorter, longer = foretold(), foretold(rounds=1), foretold(rounds=50)
    assert sum(same.values()) == pytest.approx(SLOW * 74 + QUICK * 39 * 3 + BESIDES)
    assert same["full"] == pytest.approx(SLOW * 74 + BESIDES / 4)
    assert same["frozen"] == pytest.approx(QUICK * 39 + BESIDES / 4)
    assert shorter["full"] == pytest.approx(SLOW * (11 + 7) + BESIDES / 4)
    assert shorter["frozen"] == pytest.approx(QUICK * 11 + BESIDES / 4)
    assert longer["bitfit"] == pytest.approx(QUICK * 354 + BESIDES / 4)
    frozen = [one for one in cells if one.strategy == "frozen"]
    alone = like_run("made-up", frozen, pace)
    assert alone.seconds == pytest.approx(QUICK * 39 + BESIDES / 4)
    assert any(note.startswith("cost cells: steps at their own median") for note in alone.notes)


def test_a_group_that_took_less_than_its_steps_gives_no_negative_time(tmp_path: Path) -> None:
    def hasty(record: Record) -> Record:
        return timed(record).model_copy(update={"wall_seconds": 0.1})

    run = make_run(tmp_path / "run", strategies=("full", "frozen"), quality=False, alter=hasty)
    cells = [one.model_copy(update={"rounds": 1}) for one in RunStore.open(run).manifest.cells]
    found = like_run("made-up", cells, Pace.read(run)).parts
    assert [part.seconds for part in found] == pytest.approx([SLOW * 18, QUICK * 11])


def test_the_time_of_a_failed_cell_counts_with_its_group(tmp_path: Path) -> None:
    def without_frozen(record: Record) -> Record:
        return failed(timed(record)) if record.cell.strategy == "frozen" else timed(record)

    run = make_run(tmp_path / "run", strategies=("full", "bitfit", "frozen"), quality=False, alter=without_frozen)
    store = RunStore.open(run)
    wall = sum(record.wall_seconds for record in store.latest().values())
    found = like_run("made-up", store.manifest.cells, Pace.read(run))
    assert found.unknown_cells == 1
    assert found.seconds == pytest.approx(wall)


def test_only_cells_that_are_like_it_count(tmp_path: Path) -> None:
    def without_bitfit(record: Record) -> Record:
        return failed(record) if record.cell.strategy == "bitfit" else record

    run = make_run(tmp_path / "run", strategies=("full", "bitfit"), cost=False, alter=without_bitfit)
    cells = RunStore.open(run).manifest.cells
    full, bitfit = like_run("made-up", cells, Pace.read(run)).parts[:2]
    assert full.seconds is not None
    assert bitfit.seconds is None
    assert str(bitfit.reason).startswith("no cell like it is finished in")
    larger = [one.model_copy(update={"batch_size": 32}) for one in cells]
    assert like_run("made-up", larger, Pace.read(run)).seconds == 0


@pytest.mark.parametrize("name", ["x[red]y", "[link=https://example.org]m", "x[/b]"])
def test_names_are_shown_as_they_are_written(name: str) -> None:
    part = Part(kind="quality", model=name, subject=name, strategy="full", cells=1, steps=1, seconds=1.0)
    console = Console(width=160)
    with console.capture() as captured:
        console.print(table(SuiteTime(suite="made-up", basis="so", parts=[part], notes=[])))
    assert captured.get().count(name) == 2


def run_command(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["plan", *map(str, arguments)])


def test_the_command(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", strategies=("full",), tasks=("questions",), cost=False)
    suite = tmp_path / "mine.toml"
    settings = 'models = ["minilm"]\ntasks = ["questions"]\nseeds = [1, 2]\nepochs = 3\nbatch_size = 16\n'
    rates = "[quality.learning_rate]\nfull = 1e-4\nbitfit = 1e-3\n"
    strategies = 'strategies = ["full", "bitfit"]\n'
    suite.write_text(f'name = "mine"\ndescription = ""\n[quality]\n{settings}{strategies}{rates}', encoding="utf-8")
    found = json.loads(run_command("--suite", suite, "--like", run, "--train-examples", 320, "--json").stdout)
    assert [(part["strategy"], part["cells"], part["steps"]) for part in found["parts"]] == [
        ("full", 2, 120),
        ("bitfit", 2, 120),
    ]
    assert found["unknown_cells"] == 2
    assert found["seconds"] == found["parts"][0]["seconds"]
    shown = " ".join(run_command("--suite", suite, "--like", run).stdout.split())
    assert "mine: how long it takes" in shown
    assert "What is known:" in shown
    assert "Not counted: 2 cells: no cell like it is finished" in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--suite", "embedded"), "give either --gpu or --like"),
        (("--suite", "embedded", "--gpu", "t4", "--like", "x"), "give either --gpu or --like"),
        (("--suite", "embeded", "--gpu", "t4"), "unknown suite 'embeded'; did you mean 'embedded'?"),
        (("--suite", "embedded", "--like", "nowhere"), "nowhere is not a run folder"),
        (("--suite", "embedded", "--gpu", "t4", "--family", "bert"), "--family and --suite exclude each other"),
        (("--like", "x"), "--like says something of a suite; give --suite too"),
        (("--train-examples", "5"), "--train-examples says something of a suite"),
        (("--suite", "embedded", "--like", "x", "--tokens", "5"), "--tokens is for --gpu"),
    ],
)
def test_bad_questions(arguments: tuple[str, ...], said: str) -> None:
    found = run_command(*arguments)
    assert isinstance(found.exception, InputError)
    assert said in str(found.exception)


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.25, "0.25 s"), (90, "90 s"), (600, "10 min"), (7200, "2 h"), (200000, "2.31 days")]
)
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_settings_of_a_step_are_told_apart(tiny: Encoder) -> None:
    cell = CostCell(model="tiny", strategy="frozen", batch_size=1, length=8)
    cells = [cell, cell.model_copy(update={"attention": "eager", "gradient_checkpointing": True})]
    found = on_card("made-up", cells, find("T4"), lambda _: tiny)
    assert [part.subject for part in found.parts] == ["1x8", "1x8, eager attention, checkpointing"]
