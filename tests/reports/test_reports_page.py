"""The page, the Markdown file and the terminal's table: whole at every stage of a run, and safe whatever it holds."""

import itertools
import re
import subprocess
import sys
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from bench.record import InputError, Record
from reports import page, terminal
from synthetic_run import SYNTHETIC, Plan, failed, make_run, only

HOSTILE = '<script>alert("x")</script> | $\\frac{ `*_[x](javascript:1)'


def no_scores(record: Record) -> Record:
    """The record with every score undefined."""
    if record.quality is None:
        return record
    quality = record.quality
    splits = {
        name: getattr(quality, name).model_copy(
            update={"scores": dict.fromkeys(getattr(quality, name).scores)},
        )
        for name in ("evaluation", "selection", "train_sample")
    }
    curve = [point.model_copy(update={"train_score": None, "evaluation_score": None}) for point in quality.curve]
    return record.model_copy(update={"quality": quality.model_copy(update=splits | {"curve": curve})})


def no_memory(record: Record) -> Record:
    """The record without a memory peak."""
    if record.cost is None:
        return record
    cost = record.cost.model_copy(update={"memory": None, "memory_reason": "the step ran out of memory"})
    return record.model_copy(update={"cost": cost})


STAGES: dict[str, Plan] = {
    "nothing yet": Plan(alter=lambda _: None),
    "no cells at all": Plan(quality=False, cost=False),
    "only cost": Plan(quality=False),
    "only quality": Plan(cost=False),
    "cost done, quality outstanding": Plan(alter=lambda record: record if record.cost else None),
    "only failures": Plan(alter=failed),
    "first strategy done": Plan(alter=only(("full",))),
    "no full fine-tuning": Plan(strategies=("bitfit", "frozen")),
    "full fine-tuning failed": Plan(alter=lambda r: failed(r) if r.cell.strategy == "full" else r),
    "only full fine-tuning": Plan(strategies=("full",)),
    "one seed": Plan(seeds=(0,), tasks=("questions",)),
    "undefined scores": Plan(alter=no_scores, seeds=(0, 1)),
    "no memory": Plan(alter=no_memory, tasks=("questions",)),
    "two models": Plan(models=("minilm", "bert-base"), strategies=("full", "bitfit"), seeds=(0, 1)),
    "extra sets": Plan(extra={"tweets": 0.05, "<b>|": 0.1}, tasks=("questions",)),
    "a sweep": Plan(train_sizes=(100, 300, None), strategies=("full", "bitfit"), cost=False),
    "a sweep that begins": Plan(train_sizes=(100, 300, None), alter=lambda r: r if "examples=100" in r.key else None),
    "a sweep not begun": Plan(train_sizes=(100, 300, None), strategies=("full", "bitfit"), alter=lambda _: None),
    "a sweep of failures": Plan(train_sizes=(100, None), strategies=("full", "bitfit"), alter=failed),
    "a sweep without scores": Plan(train_sizes=(100, 300), seeds=(0,), alter=no_scores),
    "a sweep without full fine-tuning": Plan(train_sizes=(100, 300), strategies=("bitfit", "frozen")),
    "two dozen layers": Plan(layers=24, tasks=("questions",), cost=False, seeds=(0,)),
    "two shapes": Plan(shapes=((16, 64), (32, 128)), quality=False),
    "strategies of other people": Plan(
        strategies=("full", "lora", "bitfit:query", *(f"x{index}" for index in range(14))), tasks=("questions",)
    ),
}


class Outline(HTMLParser):
    """What the checks need of a page: tags with attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def values(self, attribute: str) -> list[str]:
        """All values of an attribute."""
        return [value for _, attrs in self.tags if (value := attrs.get(attribute)) is not None]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete run with its report."""
    folder = make_run(tmp_path_factory.mktemp("whole") / "run")
    page.write(folder)
    return folder


def printed(folder: Path, *, colour: bool = False, width: int = 100) -> str:
    """What a terminal of that width shows."""
    out = StringIO()
    Console(file=out, width=width, force_terminal=colour, color_system="truecolor" if colour else None).print(
        terminal.verdict(folder)
    )
    return out.getvalue()


