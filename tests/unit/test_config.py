"""Options: defaults, ranges, what belongs together, and refusals that name the option and the way out."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from noisegate_server.config import Config, ConfigError, parse_host_port, read_config


def test_the_least_that_is_needed_is_an_identity_or_dev() -> None:
    """Everything else has a default that works."""
    assert read_config({"dev": True}).listen == "127.0.0.1:7443"
    config = read_config({"identity": ["key.hex"]})
    assert (config.identity, config.max_sessions, config.grace) == (("key.hex",), 1_000_000, 10.0)


def test_without_either_both_remedies_are_named() -> None:
    """A first start must not end in a puzzle."""
    with pytest.raises(ConfigError, match=r"--identity FILE .*--dev"):
        read_config({})


def test_every_option_has_a_default_and_a_sentence() -> None:
    """The command line shows them; a number has both ends of its range besides."""
    for name, field in Config.model_fields.items():
        assert not field.is_required(), name
        assert field.description, name
        assert field.description.endswith("."), name
        if field.annotation in {int, float}:
            limits = {type(limit).__name__ for limit in field.metadata}
            assert {"Ge", "Le"} <= limits, name


@pytest.mark.parametrize(
    ("values", "option"),
    [
        ({"max_sessions": 0}, "--max-sessions"),
        ({"max_sessions": -1}, "--max-sessions"),
        ({"max_sessions": "many-secret"}, "--max-sessions"),
        ({"sessions_per_peer": 0}, "--sessions-per-peer"),
        ({"handshake_timeout": 0.5}, "--handshake-timeout"),
        ({"idle_timeout": float("nan")}, "--idle-timeout"),
        ({"lifetime": float("inf")}, "--lifetime"),
        ({"lifetime": 604_801}, "--lifetime"),
        ({"grace": -1}, "--grace"),
        ({"no_such_thing": 1}, "--no-such-thing"),
        ({"listen": ""}, "--listen"),
        ({"listen": "127.0.0.1"}, "--listen"),
        ({"listen": "::1:7443"}, "--listen"),
        ({"listen": "127.0.0.1:65536"}, "--listen"),
        ({"listen": "127.0.0.1:-1"}, "--listen"),
        ({"listen": ":7443"}, "--listen"),
        ({"advertise": "game.example"}, "--advertise"),
        ({"advertise": "game.example:0"}, "--advertise"),
        ({"identity": ["a"]}, "--dev"),
        ({"listen": "0.0.0.0:7443"}, "--dev"),
        ({"dev": False, "identity": ["a", "b"]}, "--identity"),
        ({"dev": False, "identity": ["t=a", "t=b"]}, "--identity"),
        ({"dev": False, "identity": ["t="]}, "--identity"),
        ({"dev": False, "identity": ["=a"]}, "--identity"),
        ({"dev": False, "identity": ["a"], "listen": "0.0.0.0:7443"}, "--listen"),
        ({"dev": False, "identity": ["a"], "listen": "game.example:7443"}, "--listen"),
        ({"suspend_idle": -1}, "--suspend-idle"),
        ({"suspend_idle": 86_401}, "--suspend-idle"),
        ({"tls_certificate": "c"}, "--tls-certificate"),
        ({"tls_key": "k"}, "--tls-certificate"),
        ({"tls_client_ca": "ca"}, "--tls-client-ca"),
        ({"suites": []}, "--suites"),
        ({"suites": ["AES256_GCM_X25519", "AES256_GCM_X25519"]}, "--suites"),
        ({"suites": ["secret"]}, "--suites"),
        ({"patterns": ["NNPSK0"]}, "--patterns"),
        ({"rotation_soft_age": 121}, "--rotation-soft-age"),
        ({"rotation_hard_age": 60}, "--rotation-soft-age"),
        ({"rotation_hard_messages": 3_000, "rotation_soft_messages": 1_976}, "--rotation-soft-messages"),
        ({"rotation_hard_messages": 2_047}, "--rotation-hard-messages"),
        ({"rotation_hard_bytes": 1_000}, "--rotation-soft-bytes"),
    ],
)
def test_a_refusal_names_the_option_and_not_the_value(values: dict[str, Any], option: str) -> None:
    """A secret in the wrong place must not end in a log."""
    with pytest.raises(ConfigError) as caught:
        read_config({"dev": True, **values})
    assert caught.value.option == option
    assert str(caught.value).startswith(f"{option}: ")
    assert "secret" not in str(caught.value)
    assert len(str(caught.value)) > len(option) + 10


@pytest.mark.parametrize("field", ["ticket_key", "blob_key", "tls_key", "identity"])
@pytest.mark.parametrize("key", ["5ec7e7" * 10 + "5ec7", "-----BEGIN PRIVATE KEY-----"])
def test_a_key_in_the_place_of_its_file_is_refused(field: str, key: str) -> None:
    """It would be shown to whoever lists processes, and by --print-config."""
    values = {"identity": ["a"], field: [f"chat={key}"] if field == "identity" else key}
    with pytest.raises(ConfigError, match="never the key itself") as refused:
        read_config(values)
    assert key not in str(refused.value)


def test_only_authenticated_callers_come_from_elsewhere() -> None:
    """TLS alone does not say who calls."""
    tls = {"identity": ["a"], "listen": "0.0.0.0:7443", "tls_certificate": "c", "tls_key": "k"}
    with pytest.raises(ConfigError):
        read_config(tls)
    assert read_config({**tls, "tls_client_ca": "ca"}).address.is_wildcard


@pytest.mark.parametrize(
    ("text", "loopback"),
    [
        ("127.0.0.1:1", True),
        ("127.9.9.9:1", True),
        ("[::1]:1", True),
        ("localhost:1", True),
        ("10.0.0.1:1", False),
        ("0.0.0.0:1", False),
        ("[::]:1", False),
        ("localhost.example:1", False),
    ],
)
def test_loopback_is_told_by_address_not_by_looks(text: str, loopback: bool) -> None:
    """And what is parsed prints as it was."""
    assert parse_host_port(text).is_loopback is loopback
    assert str(parse_host_port(text)) == text


def test_a_configuration_does_not_change() -> None:
    """It is read once; what runs is what was checked."""
    config = read_config({"dev": True})
    with pytest.raises(ValidationError):
        config.dev = False
