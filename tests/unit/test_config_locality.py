"""Addresses: where they are, which URLs are accepted, what $OLLAMA_HOST means."""

from __future__ import annotations

import pytest

from modelway.privacy.locality import check_url, further, is_cloud_name, ollama_url, place_of_host, place_of_url

PLACE_OF_HOST = {
    "device": ["127.0.0.1", "127.8.9.10", "::1", "[::1]", "localhost", "LOCALHOST"],
    "lan": [
        "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.2", "169.254.169.254", "100.64.0.1", "100.127.255.255",
        "fd00::1", "[fe80::1]",
    ],
    "external": [
        "8.8.8.8", "172.32.0.1", "100.128.0.1", "2001:db8::1", "192.0.2.1", "255.255.255.255", "224.0.0.1",
        "example.com", "ollama.local", "localhost.", "localhost.example.com", "127.0.0.1.nip.io", "127.0.0.1.", "",
        # other spellings of an address: parsers disagree about them
        "0.0.0.0", "::", "0", "127.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "127.0.0.01",
        "::ffff:127.0.0.1", "::ffff:7f00:1", "[::ffff:192.168.1.1]", "::1%lo", "fe80::1%eth0", "１２７.0.0.1",
    ],
}  # fmt: skip


@pytest.mark.parametrize(("place", "host"), [(place, host) for place, hosts in PLACE_OF_HOST.items() for host in hosts])
def test_place_of_host(place: str, host: str) -> None:
    assert place_of_host(host) == place


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("http://127.0.0.1:11434", "device"),
        ("http://localhost/v1", "device"),
        ("HTTP://[::1]:8080", "device"),
        ("http://192.168.1.2", "lan"),
        ("http://2130706433", "external"),
        ("http://[::ffff:127.0.0.1]:80", "external"),
        ("https://api.example.com/v1", "external"),
    ],
)
def test_place_of_url(url: str, place: str) -> None:
    assert check_url(url) == url
    assert place_of_url(url) == place


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("127.0.0.1:11434", "must begin with http://"),
        ("ftp://127.0.0.1", "must begin with http://"),
        ("file:///etc/passwd", "must begin with http://"),
        ("http://me:secret@127.0.0.1", "api_key_env"),
        ("http://127.0.0.1@example.com", "api_key_env"),
        ("http://127.0.0.1?key=secret", "no query"),
        ("http://127.0.0.1#secret", "no query"),
        ("http://", "not a plain URL"),
        ("http://127.0.0.1\\.example.com", "not a plain URL"),
        ("http://127.0.0.1\n.example.com", "not a plain URL"),
        ("http://127.0.0.1\n", "not a plain URL"),
        (" http://127.0.0.1", "must begin with http://"),
        ("http://127.0.0.1 /", "not a plain URL"),
        ("http://127%2e0.0.1", "not a plain URL"),
        ("http://１２７.0.0.1", "not a plain URL"),
        ("http://[::1", "not a plain URL"),
        ("http://[fe80::1%25eth0]", "not a plain URL"),
        ("http://127.0.0.1:0", "port"),
        ("http://127.0.0.1:65536", "port"),
        ("http://127.0.0.1:x", "port"),
    ],
)
def test_urls_that_are_refused(url: str, remedy: str) -> None:
    with pytest.raises(ValueError, match=remedy) as caught:
        check_url(url)
    assert "secret" not in str(caught.value)


def test_a_trailing_slash_goes() -> None:
    assert check_url("http://127.0.0.1:8000/v1/") == "http://127.0.0.1:8000/v1"


@pytest.mark.parametrize(
    ("value", "url"),
    [
        (None, "http://127.0.0.1:11434"),
        ("", "http://127.0.0.1:11434"),
        ("  ", "http://127.0.0.1:11434"),
        ("127.0.0.1", "http://127.0.0.1:11434"),
        ("127.0.0.1:4000", "http://127.0.0.1:4000"),
        ("'127.0.0.1:4000'", "http://127.0.0.1:4000"),
        (":4000", "http://127.0.0.1:4000"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:4000", "http://127.0.0.1:4000"),
        ("::", "http://[::1]:11434"),
        ("[::]:4000", "http://[::1]:4000"),
        ("::1", "http://[::1]:11434"),
        ("[::1]", "http://[::1]:11434"),
        ("[::1]:4000", "http://[::1]:4000"),
        ("gpu-box", "http://gpu-box:11434"),
        ("http://gpu-box", "http://gpu-box"),
        ("https://gpu-box:8443/ollama/", "https://gpu-box:8443/ollama"),
        ("http://0.0.0.0:11434", "http://127.0.0.1:11434"),
    ],
)
def test_ollama_host(value: str | None, url: str) -> None:
    assert ollama_url(value) == url


@pytest.mark.parametrize("value", ["127.0.0.1:port", "ftp://h", "http://u:p@h", "a b", "127.0.0.1:99999"])
def test_ollama_host_that_is_no_address(value: str) -> None:
    with pytest.raises(ValueError, match=r"URL"):
        ollama_url(value)


@pytest.mark.parametrize(
    ("name", "cloud"),
    [
        ("gpt-oss:cloud", True),
        ("gpt-oss:120b-cloud", True),
        ("GPT-OSS:120B-Cloud", True),
        ("ns/gpt-oss:cloud", True),
        ("host:5000/ns/gpt-oss", False),
        ("kimi-cloud", False),
        ("cloud", False),
        ("llama3.1:8b", False),
        ("gemma3:4b:local", False),
    ],
)
def test_cloud_names(name: str, cloud: bool) -> None:
    assert is_cloud_name(name) is cloud


def test_the_further_of_two_places() -> None:
    assert further("device", "lan") == "lan"
    assert further("external", "lan") == "external"
    assert further("device", "device") == "device"
