"""Reading labelled prompts: what is accepted, and where a fault is said to be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modelway.learn.families import families, family_names
from modelway.learn.rows import LABELS, MAX_LINE, Row, RowError, read_rows

GOOD = b'{"text": "hello", "label": "quick"}\n'


def write(folder: Path, content: bytes, name: str = "rows.jsonl") -> Path:
    file = folder / name
    file.write_bytes(content)
    return file


def test_every_field_is_read(tmp_path) -> None:
    row = {"text": "Bonjour à tous", "label": "general", "also": ["quick"], "lang": "fr", "source": "s", "id": "7"}
    (found,) = read_rows([write(tmp_path, json.dumps(row | {"licence": "x", "weight": 3}).encode())])
    assert found == Row("Bonjour à tous", 6, (0,), "fr", "s", "7", 3.0)
    assert found.accepted == {0, 6}


def test_what_may_be_absent(tmp_path) -> None:
    first, again, other = read_rows(
        [write(tmp_path, GOOD + b"\n  \n" + GOOD), write(tmp_path, b'{"text": "hi", "label": "quick"}', "b")]
    )
    assert (first.also, first.lang, first.source, first.weight) == ((), "unknown", "unknown", 1.0)
    assert first.id == again.id != other.id


@pytest.mark.parametrize("label", LABELS)
def test_every_label_is_known(tmp_path, label: str) -> None:
    (row,) = read_rows([write(tmp_path, json.dumps({"text": "x", "label": label}).encode())])
    assert LABELS[row.label] == label


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"{", "not JSON"),
        (b'{"text": "caf\xe9", "label": "code"}', "not JSON"),
        (b'{"text": "\\ud800", "label": "code"}', "not JSON"),
        (b"[1]", "not an object"),
        (b'{"label": "code"}', '"text" is missing'),
        (b'{"text": 7, "label": "code"}', '"text" is missing or no string'),
        (b'{"text": " \\n", "label": "code"}', '"text" is empty'),
        (b'{"text": "x"}', '"label" is absent'),
        (b'{"text": "x", "label": "code", "weight": NaN}', "not JSON"),
        (b'{"text": "x", "label": "code", "weight": "NaN"}', '"weight" is no number from 0.001 to 1000'),
        (b'{"text": "x", "label": "code", "weight": true}', '"weight" is no number'),
        (b'{"text": "x", "label": "code", "weight": 0}', '"weight" is no number'),
        (b'{"text": "x", "label": "code", "weight": 1e300}', '"weight" is no number'),
        (b'{"text": "x", "label": "coed"}', 'did you mean "code"?'),
        (b'{"text": "x", "label": "embedding"}', "labels: quick, deep"),
        (b'{"text": "x", "label": "code", "also": "math"}', '"also" is no list'),
        (b'{"text": "x", "label": "code", "also": ["maths"]}', '"also" is "maths"'),
        (b'{"text": "x", "label": "code", "lang": 3}', '"lang"'),
    ],
)
def test_a_fault_is_told_by_file_and_line(tmp_path, line: bytes, said: str) -> None:
    file = write(tmp_path, GOOD + b"\n" + line + b"\n")
    with pytest.raises(RowError) as caught:
        read_rows([write(tmp_path, GOOD, "good.jsonl"), file])
    assert (caught.value.file, caught.value.line) == (str(file), 3)
    assert str(caught.value).startswith(f"{file}:3: ")
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "line",
    [
        b'{"text": "my secret", "label": "coed"}',
        b'{"text": "my secret" "label": "code"}',
        b'{"text": "my secret", "label": "code", "also": 1}',
    ],
)
def test_no_message_holds_the_text(tmp_path, line: bytes) -> None:
    with pytest.raises(RowError) as caught:
        read_rows([write(tmp_path, line)])
    assert "secret" not in str(caught.value)


def test_a_huge_line_is_refused_before_all_of_it_is_read(tmp_path) -> None:
    file = tmp_path / "huge.jsonl"
    with file.open("wb") as out:
        out.write(GOOD)
        out.truncate(1 << 30)  # a line of zeros that takes no room on the disk, and would take all memory
    with pytest.raises(RowError, match=f"more than {MAX_LINE:,} bytes") as caught:
        read_rows([file])
    assert caught.value.line == 2


@pytest.mark.parametrize("content", [b"", b"\n \n"])
def test_a_file_without_rows_is_refused(tmp_path, content: bytes) -> None:
    with pytest.raises(RowError, match="no rows"):
        read_rows([write(tmp_path, content)])


def test_a_file_that_is_not_there_is_refused(tmp_path) -> None:
    with pytest.raises(RowError, match="No such file") as caught:
        read_rows([tmp_path / "none.jsonl"])
    assert caught.value.line == 0


def row_of(source: str) -> Row:
    return Row("x", 0, (), "en", source, source)


def test_a_source_belongs_to_the_longest_name_it_begins_with() -> None:
    rows = [row_of(source) for source in ("clinc150-yes", "clinc150-no", "clinc", "other")]
    assert families(rows, ["clinc", "clinc150", "unused"]) == ["clinc150", "clinc150", "clinc", "other"]


def test_one_family_alone_is_refused() -> None:
    with pytest.raises(RowError, match='family "clinc"'):
        families([row_of("clinc-a"), row_of("clinc-b")], ["clinc"])


@pytest.mark.parametrize(
    ("content", "names"),
    [(None, []), (b"nat\tarena\tApache-2.0\nno tab\ntrain\tgsm8k\n", ["arena", "gsm8k"])],
)
def test_names_of_families_stand_beside_the_rows(tmp_path, content: bytes | None, names: list[str]) -> None:
    if content is not None:
        write(tmp_path, content, "sources.tsv")
    assert family_names(tmp_path / "rows.jsonl") == names


def test_names_that_are_no_text_are_refused(tmp_path) -> None:
    write(tmp_path, b"\xff\tx", "sources.tsv")
    with pytest.raises(RowError, match="can't be read"):
        family_names(tmp_path / "rows.jsonl")
