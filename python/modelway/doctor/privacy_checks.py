"""Checks of what may leave this machine, and of who may reach into it."""

from __future__ import annotations

import re
import shlex
from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import urlsplit

from modelway.config.settings import ResolvedBackend
from modelway.doctor.examined import Examined
from modelway.doctor.finding import Finding
from modelway.doctor.machine import Kept

_YEAR = timedelta(days=365)
#: What makes Ollama listen on every address: any of these, or a port alone.
_EVERY_ADDRESS = re.compile(r"""["']?(?:https?://)?(?:0\.0\.0\.0(?![\d.])|\[::0?\]|::0?(?!\w)|(?=:\d))""")


def cloud_models(examined: Examined) -> Iterator[Finding]:
    """Models of a server on this device that it hands on to another host."""
    names = defaultdict(list)
    for model in examined.settings.models:
        if model.location == "external" and examined.backends[model.backend].location == "device":
            names[model.destination or "another host"].append(model.id)
    for destination, models in names.items():
        yield Finding(
            "cloud_models",
            "note",
            f"their server is on this device, but hands on to {destination} what is asked of them; "
            "nothing is, as long as you consent to nothing",
            tuple(models),
            f"ollama rm {shlex.quote(models[0])}, where they are not wanted",
        )


def open_servers(examined: Examined) -> Iterator[Finding]:
    """Servers on this device that answer to the network and ask for no key."""
    for backend in examined.settings.backends:
        if backend.location == "device" and backend.url and not backend.api_key_env:
            port = _port(backend.url)
            if port in examined.machine.open_ports or _is_told_to_be_open(examined, backend):
                yield Finding(
                    "open_servers",
                    "problem",
                    "it listens on every address of this machine and asks for no key: "
                    "whoever reaches this machine may use its models",
                    (f"{backend.name} ({backend.url})",),
                    f"start it with OLLAMA_HOST=127.0.0.1:{port}"
                    if backend.kind == "ollama"
                    else f"have it listen on 127.0.0.1, port {port}, or ask for a key (api_key_env)",
                )


def _port(url: str) -> int:
    parts = urlsplit(url)
    return parts.port or (443 if parts.scheme == "https" else 80)


def _is_told_to_be_open(examined: Examined, backend: ResolvedBackend) -> bool:
    is_ours = any(one.name == backend.name and one.url is None for one in examined.config.backends)
    return backend.kind == "ollama" and is_ours and bool(_EVERY_ADDRESS.match(examined.machine.ollama_host.strip()))


def exposed_files(examined: Examined) -> Iterator[Finding]:
    """Files that others may read or write, and must not."""
    for kept in examined.machine.kept:
        mode = "700" if kept.role == "state" else "600"
        if kept.writers is not None:
            yield Finding(
                "exposed_files",
                "problem",
                f"{kept.writers}: {_WRITTEN[kept.role]}",
                (str(kept.path),),
                f"chmod {'go-w' if kept.role == 'configuration' else mode} {_owned(kept)}",
            )
        elif kept.others_read and kept.role in _READ:
            yield Finding(
                "exposed_files",
                "problem" if kept.role == "keys" else "note",
                f"others may read it: {_READ[kept.role]}",
                (str(kept.path),),
                f"chmod {mode} {shlex.quote(str(kept.path))}",
            )


_WRITTEN = {
    "configuration": "who writes it decides where prompts go and which program an alert runs",
    "keys": "it holds keys",
    "consents": "so it counts as no consent",
    "ledger": "what it says of the past may be anybody's word",
    "state": "who may put files there may replace consents and the ledger",
}
_READ = {
    "keys": "it holds keys",
    "consents": "it says whom you send data to",
    "ledger": "it says what was sent when, and to whom",
}


def _owned(kept: Kept) -> str:
    path = shlex.quote(str(kept.path))
    return f"{path}, and chown it to yourself" if "belongs" in (kept.writers or "") else path


def ledger_chain(examined: Examined) -> Iterator[Finding]:
    """Whether the egress ledger was changed."""
    if examined.machine.ledger_problem is not None:
        yield Finding(
            "ledger_chain",
            "problem",
            f"the record of what was sent is not whole: {examined.machine.ledger_problem}",
            (str(examined.settings.state_folder),),
            "keep its files, find out who wrote to them (modelway egress --verify), and move them to begin a new one",
        )


def old_consents(examined: Examined) -> Iterator[Finding]:
    """Consents that were given more than a year ago and still count."""
    for consent in examined.machine.consents:
        if consent.is_in_force(examined.now) and examined.now - consent.since > _YEAR:
            yield Finding(
                "old_consents",
                "note",
                f"consent to {consent.destination} was given more than a year ago, on {consent.since:%Y-%m-%d}",
                (consent.id,),
                _end(consent.id, consent.origin),
            )


def useless_consents(examined: Examined) -> Iterator[Finding]:
    """Consents to places where no model is; of a server that does not answer it is not known which models it has."""
    if not examined.all_answered:
        return
    settings = examined.settings
    known = {model.destination for model in settings.models} | {backend.destination for backend in settings.backends}
    for consent in examined.machine.consents:
        if consent.is_in_force(examined.now) and consent.destination not in known:
            yield Finding(
                "useless_consents",
                "note",
                f"no model is at {consent.destination}, and consent to it is in force",
                (consent.id,),
                _end(consent.id, consent.origin),
            )


def _end(consent: str, origin: str) -> str:
    if origin == "config":
        return "remove its [[privacy.consents]] entry, if it is not to count any more"
    return f"modelway consent revoke {consent}, if it is not to count any more"


def unsearched_text(examined: Examined) -> Iterator[Finding]:
    """Text that may leave this device without being searched for secrets."""
    privacy = examined.settings.privacy
    if privacy.allow_external and not privacy.secret_scan_before_external:
        yield Finding(
            "unsearched_text",
            "note",
            "text that you consent to send leaves this device without being searched for keys and passwords",
            ("[privacy]",),
            "secret_scan_before_external = true",
        )
