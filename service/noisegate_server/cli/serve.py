"""`noisegate serve`: options and environment to a configuration, then the server until a signal ends it."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from noisegate_server.config import Config, ConfigError, option_name, read_config
from noisegate_server.server import run

__all__ = ["serve"]


def _option(field: str) -> Any:
    """Name, environment variable, help and shown default of one field; range and default live in config alone."""
    info = Config.model_fields[field]
    shown = f" [default: {info.default}]" if isinstance(info.default, str | float) and info.default else ""
    return typer.Option(
        option_name(field), envvar=f"NOISEGATE_{field.upper()}", help=f"{info.description}{shown}", show_default=False
    )


def serve(
    listen: Annotated[str | None, _option("listen")] = None,
    advertise: Annotated[str | None, _option("advertise")] = None,
    dev: Annotated[bool, _option("dev")] = False,
    identity: Annotated[list[str] | None, _option("identity")] = None,
    tls_certificate: Annotated[Path | None, _option("tls_certificate")] = None,
    tls_key: Annotated[Path | None, _option("tls_key")] = None,
    tls_client_ca: Annotated[Path | None, _option("tls_client_ca")] = None,
    policy: Annotated[Path | None, _option("policy")] = None,
    ticket_key: Annotated[Path | None, _option("ticket_key")] = None,
    state_file: Annotated[Path | None, _option("state_file")] = None,
    blob_key: Annotated[Path | None, _option("blob_key")] = None,
    max_early_data: Annotated[int | None, _option("max_early_data")] = None,
    admin_listen: Annotated[str | None, _option("admin_listen")] = None,
    admin_client_ca: Annotated[Path | None, _option("admin_client_ca")] = None,
    max_sessions: Annotated[int | None, _option("max_sessions")] = None,
    sessions_per_tenant: Annotated[int | None, _option("sessions_per_tenant")] = None,
    sessions_per_peer: Annotated[int | None, _option("sessions_per_peer")] = None,
    max_handshakes: Annotated[int | None, _option("max_handshakes")] = None,
    handshakes_per_tenant: Annotated[int | None, _option("handshakes_per_tenant")] = None,
    handshakes_per_peer: Annotated[int | None, _option("handshakes_per_peer")] = None,
    handshake_timeout: Annotated[float | None, _option("handshake_timeout")] = None,
    idle_timeout: Annotated[float | None, _option("idle_timeout")] = None,
    suspend_idle: Annotated[float | None, _option("suspend_idle")] = None,
    lifetime: Annotated[float | None, _option("lifetime")] = None,
    drain: Annotated[float | None, _option("drain")] = None,
    grace: Annotated[float | None, _option("grace")] = None,
    log_level: Annotated[str | None, _option("log_level")] = None,
    traceable: Annotated[bool, _option("traceable")] = False,
) -> None:
    """Run the service until SIGTERM or SIGINT."""
    given = {name: value for name, value in locals().items() if value is not None}
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:
        config = read_config(given)
        # Our own logger alone: what libraries say in their detail is not ours to vouch for.
        logging.getLogger("noisegate").setLevel(config.log_level)
        run(config, _announce)
    except ConfigError as error:
        typer.echo(f"noisegate: {error}", err=True)
        raise typer.Exit(2) from None


def _announce(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
