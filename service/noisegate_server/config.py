"""What an operator can set: one frozen record, read from a mapping of option names to values.

Every field has a default that works, a range, and a sentence which the command line shows. A refusal names the option
and the way out, never the value, which may be a secret in the wrong place.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

__all__ = ["Config", "ConfigError", "HostPort", "option_name", "parse_host_port", "read_config"]


class ConfigError(ValueError):
    """An option that cannot be meant; the text names the option and the remedy. Exit code 2."""

    def __init__(self, option: str, remedy: str) -> None:
        super().__init__(f"{option}: {remedy}")
        self.option = option


class HostPort(BaseModel):
    """An address to listen on."""

    model_config = ConfigDict(frozen=True)

    host: str
    """A name or an IP address without brackets."""
    port: int = Field(ge=0, le=65_535)

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it; of names, only localhost is such for certain."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def is_wildcard(self) -> bool:
        """Whether it is every address of the machine, and so none that a caller could be told."""
        try:
            return ip_address(self.host).is_unspecified
        except ValueError:
            return False

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_host_port(text: str) -> HostPort:
    """HOST:PORT or [IPv6]:PORT. Raises ValueError."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError("an IPv6 address stands in brackets")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise ValueError("HOST:PORT")
    return HostPort(host=host, port=int(port))


Seconds = Annotated[float, Field(allow_inf_nan=False)]


class Config(BaseModel):
    """All options of `noisegate serve`. Field names are option names with underscores."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    listen: str = Field("127.0.0.1:7443", description="HOST:PORT to listen on; port 0 takes a free one.")
    advertise: str = Field(
        "", description="HOST:PORT under which callers reach this instance; empty for the address listened on."
    )
    dev: bool = Field(
        False, description="For development: loopback only, with identity keys made at start and lost at the end."
    )
    identity: tuple[str, ...] = Field(
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
    drain: Seconds = Field(
        0.5,
        ge=0,
        le=60,
        description="Seconds at a stop in which new calls are told to go elsewhere, before the port closes.",
    )
    grace: Seconds = Field(10.0, ge=0, le=300, description="Seconds that running calls have to finish at a stop.")

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="What is logged to standard error at least: DEBUG, INFO, WARNING or ERROR; never a secret."
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

    @model_validator(mode="after")
    def _check_whole(self) -> Self:
        for name in ("listen", "advertise", "admin_listen"):
            value = getattr(self, name)
            try:
                valid = not value or (parse_host_port(value).port > 0 or name != "advertise")
            except ValueError:
                valid = False
            if not valid or not self.listen:
                raise ConfigError(option_name(name), "give HOST:PORT, an IPv6 address in brackets")
        _check_identity(self)
        _check_tls(self)
        _check_admin(self)
        return self


def _check_identity(config: Config) -> None:
    if config.dev:
        if config.identity:
            raise ConfigError("--dev", "makes its own identity: leave out --identity, or leave out --dev")
        if not config.address.is_loopback:
            raise ConfigError("--dev", "only for a loopback address: give --listen 127.0.0.1:PORT, or --identity FILE")
        return
    if not config.identity:
        raise ConfigError(
            "--identity", "give --identity FILE (`noisegate keygen --out FILE` makes one), or --dev to try things out"
        )
    tenants = [entry.partition("=")[0] if "=" in entry else "" for entry in config.identity]
    if len(set(tenants)) != len(tenants):
        raise ConfigError("--identity", "one FILE for all tenants and one TENANT=FILE for each; a tenant stands twice")
    if not all(entry.rpartition("=")[2] for entry in config.identity) or "=" in {
        entry[:1] for entry in config.identity
    }:
        raise ConfigError("--identity", "FILE or TENANT=FILE, neither of them empty")


def _check_tls(config: Config) -> None:
    if (config.tls_certificate is None) != (config.tls_key is None):
        raise ConfigError("--tls-certificate", "belongs to --tls-key: give both or neither")
    if config.tls_client_ca is not None and config.tls_certificate is None:
        raise ConfigError("--tls-client-ca", "needs --tls-certificate and --tls-key too")
    if config.tls_client_ca is None and not config.address.is_loopback:
        raise ConfigError(
            "--listen",
            "callers without credentials are taken on loopback only: give --tls-certificate, --tls-key and"
            " --tls-client-ca, or --listen 127.0.0.1:PORT",
        )


def _check_admin(config: Config) -> None:
    address = config.admin_address
    if config.admin_client_ca is not None:
        if address is None:
            raise ConfigError("--admin-client-ca", "belongs to --admin-listen HOST:PORT")
        if config.admin_client_ca == config.tls_client_ca:
            raise ConfigError("--admin-client-ca", "must not be --tls-client-ca: every caller would be an operator")
        if config.tls_certificate is None:
            raise ConfigError("--admin-client-ca", "needs --tls-certificate and --tls-key too")
    elif address is not None and not address.is_loopback:
        raise ConfigError(
            "--admin-listen",
            "operators without credentials are taken on loopback only: give --admin-client-ca FILE, or"
            " --admin-listen 127.0.0.1:PORT",
        )


def option_name(field: str) -> str:
    """The command line's spelling of a field."""
    return "--" + field.replace("_", "-")


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
        about = "there is no such option" if field is None else f"{first['msg']}. {field.description}"
        raise ConfigError(option_name(name), about) from None
