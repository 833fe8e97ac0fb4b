"""Writes what the chart has from elsewhere: the schema of `config`, the tables of its README, the figures of capacity.

`python -m tools.make_chart` writes, `python -m tools.make_chart --check` only compares.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Final

import yaml

from noisegate_server.config import Config
from noisegate_server.config.capacity import FIGURES

ROOT: Final = Path(__file__).resolve().parent.parent
CHART: Final = ROOT / "helm" / "noisegate"
SCHEMA: Final = CHART / "values.schema.json"
README: Final = CHART / "README.md"
CAPACITY: Final = CHART / "capacity.yaml"

SET_BY_THE_CHART: Final = frozenset(
    {
        "admin_client_ca", "admin_listen", "advertise", "blob_key", "drain", "grace", "health_listen", "identity",
        "listen", "metrics_listen", "policy", "state_file", "suspend_grace", "ticket_key", "tls_certificate",
        "tls_client_ca", "tls_key",
    }
)  # fmt: skip
"""Options that follow from other values or from where the chart mounts a file."""

FOR_DEVELOPMENT: Final = frozenset({"dev", "traceable"})
"""Options that no cluster wants."""

_KEPT: Final = ("type", "enum", "minimum", "maximum", "description")
_SENTENCE: Final = re.compile(r"(?P<indent> *)# -- (?P<sentence>.+)")
_VALUE: Final = re.compile(r"(?P<indent> *)(?P<key>\w+):")
_TABLE: Final = re.compile(r"(?P<begin><!-- (?P<of>\w+) -->\n).*?(?P<end><!-- end -->)", re.DOTALL)


# --- config -----------------------------------------------------------------------------------------------------------


def options() -> Iterator[tuple[str, dict[str, Any]]]:
    """(name, schema) of each option that `config` takes."""
    found = Config.model_json_schema()["properties"]
    for name, field in Config.model_fields.items():
        if name not in SET_BY_THE_CHART | FOR_DEVELOPMENT:
            yield name, _option(found[name], field.default)


def _option(found: Mapping[str, Any], default: object) -> dict[str, Any]:
    if isinstance(default, tuple) and all(isinstance(member, Enum) for member in default):
        # By default all that there is; a configuration names members, where pydantic's schema has their numbers.
        names = [member.name for member in default]
        items = {"enum": names}
        return {"type": "array", "items": items, "minItems": 1, "uniqueItems": True} | _kept(found, "description")
    return _kept(found, *_KEPT)


def _kept(found: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: found[key] for key in keys if key in found}


def schema() -> str:
    """The schema's file, with `config` made anew and all else as it is."""
    text = SCHEMA.read_text(encoding="utf-8")
    lines = ",\n".join(f"        {json.dumps(name)}: {json.dumps(option)}" for name, option in options())
    head = '{\n      "type": "object",\n      "additionalProperties": false,\n      "properties": {\n'
    made = f"{head}{lines}\n      }}\n    }}"
    return re.sub(r'(?<=\n    "config": )\{.*?\}(?=,\n    "shutdown")', lambda _: made, text, flags=re.DOTALL)


def capacity() -> str:
    """The file of what sessions take, with how many there may be where `config` does not say it."""
    figures = {**FIGURES, "max_sessions": Config.model_fields["max_sessions"].default}
    lines = "".join(f"{name}: {number}\n" for name, number in figures.items())
    return (
        f"# `python -m tools.make_chart` writes it: noisegate_server/config/capacity.py says what these are.\n{lines}"
    )


# --- the tables -------------------------------------------------------------------------------------------------------


def values() -> Iterator[tuple[str, object, str]]:
    """(dotted name, default, sentence) of each value with a sentence, in the order of values.yaml."""
    text = (CHART / "values.yaml").read_text(encoding="utf-8")
    defaults = yaml.safe_load(text)
    path: list[str] = []
    sentence = ""
    for line in text.splitlines():
        if said := _SENTENCE.fullmatch(line):
            sentence = said["sentence"]
        elif found := _VALUE.match(line):
            path[len(found["indent"]) // 2 :] = [found["key"]]
            if sentence:
                yield ".".join(path), _at(defaults, path), sentence
            sentence = ""


def _at(found: Any, path: list[str]) -> object:
    for key in path:
        found = found[key]
    return found


def _rows_of_values() -> Iterator[str]:
    yield "| value | default | what it is |\n|---|---|---|\n"
    for name, default, sentence in values():
        yield f"| `{name}` | `{json.dumps(default)}` | {sentence} |\n"


def _rows_of_config() -> Iterator[str]:
    yield "| option | default | what it is |\n|---|---|---|\n"
    for name, option in options():
        default = Config.model_fields[name].default
        shown = [member.name for member in default] if isinstance(default, tuple) else default
        yield f"| `{name}` | `{json.dumps(shown)}` | {option['description']} |\n"


def readme() -> str:
    """README.md, with its tables made anew and all else as it is."""
    rows = {"values": _rows_of_values, "config": _rows_of_config}

    def made(found: re.Match[str]) -> str:
        return f"{found['begin']}{''.join(rows[found['of']]())}{found['end']}"

    return _TABLE.sub(made, README.read_text(encoding="utf-8"))


def main(arguments: list[str]) -> int:
    """Writes the files, or with --check says which is stale; returns the exit code."""
    if arguments not in ([], ["--check"]):
        print("usage: python -m tools.make_chart [--check]", file=sys.stderr)
        return 2
    made = ((SCHEMA, schema()), (README, readme()), (CAPACITY, capacity()))
    stale = [(path, text) for path, text in made if not path.exists() or path.read_text("utf-8") != text]
    for path, text in stale:
        if arguments:
            print(f"{path.relative_to(ROOT)} is stale: python -m tools.make_chart")
        else:
            path.write_text(text, encoding="utf-8")
    return 1 if stale and arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
