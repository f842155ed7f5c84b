"""Column files of every habit, and span schemes turned into IOB2."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import DataError
from bench.tasks.columns import Layout, conllu, read_columns
from bench.tasks.tagging import to_iob2

FIRST_AND_LAST = Layout(words=1, tags=-1)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "data.txt"
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize(
    "text",
    [
        "a X\nb Y\n\nc X\n",
        "a\tX\nb\tY\n\nc\tX",
        "\ufeffa X\r\nb Y\r\n\r\nc X\r\n",
        "-DOCSTART- -X- O\n\n a   X \nb \t Y\n \t\n\n\nc X\n\n",
        "# a comment\n#id7\na X\nb Y\n\n# id x\tdomain=en\nc X\n",
        "-DOCSTART-\na X\nb Y\n-DOCSTART-\nc X\n",
    ],
)
def test_column_files_of_every_habit_read_alike(text: str, tmp_path: Path) -> None:
    first, second = read_columns(written(tmp_path, text), FIRST_AND_LAST)
    assert (first.words, first.tags) == (("a", "b"), ("X", "Y"))
    assert (second.words, second.tags) == (("c",), ("X",))


def test_a_word_may_be_a_number_sign(tmp_path: Path) -> None:
    tabbed = read_columns(written(tmp_path, "#\tX\n#tag\tY\n"), FIRST_AND_LAST)
    assert tabbed[0].words == ("#", "#tag")
    spaced = read_columns(written(tmp_path, "#tag X\n# Y\n"), FIRST_AND_LAST)
    assert spaced[0].words == ("#tag", "#")


def test_spaces_may_stand_inside_words_of_a_file_with_tabs(tmp_path: Path) -> None:
    assert read_columns(written(tmp_path, "1 000\tX\n"), FIRST_AND_LAST)[0].words == ("1 000",)


def test_the_rows_of_words_are_those_of_the_file(tmp_path: Path) -> None:
    rows = "# c\n1-2\tab\t_\t_\t_\n1\ta\t_\t_\tX\n# within\n2\tb\t_\t_\tY\n2.1\tn\t_\t_\tZ\n".replace(
        "\n", "\t_" * 5 + "\n"
    )
    rows = "\n".join(row.removesuffix("\t_" * 5) if row.startswith("#") else row for row in rows.split("\n"))
    (sentence,) = read_columns(written(tmp_path, rows), conllu(words=2, tags=5))
    assert (sentence.words, sentence.tags, sentence.rows) == (("a", "b"), ("X", "Y"), (3, 5))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a X\nb\n", "row 2: 1 columns, expected 2"),
        ("a X\n\nb Y Z\n", "row 3: 3 columns, expected 2"),
        ("a\tX\n\tY\n", "row 2: the word is empty"),
        ("a\tX\nb\t\n", "row 2: the word 'b' has no tag"),
        ("a X\nb Y\rc Z\n", "row 2: 3 columns, expected 2"),
        ("a\tX\nb\tY\rZ\n", "row 2: a carriage return or NUL"),
        ("-DOCSTART- O\n\n# nothing\n", "holds no sentences"),
        ("\n\n", "is empty"),
    ],
)
def test_what_is_wrong_with_a_column_file_is_said(text: str, said: str, tmp_path: Path) -> None:
    path = written(tmp_path, text)
    with pytest.raises(DataError) as error:
        read_columns(path, FIRST_AND_LAST)
    assert str(error.value).startswith(str(path))
    assert said in str(error.value)


@pytest.mark.parametrize("column", [3, -3])
def test_a_column_that_is_not_there_is_said(column: int, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"row 1: no column {column}; the row has 2"):
        read_columns(written(tmp_path, "a X\n"), Layout(words=1, tags=column))


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("I-A I-A O I-B", "B-A I-A O B-B"),  # IOB1
        ("I-A B-A I-A I-B", "B-A B-A I-A B-B"),  # IOB1, adjoining
        ("B-A I-A B-A O", "B-A I-A B-A O"),  # IOB2
        ("B-A I-B", "B-A B-B"),
        ("S-A B-A I-A E-A O S-B", "B-A B-A I-A I-A O B-B"),  # BIOES
        ("U-A B-A L-A I-A", "B-A B-A I-A B-A"),  # BILOU, and a span that goes on after its end
        ("E-A E-A", "B-A B-A"),
        ("B-A-B I-A-B", "B-A-B I-A-B"),
        ("", ""),
    ],
)
def test_span_schemes_become_iob2(tags: str, expected: str) -> None:
    assert to_iob2(tags.split()) == tuple(expected.split())


def spans(iob2: tuple[str, ...]) -> list[tuple[int, int, str]]:
    """(begin, end, type) of every span."""
    found: list[tuple[int, int, str]] = []
    for place, tag in enumerate(iob2):
        if tag.startswith("B-"):
            found.append((place, place + 1, tag[2:]))
        elif tag.startswith("I-"):
            found[-1] = (found[-1][0], place + 1, tag[2:])
    return found


def written_as(scheme: str, pieces: list[tuple[int, str]]) -> list[str]:
    """Tags of pieces (length, type; '' for no span), in a scheme."""
    tags: list[str] = []
    for length, kind in pieces:
        if not kind:
            tags += ["O"] * length
            continue
        adjoins = bool(tags) and tags[-1].endswith(f"-{kind}")
        if scheme == "IOB1":
            letters = ["B" if adjoins else "I", *"I" * (length - 1)]
        elif scheme == "IOB2":
            letters = ["B", *"I" * (length - 1)]
        else:
            begin, end, single = ("B", "E", "S") if scheme == "BIOES" else ("B", "L", "U")
            letters = [single] if length == 1 else [begin, *"I" * (length - 2), end]
        tags += [f"{letter}-{kind}" for letter in letters]
    return tags


@pytest.mark.parametrize("scheme", ["IOB1", "IOB2", "BIOES", "BILOU"])
@given(pieces=st.lists(st.tuples(st.integers(1, 4), st.sampled_from(["", "A", "B"])), max_size=8))
def test_spans_survive_the_conversion_from_every_scheme(scheme: str, pieces: list[tuple[int, str]]) -> None:
    begin, expected = 0, []
    for length, kind in pieces:
        if kind:
            expected.append((begin, begin + length, kind))
        begin += length
    converted = to_iob2(written_as(scheme, pieces))
    assert spans(converted) == expected
    assert to_iob2(converted) == converted


@pytest.mark.parametrize(
    ("ids", "said"), [("1 2 1", "row 3: token number 1, expected 3"), ("2 3", "row 1: token number 2, expected 1")]
)
def test_sentences_that_run_into_each_other_are_noticed(ids: str, said: str, tmp_path: Path) -> None:
    text = "".join(f"{number}\tw\t_\tX" + "\t_" * 6 + "\n" for number in ids.split())
    with pytest.raises(DataError, match=said):
        read_columns(written(tmp_path, text), conllu(words=2, tags=4))
