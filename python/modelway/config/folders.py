"""The model files in the folder of a backend: which files are models, and what they are called.

The configuration is completed with the files that it names (in ``[defaults]``, ``[fallbacks]``, or as the ``name``
of a model without ``path``), so that it can be checked without reading any of them. What else is in the folder,
discovery adds, which reads the files' heads.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from modelway.config.fields import is_task
from modelway.config.sections import ModelConfig
from modelway.errors import ConfigError, ConfigProblem
from modelway.near import did_you_mean

if TYPE_CHECKING:
    from modelway.config import Config

#: Files and folders that are looked at; more than that is no folder of models but a whole disk.
MAX_ENTRIES = 50_000
#: ``big-00002-of-00003.gguf``: the engine is given the first part and finds the others beside it.
_PART = re.compile(r"-(\d{5})-of-(\d{5})$")
#: The image reader that belongs to a model; none by itself.
_PROJECTOR = "mmproj"


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One model: its name, and its file or the parts of it in their order."""

    name: str
    parts: tuple[Path, ...]

    @property
    def path(self) -> Path:
        """What the engine is given."""
        return self.parts[0]


def model_files(folder: Path) -> list[ModelFile]:
    """The models among the ``.gguf`` files in ``folder`` and below, hidden ones left out, ordered by name.

    A model is called as its file without ``.gguf`` and the number of the part, where two would be called alike
    with the folders they are in. One whose parts are not all there is left out: it can't be loaded.
    Raises ``OSError`` where the folder can't be read. Blocks: not for an event loop.
    """
    whole: dict[Path, tuple[Path, ...]] = {}  # path without ending and part -> files
    parts: dict[tuple[Path, int], dict[int, Path]] = {}
    for file in _gguf_files(folder):
        stem = file.with_suffix("")
        if _PROJECTOR in stem.name.lower():
            continue
        part = _PART.search(stem.name)
        if part is None:
            whole[stem] = (file,)
        else:
            bare = stem.with_name(stem.name[: part.start()] or stem.name)
            parts.setdefault((bare, int(part[2])), {})[int(part[1])] = file
    for (bare, count), found in parts.items():
        if len(found) == count and set(found) == set(range(1, count + 1)):
            whole.setdefault(bare, tuple(found[number] for number in sorted(found)))
    alike = Counter(stem.name.lower() for stem in whole)
    return [
        ModelFile(stem.name if alike[stem.name.lower()] == 1 else stem.relative_to(folder).as_posix(), files)
        for stem, files in sorted(whole.items())
    ]


def with_named_files(config: Config) -> Config:
    """``config`` with the paths of those models that it names and a backend's ``folder`` has.

    Raises :class:`ConfigError` for a folder that is not there or has no models, and for a model that it lacks.
    """
    problems: list[ConfigProblem] = []
    folders: dict[str, Mapping[str, Path]] = {}
    for i, backend in enumerate(config.backends):
        if backend.folder is not None:
            try:
                folders[backend.name] = _listed(backend.folder, config.base_dir)
            except _WrongFolderError as error:
                problems.append(ConfigProblem(f"backends[{i}].folder", str(error)))
    models: list[ModelConfig] = []
    found: dict[str, str] = {}
    for i, model in enumerate(config.models):
        files = folders.get(model.backend or "")
        if files is None or model.path is not None:
            models.append(model)
            continue
        name = model.name or model.id
        path = files.get(name)
        if path is None:
            hint = did_you_mean(name, files) or "name the .gguf file"
            problems.append(
                ConfigProblem(f"models[{i}].path", f'missing, and the folder has no model "{name}"; {hint}')
            )
            continue
        models.append(model.model_copy(update={"path": str(path)}))
        found[f"models[{i}].path"] = "discovered"
    if problems:
        raise ConfigError(problems, str(config.source or ""))
    declared = {name for model in models for name in (model.id, *model.aliases)}
    for name in dict.fromkeys(_names_used(config)):
        owner = next((owner for owner, files in folders.items() if name in files), None)
        if owner is not None and name not in declared and not is_task(name):
            keys = {"id": name, "backend": owner, "path": str(folders[owner][name])}
            try:
                model = ModelConfig.model_validate(keys)
            except ValidationError:  # "auto" in a chain, say, which is no model whatever the files are called
                continue
            found.update({f"models[{len(models)}].{key}": "discovered" for key in keys})
            models.append(model)
    return config.with_found_models(tuple(models), found)


def _gguf_files(folder: Path) -> Iterator[Path]:
    """Regular files, also by way of a link; links to folders are not followed, as they may lead in circles."""
    seen = 0

    def fail(error: OSError) -> None:
        if error.filename == os.fspath(folder):  # what is further below may be somebody else's
            raise error

    for place, folders, names in os.walk(folder, onerror=fail):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        seen += len(folders) + len(names)
        if seen > MAX_ENTRIES:
            raise OSError(0, f"more than {MAX_ENTRIES:,} files are in it and below")
        for name in sorted(names):
            file = Path(place, name)
            if not name.startswith(".") and file.suffix.lower() == ".gguf" and file.is_file():
                yield file


class _WrongFolderError(ValueError):
    """What is wrong with a folder, and the remedy."""


def _listed(written: str, base_dir: Path) -> dict[str, Path]:
    folder = base_dir / Path(written).expanduser()
    try:
        files = model_files(folder)
    except (FileNotFoundError, ValueError):  # the latter for a NUL in the name
        problem = f'"{written}" does not exist ({folder}); make it, or correct the path'
    except NotADirectoryError:
        problem = f'"{written}" is a file; name the folder, or give the file to a [[models]] entry as its path'
    except OSError as error:
        problem = f'"{written}" can\'t be read ({error.strerror}); name another folder'
    else:
        if files:
            return {file.name: file.path for file in files}
        problem = f'"{written}" has no models ({folder}); put .gguf files there, or remove the line'
    raise _WrongFolderError(problem)


def _names_used(config: Config) -> Iterator[str]:
    yield from config.defaults.values()
    for name, chain in config.fallbacks.chains.items():
        yield name
        yield from chain
