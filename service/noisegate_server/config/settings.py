"""Every option: its name, type, range, default and one sentence, which the command line shows.

A refusal names the option and the way out, never the value, which may be a secret in the wrong place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, TypeVar

from pydantic import BeforeValidator, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from noisegate_server.config.address import HostPort, parse_host_port
from noisegate_server.config.errors import ConfigError, option_name
from noisegate_server.config.rules import check_whole
from noisegate_server.engine.policy import Policy
from noisegate_server.session.constants import (
    HARD_AGE_S,
    HARD_BYTES,
    HARD_MESSAGES,
    MIN_HARD_MESSAGES,
    MIN_ROTATION_AGE_S,
    SOFT_AGE_S,
    SOFT_BYTES,
    SOFT_MESSAGES,
)
from noisegate_server.session.suites import Pattern, Suite

__all__ = ["Config", "read_config"]

_POLICY: Final = Policy()

T = TypeVar("T", bound=IntEnum)


def _words(value: object) -> object:
    """An environment variable has several values as one text with blanks between them."""
    return tuple(value.split()) if isinstance(value, str) else value


def _names(allowed: tuple[T, ...]) -> Callable[[Any], tuple[T, ...]]:
    """Reads members of an enum by name, each once, separated by commas or blanks or as a list."""
    by_name = {member.name: member for member in allowed}

    def read(value: Any) -> tuple[T, ...]:
        texts = [value] if isinstance(value, str) else [str(each) for each in value]
        names = [name.upper() for text in texts for name in text.replace(",", " ").split()]
        if not names or len(set(names)) != len(names) or not by_name.keys() >= set(names):
            raise ValueError(f"one or more of {', '.join(by_name)}, each once")
        return tuple(by_name[name] for name in names)

    return read


Seconds = Annotated[float, Field(allow_inf_nan=False)]
Texts = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)]
Suites = Annotated[tuple[Suite, ...], NoDecode, BeforeValidator(_names(_POLICY.suites))]
Patterns = Annotated[tuple[Pattern, ...], NoDecode, BeforeValidator(_names(_POLICY.patterns))]


class Config(BaseSettings):
    """All options of `noisegate serve`. Field names are option names with underscores."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", validate_default=False, hide_input_in_errors=True, env_prefix="NOISEGATE_"
    )

    listen: str = Field("127.0.0.1:7443", description="HOST:PORT to listen on; port 0 takes a free one.")
    advertise: str = Field(
        "", description="HOST:PORT under which callers reach this instance; empty for the address listened on."
    )
    dev: bool = Field(
        False, description="For development: loopback only, with identity keys made at start and lost at the end."
    )
    identity: Texts = Field(
        (), description="[TENANT=]FILE with a static private key made by `noisegate keygen`; repeat for more tenants."
    )
    tls_certificate: Path | None = Field(None, description="PEM file with the server's certificate chain.")
    tls_key: Path | None = Field(None, description="PEM file with the server's private key.")
    tls_client_ca: Path | None = Field(
        None, description="PEM file with the roots of callers' certificates, which are then demanded."
    )
    policy: Path | None = Field(
        None,
        description="TOML file that maps callers to tenants and methods; without it each caller is its own tenant.",
    )
    ticket_key: Path | None = Field(
        None, description="File with the ticket key (64 hex digits; a second line: the one before); else made at start."
    )
    state_file: Path | None = Field(
        None, description="File for suspended sessions, used tickets and revocations; else they end with the process."
    )
    blob_key: Path | None = Field(
        None,
        description="File with the key of suspended sessions (64 hex digits; a second line: the one before); else made"
        " at start.",
    )
    max_early_data: int = Field(
        0, ge=0, le=16_384, description="Bytes of early data that a ticket may allow; 0 for none."
    )
    admin_listen: str = Field(
        "", description="HOST:PORT for AdminService alone; empty for none. Port 0 takes a free one."
    )
    admin_client_ca: Path | None = Field(
        None, description="PEM file with the roots of operators' certificates, which --admin-listen then demands."
    )
    health_listen: str = Field(
        "",
        description="HOST:PORT for a kubelet's probes: health checks alone, without TLS; empty for none. Port 0 takes a"
        " free one.",
    )
    max_sessions: int = Field(1_000_000, ge=1, le=10_000_000, description="Sessions in the process.")
    sessions_per_tenant: int = Field(1_000_000, ge=1, le=10_000_000, description="Sessions of one tenant.")
    sessions_per_peer: int = Field(16, ge=1, le=100_000, description="Sessions of one player of a tenant.")
    max_handshakes: int = Field(10_000, ge=1, le=1_000_000, description="Unfinished handshakes in the process.")
    handshakes_per_tenant: int = Field(10_000, ge=1, le=1_000_000, description="Unfinished handshakes of one tenant.")
    handshakes_per_peer: int = Field(4, ge=1, le=10_000, description="Unfinished handshakes of one player.")
    handshake_timeout: Seconds = Field(
        10.0, ge=1, le=60, description="Seconds until an unfinished handshake is given up."
    )
    idle_timeout: Seconds = Field(
        600.0, ge=1, le=86_400, description="Seconds without a record until a session ends, where its caller set none."
    )
    suspend_idle: Seconds = Field(
        0.0, ge=0, le=86_400, description="Seconds without a record until a session leaves memory; 0 for never."
    )
    lifetime: Seconds = Field(
        86_400.0, ge=1, le=604_800, description="Seconds that a session lives at most, where its caller set none."
    )
    suites: Suites = Field(_POLICY.suites, description="Suites that handshakes may run, preferred first.")
    patterns: Patterns = Field(
        _POLICY.patterns, description="Handshake patterns that players may begin with, preferred first."
    )
    rotation_soft_age: Seconds = Field(
        SOFT_AGE_S,
        ge=MIN_ROTATION_AGE_S,
        le=SOFT_AGE_S,
        description="Seconds until the keys of a DATAGRAM session are due for rotation.",
    )
    rotation_hard_age: Seconds = Field(
        HARD_AGE_S,
        ge=MIN_ROTATION_AGE_S,
        le=HARD_AGE_S,
        description="Seconds until a DATAGRAM session seals nothing before its keys have changed.",
    )
    rotation_soft_messages: int = Field(
        SOFT_MESSAGES, ge=1, le=SOFT_MESSAGES, description="Records until the keys of a session are due for rotation."
    )
    rotation_hard_messages: int = Field(
        HARD_MESSAGES,
        ge=MIN_HARD_MESSAGES,
        le=HARD_MESSAGES,
        description="Records until a DATAGRAM session seals nothing before its keys have changed.",
    )
    rotation_soft_bytes: int = Field(
        SOFT_BYTES, ge=1, le=SOFT_BYTES, description="Bytes until the keys of a session are due for rotation."
    )
    rotation_hard_bytes: int = Field(
        HARD_BYTES,
        ge=1,
        le=HARD_BYTES,
        description="Bytes until a DATAGRAM session seals nothing before its keys have changed.",
    )
    drain: Seconds = Field(
        0.5,
        ge=0,
        le=60,
        description="Seconds at a stop in which new calls are told to go elsewhere, before the port closes.",
    )
    grace: Seconds = Field(10.0, ge=0, le=300, description="Seconds that running calls have to finish at a stop.")
    suspend_grace: Seconds = Field(
        15.0,
        ge=0,
        le=3_600,
        description="Seconds at a stop for suspending sessions, once running calls have ended; what is left then ends.",
    )
    metrics_listen: str = Field(
        "",
        description="HOST:PORT for Prometheus (GET /metrics), without TLS; empty for none. Port 0 takes a free one.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="What is logged to standard error at least: DEBUG, INFO, WARNING or ERROR; never a secret."
    )
    log_format: Literal["json", "console"] = Field(
        "json", description="How it is logged: json, an object a line, or console, for a person."
    )
    huge_pages: bool = Field(
        True, description="Put memory into pages of 2 MiB as it comes into use, where the system does so (Linux 6.1)."
    )
    traceable: bool = Field(
        False, description="For development: let debuggers attach and processes of the same user read the memory."
    )

    @property
    def address(self) -> HostPort:
        """Where to listen."""
        return parse_host_port(self.listen)

    @property
    def admin_address(self) -> HostPort | None:
        """Where to listen for operators, if at all."""
        return parse_host_port(self.admin_listen) if self.admin_listen else None

    @property
    def health_address(self) -> HostPort | None:
        """Where to listen for probes without TLS, if at all."""
        return parse_host_port(self.health_listen) if self.health_listen else None

    @property
    def metrics_address(self) -> HostPort | None:
        """Where to listen for Prometheus, if at all."""
        return parse_host_port(self.metrics_listen) if self.metrics_listen else None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What was given and nothing else: cli/sources.py reads the others, each for itself, and knows which was it."""
        return (init_settings,)

    @model_validator(mode="after")
    def _check_whole(self) -> Self:
        check_whole(self)
        return self


def read_config(values: Mapping[str, object]) -> Config:
    """The configuration from option values by field name; what is missing has its default. Raises ConfigError."""
    try:
        return Config.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        cause = first.get("ctx", {}).get("error")
        if isinstance(cause, ConfigError):
            raise cause from None
        name = str(first["loc"][0]) if first["loc"] else ""
        field = Config.model_fields.get(name)
        message = first["msg"].removeprefix("Value error, ")
        about = "there is no such option" if field is None else f"{message}. {field.description}"
        raise ConfigError(option_name(name), about) from None