def check_tables(text: str) -> int:
    """Assert that every Markdown table has one width throughout; returns the number of tables."""
    tables = re.findall(r"(?:^\|.*\|\n?)+", text, flags=re.MULTILINE)
    for table in tables:
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.strip().splitlines()}
        assert len(widths) == 1, table
        assert re.fullmatch(r"(\| :?-+:? )+\|", table.splitlines()[1]), table
    return len(tables)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.filterwarnings("error")
def test_every_stage_of_a_run_has_its_report(stage: str, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", STAGES[stage])
    text = page.write(folder, figures=False).read_text(encoding="utf-8")
    outline = Outline(text)
    assert [tag for tag, _ in outline.tags].count("h1") == 1
    ids = outline.values("id")
    assert len(ids) == len(set(ids))
    assert {href[1:] for href in outline.values("href") if href.startswith("#")} <= set(ids)
    check_tables((folder / "report.md").read_text(encoding="utf-8"))
    shown = printed(folder)
    assert max((len(line) for line in shown.splitlines()), default=0) <= 100
    assert ("cells done" in text) == ("cells done" in shown)


def test_the_page_keeps_its_order(whole: Path) -> None:
    text = (whole / "report.html").read_text(encoding="utf-8")
    places = [
        'class="facts"',
        'class="sentences"',
        "<table",
        "Score against memory",
        "Score against step time",
        "All metrics",
        "Learning curves on questions",
        "Generalization gap on questions",
        "Bias change on questions",
        "Cost in detail",
        ">Failures and warnings</h2>",
        ">Conditions</h2>",
        "How to reproduce it",
        ">Glossary</h2>",
    ]
    found = [text.index(place) for place in places]
    assert found == sorted(found)


def test_facts_name_all_that_surrounds_the_numbers(whole: Path) -> None:
    text = (whole / "report.html").read_text(encoding="utf-8")
    facts = re.sub(r"<[^>]*>", " ", text[text.index('class="facts"') : text.index("</header>")])
    for fact in ("minilm", "AMD EPYC 7763 (cpu)", "fp32", "2 threads", "commit 3f9c2a7e51", "50 cells ok", "0 failed"):
        assert fact in facts
    assert "21 with a sign that is explained below the table" in facts
    assert "2025-11-24 08:00:00 UTC" in facts


@pytest.mark.parametrize(
    ("options", "title"),
    [
        (("--seeds", "0"), "embedded"),
        (("--tasks", "./mine.toml"), "embedded (tasks: mine)"),
        (("--tasks=./mine.toml", "--models", "../enc"), "embedded (tasks: mine; models: enc)"),
        (("--strategies", "full,bitfit,bq_b2,frozen"), "embedded (strategies: full, bitfit, bq_b2 and 1 more)"),
    ],
)
def test_a_run_is_titled_by_what_it_ran(options: tuple[str, ...], title: str, tmp_path: Path) -> None:
    strategies = ("full", "bitfit", "bq_b2", "frozen")
    plan = Plan(tasks=("mine",), models=("enc",), strategies=strategies, seeds=(0,), options=options)
    folder = make_run(tmp_path / "run", plan)
    html = page.write(folder, figures=False).read_text(encoding="utf-8")
    assert f"<h1>{title}</h1>" in html
    assert f"<title>{title}: " in html
    assert f"{title}: enc, fp32" in printed(folder)
    assert (folder / "report.md").read_text(encoding="utf-8").startswith("# embedded")


def test_the_page_asks_nothing_of_anybody(whole: Path) -> None:
    text = (whole / "report.html").read_text(encoding="utf-8")
    outline = Outline(text)
    assert not {"script", "iframe", "img", "object", "embed", "base", "form"} & {tag for tag, _ in outline.tags}
    links = [*outline.values("href"), *outline.values("src"), *outline.values("xlink:href")]
    assert [link for link in links if not link.startswith(("#", "data:,"))] == []
    assert re.findall(r"url\((?!#)", text) == []
    assert "@import" not in text
    assert not [name for _, attrs in outline.tags for name in attrs if name.startswith("on")]
    policy = next(attrs for tag, attrs in outline.tags if attrs.get("http-equiv") == "Content-Security-Policy")
    assert (policy["content"] or "").startswith("default-src 'none'")


def test_the_page_can_be_read_without_seeing_it(whole: Path) -> None:
    outline = Outline((whole / "report.html").read_text(encoding="utf-8"))
    levels = [int(tag[1]) for tag, _ in outline.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert all(attrs.get("scope") in ("col", "row", "colgroup") for tag, attrs in outline.tags if tag == "th")
    drawings = [attrs for tag, attrs in outline.tags if tag == "svg"]
    assert all(attrs.get("aria-hidden") == "true" or attrs.get("aria-label") for attrs in drawings)
    assert sum(attrs.get("role") == "img" for attrs in drawings) == 12


def test_every_figure_is_a_file_twice(whole: Path) -> None:
    names = {path.name for path in (whole / "figures").iterdir()}
    assert len(names) == 24
    assert {Path(name).with_suffix(".svg").name for name in names if name.endswith(".png")} < names
    referred = re.findall(r"\]\(figures/([^)]*)\)", (whole / "report.md").read_text(encoding="utf-8"))
    assert len(referred) == 12
    assert set(referred) <= names


def test_a_report_under_way_writes_no_figure_files(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", Plan(tasks=("questions",)))
    text = page.write(folder, figures=False).read_text(encoding="utf-8")
    assert text.count('role="img"') == 5
    assert not (folder / "figures").exists()
    assert "figures/" not in (folder / "report.md").read_text(encoding="utf-8")


def test_a_report_says_how_far_the_run_has_got(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", Plan(alter=only(("full", "bitfit"))))
    text = page.write(folder, figures=False).read_text(encoding="utf-8")
    assert "15 of 50 cells done" in text
    assert "15 of 50 cells done" in (folder / "report.md").read_text(encoding="utf-8")
    assert "15 of 50 cells done" in printed(folder)
    assert "strategy=frozen" in text[text.index("Outstanding cells") :]


def test_a_ratio_below_the_noise_is_explained_beside_the_table(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", Plan(strategies=("full", "bitfit"), quality=False, jitter=0.4))
    html = page.write(folder, figures=False).read_text(encoding="utf-8")
    assert "below the noise" in html[: html.index('class="caption"')]
    explained = "faster or slower only beyond both its interval"
    for text in (html, (folder / "report.md").read_text(encoding="utf-8"), " ".join(printed(folder).split())):
        assert explained in text
    assert "<dt>below the noise</dt>" in html


def test_failures_stay_visible_everywhere(tmp_path: Path) -> None:
    def alter(record: Record) -> Record:
        return failed(record, "the loss is not a number", "diverged") if record.cell.strategy == "bq_b2" else record

    folder = make_run(tmp_path / "run", Plan(alter=alter))
    texts = [page.write(folder, figures=False).read_text(), (folder / "report.md").read_text(), printed(folder)]
    for text in texts:
        assert "bQ+b2" in text
        assert "diverged" in text
        assert "the loss is not a number" in text


def test_synthetic_data_is_marked_wherever_its_results_are(whole: Path) -> None:
    text = (whole / "report.html").read_text(encoding="utf-8")
    explained = SYNTHETIC.partition(":")[2]
    assert explained in text
    heading = re.search(r'<th scope="colgroup"[^>]*>pos-synthetic †.*?</th>', text, flags=re.DOTALL)
    assert heading is not None
    assert "synthetic data" in heading[0]
    for described in re.findall(r'aria-label="([^"]*pos-synthetic[^"]*)"', text):
        assert "synthetic data" in described or "(synthetic data)" in described
    for path in (whole / "figures").glob("*pos-synthetic*.svg"):
        assert "synthetic data" in path.read_text(encoding="utf-8")
    assert f"† {SYNTHETIC}" in printed(whole)
    assert "pos-synthetic †" in (whole / "report.md").read_text(encoding="utf-8")
    questions = re.search(r'<th scope="colgroup"[^>]*>questions.*?</th>', text, flags=re.DOTALL)
    assert questions is not None
    assert "synthetic" not in questions[0]


def test_a_strategy_leads_to_what_it_trains(whole: Path) -> None:
    text = (whole / "report.html").read_text(encoding="utf-8")
    link = re.search(r'<a class="name" href="#(strategy-\d+)">BitFit</a>', text)
    assert link is not None
    assert "Trains every bias of the encoder" in text[text.index(f'id="{link[1]}"') :][:800]


def test_reproduction_names_command_and_suite(whole: Path) -> None:
    text = (whole / "report.html").read_text(encoding="utf-8")
    part = text[text.index('id="reproduce"') :]
    assert "bitfit-bench run embedded --seeds 3" in part
    assert re.search(r"<code>[0-9a-f]{16}</code>", part)


def test_the_same_run_gives_the_same_page(whole: Path, tmp_path: Path) -> None:
    again = make_run(tmp_path / "run")
    page.write(again)
    for name in ["report.html", "report.md", *(f"figures/{path.name}" for path in (whole / "figures").glob("*.svg"))]:
        assert (again / name).read_bytes() == (whole / name).read_bytes(), name


def hostile(record: Record) -> Record:
    """A record whose every free text tries to break out."""
    changed = record.model_copy(
        update={
            "marks": [HOSTILE],
            "warnings": [HOSTILE],
            "descriptions": dict.fromkeys(("strategy", "task", "model"), HOSTILE),
            "conditions": record.conditions.model_copy(update={"device_name": HOSTILE, "versions": {HOSTILE: "1"}}),
        }
    )
    return failed(changed, HOSTILE, "error") if record.cell.strategy == "bitfit" else changed


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    plan = Plan(
        suite=HOSTILE, models=(HOSTILE,), tasks=(HOSTILE,), strategies=("full", "bitfit", HOSTILE), alter=hostile
    )
    folder = make_run(tmp_path / "run", plan)
    text = page.write(folder).read_text(encoding="utf-8")
    assert "script" not in {tag for tag, _ in Outline(text).tags}
    assert not [link for link in Outline(text).values("href") if not link.startswith(("#", "data:,"))]
    assert "&lt;script&gt;" in text
    for path in (folder / "figures").glob("*.svg"):
        assert "<script" not in path.read_text(encoding="utf-8")
    written = (folder / "report.md").read_text(encoding="utf-8")
    prose = "\n".join(line for line in written.splitlines() if not line.startswith("    "))
    assert not re.search(r"(?<!\\)<script", prose)
    assert check_tables(written) > 5
    assert "<script>" in printed(folder)


def test_a_report_is_replaced_whole(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", Plan(alter=only(("full",))))
    page.write(folder, figures=False)
    before = (folder / "report.html").stat().st_ino
    page.write(folder, figures=False)
    # A new file took the old one's name: whoever had it open still has the old one whole.
    assert (folder / "report.html").stat().st_ino != before
    assert not [path.name for path in folder.iterdir() if path.name.startswith(".report")]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", Plan(alter=lambda _: None))
    (folder / "report.md").mkdir()
    (folder / "report.md" / "in the way").touch()
    with pytest.raises(InputError, match=r"cannot write .*report\.md"):
        page.write(folder, figures=False)


def test_the_terminal_needs_no_colour(whole: Path) -> None:
    plain, coloured = printed(whole), printed(whole, colour=True)
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain
    for word in ("BitFit", "full fine-tuning", "reference", "undecided", "questions", "step time", "352 MiB"):
        assert word in plain
    assert not re.search(r"\x1b\[[0-9;]*3[12]m", coloured), "nothing is told in red or green"


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_the_terminal_table_is_cut_to_fit_and_no_value_is(whole: Path, width: int) -> None:
    text = printed(whole, width=width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    values = [sorted(re.findall(r"[\d.]+ [kM]iB", shown)) for shown in (text, printed(whole, width=400))]
    assert values[0] == values[1]


@pytest.mark.parametrize("module", ["reports.page", "reports.terminal", "reports.compare"])
def test_reports_need_no_torch(module: str, whole: Path) -> None:
    call = {
        "reports.page": "page.write(folder, figures=False)",
        "reports.terminal": "terminal.verdict(folder)",
        "reports.compare": "compare.compare([folder, folder])",
    }[module]
    script = (
        "import sys\n"
        "for name in ('torch', 'transformers', 'datasets', 'evaluate', 'sklearn', 'strategies'):\n"
        "    sys.modules[name] = None\n"
        "from pathlib import Path\n"
        f"from reports import {module.partition('.')[2]}\n"
        f"folder = Path({str(whole)!r})\n"
        f"{call}\n"
        "print('done')\n"
    )
    root = Path(page.__file__).parents[1]
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=root, check=False)
    assert found.stdout == "done\n", found.stderr
