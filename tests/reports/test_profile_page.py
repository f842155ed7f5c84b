"""The profile page: sums that add up, differences in order, what is not decided, and nothing from the network."""

from pathlib import Path

import pytest

from bench.profiles import InputError, read
from made_profiles import made, save
from reports import profile_page
from reports.profile_comparison import module_lines, operator_lines, phase_lines, sentences, step_line
from reports.profile_tables import SHOWN, difference_table, memory_table, top_table

FULL, BITFIT = made("full"), made("bitfit")


def test_operators_are_sorted_by_how_much_they_differ() -> None:
    lines = operator_lines([FULL, BITFIT])
    assert [line.name for line in lines] == ["aten::mm", "aten::fill_", "aten::_fused_adamw_", "aten::addmm"]
    assert [line.differences[0] for line in lines] == pytest.approx([-0.030, -0.005, -0.003, 0.001])
    assert lines[1].seconds[1] is None, "what does not run has no time, not a time of 0"
    assert lines[1].notes == ("2 calls", "")


def test_phases_add_up_to_the_step_whatever_the_clock() -> None:
    for clock, share in (("cpu", 1.0), ("device", 0.5)):
        both = [made("full", clock=clock), made("bitfit", clock=clock)]
        phases = phase_lines(both)
        assert [line.name for line in phases] == ["forward pass", "backward pass", "optimizer"]
        for place, total in enumerate(step_line(both).seconds):
            assert total == pytest.approx(sum(line.seconds[place] or 0.0 for line in phases))
        assert list(step_line(both).seconds) == pytest.approx([0.099 * share, 0.062 * share])


def test_the_step_of_median_time_stands_for_all() -> None:
    noisy = made("full", noise=0.2)
    assert noisy.shown_step == 2
    assert step_line([noisy]).longest == pytest.approx(0.099)


def test_layers_are_taken_together() -> None:
    (line,) = module_lines([FULL, BITFIT])
    assert line.name == "encoder.layer.*.output.dense"
    assert list(line.seconds) == pytest.approx([0.060, 0.030])


def test_what_the_steps_do_not_agree_on_is_not_decided() -> None:
    clear, noisy = [FULL, BITFIT], [made("full", noise=0.3), made("bitfit", noise=0.3)]
    assert operator_lines(clear)[0].decided == (True,)
    said = {line.name: line.decided[0] for line in operator_lines(noisy)}
    assert said == {"aten::mm": True, "aten::fill_": True, "aten::_fused_adamw_": True, "aten::addmm": False}
    table = difference_table(noisy)
    assert table is not None
    assert [row[-1].strong for row in table.rows] == [True, True, True, False]


def test_words_name_the_phases_and_the_largest_difference() -> None:
    own, compared = sentences([FULL, BITFIT])
    assert own.text == "99 ms a step under the profiler: forward pass 30%, backward pass 66%, optimizer 4.0%."
    assert compared.label == "BitFit"
    assert "62 ms a step under the profiler, 0.63 of full fine-tuning" in compared.text
    assert "backward pass \N{MINUS SIGN}35.0" in compared.text
    assert "aten::mm in the backward pass, \N{MINUS SIGN}30.0 ms" in compared.text
    assert "machine" not in compared.text
    noisy = sentences([made("full", noise=0.4), made("bitfit", noise=0.4)])
    assert "the difference may be the machine's" in noisy[1].text


def test_what_is_left_out_of_a_long_table_is_counted() -> None:
    operators = [FULL.operators[0].model_copy(update={"name": f"aten::op{n}"}) for n in range(SHOWN + 5)]
    many = FULL.model_copy(update={"operators": operators})
    table = top_table([many])
    assert len(table.rows) == SHOWN + 1
    assert table.rows[-1][0].text == "5 others"
    assert table.rows[-1][1].text == "150.00"


def test_memory_says_where_its_peak_is_and_why_there_is_none() -> None:
    table = memory_table([FULL, made("bitfit", memory=False)])
    assert table is not None
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["full fine-tuning", "100 MiB", "300 MiB", "forward"],
        ["BitFit", "n/a", "", ""],
    ]
    assert "--memory" in table.rows[1][1].note
    assert memory_table([made("full", memory=False)]) is None


@pytest.mark.parametrize("strategies", [("full",), ("full", "bitfit"), ("full", "bitfit", "lora:8")])
def test_the_page_holds_everything_and_asks_for_nothing(strategies: tuple[str, ...], tmp_path: Path) -> None:
    folder = save(tmp_path / "profiles", *(made(name) for name in strategies))
    text = profile_page.write(folder).read_text(encoding="utf-8")
    assert "default-src 'none'" in text
    assert "<script" not in text
    assert 'src="' not in text
    assert 'href="http' not in text
    assert ('id="differences"' in text) == (len(strategies) > 1)
    assert text.count('role="img"') == 1
    for name in strategies:
        assert f"<code>{name}</code>" in text
        assert f"{name.replace(':', '-')}/bitfit-bench_1.1.pt.trace.json.gz" in text


def test_a_page_without_memory_says_how_to_get_it(tmp_path: Path) -> None:
    folder = save(tmp_path, made("full", memory=False), made("bitfit", memory=False))
    text = profile_page.write(folder).read_text(encoding="utf-8")
    assert "ask for it with --memory" in text
    assert 'role="img"' not in text


def test_profiles_are_read_in_the_order_they_were_taken(tmp_path: Path) -> None:
    save(tmp_path, BITFIT, FULL)
    assert [profile.cell.strategy for profile in read(tmp_path)] == ["full", "bitfit"]


def test_what_is_no_profile_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no profile"):
        read(tmp_path)
    folder = save(tmp_path, FULL)
    path = folder / "full" / "profile.json"
    path.write_text(path.read_text().replace('"steps":3', '"steps":4'))
    with pytest.raises(InputError, match="not every time has a value for each of 4 steps") as said:
        read(tmp_path)
    assert "\n" not in str(said.value)
    path.write_bytes(b"\xff")
    with pytest.raises(InputError, match="cannot read"):
        read(tmp_path)
