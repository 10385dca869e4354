"""Licences by name and by text."""

from __future__ import annotations

import pytest

from modelway.privacy.licenses import identify, tier_of

TIERS = {
    "permissive": [
        "apache-2.0", "Apache 2.0", "Apache License 2.0", "apache", "MIT", "mit license", "BSD-3-Clause", "bsd", "ISC",
        "cc0-1.0", "cc-by-4.0", "unlicense", "0BSD", "cdla-permissive-2.0",
        "                                 Apache License\n                           Version 2.0, January 2004",
        "Copyright (c) 2024 Somebody\n\nPermission is hereby granted, free of\ncharge, to any person",
        "Redistribution and use in source and binary forms, with or without modification",
    ],
    "copyleft": [
        "gpl-3.0", "GPL-2.0-only", "GPL", "lgpl-3.0", "agpl-3.0", "mpl-2.0", "MPL", "eupl-1.2", "cc-by-sa-4.0",
        "GNU GENERAL PUBLIC LICENSE\nVersion 2, June 1991", "Mozilla Public License Version 2.0",
    ],
    "restricted": [
        "llama2", "llama3", "llama3.1", "Llama-3.2", "llama3.3", "llama4", "gemma", "Gemma Terms of Use", "openrail",
        "bigscience-openrail-m", "creativeml-openrail-m", "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "CC BY-NC-ND 4.0",
        "deepseek", "qwen-research", "falcon-llm", "mrl",
        "LLAMA 2 COMMUNITY LICENSE AGREEMENT\nLlama 2 Version Release Date: July 18, 2023",
        "META LLAMA 3 COMMUNITY LICENSE AGREEMENT", "LLAMA 3.1 COMMUNITY LICENSE AGREEMENT",
        "Tongyi Qianwen LICENSE AGREEMENT", "Qwen RESEARCH LICENSE AGREEMENT", "DEEPSEEK LICENSE AGREEMENT",
        "Creative Commons Attribution-NonCommercial 4.0 International",
    ],
    "proprietary": ["proprietary", "Commercial", "closed"],
    "unknown": ["", "other", "see README", "permitted", "summit", "glamor"],
}  # fmt: skip


@pytest.mark.parametrize(("tier", "text"), [(tier, text) for tier, texts in TIERS.items() for text in texts])
def test_tier(tier: str, text: str) -> None:
    assert tier_of(text) == tier


def test_no_licence_is_unknown() -> None:
    assert tier_of(None) == "unknown"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("LLAMA 3.1 COMMUNITY LICENSE AGREEMENT", "llama3.1"),
        ("META LLAMA 3 COMMUNITY LICENSE AGREEMENT", "llama3"),
        ("GNU AFFERO GENERAL PUBLIC LICENSE", "agpl-3.0"),
        ("GNU GENERAL PUBLIC LICENSE ... the GNU Lesser General Public License instead", "gpl"),
        ("Apache License, Version 2.0 and cc-by-nc-4.0", "cc-by-nc"),
        ("bsd-2-clause", "bsd-2-clause"),
        ("MIT", "mit"),
        ("words without meaning", None),
    ],
)
def test_identify(text: str, name: str | None) -> None:
    assert identify(text) == name


@pytest.mark.parametrize("text", ["apache-2.0", "llama3.1", "gpl", "cc-by-4.0", "mit", "qwen", "openrail", "cc-by-nc"])
def test_a_short_name_means_itself(text: str) -> None:
    assert identify(text) == text


def test_only_the_title_counts() -> None:
    assert tier_of("MIT License" + " " * 10 + "x" * 1000 + " GNU General Public License") == "permissive"
