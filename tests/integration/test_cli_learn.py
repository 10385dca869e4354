"""``eval`` and ``train`` as a user meets them: files in, figures and weights out, nothing overwritten by mistake."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import pytest
from cli_helpers import run

import modelway.cli.learning
from modelway.config import trained_weights_file

#: Prompts in words that no one else uses: math where zorbing stands, creative where quaxing does; three sources.
OWN = Path(__file__).parents[1] / "data/own_prompts.jsonl"

KEYS = [
    "n", "strict", "lenient", "macro_f1", "ece", "flip_rate", "unsure", "per_class", "per_language", "by_threshold",
    "complexity_auc", "us_p50", "us_p99",
]  # fmt: skip

PROMPTS = [
    {"text": "Write a Python function that reverses a string", "label": "code"},
    {"text": "Solve x^2 + 5x + 6 = 0", "label": "math"},
    {"text": "What is the capital of France?", "label": "quick", "also": ["general"]},
    {"text": "Write a poem about the sea in autumn", "label": "creative"},
    {"text": "Schreibe ein Gedicht über den Herbst", "label": "creative", "lang": "de"},
]


@pytest.fixture(autouse=True)
def only_this_folder(tmp_path, monkeypatch) -> None:
    """No configuration of this machine is found."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MODELWAY_CONFIG", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


def write(rows: list[dict[str, object]], name: str = "rows.jsonl") -> Path:
    file = Path(name)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def test_eval_reports_in_json() -> None:
    result = run("eval", write(PROMPTS), "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    report = json.loads(result.stdout)
    assert set(KEYS) <= set(report)
    assert report["n"] == len(PROMPTS)
    assert 0.8 <= report["strict"] <= report["lenient"] <= 1
    assert set(report["per_language"]) == {"unknown", "de"}
    assert 0 < report["us_p50"] <= report["us_p99"]


def test_eval_shows_tables_to_people() -> None:
    result = run("eval", write(PROMPTS), write(PROMPTS[:1], "more.jsonl"))
    assert result.exit_code == 0
    for fact in ("prompts", "6", "flip rate", "by class", "creative", "by language", "de", "by threshold", "0.35"):
        assert fact in result.stdout
    assert "no such prompts" in result.stdout  # none is deep


def test_the_seed_draws_the_edits() -> None:
    def report(seed: str) -> dict[str, object]:
        found = json.loads(run("eval", OWN, "--seed", seed, "--json").stdout)
        return {key: value for key, value in found.items() if not key.startswith("us_")}

    assert report("1") == report("1") != report("2")


def test_eval_leaves_families_out() -> None:
    file = Path("rows.jsonl")
    file.write_bytes(OWN.read_bytes())
    Path("sources.tsv").write_text("own\tteam-1\tmine\nown\tteam\tmine\n", encoding="utf-8")
    result = run("eval", file, "--leave-one-family-out", "--json")
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert {name: of["n"] for name, of in report["by_family"].items()} == {"team": 53, "team-1": 27}
    assert report["strict"] > 0.9
    assert "team-1" in run("eval", file, "--leave-one-family-out").stdout


def test_weights_of_ones_own_are_trained_and_used() -> None:
    trained = run("train", OWN, "--out", "own.bin", "--json")
    assert trained.exit_code == 0, trained.stderr
    report = json.loads(trained.stdout)
    assert report["better"]
    assert report["written"] == "own.bin"
    assert report["present"]["strict"] < report["trained"]["strict"]
    assert "[classifier]" in trained.stderr
    Path("modelway.toml").write_text('[classifier]\nweights = "own.bin"\n[defaults]\ngeneral = "m"\n', encoding="utf-8")
    assert json.loads(run("eval", OWN, "--json").stdout)["strict"] > 0.9
    decision = json.loads(run("route", "zorbing the copper violin", "--explain", "--json").stdout)
    assert decision["task"] == "math"
    assert [place["task"] for place in decision["evidence"]]


def test_training_again_with_no_gain_writes_nothing() -> None:
    assert run("train", OWN, "--out", "own.bin").exit_code == 0
    Path("modelway.toml").write_text('[classifier]\nweights = "own.bin"\n', encoding="utf-8")
    before = Path("own.bin").read_bytes()
    refused = run("train", OWN, "--out", "own.bin", "--seed", "3")
    assert refused.exit_code == 1
    assert "no better" in refused.stderr
    assert "trained" in refused.stdout
    assert Path("own.bin").read_bytes() == before
    forced = run("train", OWN, "--out", "own.bin", "--seed", "3", "--force")
    assert forced.exit_code == 0, forced.stderr
    assert Path("own.bin").read_bytes() != before
    assert [path.name for path in Path().iterdir() if "part" in path.name] == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "rows.jsonl: no rows"),
        (b'{"text": "x", "label": "coed"}\n', "rows.jsonl:1: "),
        (b'{"text": "x", "label": "code"}\n{"text"', "rows.jsonl:2: not JSON"),
        (b'{"text": "x", "label": "code"}\n' * 3, "3 rows are too few"),
        (b"".join(b'{"text": "x%d", "label": "code"}\n' % number for number in range(60)), "one label"),
        (b'{"text": "caf\xe9", "label": "code"}\n', "rows.jsonl:1: not JSON"),
        (b'{"text": "x", "label": "code", "weight": NaN}\n', "rows.jsonl:1: not JSON"),
        (b'{"text": "x", "label": "code", "weight": -1}\n', 'rows.jsonl:1: "weight" is no number'),
    ],
    ids=["empty", "wrong label", "broken line", "few rows", "one class", "not UTF-8", "NaN", "negative weight"],
)
def test_bad_input_overwrites_nothing(content: bytes, said: str) -> None:
    Path("rows.jsonl").write_bytes(content)
    Path("own.bin").write_bytes(b"mine")
    result = run("train", "rows.jsonl", "--out", "own.bin", "--force")
    assert (result.exit_code, result.stdout) == (1, "")
    assert said in result.stderr
    assert Path("own.bin").read_bytes() == b"mine"


