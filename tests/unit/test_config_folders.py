"""A backend's folder of model files: which are models, what they are called, what is said of a wrong folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelway.config import Config
from modelway.config import folders as folders_module
from modelway.config.folders import model_files
from modelway.config.settings import resolve
from modelway.errors import ConfigError

FILES = '[[backends]]\nname = "files"\nkind = "llama_cpp"\nfolder = "models"\n'


def put(folder: Path, *names: str) -> Path:
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return folder


def listed(folder: Path) -> dict[str, list[str]]:
    return {file.name: [part.relative_to(folder).as_posix() for part in file.parts] for file in model_files(folder)}


@pytest.mark.parametrize(
    ("names", "models"),
    [
        ([], {}),
        (["a.gguf", "b.GGUF"], {"a": ["a.gguf"], "b": ["b.GGUF"]}),
        (["a-1.5b.Q4_K_M.gguf"], {"a-1.5b.Q4_K_M": ["a-1.5b.Q4_K_M.gguf"]}),
        (["deep/er/a.gguf"], {"a": ["deep/er/a.gguf"]}),
        (["a.bin", "gguf", "a.gguf.part", "a.txt"], {}),
        ([".a.gguf", ".cache/b.gguf"], {}),
        (["mmproj-a.gguf", "a-mmproj-f16.gguf", "A-MMPROJ.gguf"], {}),
        (["x/a.gguf", "y/a.gguf", "b.gguf"], {"b": ["b.gguf"], "x/a": ["x/a.gguf"], "y/a": ["y/a.gguf"]}),
        (["a.gguf", "x/A.gguf"], {"a": ["a.gguf"], "x/A": ["x/A.gguf"]}),
        (
            ["a-00002-of-00002.gguf", "a-00001-of-00002.gguf"],
            {"a": ["a-00001-of-00002.gguf", "a-00002-of-00002.gguf"]},
        ),
        (["a-00001-of-00002.gguf"], {}),
        (["a-00001-of-00002.gguf", "x/a-00002-of-00002.gguf"], {}),
        (["a-00001-of-00002.gguf", "a-00002-of-00003.gguf"], {}),
        (["a-00000-of-00000.gguf", "b-00001-of-00001.gguf"], {"b": ["b-00001-of-00001.gguf"]}),
        (["a-1-of-2.gguf"], {"a-1-of-2": ["a-1-of-2.gguf"]}),
    ],
)
def test_which_files_are_models(names: list[str], models: dict[str, list[str]], tmp_path: Path) -> None:
    assert listed(put(tmp_path, *names)) == models


def test_links_to_files_are_followed_and_links_to_folders_are_not(tmp_path: Path) -> None:
    put(tmp_path, "store/1234", "models/sub/b.gguf")
    models = tmp_path / "models"
    (models / "a.gguf").symlink_to(tmp_path / "store" / "1234")
    (models / "gone.gguf").symlink_to(tmp_path / "nowhere")
    (models / "sub" / "round").symlink_to(models)
    (models / "folder.gguf").mkdir()
    assert set(listed(models)) == {"a", "b"}


def test_a_whole_disk_is_no_folder_of_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders_module, "MAX_ENTRIES", 3)
    put(tmp_path, "models/a.gguf", "models/b", "models/c")
    assert Config.from_toml(FILES, tmp_path).backends[0].folder == "models"
    put(tmp_path, "models/d")
    assert "more than 3 files" in problems(FILES, tmp_path)["backends[0].folder"]


def problems(text: str, base: Path) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        Config.from_toml(text, base)
    return {problem.path: problem.message for problem in caught.value.problems}


@pytest.mark.parametrize(
    ("names", "value", "words"),
    [
        ([], "models", ['"models" does not exist', "/models)", "make it, or correct the path"]),
        ([], "a\\u0000b", ["does not exist"]),
        (["models"], "models", ['"models" is a file', "path"]),
        (["models/readme.txt"], "models", ['"models" has no models', "put .gguf files there"]),
        (["models/mmproj-a.gguf"], "models", ["has no models"]),
    ],
)
def test_a_wrong_folder_is_named_with_the_remedy(
    names: list[str], value: str, words: list[str], tmp_path: Path
) -> None:
    put(tmp_path, *names)
    (found,) = problems(FILES.replace('"models"', f'"{value}"'), tmp_path).items()
    assert found[0] == "backends[0].folder"
    for word in words:
        assert word in found[1]


def test_all_wrong_folders_are_named_at_once(tmp_path: Path) -> None:
    second = FILES.replace('"files"', '"more"').replace('"models"', '"other"')
    second += '[[models]]\nid = "of a folder that is not there"\nbackend = "more"\n'
    assert set(problems(FILES + second, tmp_path)) == {"backends[0].folder", "backends[1].folder"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read(tmp_path: Path) -> None:
    folder = put(tmp_path, "models/a.gguf") / "models"
    folder.chmod(0)
    try:
        assert "Permission denied" in problems(FILES, tmp_path)["backends[0].folder"]
    finally:
        folder.chmod(0o700)


@pytest.mark.parametrize(("key", "kind"), [('folder = "m"', "ollama"), ('folder = "m"', "mock")])
def test_only_llama_cpp_has_a_folder(key: str, kind: str, tmp_path: Path) -> None:
    found = problems(f'[[backends]]\nname = "b"\nkind = "{kind}"\n{key}\n', tmp_path)
    assert "llama_cpp" in found["backends[0].folder"]


def test_models_that_are_named_get_their_files(tmp_path: Path) -> None:
    put(
        tmp_path,
        "models/a.gguf",
        "models/b.gguf",
        "models/sub/c.gguf",
        "models/d.gguf",
        "own/e.gguf",
        "models/code.gguf",
    )
    config = Config.from_toml(
        FILES + '[[models]]\nid = "mine"\nbackend = "files"\nname = "a"\nstrengths = ["code"]\n'
        '[[models]]\nid = "e"\nbackend = "files"\npath = "own/e.gguf"\n'
        '[defaults]\ngeneral = "b"\ncode = "mine"\nquick = "e"\n[fallbacks]\nb = ["c", "code"]\n',
        tmp_path,
    )
    models = {model.id: model for model in resolve(config, {}).models}
    assert {name: model.path and model.path.relative_to(tmp_path).as_posix() for name, model in models.items()} == {
        "mine": "models/a.gguf",
        "e": "own/e.gguf",
        "b": "models/b.gguf",
        "c": "models/sub/c.gguf",
    }
    assert models["b"].backend == "files"
    sources = config.describe()["sources"]
    assert sources["models[0].path"] == sources["models[2].id"] == "discovered"
    assert sources["models[0].id"] == sources["models[1].path"] == "file"


def test_a_model_that_the_folder_lacks_is_named_with_the_nearest(tmp_path: Path) -> None:
    put(tmp_path, "models/tiny-code.gguf")
    text = FILES + '[[models]]\nid = "tiny-cod"\nbackend = "files"\n'
    assert problems(text, tmp_path) == {
        "models[0].path": 'missing, and the folder has no model "tiny-cod"; did you mean "tiny-code"?'
    }


def test_what_no_model_may_be_called_is_none_though_a_file_is(tmp_path: Path) -> None:
    put(tmp_path, "models/auto.gguf", "models/general.gguf", "models/a.gguf")
    config = Config.from_toml(FILES + '[defaults]\nquick = "a"\n[fallbacks]\nquick = ["auto", "general"]\n', tmp_path)
    assert [model.id for model in config.models] == ["a"]


def test_the_folder_counts_from_the_file_of_the_configuration(tmp_path: Path) -> None:
    put(tmp_path, "models/a.gguf")
    (backend,) = resolve(Config.from_toml(FILES, tmp_path), {}).backends
    assert backend.folder == tmp_path / "models"
