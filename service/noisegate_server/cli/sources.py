"""Where options come from: the command line before the environment, that before one TOML file, and last the defaults.

Each value keeps its origin, so that a refusal names the option as it was written there, and an operator can see which
of several places has won.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from pathlib import Path
from typing import Any, Final

from pydantic_settings import EnvSettingsSource

from noisegate_server.config import Config, ConfigError, option_name, read_config

__all__ = ["CONFIG_VARIABLE", "PREFIX", "Settings", "read_settings"]

PREFIX: Final = "NOISEGATE_"
CONFIG_VARIABLE: Final = f"{PREFIX}CONFIG"
_ALIKE: Final = 0.8
"""How near (difflib's ratio) a variable must be to an option to be a slip of the pen. Others share the prefix: those of
other commands, and what Kubernetes sets for a Service that is called noisegate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A configuration, and where each value came from."""

    config: Config
    origins: Mapping[str, str]
    """By field, of what is not the default: the option as its source spells it."""

    def respell(self, error: ConfigError) -> ConfigError:
        """The same refusal, with the option as the source of its value spells it."""
        return _respell(error, self.origins)

    def lines(self) -> Iterator[str]:
        """The whole as a TOML file that `--config` would take, each line with its origin."""
        for name in Config.model_fields:
            value = getattr(self.config, name)
            origin = self.origins.get(name, "default")
            yield f"# {name} is not set" if value is None else f"{name} = {_toml(value)}  # {origin}"


def read_settings(given: Mapping[str, object], file: Path | None = None) -> Settings:
    """The configuration from the command line's values by field name, the environment, and `file`. ConfigError."""
    values: dict[str, object] = {}
    origins: dict[str, str] = {}
    for source in (_from_file(file), _from_environment(), _from_command_line(given)):
        for name, value, spelling in source:
            values[name], origins[name] = value, spelling
    try:
        return Settings(config=read_config(values), origins=origins)
    except ConfigError as error:
        raise _respell(error, origins) from None


def _respell(error: ConfigError, origins: Mapping[str, str]) -> ConfigError:
    field = error.option.removeprefix("--").replace("-", "_")
    return ConfigError(origins.get(field, error.option), error.remedy)


# --- the three sources: (field, value, spelling) ----------------------------------------------------------------------


def _from_command_line(given: Mapping[str, object]) -> Iterator[tuple[str, object, str]]:
    return ((name, value, option_name(name)) for name, value in given.items())


def _from_environment() -> Iterator[tuple[str, object, str]]:
    options = [name.upper() for name in Config.model_fields]
    for variable in os.environ:
        name = variable.removeprefix(PREFIX)
        if name != variable and name not in options and (nearest := get_close_matches(name, options, 1, _ALIKE)):
            raise ConfigError(variable, f"there is no such option; the nearest is {PREFIX}{nearest[0]}")
    found = EnvSettingsSource(Config, case_sensitive=False, env_ignore_empty=True)()
    return ((name, value, PREFIX + name.upper()) for name, value in found.items())


def _from_file(file: Path | None) -> Iterator[tuple[str, object, str]]:
    if file is None:
        return
    seen: dict[str, str] = {}
    for key, value in _leaves(_parsed(file)):
        spelling = f"{file}: {key}"
        name = key.replace(".", "_")
        if name not in Config.model_fields:
            nearest = get_close_matches(name, Config.model_fields, 1, 0.0)
            raise ConfigError(spelling, f"there is no such option; the nearest is {nearest[0]}")
        if name in seen:
            raise ConfigError(spelling, f"the same option as {seen[name]}: keep one of them")
        seen[name] = key
        yield name, value, spelling


def _parsed(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_bytes().decode())
    except OSError as error:
        raise ConfigError("--config", f"{file}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ConfigError("--config", f"{file}: not TOML, which is UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        # Its words may hold a piece of a value; the place does not.
        place = re.search(r"\((at .*)\)$", str(error))
        raise ConfigError("--config", f"{file}: not TOML{f', {place[1]}' if place else ''}") from None


def _leaves(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    """(dotted key, value): a table's name is the beginning of its options' names, so `tls.key` is `tls_key`."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


# --- the way back -----------------------------------------------------------------------------------------------------


def _toml(value: object) -> str:
    """A value as TOML writes it."""
    if isinstance(value, tuple):
        return f"[{', '.join(_toml(each) for each in value)}]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Enum):
        return _quoted(value.name)
    if isinstance(value, int | float):
        return str(value)
    return _quoted(str(value))


def _quoted(text: str) -> str:
    escaped = "".join(
        f"\\u{ord(char):04x}" if ord(char) < 0x20 or ord(char) == 0x7F else f"\\{char}" if char in '"\\' else char
        for char in text
    )
    return f'"{escaped}"'
