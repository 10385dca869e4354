"""`ModelRouter` as users meet it: configurations in TOML, decisions with their reasons, changes while running."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import modelway as mw
from modelway import explain

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="module")
def design() -> mw.ModelRouter:
    return mw.ModelRouter(mw.load_config(DATA / "design_defaults.toml"))


def router_of(toml: str) -> mw.ModelRouter:
    return mw.ModelRouter(mw.Config.from_toml(toml))


THREE = """
[[models]]
id = "coder"
aliases = ["dev"]
strengths = ["code"]
max_context = 1000
[[models]]
id = "talker"
strengths = ["creative", "general"]
[[models]]
id = "cloudy"
location = "external"
strengths = ["deep"]
"""


@pytest.mark.parametrize(
    ("task", "chain"),
    [
        ("code", ("llama3.1:8b",)),
        ("math", ("llama3.1:8b",)),
        ("quick", ("llama3.1:8b",)),
        ("creative", ("llama3.1:8b",)),
        ("deep", ()),
        ("general", ()),
        (mw.TaskClass.CodeGeneration, ("llama3.1:8b",)),
        ("phi3:mini", ("llama3.1:8b",)),
        ("llama3.1:8b", ()),
    ],
)
def test_the_designs_chains_hold_each_model_once(design: mw.ModelRouter, task: str, chain: tuple[str, ...]) -> None:
    assert design.fallback_chain(task) == chain


def test_the_designs_chains_with_a_deep_model_of_its_own() -> None:
    toml = (DATA / "design_defaults.toml").read_text(encoding="utf-8")
    router = router_of(toml.replace('deep = "llama3.1:8b"', 'deep = "qwen3:14b"'))
    for task in ("code", "math"):
        assert router.fallback_chain(task) == ("qwen3:14b", "llama3.1:8b")
    for task in ("quick", "creative"):
        assert router.fallback_chain(task) == ("llama3.1:8b",)
    assert router.fallback_chain("general") == ()


def test_the_designs_profile_loads_unchanged() -> None:
    router = mw.ModelRouter(mw.load_config(DATA / "design_profile.toml"))
    profile = router.profiles["deepseek-coder:6.7b"]
    assert profile.strengths == (mw.TaskClass.CodeGeneration, mw.TaskClass.ToolUse)
    assert profile.weaknesses == (mw.TaskClass.Creative,)
    assert (profile.avg_ttft_ms, profile.latency_class, profile.max_context) == (150, mw.LatencyClass.Fast, 16_384)
    assert (profile.avg_tokens_per_sec, profile.memory_bytes) == (40.0, 6_000_000_000)
    assert (profile.cost_tier, profile.location, profile.backend_id) == ("free", "device", "ollama")
    assert profile.supports_tools
    assert profile.supports_streaming


def test_s07_a_model_by_any_of_its_names() -> None:
    router = router_of(THREE)
    for name in ("coder", "dev"):
        assert router.resolve(name) == "coder"
        decision = router.select(mw.RoutingRequest("tell me a story", model=name))
        assert (decision.model, decision.reason, decision.task) == ("coder", "explicit_model", "creative")
    assert list(router.profiles) == ["coder", "talker", "cloudy"]
    assert router.profiles["coder"].aliases == ("dev",)


def test_an_unknown_model_is_an_error_with_the_nearest_name() -> None:
    router = router_of(THREE)
    with pytest.raises(mw.UnknownModel, match='no model is called "codr"; did you mean "coder"') as caught:
        router.select(mw.RoutingRequest("hi", model="codr"))
    assert caught.value.name == "codr"
    with pytest.raises(mw.UnknownModel, match="`modelway models` lists what there is"):
        router.resolve("zzzzzzzzzz")
    with pytest.raises(mw.UnknownModel, match='did you mean "creative"'):
        router.fallback_chain("creatve")


def test_a_model_elsewhere_is_shown_and_never_asked() -> None:
    router = router_of(THREE)
    assert router.profiles["cloudy"].location == "external"
    for request in (mw.RoutingRequest("hi", model="cloudy"), mw.RoutingRequest("hi", task="deep")):
        decision = router.select(request)
        assert decision.reason == "privacy"
        assert "nothing leaves it without consent" in decision.explanation
        assert decision.rejected == (("cloudy", "external"),)
        assert "cloudy" not in (decision.model, *decision.chain)


def test_a_request_too_long_for_all_says_how_long_and_how_much_there_is() -> None:
    router = router_of('[[models]]\nid = "a"\nmax_context = 100\n[[models]]\nid = "b"\nmax_context = 200')
    with pytest.raises(mw.ContextTooLong, match="about 5000 tokens and the longest context of the models left is 200"):
        router.select(mw.RoutingRequest("hi", context_tokens=5_000))
    with pytest.raises(mw.ContextTooLong) as caught:
        router.select("word " * 1_000)
    assert (caught.value.needed_tokens, caught.value.max_context) == (1_250, 200)


def test_m02_a_long_prompt_is_weighed_whole_and_never_cut() -> None:
    router = router_of('[[models]]\nid = "small"\nmax_context = 8192\n[[models]]\nid = "large"\nmax_context = 131072')
    decision = router.select("Write a Rust function. " + "word " * 30_000)
    assert (decision.model, decision.reason, decision.task) == ("large", "context_length", "code")


def test_an_embedding_never_falls_back_to_another_model() -> None:
    with pytest.raises(mw.NoModelAvailable, match="embeddings are not served"):
        router_of(THREE).select(mw.RoutingRequest("hi", task="embedding"))


def test_a_router_without_models_names_the_call_that_finds_some() -> None:
    with pytest.raises(mw.NoModelAvailable, match=r"await modelway.discover\(config\)"):
        mw.ModelRouter(mw.Config()).select("hi")


@pytest.mark.parametrize(
    ("request_", "reason", "says"),
    [
        (mw.RoutingRequest("hi", model="coder"), "explicit_model", "you asked for this model"),
        (mw.RoutingRequest("hi", task="math"), "explicit_task", "you asked for math"),
        (mw.RoutingRequest("debug this Python script"), "classified", "the words of the request say it is about code"),
        (mw.RoutingRequest("12+30"), "structure", "the form of the request says it is mathematics"),
        (
            mw.RoutingRequest("why?", messages=[{"role": "user", "content": "debug this Python script"}]),
            "context",
            "the request follows up on what came before, which is about code",
        ),
        (
            mw.RoutingRequest(messages=[{"role": "system", "content": "You are a title generator"}]),
            "structure",
            "the client asks for this by itself",
        ),
        (mw.RoutingRequest(""), "default", "there is nothing to read, so the general model serves"),
        (
            mw.RoutingRequest("help me with something"),
            "unsure",
            "nothing in the request points clearly to a specialist",
        ),
        (mw.RoutingRequest("calculate"), "unsure", "points clearly to a specialist (math"),
        (
            mw.RoutingRequest("hi", task="code", context_tokens=2_000),
            "context_length",
            "longer than the context of the",
        ),
        (mw.RoutingRequest("hi", task="deep"), "privacy", "the first choice is not on this machine"),
    ],
)
def test_every_decision_says_why(request_: mw.RoutingRequest, reason: str, says: str) -> None:
    decision = router_of(THREE).select(request_)
    assert decision.reason == reason
    assert says in decision.explanation
    assert not decision.explanation.endswith(".")


def test_every_word_of_the_core_has_a_sentence() -> None:
    for rejection in (
        "external", "lan", "local_only", "unscanned", "images_leave", "consent", "license",
        "tools", "images", "context_length", "unavailable", "cold",
    ):  # fmt: skip
        assert explain.rejection_sentence(rejection)
    for held in (None, "rate_limited", "busy", "missing", "unauthorized"):
        assert explain.not_now_sentence(held)
    assert set(explain.TASK_WORDS) == {str(task) for task in mw.TaskClass.all()}


def test_a_new_configuration_takes_over_whole_and_old_decisions_stay_readable() -> None:
    router = router_of(THREE)
    before = router.select("tell me a story")
    seen = before.to_dict()
    router.replace_config(mw.Config.from_toml('[[models]]\nid = "other"'))
    assert router.select("tell me a story").model == "other"
    assert list(router.profiles) == ["other"]
    assert [model.id for model in router.settings.models] == ["other"]
    assert before.to_dict() == seen
    assert (before.model, before.chain) == ("talker", ("coder",))


@pytest.mark.parametrize(
    "toml",
    ['[[models]]\nid = "a"\n[[models]]\nid = "a"', '[[models]]\nid = "a"\nbackend = "nowhere"'],
    ids=["refused by the core", "refused by the settings"],
)
def test_a_configuration_that_can_not_be_used_changes_nothing(toml: str) -> None:
    router = router_of(THREE)
    settings = router.settings
    with pytest.raises(mw.ConfigError):
        router.replace_config(mw.Config.from_toml(toml))
    assert router.settings is settings
    assert router.select("tell me a story").model == "talker"


def test_a_default_may_leave_ollamas_tag_out() -> None:
    router = router_of('[[models]]\nid = "phi:latest"\n[defaults]\ncode = "phi"\nmath = "qwen"')
    assert list(router.profiles) == ["phi:latest", "qwen"]
    assert router.select(mw.RoutingRequest("hi", task="code")).model == "phi:latest"


def test_a_default_that_names_a_task_is_one_problem_at_its_place() -> None:
    with pytest.raises(mw.ConfigError) as caught:
        router_of('[defaults]\ncode = "deep"')
    assert [problem.path for problem in caught.value.problems] == ["defaults.code"]


def test_a_router_is_used_from_many_threads_while_its_configuration_changes() -> None:
    router = router_of(THREE)
    configs = [mw.Config.from_toml(THREE), mw.Config.from_toml('[[models]]\nid = "other"')]

    def ask(_: int) -> bool:
        decision = router.select("tell me a story")
        return (decision.model, decision.chain) in {("talker", ("coder",)), ("other", ())}

    with ThreadPoolExecutor(4) as pool:
        answers = pool.map(ask, range(400))
        for turn in range(20):
            router.replace_config(configs[turn % 2])
        assert all(answers)


def test_a_router_knows_what_its_configuration_consents_to() -> None:
    text = (
        "[privacy]\nallow_external = true\nsecret_scan_before_external = false\n%s"
        '[[backends]]\nname = "p"\nkind = "openai"\nurl = "https://api.example.com/v1"\n'
        '[[models]]\nid = "big"\nbackend = "p"\n'
    )
    consent = '[[privacy.consents]]\ndestination = "api.example.com"\n'
    router = mw.ModelRouter(mw.Config.from_toml(text % consent))
    assert router.select("hello").model == "big"
    allowed = router.clear("big", "hello", "r1")
    router.replace_config(mw.Config.from_toml(text % consent))
    assert allowed is not None
    assert allowed.is_valid
    router.replace_config(mw.Config.from_toml(text % ""))
    assert not allowed.is_valid
    with pytest.raises(mw.ConsentRequired):
        router.select("hello")
    router.set_consents([{"id": "a1", "destination": "api.example.com", "kinds": ["text"]}])
    router.replace_config(mw.Config.from_toml(text % ""))
    assert router.select("hello").model == "big", "what was given beside the configuration stays"
