"""What options must be together: each rule names the option to change and the way out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from noisegate_server.config.address import parse_host_port
from noisegate_server.config.errors import ConfigError, option_name
from noisegate_server.session.constants import RESERVED_COUNTERS

if TYPE_CHECKING:
    from noisegate_server.config.settings import Config

__all__ = ["check_whole"]

_ADDRESSES: Final = ("listen", "advertise", "admin_listen", "health_listen", "metrics_listen")
_KEY_FILES: Final = ("tls_key", "ticket_key", "blob_key")
_A_KEY: Final = re.compile(r"[0-9a-fA-F]{64}|-----BEGIN ")


def check_whole(config: Config) -> None:
    """ConfigError for the first rule that the options break."""
    _check_addresses(config)
    _check_files(config)
    _check_identity(config)
    _check_tls(config)
    _check_admin(config)
    _check_rotation(config)


def _check_addresses(config: Config) -> None:
    for name in _ADDRESSES:
        value = getattr(config, name)
        try:
            valid = not value or (parse_host_port(value).port > 0 or name != "advertise")
        except ValueError:
            valid = False
        if not valid or not config.listen:
            raise ConfigError(option_name(name), "give HOST:PORT, an IPv6 address in brackets")


def _check_files(config: Config) -> None:
    """A key in the place of its file would be shown by whoever lists processes, or this configuration."""
    named = [(name, str(getattr(config, name) or "")) for name in _KEY_FILES]
    for name, value in (*named, *(("identity", path) for _, path in _identities(config))):
        if _A_KEY.match(value):
            raise ConfigError(option_name(name), "give the name of a file with the key in it, never the key itself")


def _identities(config: Config) -> Iterator[tuple[str, str]]:
    """(tenant or empty, path) of each."""
    for entry in config.identity:
        tenant, _, path = entry.partition("=") if "=" in entry else ("", "", entry)
        yield tenant, path


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
    tenants = [tenant for tenant, _ in _identities(config)]
    if len(set(tenants)) != len(tenants):
        raise ConfigError("--identity", "one FILE for all tenants and one TENANT=FILE for each; a tenant stands twice")
    if not all(path for _, path in _identities(config)) or any(entry.startswith("=") for entry in config.identity):
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


def _check_rotation(config: Config) -> None:
    """A soft limit that does not come before its hard one would leave no time to rotate."""
    for unit, reserved in (("age", 0), ("messages", RESERVED_COUNTERS), ("bytes", 0)):
        soft, hard = f"rotation_soft_{unit}", f"rotation_hard_{unit}"
        if getattr(config, soft) >= getattr(config, hard) - reserved:
            margin = f" by more than {reserved:,}" if reserved else ""
            raise ConfigError(option_name(soft), f"must be below {option_name(hard)}{margin}: lower it too")
