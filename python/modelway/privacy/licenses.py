"""From a licence's name or text to its tier.

Four tiers, freest first: ``permissive``, ``copyleft``, ``restricted`` (open weights under conditions
of use: community, research, non-commercial and "responsible AI" licences) and ``proprietary``. What is
not recognised stays ``unknown``: a guess here would be a legal claim.

A short name stands for all versions of a licence, unless they differ in what they are called (Llama's).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from operator import itemgetter

from modelway.privacy.spdx import Expression, parse

#: A licence says what it is in its title; later text names other licences for other reasons.
_HEAD_CHARS = 1000
#: A title is no longer.
_TITLE_CHARS = 100

# (pattern over lower-case text with single hyphens between words, short name, tier); of several that are found at the
# same place the first one counts.
_RULES: tuple[tuple[str, str, str], ...] = (
    (r"^proprietary\b|^closed(?:-source|-weights?)?$|^commercial(?:-licen[cs]e)?$", "proprietary", "proprietary"),
    (r"^(?:openai|anthropic)\b|^[\w.-]{0,60}terms-of-service\b", "proprietary", "proprietary"),
    (r"llama-?4\b(?!\.\d)", "llama4", "restricted"),
    (r"llama-?3[.-]3\b", "llama3.3", "restricted"),
    (r"llama-?3[.-]2\b", "llama3.2", "restricted"),
    (r"llama-?3[.-]1\b", "llama3.1", "restricted"),
    (r"llama-?3\b(?![.-]\d\b)", "llama3", "restricted"),
    (r"llama-?2\b", "llama2", "restricted"),
    (r"^gemma\b|gemma-terms-of-use", "gemma", "restricted"),
    (r"health-ai-developer-foundations|^hai-def\b", "hai-def", "restricted"),
    (r"(?:qwen|(?:tongyi-)?qianwen)-research", "qwen-research", "restricted"),
    (r"tongyi-qianwen|^qwen\b", "qwen", "restricted"),
    (r"^deepseek\b|deepseek-licen[cs]e", "deepseek", "restricted"),
    (r"open-?rail|\brail-licen[cs]e|\bbloom-rail|responsible-ai-licen[cs]e", "openrail", "restricted"),
    (r"mistral-ai-research-licen[cs]e|^mrl\b", "mrl", "restricted"),
    (r"mistral-ai-non-production|^mnpl\b", "mnpl", "restricted"),
    (r"stability-?ai-(?:ai-)?(?:community|non-?commercial)", "stabilityai-community", "restricted"),
    (r"\btii-falcon|falcon-(?:[\w.]+-){0,3}(?:tii|llm)\b|^falcon\b", "falcon-llm", "restricted"),
    (r"nvidia-(?:ai-foundation-models-)?(?:open-model|community)", "nvidia-open-model", "restricted"),
    (r"^yi-(?:series|licen[cs]e)", "yi", "restricted"),
    (r"^exaone\b|exaone-ai-model-licen[cs]e", "exaone", "restricted"),
    (r"tencent-hunyuan", "hunyuan", "restricted"),
    (r"jamba-open-model|^jamba\b", "jamba", "restricted"),
    (r"^lfm-?(?:open|1)", "lfm", "restricted"),
    (r"databricks-open-model", "databricks-open-model", "restricted"),
    (r"^(?:chat)?glm-?\d|(?:chat)?glm-?[\w-]*-licen[cs]e", "glm", "restricted"),
    (r"\bmodified-mit\b", "modified-mit", "restricted"),
    (r"microsoft-research-licen[cs]e|^msr-la\b", "microsoft-research", "restricted"),
    (r"\bbusl\b|business-source-licen[cs]e|^bsl-1\.1$", "busl", "restricted"),
    (r"\bcc-by-nc\b|attribution-non-?commercial", "cc-by-nc", "restricted"),
    (r"\bcc-by-nd\b|attribution-no-?deriv", "cc-by-nd", "restricted"),
    (r"non-?commercial-(?:[a-z]+-){0,3}licen[cs]e|research-only|^[a-z]+-research$", "non-commercial", "restricted"),
    (r"(?<!educational-)\bcommunity-licen[cs]e|^grok2-community$", "community", "restricted"),
    (r"\bagpl|gnu-affero-general-public", "agpl", "copyleft"),
    (r"\blgpl|gnu-(?:lesser|library)-general-public", "lgpl", "copyleft"),
    (r"\bgpl|gnu-general-public", "gpl", "copyleft"),
    (r"\bgfdl|gnu-free-documentation", "gfdl", "copyleft"),
    (r"\bmpl-?\d|^mpl\b|mozilla-public-licen[cs]e", "mpl", "copyleft"),
    (r"\beupl|european-union-public-licen[cs]e", "eupl", "copyleft"),
    (r"\bepl-\d|eclipse-public-licen[cs]e", "epl", "copyleft"),
    (r"\bosl-\d|open-software-licen[cs]e", "osl", "copyleft"),
    (r"^artistic\b|\bartistic-licen[cs]e", "artistic", "copyleft"),
    (r"\bodbl\b|open-database-licen[cs]e", "odbl", "copyleft"),
    (r"\bcdla-sharing", "cdla-sharing", "copyleft"),
    (r"\bcc-by-sa\b|attribution-share-?alike", "cc-by-sa", "copyleft"),
    (r"\bapache-?(?:2|licen[cs]e)|^apache\b", "apache-2.0", "permissive"),
    (r"^mit\b|\bmit-licen[cs]e|permission-is-hereby-granted,-free-of-charge", "mit", "permissive"),
    (r"\b0bsd\b", "0bsd", "permissive"),
    (r"\bbsd-2|^bsd\b(?!-\d)", "bsd-2-clause", "permissive"),
    (r"\bbsd-3|redistribution-and-use-in-source-and-binary-forms", "bsd-3-clause", "permissive"),
    (r"^isc\b|\bisc-licen[cs]e", "isc", "permissive"),
    (r"^afl-\d|academic-free-licen[cs]e", "afl", "permissive"),
    (r"^bsl-1\.0$|boost-software-licen[cs]e", "bsl-1.0", "permissive"),
    (r"^ecl-\d|educational-community-licen[cs]e", "ecl", "permissive"),
    *((rf"^{name}\b", name, "permissive") for name in ("wtfpl", "zlib", "ncsa", "postgresql", "pddl", "odc-by")),
    (r"\bopenmdw\b", "openmdw", "permissive"),
    (r"\bcc0\b", "cc0", "permissive"),
    (r"\bunlicense\b", "unlicense", "permissive"),
    (r"\bcdla-permissive", "cdla-permissive", "permissive"),
    (r"\bcc-by\b(?!-(?:sa|n[cd]))|\battribution-\d", "cc-by", "permissive"),
)
_COMPILED = tuple((re.compile(pattern), name, tier) for pattern, name, tier in _RULES)
_TIER_OF = {name: tier for _, name, tier in _RULES}

_FREEST_FIRST = ("permissive", "copyleft", "restricted", "proprietary", "unknown")
#: Of licences that all apply: what restricts is not undone by one that nobody knows, what is free may be.
_WEAKEST_FIRST = ("permissive", "copyleft", "unknown", "restricted", "proprietary")

#: How the title of a licence ends: "... License Agreement", "... Terms of Use", "... 4.0 International".
_END_OF_TITLE = re.compile(r"(?:licen[cs]e|agreement|terms of use|international)(?:,? (?:v|version )?[\d.]+)?$", re.I)

#: Addresses at which licences are published, by whom the name in the address is meant as such.
_PUBLISHED = tuple(
    (re.compile(rf"https?://(?:[\w-]+\.)*{pattern}"), form)
    for pattern, form in (
        (r"(?:choosealicense\.com|opensource\.org|spdx\.org|gnu\.org|mistral\.ai)/licenses?/([\w.-]+)", "{}"),
        (r"apache\.org/licenses/license-(2\.0)", "apache-{}"),
        (r"creativecommons\.org/licenses/([a-z-]+)", "cc-{}"),
        (r"creativecommons\.org/publicdomain/zero/(1)", "cc0-{}"),
        (r"ai\.google\.dev/(gemma)/terms", "{}"),
        (r"llama\.com/(llama[\w-]+)/license", "{}"),
        (r"nvidia\.com/[\w/-]*?(nvidia-[\w-]+)", "{}"),
    )
)


def identify(text: str) -> str | None:
    """The short name (``apache-2.0``, ``llama3.1``) of a licence given by name, SPDX expression or text; None: unknown.

    Where a text names several licences, or has several one after the other, the strictest one counts, and of equally
    strict ones the first. Of an expression it is the freest one that may be chosen, and the strictest one that applies.
    """
    expression = parse(text)
    if expression is not None:
        return _decisive(expression)
    head = text.strip()[:_HEAD_CHARS]
    return _strictest(_found(head), *map(_found, _titles(text.strip()[_HEAD_CHARS:])))


def identify_link(address: str) -> str | None:
    """The short name of the licence that is published at ``address``; None: not known. Nobody is asked."""
    for pattern, form in _PUBLISHED:
        if found := pattern.match(address.strip().lower()):
            return _found(form.format(found[1]))
    return None


def license_words(text: str) -> str | None:
    """What a licence is called in few words: its short name, else its title; None: nothing that can be shown."""
    name = identify(text)
    if name is not None:
        return name
    lines = (" ".join(line.split()).strip("#*=- ") for line in text.splitlines())
    title = next((line for line in lines if any(map(str.isalnum, line))), "")
    return title[:_TITLE_CHARS].strip() if title.isprintable() and title else None


def gguf_license(name: str | None, own_name: str | None, link: str | None) -> str | None:
    """What the head of a GGUF file says of its licence, in few words; None: nothing.

    These are ``general.license`` (which is ``other`` where the licence has a name of its own), ``.name`` and ``.link``.
    """
    told = [text for text in (name, own_name) if text]
    known = [*map(identify, told), identify_link(link) if link else None]
    found = next((short for short in known if short is not None), None)
    return found or (license_words(told[-1]) if told else None)


def tier_of(text: str | None) -> str:
    """The tier of a licence given by name or text: ``permissive``, ``copyleft``, ``restricted``, ``proprietary``
    or ``unknown``."""
    return _tier(identify(text) if text else None)


def _tier(name: str | None) -> str:
    return _TIER_OF[name] if name else "unknown"


def _decisive(expression: Expression) -> str | None:
    """The licence of an expression that decides its tier."""
    if isinstance(expression, str):
        return _found(re.sub("^(?:DocumentRef-[^:]*:)?LicenseRef-", "", expression))
    parts = [_decisive(part) for part in expression.parts]
    if expression.how == "OR":
        return min(parts, key=lambda name: _FREEST_FIRST.index(_tier(name)))
    return max(parts, key=lambda name: _WEAKEST_FIRST.index(_tier(name)))


def _found(text: str) -> str | None:
    """The licence that a name or the head of a text names; of several the strictest, of those the first."""
    words = re.sub(r"[\s_-]+", "-", text.strip().lower()).strip("#*-")
    if words in _TIER_OF:
        return words
    places = ((pattern.search(words), name, tier) for pattern, name, tier in _COMPILED)
    ranked = [(-_FREEST_FIRST.index(tier), found.start(), name) for found, name, tier in places if found]
    return min(ranked, key=itemgetter(0, 1))[2] if ranked else None


def _strictest(first: str | None, *others: str | None) -> str | None:
    known = [name for name in (first, *others) if name is not None]
    return max(known, key=lambda name: _FREEST_FIRST.index(_tier(name)), default=None)


def _titles(text: str) -> Iterator[str]:
    """The lines that look like titles of licences: servers join several texts without any mark between them.

    Prose that names a licence is none: its small words betray it.
    """
    for line in text.splitlines():
        words = line.strip("#*=- \t").split()
        if len(line) <= _TITLE_CHARS and _END_OF_TITLE.search(" ".join(words)) and _are_capitalised(words):
            yield line


def _are_capitalised(words: Iterable[str]) -> bool:
    return all(not word[0].islower() for word in words if len(word) > 3)
