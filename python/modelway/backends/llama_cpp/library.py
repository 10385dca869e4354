"""What the model files of a backend are: those that the configuration names, and those in its folder.

Each file's head is read once, and again when the file is another one.
"""

from __future__ import annotations

import logging
import stat
from collections.abc import Mapping
from pathlib import Path

from modelway.backends.base import ServedModel, parameters_label
from modelway.backends.llama_cpp.gguf_header import GgufError, GgufHeader, read_header
from modelway.config.folders import ModelFile, model_files
from modelway.privacy.licenses import gguf_license

_log = logging.getLogger(__name__)

#: ``general.type`` of a file that is a model; adapters, image readers and the like are not.
_MODEL = "model"
#: The architecture of image readers that were made before there was a type.
_IMAGE_READER = "clip"
#: Of these architectures each text becomes a vector, whatever the pooling.
_ENCODERS = ("bert", "embed", "t5encoder")

#: A file as it was when it was read: path, size, time of the last change.
_Version = tuple[Path, int, int]


class Library:
    """The files ``models`` (by our model id), and what is in ``folder``. ``context``: tokens each of ``parallel``
    requests to a model has.

    All of it blocks: not for an event loop. May be called from several threads at once.
    """

    def __init__(self, models: Mapping[str, Path], folder: Path | None, context: int, parallel: int = 1):
        self._models = models
        self._folder = folder
        self._context = context
        self._parallel = parallel
        self._read: dict[_Version, GgufHeader | None] = {}

    def served(self) -> list[ServedModel]:
        """Models whose files are there. Of the folder only those that can be loaded; each is told once.

        What nobody could read of a declared model stays unknown: the engine may know more than we do.
        """
        read: dict[_Version, GgufHeader | None] = {}
        served = []
        declared = set()
        for model_id, path in self._models.items():
            size = _size_of((path,))
            if size is not None:
                declared.add(path.resolve())
                served.append(self._described(model_id, path, size, self._header(path, read) or GgufHeader()))
        names = {model.name.lower() for model in served}
        for file in self._in_folder():
            size = _size_of(file.parts)
            if size is None or file.path.resolve() in declared:
                continue
            header = self._header(file.path, read)
            if header is None or header.kind not in (None, _MODEL) or header.architecture == _IMAGE_READER:
                continue
            name = file.name if file.name.lower() not in names else f"{file.name}.gguf"
            names.add(name.lower())
            served.append(self._described(name, file.path, size, header))
        self._read = read
        return served

    def _in_folder(self) -> list[ModelFile]:
        if self._folder is None:
            return []
        try:
            return model_files(self._folder)
        except OSError as error:  # it was there when the configuration was read
            _log.warning("the folder %s can't be read (%s)", self._folder, error.strerror)
            return []

    def _header(self, path: Path, read: dict[_Version, GgufHeader | None]) -> GgufHeader | None:
        """None: the file can't be read, or is none that can be loaded. ``read`` gets what is to be kept."""
        try:
            status = path.stat()
            version = (path, status.st_size, status.st_mtime_ns)
            read[version] = self._read[version] if version in self._read else read_header(path)
        except GgufError as error:
            _log.warning("%s: %s", path, error)
            read[version] = None
        except OSError as error:
            _log.warning("%s can't be read (%s)", path, error.strerror)
            return None
        return read[version]

    def _described(self, name: str, path: Path, size: int, header: GgufHeader) -> ServedModel:
        counted = parameters_label(header.parameter_count) if header.parts == 1 else None
        return ServedModel(
            name=name,
            capabilities=_capabilities(header),
            max_context=min(header.context_length or self._context, self._context),
            size_bytes=size,
            license=gguf_license(header.license, header.license_name, header.license_link),
            quantization=header.quantization,
            parameters=header.size_label or counted,
            family=header.architecture,
            kv_bytes_per_token=header.kv_bytes_per_token,
            loaded_context=self._context * self._parallel,
            path=path,
        )


def _capabilities(header: GgufHeader) -> frozenset[str]:
    """Ollama's words; none where the head says nothing. A model that makes vectors answers no chat."""
    if header.architecture is None:
        return frozenset()
    if header.pooling_type or any(mark in header.architecture for mark in _ENCODERS):
        return frozenset({"embedding"})
    template = header.chat_template
    thinks = "<think>" in template and "</think>" in template
    return frozenset({
        "completion",
        *(["tools"] if "tools" in template or "tool_call" in template else []),
        *(["thinking"] if thinks or "content.split('</think>')" in template else []),
    })  # fmt: skip


def _size_of(files: tuple[Path, ...]) -> int | None:
    """Bytes of all of them; None where one is no file."""
    try:
        found = [file.stat() for file in files]
    except (OSError, ValueError):  # the latter for a NUL in the name
        return None
    return sum(status.st_size for status in found) if all(stat.S_ISREG(status.st_mode) for status in found) else None
