"""``eval`` and ``train`` as a user meets them: files in, figures and weights out, nothing overwritten by mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli_helpers import run

import modelway.cli.learning

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
        (b"x" * (5 << 20), "rows.jsonl:1: a line of more than"),
    ],
    ids=["empty", "wrong label", "broken line", "few rows", "one class", "huge line"],
)
def test_bad_input_overwrites_nothing(content: bytes, said: str) -> None:
    Path("rows.jsonl").write_bytes(content)
    Path("own.bin").write_bytes(b"mine")
    result = run("train", "rows.jsonl", "--out", "own.bin", "--force")
    assert (result.exit_code, result.stdout) == (1, "")
    assert said in result.stderr
    assert Path("own.bin").read_bytes() == b"mine"


@pytest.mark.parametrize("arguments", [("eval", "none.jsonl"), ("train", "none.jsonl", "--out", "own.bin")])
def test_a_missing_file_is_told(arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert result.exit_code == 1
    assert "none.jsonl: No such file" in result.stderr


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
