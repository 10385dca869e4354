"""Passes and consents at the border of the core; what may leave at all is held against its twin in tests/oracle."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

import modelway as mw
from modelway._core import CoreRouter
from modelway.config.settings import resolve
from modelway.router import for_core
from modelway.types import EgressPass

CONFIG = """
[privacy]
allow_external = true
allow_lan = true
secret_scan_before_external = false
[defaults]
code = "remote"
[[backends]]
name = "api"
kind = "openai"
url = "https://API.example.com/v1"
[[backends]]
name = "box"
kind = "openai"
url = "http://10.0.0.5:8000"
[[backends]]
name = "named"
kind = "openai"
url = "http://box.local:8000"
[[backends]]
name = "here"
kind = "ollama"
[[models]]
id = "remote"
backend = "api"
aliases = ["far"]
[[models]]
id = "near"
backend = "box"
[[models]]
id = "by-name"
backend = "named"
[[models]]
id = "relay:cloud"
backend = "here"
[[models]]
id = "local"
backend = "here"
"""
CODE = "Write a Rust function"
CONSENT = {"id": "abc1", "destination": "api.example.com", "kinds": ["text", "code"]}


class WallClock:
    """Seconds since 1970, wound by hand."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def router_of(text: str = CONFIG) -> mw.ModelRouter:
    return mw.ModelRouter(mw.Config.from_toml(text))


def core_with(wall: WallClock) -> CoreRouter:
    return CoreRouter(for_core(resolve(mw.Config.from_toml(CONFIG))), None, wall)


def passed(router: CoreRouter, model: str = "remote", request: str | mw.RoutingRequest = CODE) -> EgressPass:
    egress = router.clear(model, request, "r1")
    assert egress is not None
    return egress


def test_a_pass_tells_whose_it_is_and_nothing_of_the_request() -> None:
    router = router_of()
    router.set_consents([CONSENT])
    egress = passed(router, "far", "int secret_name = 5;")
    assert (egress.destination, egress.model, egress.request_id) == ("api.example.com", "remote", "r1")
    assert (egress.kinds, egress.consent) == (("text", "code"), "abc1")
    assert repr(egress) == 'EgressPass("api.example.com", model="remote", request_id="r1", consent="abc1")'


def test_nobody_but_the_router_makes_or_changes_a_pass() -> None:
    with pytest.raises(TypeError, match="cannot create"):
        EgressPass()
    with pytest.raises(TypeError, match="not an acceptable base type"):
        type("Forged", (EgressPass,), {})
    egress = passed(router_of(), "near")
    with pytest.raises(AttributeError):
        egress.destination = "elsewhere.example.com"  # type: ignore[misc]


def test_a_decision_tells_by_which_kinds_it_was_made() -> None:
    decision = router_of().select(CODE)
    assert (decision.kinds, mw.RoutingRequest(CODE).kinds) == (("text", "code"), ("text",))
    assert ("remote", "api.example.com") in decision.needs_consent
    assert router_of('[[models]]\nid = "a"').select(CODE).kinds == ()


def test_a_pass_is_taken_once() -> None:
    egress = passed(router_of(), "near")
    assert egress.consent == "allow_lan"
    assert [egress.take(), egress.take()] == [True, False]
    assert egress.is_valid, "what was sent under it may go on"


def test_what_is_on_this_device_takes_no_pass() -> None:
    assert router_of().clear("local", CODE, "r1") is None
    assert router_of().clear_control("here") is None


def test_a_model_that_a_server_here_hands_on_is_elsewhere() -> None:
    with pytest.raises(mw.ConsentRequired, match=r"ollama\.com") as caught:
        router_of().clear("relay:cloud", "hi", "r1")
    assert (caught.value.destination, caught.value.models) == ("ollama.com", ("relay:cloud",))


@pytest.mark.parametrize(
    ("change", "is_valid"),
    [
        ([CONSENT], True),
        ([CONSENT, CONSENT | {"destination": "llm.example.org"}], True),
        ([], False),
        ([CONSENT | {"id": "abc2"}], False),
        ([CONSENT | {"kinds": ["text", "code", "images"]}], False),
        ([CONSENT | {"until_s": 9e9}], False),
    ],
    ids=["the same", "one more", "revoked", "another", "wider", "shorter"],
)
def test_a_pass_is_void_once_its_consent_is_not_what_it_was(change: list[dict[str, Any]], is_valid: bool) -> None:
    router = router_of()
    router.set_consents([CONSENT])
    egress = passed(router)
    router.set_consents(change)
    router.set_consents([CONSENT])
    assert (egress.is_valid, egress.take()) == (is_valid, is_valid)


@pytest.mark.parametrize("line", ["allow_external = true", "secret_scan_before_external = false", "allow_lan = true"])
def test_a_new_configuration_judges_passes_of_the_old_one(line: str) -> None:
    router = router_of()
    router.set_consents([CONSENT])
    far, near = passed(router), passed(router, "near")
    router.replace_config(mw.Config.from_toml(CONFIG.replace(line, "")))
    assert (far.take(), near.take()) == (("lan" in line), ("lan" not in line))
    router.replace_config(mw.Config.from_toml(CONFIG))
    assert passed(router).take(), "the consent stands, as nobody revoked it"