@pytest.mark.parametrize("command", ["eval", "train"])
def test_a_line_of_a_gigabyte_is_refused_without_being_read(command: str) -> None:
    with Path("rows.jsonl").open("wb") as file:
        file.truncate(1 << 30)  # zeros that take no room on the disk
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = run(command, "rows.jsonl")
    assert result.exit_code == 1
    assert "rows.jsonl:1: a line of more than 16,777,216 bytes" in result.stderr
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000, "KB; the line would take a million"
    assert not trained_weights_file().exists()


@pytest.mark.parametrize(("name", "said"), [("none.jsonl", "No such file"), (".", "Is a directory")])
@pytest.mark.parametrize("command", ["eval", "train"])
def test_what_is_no_file_is_told(command: str, name: str, said: str) -> None:
    result = run(command, name)
    assert result.exit_code == 1
    assert f"{name}: {said}" in result.stderr


def test_trained_weights_are_in_force_until_they_are_reset() -> None:
    def shown() -> tuple[str, str]:
        described = json.loads(run("config", "show", "--json").stdout)
        return described["values"]["classifier"]["weights"], described["sources"]["classifier.weights"]

    assert shown() == (None, "default")
    trained = run("train", OWN)
    assert trained.exit_code == 0, trained.stderr
    assert "in force from now on" in trained.stderr
    assert shown() == (str(trained_weights_file()), "modelway train")
    assert json.loads(run("eval", OWN, "--json").stdout)["strict"] > 0.9
    again = run("train", "--reset", "--json")
    assert (again.exit_code, json.loads(again.stdout)) == (0, {"removed": str(trained_weights_file())})
    assert shown() == (None, "default")
    nothing_left = run("train", "--reset")
    assert nothing_left.exit_code == 0
    assert "in force already" in nothing_left.stderr


def test_a_line_of_the_configuration_goes_before_trained_weights() -> None:
    assert run("train", OWN, "--out", "own.bin").exit_code == 0
    Path("modelway.toml").write_text('[classifier]\nweights = "own.bin"\n', encoding="utf-8")
    line = f'[classifier] weights = "own.bin" in {Path("modelway.toml").absolute()}'
    trained = run("train", OWN, "--force")
    assert f"not used as long as there is {line}" in trained.stderr
    assert json.loads(run("config", "show", "--json").stdout)["values"]["classifier"]["weights"] == "own.bin"
    refused = run("train", "--reset")
    assert refused.exit_code == 1
    assert f"{line}; remove this line" in refused.stderr
    assert trained_weights_file().exists()


def test_training_can_start_from_scratch() -> None:
    present, scratch = (
        json.loads(run("train", OWN, "--json", *more).stdout) for more in ((), ("--from-scratch", "--force"))
    )
    assert present["present"] != scratch["present"], "the first was in force when the second was trained"
    before = trained_weights_file().read_bytes()
    assert run("train", OWN, "--from-scratch", "--force").exit_code == 0
    assert trained_weights_file().read_bytes() == before


@pytest.mark.parametrize(
    "arguments",
    [("train",), ("train", OWN, "--reset"), ("train", "--reset", "--force"), ("train", "--reset", "--out", "x.bin")],
    ids=["no file", "reset and file", "reset and force", "reset and out"],
)
def test_wrong_use_is_told(arguments: tuple[str | Path, ...]) -> None:
    assert run(*arguments).exit_code == 2


def test_a_folder_that_can_not_be_written_is_told() -> None:
    trained_weights_file().parent.write_bytes(b"a file where the folder should be")
    result = run("train", OWN)
    assert result.exit_code == 1
    assert "can't be written" in result.stderr
    assert "--out" in result.stderr


@pytest.mark.parametrize("out", ["missing/own.bin", "."])
def test_where_to_write_is_checked_first(out: str) -> None:
    result = run("train", "none.jsonl", "--out", out)
    assert result.exit_code == 2
    assert "--out" in result.stderr


@pytest.mark.parametrize("arguments", [("eval", "rows.jsonl"), ("train", "rows.jsonl", "--out", "own.bin")])
def test_the_extra_is_named_where_it_is_missing(arguments: tuple[str, ...], monkeypatch) -> None:
    write(PROMPTS)
    monkeypatch.setattr(modelway.cli.learning, "find_spec", lambda name: None)
    result = run(*arguments)
    assert result.exit_code == 1
    assert "pip install 'modelway[learn]'" in result.stderr
