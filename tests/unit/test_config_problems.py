"""Wrong configurations: every problem at once, each with its place, value and remedy; never another exception."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelway.config import Config, load_config
from modelway.config.settings import resolve
from modelway.errors import ConfigError

EXAMPLE = (Path(__file__).parents[2] / "examples" / "profile.toml").read_text()


def problems(text: str) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        Config.from_toml(text)
    return {problem.path: problem.message for problem in caught.value.problems}


# (text, path of the one problem, what its message holds)
WRONG = [
    ('[routing]\ncode_keyword = ["x"]', "routing.code_keyword", 'unknown key; did you mean "code_keywords"?'),
    ("[remembering]\nx = 1", "remembering", "unknown key; known here: defaults, routing,"),
    ("[limits]\nrequest_per_minute = 1", "limits.request_per_minute", 'did you mean "requests_per_minute"?'),
    ("[limits]\nrequests_per_minute = 0", "limits.requests_per_minute", "0 can't stand here"),
    ("[limits]\nrequest_burst = 5", "limits.request_burst", "5 is a part of requests_per_minute, which is absent"),
    ("[limits]\nrequests_per_minute = 0\nrequest_burst = 5", "limits.requests_per_minute", "0 can't stand here"),
    ("[limits.user]\ntoken_burst = 5", "limits.user.token_burst", "5 is a part of tokens_per_minute, which is absent"),
    ("[limits.user]\nquota_window_s = 0", "limits.user.quota_window_s", "0 can't stand here"),
    ("[limits]\nquota_requests = 5", "limits.quota_requests", "unknown key"),
    ("[limits]\nuser = 3", "limits.user", "3 can't stand here; it should be a table"),
    ("[fairness]\nmax_waiting = -1", "fairness.max_waiting", "-1 can't stand here"),
    ("[fairness]\nmax_user = 5", "fairness.max_user", 'did you mean "max_users"?'),
    ("[health]\nleast_success_percent = 101", "health.least_success_percent", "101 can't stand here"),
    ("[health]\nsamples_to_judge = 0", "health.samples_to_judge", "0 can't stand here"),
    ('[[privacy.consents]]\ndestination = "x/y"', "privacy.consents[0].destination", "write the host alone"),
    ('[[privacy.consents]]\nkinds = ["text"]', "privacy.consents[0].destination", "missing"),
    ('[[privacy.consents]]\ndestination = "x"\nkinds = ["all"]', "privacy.consents[0].kinds[0]", '"all"'),
    ('[[models]]\nid = "m"\npinnned = true', "models[0].pinnned", 'did you mean "pinned"?'),
    ('[[models]]\nid = "m"\npinned = 1', "models[0].pinned", "1"),
    ("[memory]\nmax_wait_s = 0", "memory.max_wait_s", "0"),
    ("[memory]\nmanaged = true", "memory.managed", 'did you mean "manage"?'),
    ('[[models]]\nid = "m"\nmax_concurrent = 0', "models[0].max_concurrent", "0 can't stand here"),
    (
        '[[models]]\nid = "m"\nlimits = { token_burst = 1 }',
        "models[0].limits.token_burst",
        "1 is a part of tokens_per_minute",
    ),
    ('[[backends]]\nname = "b"\nkind = "ollama"\nlimits = []', "backends[0].limits", "a list can't stand here"),
    ('[[backends]]\nname = "b"\nkind = "ollama"\nmemory_bytes = 0', "backends[0].memory_bytes", "0"),
    ('[[models]]\nid = "m"\n"we ird" = 1', 'models[0]."we ird"', "unknown key"),
    ('[defaults]\ncod = "m"', "defaults.cod", 'did you mean "code"?'),
    ('[defaults]\ncode = "m"\nCodeGeneration = "n"', "defaults", '"code" and "CodeGeneration" are the same task'),
    ('[defaults]\nembedding = "m"', "defaults.embedding", "embeddings are not served yet"),
    ('[defaults]\nEmbedding = "m"', "defaults.Embedding", "embeddings are not served yet"),
    ('[defaults]\ncode = "auto:math"', "defaults.code", '"auto:math" is what a request says'),
    ("[defaults]\ncode = 3", "defaults.code", "3 can't stand here; it should be a valid string"),
    ('[fallbacks]\nembedding = ["m"]', "fallbacks.embedding", "embeddings are not served yet"),
    ('[fallbacks]\ncode = ["deep", "embedding"]', "fallbacks.code[1]", "embeddings are not served yet"),
    ('[fallbacks]\ncode = "deep"', "fallbacks.code", '"deep" can\'t stand here; it should be a list'),
    ('[fallbacks]\n"phi3:mini" = [1]', 'fallbacks."phi3:mini"[0]', "1 can't stand here"),
    ('[privacy]\ndefault_location = "cloud"', "privacy.default_location", "it should be 'local'"),
    ('[privacy]\nallow_external = "no"', "privacy.allow_external", '"no" can\'t stand here'),
    ('[server]\nhost = "0.0.0.0"', "server.host", '"0.0.0.0" is no loopback address; write "127.0.0.1"'),
    ('[server]\nport = 65536', "server.port", "65536 can't stand here"),
    ('[server]\nport = "80"', "server.port", '"80" can\'t stand here'),
    ("[health]\nfailures_to_open = 0", "health.failures_to_open", "0 can't stand here"),
    ("[health]\nbackoff_ms = 10\nmax_backoff_ms = 9", "health.max_backoff_ms", "9 is less than backoff_ms, 10"),
    ("[timeouts]\nquick_ms = -1", "timeouts.quick_ms", "-1 can't stand here"),
    ("[deadlines]\nload_ms = 0.5", "deadlines.load_ms", "0.5 can't stand here"),
    ("server = 3", "server", "3 can't stand here; it should be a table"),
    ("models = {}", "models", "a table can't stand here; it should be a list"),
    ('[[models]]\nname = "m"', "models[0].id", "missing; it says: What requests and chains call it"),
    ('[[models]]\nid = ""', "models[0].id", '"" is no name'),
    ('[[models]]\nid = " m"', "models[0].id", '" m" is no name'),
    ('[[models]]\nid = "a\\nb"', "models[0].id", '"a\\nb" is no name'),
    ('[[models]]\nid = "a\\u202eb"', "models[0].id", "is no name"),
    ('[[models]]\nid = "auto"', "models[0].id", '"auto" is what a request says'),
    ('[[models]]\nid = "m"\naliases = ["Auto:code"]', "models[0].aliases[0]", '"Auto:code" is what a request says'),
    ('[[models]]\nid = "m"\ncost_tier = "cheap"', "models[0].cost_tier", "cheap"),
    ('[[models]]\nid = "m"\nstrengths = ["code", "CodeGen"]', "models[0].strengths[1]", "CodeGen"),
    ('[[models]]\nid = "m"\ncapabilities = ["Vision"]', "models[0].capabilities[0]", "Vision"),
    ('[[models]]\nid = "m"\nmax_context = 0', "models[0].max_context", "0 can't stand here"),
    ('[[models]]\nid = "m"\nmax_context = true', "models[0].max_context", "true can't stand here"),
    ('[[models]]\nid = "m"\navg_tokens_per_sec = nan', "models[0].avg_tokens_per_sec", "finite"),
    ('[[models]]\nid = "m"\nmemory_bytes = 2020-01-01', "models[0].memory_bytes", "2020-01-01"),
    ('[[backends]]\nname = "b"\nkind = "olama"', "backends[0].kind", "'ollama', 'openai', 'llama_cpp' or 'mock'"),
    ('[[backends]]\nname = "b"\nkind = "openai"', "backends[0].url", "missing; write the server's base address"),
    (
        '[[backends]]\nname = "b"\nkind = "llama_cpp"\nurl = "http://127.0.0.1"',
        "backends[0].url",
        "modelway runs this engine itself",
    ),
    ('[[backends]]\nname = "b"\nkind = "mock"\nthreads = 2', "backends[0].threads", "only a backend of kind llama_cpp"),
    ('[[backends]]\nname = "b"\nkind = "ollama"\nurl = "ftp://h"', "backends[0].url", "must begin with http://"),
    (
        '[[backends]]\nname = "b"\nkind = "ollama"\nurl = "http://10.0.0.1"\nlocation = "device"',
        "backends[0].location",
        '"device" is nearer than the address, which is "lan"',
    ),
]  # fmt: skip


@pytest.mark.parametrize(("text", "path", "message"), WRONG, ids=[f"{case[1]}-{i}" for i, case in enumerate(WRONG)])
def test_a_problem_has_its_place_and_remedy(text: str, path: str, message: str) -> None:
    found = problems(text)
    assert list(found) == [path]
    assert message in found[path]


def test_all_problems_come_at_once() -> None:
    found = problems(
        '[defaults]\ncod = "m"\n[server]\nport = -1\nhots = "x"\n'
        '[[models]]\nid = "a"\n[[models]]\nid = "b"\n[[models]]\nid = "c"\ncost_tier = "cheap"\n'
    )
    assert set(found) == {"defaults.cod", "server.port", "server.hots", "models[2].cost_tier"}


@pytest.mark.parametrize(
    "line",
    [
        'api_key = "hunter2"',
        'api_key_env = "hunter-2-hunter2"',
        'api_key_env = ["hunter2"]',
        'url = "http://me:hunter2@127.0.0.1:1"',
        'url = "http://127.0.0.1:1/?key=hunter2"',
        'url = ["hunter2"]',
    ],
)
def test_a_key_in_the_wrong_place_is_not_repeated(line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config.from_toml(f'[[backends]]\nname = "b"\nkind = "ollama"\n{line}\n')
    assert "backends[0]." in str(caught.value)
    assert "hunter" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[server]\nport 1", "line 2, column 6"),
        ("[server", "line 1, "),
        ('[server]\nhost = "x\n', "line 2, "),
        ("[server]\n[server]\n", "line 2, "),
        ("x = 1\nx = 2\n", "line 2, "),
        ("x = '''\n\n", "line 3, end of the text"),
        ("x = 2020-13-45", "line 1, "),
        ("x = '\ud800'", "line 1"),
        ("x = '\0'", "line 1, "),
    ],
)
def test_syntax_errors_name_line_and_column(text: str, place: str) -> None:
    (path,) = problems(text)
    assert path.startswith(place)


@pytest.mark.parametrize("text", [f"x = {'9' * 5000}", f"x = {'[' * 5000}", f"x = 0x{'f' * 5000}"])
def test_absurd_values_are_problems_too(text: str) -> None:
    assert problems(text)


def test_syntax_errors_name_the_file(tmp_path: Path) -> None:
    file = tmp_path / "broken.toml"
    file.write_text("[server")
    with pytest.raises(ConfigError, match=r"broken\.toml: line 1, .*: not valid TOML") as caught:
        load_config(file)
    assert caught.value.source == str(file)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't be read: Is a directory"):
        load_config(tmp_path)
    with pytest.raises(ConfigError, match="no file can have this name"):
        load_config("a\0b")
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b"# one\n# caf\xe9\n")
    with pytest.raises(ConfigError, match="line 2: not UTF-8"):
        load_config(latin)


def only_config_errors(text: str) -> None:
    try:
        resolve(Config.from_toml(text), {})
    except ConfigError as error:
        found = error.problems
    else:
        return
    assert found
    assert all(problem.message for problem in found)


@given(st.text())
def test_any_text_loads_or_is_a_config_error(text: str) -> None:
    only_config_errors(text)


@given(st.data())
def test_any_change_to_an_example_loads_or_is_a_config_error(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(EXAMPLE)))
    end = data.draw(st.integers(start, min(len(EXAMPLE), start + 40)))
    only_config_errors(EXAMPLE[:start] + data.draw(st.text(max_size=20)) + EXAMPLE[end:])


NASTY = ["-1", "0", f"0x{'f' * 5000}", "nan", "-inf", "1e999", "true", "''", "'\\u0000'", "1979-05-27T07:32:00Z"]
NASTY += ["07:32:00", "[]", "[[]]", "{}", "{a = [{b = 1}]}", "[1, 'a']", f"'{'x' * 10_000}'", "'auto'", "'embedding'"]
SCHEMA = Config.model_json_schema()


def every_key() -> list[tuple[str, str]]:
    """(the lines before it, the key) for each key of the configuration."""
    keys = [("", key) for key in SCHEMA["properties"]] + [("[defaults]", "code"), ("[fallbacks]", "code")]
    heads = {"BackendConfig": "[[backends]]", "ModelConfig": "[[models]]"}
    for name, section in SCHEMA["$defs"].items():
        head = heads.get(name, f"[{name.removesuffix('Config').lower()}]")
        keys += [(head, key) for key in section["properties"]]
    return keys


@pytest.mark.parametrize(("head", "key"), every_key())
def test_any_value_of_any_key_loads_or_is_a_config_error(head: str, key: str) -> None:
    for value in NASTY:
        only_config_errors(f"{head}\n{key} = {value}\n")
