"""From a licence's name or text to its tier.

Four tiers, freest first: ``permissive``, ``copyleft``, ``restricted`` (open weights under conditions
of use: community, research, non-commercial and "responsible AI" licences) and ``proprietary``. What is
not recognised stays ``unknown``: a guess here would be a legal claim.
"""

from __future__ import annotations

import re

#: A licence says what it is in its title; later text names other licences for other reasons.
_HEAD_CHARS = 1000

# (pattern over lower-case text with single hyphens between words, short name, tier)
_RULES: tuple[tuple[str, str, str], ...] = (
    (r"^proprietary\b|^closed\b|^commercial\b", "proprietary", "proprietary"),
    (r"llama-?4\b(?!\.\d)", "llama4", "restricted"),
    (r"llama-?3[.-]3\b", "llama3.3", "restricted"),
    (r"llama-?3[.-]2\b", "llama3.2", "restricted"),
    (r"llama-?3[.-]1\b", "llama3.1", "restricted"),
    (r"llama-?3\b(?![.-]\d)|meta-llama-3\b(?![.-]\d)", "llama3", "restricted"),
    (r"llama-?2\b", "llama2", "restricted"),
    (r"^gemma\b|gemma-terms-of-use", "gemma", "restricted"),
    (r"qwen-research", "qwen-research", "restricted"),
    (r"tongyi-qianwen|^qwen\b", "qwen", "restricted"),
    (r"^deepseek\b|deepseek-license-agreement", "deepseek", "restricted"),
    (r"open-?rail|responsible-ai-licen[cs]e", "openrail", "restricted"),
    (r"mistral-ai-research-licen[cs]e|^mrl\b", "mrl", "restricted"),
    (r"mistral-ai-non-production|^mnpl\b", "mnpl", "restricted"),
    (r"stability-ai-community|stabilityai-ai-community", "stabilityai-community", "restricted"),
    (r"falcon-(?:180b-)?(?:tii|llm)|^falcon\b", "falcon-llm", "restricted"),
    (r"nvidia-open-model", "nvidia-open-model", "restricted"),
    (r"\bcc-by(?:-sa)?-n[cd]\b|attribution-non-?commercial", "cc-by-nc", "restricted"),
    (r"attribution-no-?derivatives", "cc-by-nd", "restricted"),
    (r"\bagpl|gnu-affero-general-public", "agpl-3.0", "copyleft"),
    (r"\blgpl|gnu-lesser-general-public", "lgpl", "copyleft"),
    (r"\bgpl|gnu-general-public", "gpl", "copyleft"),
    (r"\bmpl-?\d|^mpl\b|mozilla-public-licen[cs]e", "mpl-2.0", "copyleft"),
    (r"\beupl|european-union-public-licen[cs]e", "eupl-1.2", "copyleft"),
    (r"\bepl-\d|eclipse-public-licen[cs]e", "epl-2.0", "copyleft"),
    (r"\bcc-by-sa\b(?!-n[cd])|attribution-sharealike", "cc-by-sa-4.0", "copyleft"),
    (r"\bapache-?(?:2|licen[cs]e)|^apache\b", "apache-2.0", "permissive"),
    (r"^mit\b|\bmit-licen[cs]e|permission-is-hereby-granted,-free-of-charge", "mit", "permissive"),
    (r"\b0bsd\b", "0bsd", "permissive"),
    (r"\bbsd-2|^bsd\b(?!-\d)", "bsd-2-clause", "permissive"),
    (r"\bbsd-3|redistribution-and-use-in-source-and-binary-forms", "bsd-3-clause", "permissive"),
    (r"^isc\b|\bisc-licen[cs]e", "isc", "permissive"),
    (r"\bcc0\b|cc0-1", "cc0-1.0", "permissive"),
    (r"\bunlicense\b", "unlicense", "permissive"),
    (r"\bcdla-permissive", "cdla-permissive-2.0", "permissive"),
    (r"\bcc-by\b(?!-(?:sa|n[cd]))|creative-commons-attribution-\d", "cc-by-4.0", "permissive"),
)
_STRICTNESS = ("permissive", "copyleft", "restricted", "proprietary")
_COMPILED = tuple((re.compile(pattern), name, tier) for pattern, name, tier in _RULES)
_TIER_OF = {name: tier for _, name, tier in _RULES}


def identify(text: str) -> str | None:
    """The short name (``apache-2.0``, ``llama3.1``) of a licence given by name or by its text; None: not known.

    Where a text names several licences the strictest one counts, and of equally strict ones the first.
    """
    head = re.sub(r"[\s_-]+", "-", text[:_HEAD_CHARS].strip().lower())
    best: tuple[int, int, str] | None = None
    for pattern, name, tier in _COMPILED:
        found = pattern.search(head)
        if found is None:
            continue
        rank = (-_STRICTNESS.index(tier), found.start(), name)
        if best is None or rank < best:
            best = rank
    return best[2] if best else None


def tier_of(text: str | None) -> str:
    """The tier of a licence given by name or text: ``permissive``, ``copyleft``, ``restricted``, ``proprietary``
    or ``unknown``."""
    name = identify(text) if text else None
    return _TIER_OF[name] if name else "unknown"
