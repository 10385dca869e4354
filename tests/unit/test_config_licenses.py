"""Licences by name, by SPDX expression and by the beginnings of the texts that models ship with."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelway.config import Config
from modelway.config.settings import resolve
from modelway.errors import ConfigError
from modelway.privacy.licenses import gguf_license, identify, identify_link, license_words, tier_of
from modelway.privacy.spdx import Joined, parse
from modelway.types import LicenseTier

#: Names as model cards, configurations and heads of files have them, by short name.
NAMES = {
    "permissive": {
        "apache-2.0": ["apache-2.0", "Apache-2.0", "Apache 2.0", "Apache License 2.0", "LicenseRef-Apache-2.0"],
        "mit": ["MIT", "mit license", "MIT-0"],
        "bsd-2-clause": ["bsd", "BSD-2-Clause"],
        "bsd-3-clause": ["BSD-3-Clause", "bsd-3-clause-clear"],
        "0bsd": ["0BSD"],
        "isc": ["ISC"],
        "afl": ["afl-3.0"],
        "bsl-1.0": ["bsl-1.0", "Boost Software License 1.0"],
        "ecl": ["ecl-2.0", "Educational Community License, Version 2.0"],
        "cc-by": ["cc-by-4.0", "CC BY 3.0"],
        "cc0": ["cc0-1.0", "CC0"],
        "cdla-permissive": ["cdla-permissive-2.0"],
        "openmdw": ["openmdw-1.0", "OpenMDW License Agreement, version 1.0"],
        "odc-by": ["odc-by"],
        "unlicense": ["unlicense"],
        "wtfpl": ["wtfpl"],
        "zlib": ["zlib"],
    },
    "copyleft": {
        "gpl": ["gpl-3.0", "GPL-2.0-only", "GPL", "GPL-3.0-or-later WITH Classpath-exception-2.0"],
        "lgpl": ["lgpl-3.0", "lgpl-lr"],
        "agpl": ["agpl-3.0", "AGPL-3.0-or-later"],
        "gfdl": ["gfdl"],
        "mpl": ["mpl-2.0", "MPL"],
        "eupl": ["eupl-1.1", "EUPL-1.2"],
        "epl": ["epl-1.0", "EPL-2.0"],
        "osl": ["osl-3.0"],
        "artistic": ["artistic-2.0"],
        "odbl": ["odbl"],
        "cdla-sharing": ["cdla-sharing-1.0"],
        "cc-by-sa": ["cc-by-sa-4.0", "CC BY-SA 3.0"],
    },
    "restricted": {
        "llama2": ["llama2", "Llama 2"],
        "llama3": ["llama3", "llama-3", "Meta Llama 3 8B"],
        "llama3.1": ["llama3.1", "Llama-3.1", "llama_3_1", "LicenseRef-Llama3.1"],
        "llama3.2": ["llama3.2", "Llama 3.2 Community License Agreement"],
        "llama3.3": ["llama3.3"],
        "llama4": ["llama4", "llama-4-scout"],
        "gemma": ["gemma", "Gemma Terms of Use"],
        "hai-def": ["Health AI Developer Foundations terms of use", "hai-def"],
        "qwen": ["qwen", "tongyi-qianwen"],
        "qwen-research": ["qwen-research", "tongyi-qianwen-research"],
        "deepseek": ["deepseek", "deepseek-license"],
        "mrl": ["mrl", "MRL-0.1"],
        "mnpl": ["mnpl", "MNPL-0.1"],
        "falcon-llm": ["falcon-llm-license", "TII Falcon-LLM License 2.0", "falcon"],
        "openrail": [
            "openrail", "openrail++", "bigscience-openrail-m", "bigscience-bloom-rail-1.0", "creativeml-openrail-m",
            "bigcode-openrail-m",
        ],
        "nvidia-open-model": ["nvidia-open-model-license", "NVIDIA Community Model License"],
        "yi": ["yi-license"],
        "stabilityai-community": ["stabilityai-ai-community", "Stability AI Community License"],
        "cc-by-nc": ["cc-by-nc-4.0", "cc-by-nc-sa-4.0", "CC BY-NC-ND 4.0"],
        "cc-by-nd": ["cc-by-nd-4.0"],
        "exaone": ["exaone"],
        "hunyuan": ["tencent-hunyuan-community"],
        "jamba": ["jamba-open-model-license"],
        "lfm": ["lfm1.0"],
        "glm": ["glm-4", "chatglm3-license"],
        "modified-mit": ["modified-mit"],
        "busl": ["BUSL-1.1", "bsl-1.1"],
        "microsoft-research": ["msr-la"],
        "community": ["grok2-community", "Some Community License"],
        "non-commercial": ["fair-noncommercial-research-license", "intel-research", "h-research"],
    },
    "proprietary": {
        "proprietary": [
            "proprietary", "Commercial", "commercial license", "closed", "closed-source", "OpenAI Terms of Use",
            "Anthropic Commercial Terms of Service", "LicenseRef-Proprietary",
        ],
    },
    "unknown": {
        "": [
            "", "other", "unknown", "custom", "LicenseRef-other", "see README", "permitted", "summit", "glamor", "cc",
            "commercial use allowed", "c-uda", "Terms", "(", "AND",
        ],
    },
}  # fmt: skip

#: Beginnings of the texts, as servers send them.
TEXTS = {
    "apache-2.0": [
        "                                 Apache License\n                           Version 2.0, January 2004\n"
        "                        http://www.apache.org/licenses/\n\n   TERMS AND CONDITIONS FOR USE, REPRODUCTION",
        "# Apache License\n\nVersion 2.0, January 2004",
    ],
    "mit": [
        "MIT License\n\nCopyright (c) 2023 DeepSeek\n\nPermission is hereby granted, free of charge, to any person",
        "Microsoft.\nCopyright (c) Microsoft Corporation.\n\nMIT License\n\nPermission is hereby granted, free of",
        "Copyright (c) 2024 Somebody\n\nPermission is hereby granted, free of\ncharge, to any person obtaining a copy",
    ],
    "bsd-3-clause": ["Redistribution and use in source and binary forms, with or without modification"],
    "unlicense": ["The Unlicense: for any purpose, commercial or non-commercial, and by any means"],
    "llama2": ["LLAMA 2 COMMUNITY LICENSE AGREEMENT\t\nLlama 2 Version Release Date: July 18, 2023"],
    "llama3": ["META LLAMA 3 COMMUNITY LICENSE AGREEMENT\n\nMeta Llama 3 Version Release Date: April 18, 2024"],
    "llama3.1": ["LLAMA 3.1 COMMUNITY LICENSE AGREEMENT\nLlama 3.1 Version Release Date: July 23, 2024"],
    "llama3.2": ["**LLAMA 3.2 COMMUNITY LICENSE AGREEMENT**\n\nLlama 3.2 Version Release Date: September 25, 2024"],
    "llama3.3": ["LLAMA 3.3 COMMUNITY LICENSE AGREEMENT\nLlama 3.3 Version Release Date: December 6, 2024"],
    "llama4": ["LLAMA 4 COMMUNITY LICENSE AGREEMENT\nLlama 4 Version Effective Date: April 5, 2025"],
    "gemma": ["Gemma Terms of Use \n\nLast modified: February 21, 2024\n\nBy using, reproducing, modifying"],
    "qwen": [
        "Tongyi Qianwen LICENSE AGREEMENT\n\nTongyi Qianwen Release Date: August 3, 2023\n\nBy clicking to agree",
        "Qwen LICENSE AGREEMENT\n\nQwen LICENSE AGREEMENT Release Date: September 19, 2024",
    ],
    "qwen-research": [
        "Qwen RESEARCH LICENSE AGREEMENT\n\nQwen RESEARCH LICENSE AGREEMENT Release Date: September 19, 2024",
        "Tongyi Qianwen RESEARCH LICENSE AGREEMENT\n\nTongyi Qianwen Release Date: November 30, 2023",
    ],
    "deepseek": ["DEEPSEEK LICENSE AGREEMENT\n\nVersion 1.0, 23 October 2023\n\nCopyright (c) 2023 DeepSeek"],
    "mrl": ["# Mistral AI Research License\n\nIf You want to use a Mistral Model, a Derivative or an Output for any"],
    "mnpl": ["# Mistral AI Non-Production License\n\n## 1. Scope and acceptance"],
    "falcon-llm": [
        "Falcon 180B TII License Version 1.0\nSeptember 2023",
        "Falcon 2 11B TII License Version 1.0\nMay 2024",
        "TII Falcon License 2.0\n\nThis license is based in part on the Apache License Version 2.0",
    ],
    "openrail": [
        "BigScience RAIL License v1.0\ndated May 19, 2022",
        "CreativeML Open RAIL-M\ndated August 22, 2022",
        "BigCode Open RAIL-M v1 License Agreement\n\nSection I: Preamble",
    ],
    "nvidia-open-model": [
        "NVIDIA Open Model License Agreement\n\nLast Modified: June 14, 2024",
        "NVIDIA AI Foundation Models Community License Agreement",
    ],
    "yi": ["Yi Series Models Community License Agreement\nVersion: 2.1\nDate of Release: November 23, 2023"],
    "stabilityai-community": [
        "STABILITY AI COMMUNITY LICENSE AGREEMENT\nLast Updated: July 5, 2024",
        "STABILITY AI NON-COMMERCIAL RESEARCH COMMUNITY LICENSE AGREEMENT\nDated: December 06, 2023",
    ],
    "exaone": ["EXAONE AI Model License Agreement 1.1 - NC"],
    "hunyuan": ["TENCENT HUNYUAN COMMUNITY LICENSE AGREEMENT\nTencent Hunyuan Release Date: November 5, 2024"],
    "modified-mit": ["Modified MIT License\n\nCopyright (c) 2025 Moonshot AI\n\nPermission is hereby granted"],
    "microsoft-research": ["MICROSOFT RESEARCH LICENSE TERMS\n\nIF YOU LIVE IN THE UNITED STATES"],
    "cc-by-nc": [
        "Creative Commons Attribution-NonCommercial 4.0 International",
        "Attribution-NonCommercial-ShareAlike 4.0 International\n\n====\n\nCreative Commons Corporation",
    ],
    "cc-by": ["Attribution 4.0 International\n\n====\n\nCreative Commons Corporation"],
    "cc-by-sa": ["Attribution-ShareAlike 4.0 International\n\n====\n\nCreative Commons Corporation"],
    "gpl": [
        "                    GNU GENERAL PUBLIC LICENSE\n                       Version 3, 29 June 2007",
        "GNU GENERAL PUBLIC LICENSE ... the GNU Lesser General Public License instead",
    ],
    "lgpl": ["GNU LESSER GENERAL PUBLIC LICENSE\nVersion 3", "GNU LIBRARY GENERAL PUBLIC LICENSE\nVersion 2"],
    "agpl": ["                    GNU AFFERO GENERAL PUBLIC LICENSE\n                Version 3, 19 November 2007"],
    "mpl": ["Mozilla Public License Version 2.0\n=================================="],
    "eupl": ["                      EUROPEAN UNION PUBLIC LICENCE v. 1.2\n                EUPL (c) the European Union"],
}  # fmt: skip

EVERY = [(tier, short, name) for tier, names in NAMES.items() for short, listed in names.items() for name in listed]


@pytest.mark.parametrize(("tier", "short", "name"), EVERY, ids=lambda value: value or "nothing")
def test_a_name_has_its_short_name_and_tier(tier: str, short: str, name: str) -> None:
    assert (tier_of(name), identify(name)) == (tier, short or None)


@pytest.mark.parametrize(("short", "text"), [(short, text) for short, texts in TEXTS.items() for text in texts])
def test_a_text_has_its_short_name(short: str, text: str) -> None:
    assert identify(text) == short
    assert identify(f"\n\n{text}\n" + "Further words of it, which go on. " * 100) == short


def test_no_licence_is_unknown() -> None:
    assert tier_of(None) == "unknown"


@pytest.mark.parametrize("short", [short for tier in NAMES.values() for short in tier if short])
def test_a_short_name_means_itself(short: str) -> None:
    """Discovery writes it where the configuration has names; it is read again from there."""
    assert identify(short) == license_words(short) == short


def test_only_the_title_counts() -> None:
    assert tier_of("MIT License" + " " * 10 + "x" * 1000 + " GNU General Public License") == "permissive"


LONG = "Permission is granted to those who keep to what is said here.\n" * 30


@pytest.mark.parametrize(
    ("second", "short"),
    [
        ("DEEPSEEK LICENSE AGREEMENT", "deepseek"),
        ("META LLAMA 3 COMMUNITY LICENSE AGREEMENT", "llama3"),
        ("# Gemma Terms of Use", "gemma"),
        ("                    GNU GENERAL PUBLIC LICENSE", "gpl"),
        ("Attribution-NonCommercial 4.0 International", "cc-by-nc"),
        ("Apache License", "mit"),  # as free as the first
        ("it is not compatible with the GNU General Public License", "mit"),
        ("nothing else is meant than the Llama 2 Community License Agreement.", "mit"),
    ],
)
def test_of_texts_one_after_the_other_the_strictest_counts(second: str, short: str) -> None:
    """Ollama joins the licences of a model to one text."""
    assert identify(f"MIT License\n\n{LONG}{second}\n\n{LONG}") == short


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("Apache-2.0 OR MIT", "apache-2.0"),
        ("GPL-3.0-only or MIT", "mit"),
        ("MIT AND CC-BY-4.0", "mit"),
        ("MIT AND GPL-2.0-only", "gpl"),
        ("apache-2.0,llama3", "llama3"),
        ("MIT OR LicenseRef-Somebody", "mit"),
        ("MIT AND LicenseRef-Somebody", None),
        ("CC-BY-NC-4.0 AND LicenseRef-Somebody", "cc-by-nc"),
        ("LicenseRef-Somebody OR other", None),
        ("(MIT OR GPL-3.0) AND llama2", "llama2"),
        ("MIT OR GPL-3.0 AND llama2", "mit"),
        ("((MIT))", "mit"),
        ("DocumentRef-spdx:LicenseRef-MIT", "mit"),
        # no expressions, but names that several licences are joined in
        ("Apache License, Version 2.0 and cc-by-nc-4.0", "cc-by-nc"),
        ("MIT or Apache 2.0", "mit"),
        ("MIT/Apache-2.0", "mit"),
    ],
)
def test_of_what_may_be_chosen_the_freest_counts_and_of_what_applies_the_strictest(
    text: str, short: str | None
) -> None:
    assert identify(text) == short


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("MIT", "MIT"),
        ("GPL-2.0+ WITH x", "GPL-2.0+"),
        ("A AND B OR C", Joined("OR", (Joined("AND", ("A", "B")), "C"))),
        ("A AND (B OR C)", Joined("AND", ("A", Joined("OR", ("B", "C"))))),
        ("(A", None),
        ("A B", None),
        ("A)", None),
        ("A OR", None),
        ("OR A", None),
        ("A WITH", None),
        ("A, B", Joined("AND", ("A", "B"))),
        ("A; B", None),
        ("", None),
        ("(" * 5_000, None),
    ],
)
def test_expressions(text: str, whole: object) -> None:
    assert parse(text) == whole


LEAVES = st.sampled_from(["MIT", "GPL-3.0", "llama3.1", "proprietary"])
TREES = st.recursive(LEAVES, lambda inner: st.tuples(st.sampled_from(["AND", "OR"]), inner, inner), max_leaves=8)
TIERS = ["permissive", "copyleft", "restricted", "proprietary"]


def written(tree: object) -> str:
    return f"({written(tree[1])} {tree[0]} {written(tree[2])})" if isinstance(tree, tuple) else str(tree)


def ways(tree: object) -> list[set[str]]:
    """Every way to be allowed: the tiers of all licences that then apply."""
    if not isinstance(tree, tuple):
        return [{tier_of(str(tree))}]
    left, right = ways(tree[1]), ways(tree[2])
    return left + right if tree[0] == "OR" else [one | other for one, other in itertools.product(left, right)]


@given(TREES)
def test_an_expression_is_as_free_as_its_freest_way(tree: object) -> None:
    best = min(max(TIERS.index(tier) for tier in way) for way in ways(tree))
    if len(written(tree)) <= 200:
        assert tier_of(written(tree)) == TIERS[best]


@pytest.mark.parametrize(
    ("address", "short"),
    [
        ("https://choosealicense.com/licenses/mit/", "mit"),
        ("https://www.apache.org/licenses/LICENSE-2.0", "apache-2.0"),
        ("https://opensource.org/license/mit", "mit"),
        ("https://spdx.org/licenses/GPL-3.0-only.html", "gpl"),
        ("https://www.gnu.org/licenses/agpl-3.0.en.html", "agpl"),
        ("https://creativecommons.org/licenses/by-nc/4.0/", "cc-by-nc"),
        ("https://creativecommons.org/publicdomain/zero/1.0/", "cc0"),
        ("https://ai.google.dev/gemma/terms", "gemma"),
        ("https://www.llama.com/llama3_1/license/", "llama3.1"),
        ("https://mistral.ai/licenses/MRL-0.1.md", "mrl"),
        (
            "https://www.nvidia.com/en-us/agreements/enterprise-software/nvidia-open-model-license/",
            "nvidia-open-model",
        ),
        ("https://huggingface.co/somebody/llama-3.1-tuned/blob/main/LICENSE", None),
        ("https://example.com/choosealicense.com/licenses/mit/", None),
        ("LICENSE", None),
    ],
)
def test_links_to_where_licences_are_published(address: str, short: str | None) -> None:
    assert identify_link(address) == short


@pytest.mark.parametrize(
    ("name", "own", "link", "words"),
    [
        ("apache-2.0", None, "https://ai.google.dev/gemma/terms", "apache-2.0"),
        ("other", "qwen-research", None, "qwen-research"),
        ("other", "house-rules", "https://mistral.ai/licenses/MRL-0.1.md", "mrl"),
        ("other", "house-rules", "https://example.com/LICENSE", "house-rules"),
        ("other", None, "LICENSE", "other"),
        (None, None, "https://ai.google.dev/gemma/terms", "gemma"),
        (None, None, None, None),
    ],
)
def test_what_a_file_says(name: str | None, own: str | None, link: str | None, words: str | None) -> None:
    assert gguf_license(name, own, link) == words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("LLAMA 3.1 COMMUNITY LICENSE AGREEMENT\n...", "llama3.1"),
        ("\n  # House   Rules v2 \n\nBe kind.", "House Rules v2"),
        ("=====\nHouse Rules", "House Rules"),
        ("H" * 300, "H" * 100),
        ("House \x1b[31m Rules", None),
        (" \n\t", None),
    ],
)
def test_what_is_not_recognised_is_called_by_its_title(text: str, words: str | None) -> None:
    assert license_words(text) == words


def forbidden(*names: str) -> tuple[str, ...]:
    listed = ", ".join(f'"{name}"' for name in names)
    return resolve(Config.from_toml(f"[licenses]\nforbid = [{listed}]\n")).forbid_licenses


def test_any_spelling_forbids() -> None:
    assert forbidden("Restricted", "GPL-3.0", "CC BY-NC 4.0", "Llama 2") == ("restricted", "gpl", "cc-by-nc", "llama2")
    for tier in LicenseTier.all():
        assert forbidden(str(tier)) == (str(tier),)


def test_what_would_forbid_nothing_is_a_problem() -> None:
    with pytest.raises(ConfigError) as caught:
        forbidden("unknown", "restrcited", "house-rules")
    assert [problem.path for problem in caught.value.problems] == ["licenses.forbid[1]", "licenses.forbid[2]"]
    assert 'did you mean "restricted"?' in str(caught.value)