def test_a_consent_ends_by_the_wall_clock() -> None:
    wall = WallClock()
    core = core_with(wall)
    core.set_consents([CONSENT | {"since_s": wall.now, "until_s": wall.now + 60.0}])
    egress = passed(core)
    wall.now = 1_000_059.999
    assert egress.is_valid
    assert core.select(CODE).model == "remote"
    wall.now = 1_000_060.0
    assert (egress.is_valid, egress.take()) == (False, False)
    assert ("remote", "api.example.com") in core.select(CODE).needs_consent
    wall.now = 999_999.0
    assert not egress.is_valid, "it had not begun"


def test_a_clock_that_holds_its_router_is_no_leak() -> None:
    class Owner(WallClock):
        egress: object = None
        core: object = None

    owner = Owner()
    core = core_with(owner)
    owner.core, owner.egress = core, core.clear("near", "hi", "r1")
    is_there = weakref.ref(owner)
    del owner, core
    gc.collect()
    assert is_there() is None


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"kinds": ["everything"]}, ValueError),
        ({"until_s": float("nan")}, ValueError),
        ({"kinds": "text"}, TypeError),
        ({"destination": None}, TypeError),
    ],
)
def test_what_is_no_consent_changes_nothing(wrong: dict[str, Any], error: type[Exception]) -> None:
    router = router_of()
    router.set_consents([CONSENT])
    egress = passed(router)
    with pytest.raises(error):
        router.set_consents([CONSENT | wrong])
    assert egress.is_valid


def test_consent_is_asked_for_by_name_and_kind() -> None:
    with pytest.raises(mw.ConsentRequired) as caught:
        router_of().select(mw.RoutingRequest(CODE, model="remote"))
    error = caught.value
    assert (error.destination, error.models, error.kinds) == ("api.example.com", ("remote",), ("text", "code"))
    assert str(error) == (
        "remote could serve, but it is at api.example.com, and you have not consented to sending text and code there; "
        '"modelway consent grant api.example.com --kinds text,code" does'
    )


def test_what_else_is_in_the_way_is_said() -> None:
    router = router_of(CONFIG.replace("secret_scan_before_external = false", ""))
    router.set_consents([CONSENT])
    with pytest.raises(mw.NoModelAvailable, match="set secret_scan_before_external = false") as caught:
        router.clear("remote", CODE, "r1")
    assert [attempt.model for attempt in caught.value.attempts] == ["remote"]
    assert "can't be searched for secrets yet" in router.select(CODE).explanation
    with pytest.raises(mw.UnknownModel, match="did you mean"):
        router.clear("remot", CODE, "r1")


def test_a_forbidden_licence_is_said() -> None:
    toml = '[licenses]\nforbid = ["Llama2"]\n[defaults]\ngeneral = "a"\n'
    toml += '[[models]]\nid = "a"\nlicense = "Llama 2 Community License"\n[[models]]\nid = "b"\n'
    decision = router_of(toml).select("hi")
    assert (decision.model, decision.rejected) == ("b", (("a", "license"),))
    assert "the configuration forbids the licence of the first choice" in decision.explanation
    assert router_of(toml).profiles["a"].license == "llama2"


@pytest.mark.parametrize("backend", ["api", "named"])
def test_no_server_of_others_is_asked_what_it_has(backend: str) -> None:
    router = router_of()
    router.set_consents([CONSENT])
    with pytest.raises(mw.EgressRefused, match="literal address"):
        router.clear_control(backend)


def test_a_server_of_the_own_network_is_asked_what_it_has() -> None:
    egress = router_of().clear_control("box")
    assert egress is not None
    assert (egress.destination, egress.model, egress.kinds, egress.consent) == ("10.0.0.5:8000", "", (), "allow_lan")
    with pytest.raises(mw.UnknownBackend):
        router_of().clear_control("nobody")


@pytest.mark.parametrize(
    ("message", "kinds"),
    [
        ({"role": "user", "content": "hi"}, ()),
        ({"role": "system", "content": "~~~\nx\n~~~"}, ("code",)),
        ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}, ("images",)),
        ({"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}, ("files",)),
        ({"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}, ("files",)),
        ({"role": "user", "content": [{"type": "text", "text": "a"}, "b"]}, ("files",)),
        ({"role": "tool", "content": "5"}, ("tool_results",)),
        ({"role": "function", "content": "5"}, ("tool_results",)),
        ({"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f"}}]}, ("tool_results",)),
        ({"role": "assistant", "content": "", "tool_calls": []}, ()),
    ],
)
def test_kinds_of_data_in_messages(message: dict[str, Any], kinds: tuple[str, ...]) -> None:
    talk = {"role": "user", "content": "and now?"}
    assert mw.RoutingRequest(messages=[message, talk]).kinds == ("text", *kinds)


def test_what_a_request_says_of_itself() -> None:
    request = mw.RoutingRequest("hi", conversation="c1", allow_external=False, images=1)
    assert (request.conversation, request.allow_external, request.kinds) == ("c1", False, ("text", "images"))
    plain = mw.RoutingRequest("hi")
    assert (plain.conversation, plain.allow_external, plain.kinds) == (None, None, ("text",))
