"""The written configuration: what stands in the TOML file, its defaults, and where it is looked for.

The tables and their keys are described in sections.py. settings.py works out what they mean together, and
the Rust core checks names in chains when it builds its table.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, PrivateAttr, ValidationError

from modelway.config.fallbacks import FallbacksConfig
from modelway.config.fields import Defaults, Section
from modelway.config.folders import with_named_files
from modelway.config.limits import AllLimitsConfig, FairnessConfig
from modelway.config.problems import problems_of, syntax_problem
from modelway.config.sections import (
    BackendConfig,
    ClassifierConfig,
    DeadlinesConfig,
    HealthConfig,
    MemoryConfig,
    ModelConfig,
    RoutingConfig,
    ServerConfig,
    TimeoutsConfig,
)
from modelway.config.trust import LicensesConfig, PrivacyConfig, StateConfig, TerminologyConfig, WarningsConfig
from modelway.errors import ConfigError, ConfigProblem

#: The environment variable that names the configuration file.
CONFIG_VARIABLE = "MODELWAY_CONFIG"
#: Where the weights come from that ``modelway train`` wrote to their usual place, in ``describe``.
TRAINED = "modelway train"


Backends = Annotated[tuple[BackendConfig, ...], Field(strict=False)]
Models = Annotated[tuple[ModelConfig, ...], Field(strict=False)]


class Config(Section):
    """A whole configuration as written. Make one by ``load_config`` or ``Config.from_toml``."""

    defaults: Defaults = Field(default_factory=dict)
    """Task -> the model that serves it first. A name that no ``[[models]]`` declares is a model of the default
    backend, the first one of kind ollama."""
    routing: RoutingConfig = RoutingConfig()
    """Words that speak for a task."""
    classifier: ClassifierConfig = ClassifierConfig()
    """How prompts are read."""
    fallbacks: FallbacksConfig = FallbacksConfig()
    """Who follows when a model fails."""
    timeouts: TimeoutsConfig = TimeoutsConfig()
    """How soon the first token is wanted."""
    deadlines: DeadlinesConfig = DeadlinesConfig()
    """When an attempt is given up."""
    privacy: PrivacyConfig = PrivacyConfig()
    """What may leave this device."""
    licenses: LicensesConfig = LicensesConfig()
    """Which licences are not to be used."""
    warnings: WarningsConfig = WarningsConfig()
    """What people are told beside an answer."""
    terminology: TerminologyConfig = TerminologyConfig()
    """The words that people are shown."""
    state: StateConfig = StateConfig()
    """What is kept from one start to the next."""
    server: ServerConfig = ServerConfig()
    """The gateway."""
    health: HealthConfig = HealthConfig()
    """When a failing model is left alone."""
    memory: MemoryConfig = MemoryConfig()
    """What is loaded and unloaded where not all models fit."""
    limits: AllLimitsConfig = AllLimitsConfig()
    """What may be used."""
    fairness: FairnessConfig = FairnessConfig()
    """Who waits how."""
    backends: Backends = (BackendConfig(name="ollama", kind="ollama"),)
    """Servers and engines; absent: Ollama at its usual address."""
    models: Models = ()
    """Models; discovery adds those that the backends on this device have."""

    _source: Path | None = PrivateAttr(default=None)
    _base_dir: Path = PrivateAttr(default_factory=Path.cwd)
    _found: dict[str, str] = PrivateAttr(default_factory=dict)

    @property
    def source(self) -> Path | None:
        """The file this was read from; None: built in, or given as text."""
        return self._source

    @property
    def base_dir(self) -> Path:
        """What relative paths in it are relative to."""
        return self._base_dir

    @classmethod
    def from_toml(cls, text: str, base_dir: str | os.PathLike[str] | None = None) -> Config:
        """Read a configuration from TOML text; relative paths in it start at ``base_dir``, else the working folder.

        Raises :class:`ConfigError` with every problem found.
        """
        return _parse(text, None, Path.cwd() if base_dir is None else Path(base_dir))

    def with_found_models(self, models: tuple[ModelConfig, ...], found: Mapping[str, str]) -> Config:
        """This configuration with ``models`` completed by discovery.

        ``found`` names what was not written: paths (``models[2]``, ``models[0].max_context``), each with
        how it was found.
        """
        if not found:
            return self
        completed = self.model_copy(update={"models": models})
        completed._found = {**self._found, **found}
        return completed

    def was_found(self, path: str) -> bool:
        """Whether the value at ``path`` comes from discovery or training and was not written."""
        return path in self._found

    def describe(self) -> dict[str, Any]:
        """What is in force and where it came from, ready for JSON.

        ``source``: the file or None; ``values``: every key with its value; ``sources``: path of each value ->
        ``file`` (or other written text), ``default``, ``$OLLAMA_HOST``, ``modelway train``, or what discovery says of
        it. Raises
        :class:`ConfigError` where that variable holds no address.
        """
        values = self.model_dump(mode="json")
        sources = {path: self._found.get(path, origin) for path, origin in _origins(self, "", written=True)}
        for i, backend in enumerate(self.backends):
            if backend.url is None and backend.kind == "ollama":
                values["backends"][i]["url"] = backend.address()
                if os.environ.get("OLLAMA_HOST"):
                    sources[f"backends[{i}].url"] = "$OLLAMA_HOST"
        return {"source": None if self._source is None else str(self._source), "values": values, "sources": sources}


def load_config(path: str | os.PathLike[str] | None = None) -> Config:
    """Read the configuration at ``path``.

    Without a path: the file that ``$MODELWAY_CONFIG`` names, else ``modelway.toml`` in the working folder, else in
    the user's configuration folder, else the built-in default: no models, and an Ollama server at its usual address.

    Where it names no weights for the classifier, those that ``modelway train`` wrote to their usual place are in force.

    Raises :class:`ConfigError` with every problem found, also for a file that can't be read.
    """
    return _with_trained_weights(_load(_find_file() if path is None else Path(path)))


def trained_weights_file() -> Path:
    """Where ``modelway train`` writes weights, and where they are looked for if the configuration names none."""
    return _user_folder() / "weights.bin"


def _with_trained_weights(config: Config) -> Config:
    file = trained_weights_file()
    if config.classifier.weights is not None or not file.is_file():
        return config
    completed = config.model_copy(
        update={"classifier": config.classifier.model_copy(update={"weights": str(file.absolute())})}
    )
    completed._found = {**config._found, "classifier.weights": TRAINED}
    return completed


def _load(file: Path | None) -> Config:
    if file is None:
        return Config()
    try:
        text = file.read_bytes().decode("utf-8-sig")
        source = file.absolute()
    except OSError as error:
        problem = ConfigProblem("", f"can't be read: {error.strerror or error}; name another file or mend this one")
        raise ConfigError([problem], str(file)) from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        problem = ConfigProblem(f"line {line}", "not UTF-8 text; save the file as UTF-8")
        raise ConfigError([problem], str(file)) from error
    except ValueError as error:  # a NUL in the path
        raise ConfigError([ConfigProblem("", f"no file can have this name: {error}")], repr(str(file))) from error
    return _parse(text, source, source.parent)


def _find_file() -> Path | None:
    named = os.environ.get(CONFIG_VARIABLE)
    if named:
        return Path(named)
    for folder in (Path(), _user_folder()):
        file = folder / "modelway.toml"
        if file.is_file():
            return file
    return None


def _user_folder() -> Path:
    import platformdirs

    return platformdirs.user_config_path("modelway")


def _parse(text: str, source: Path | None, base_dir: Path) -> Config:
    where = "" if source is None else str(source)
    try:
        text.encode()
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError([syntax_problem(error, text)], where) from error
    try:
        config = Config.model_validate(data)
    except ValidationError as error:
        # Not chained: pydantic's own text repeats the values, keys written into the wrong place among them.
        raise ConfigError(problems_of(error, Config), where) from None
    config._source = source
    config._base_dir = base_dir.absolute()
    return with_named_files(config)


def _origins(section: BaseModel, path: str, *, written: bool) -> Iterator[tuple[str, str]]:
    """The path of each value in ``section`` and whether it was written or is the default."""
    for key in type(section).model_fields:
        value = getattr(section, key)
        here = f"{path}.{key}" if path else key
        is_written = written and key in section.model_fields_set
        if isinstance(value, BaseModel):
            yield from _origins(value, here, written=is_written)
        elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
            for i, item in enumerate(value):
                yield from _origins(item, f"{here}[{i}]", written=is_written)
        else:
            yield here, "file" if is_written else "default"
    for key in section.model_extra or ():  # a table whose keys are names
        yield f"{path}.{key}", "file"
