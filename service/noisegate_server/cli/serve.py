"""`noisegate serve`: options to a configuration, then the server until a signal ends it."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from noisegate_server.cli.options import refuse_config, with_settings
from noisegate_server.cli.sources import Settings
from noisegate_server.config import ConfigError
from noisegate_server.server import run
from noisegate_server.telemetry.destinations import read_destinations
from noisegate_server.telemetry.logs import configure_logging

__all__ = ["serve"]


@with_settings
def serve(
    *,
    settings: Settings | ConfigError,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Show every option, its value and where that is from; do not serve.")
    ] = False,
) -> None:
    """Run the service until SIGTERM or SIGINT.

    An option that is not given here comes from the environment (its variable stands in brackets), else from --config,
    else it has its default.
    """
    if isinstance(settings, ConfigError):
        refuse_config(settings)
    if print_config:
        sys.stdout.writelines(f"{line}\n" for line in settings.lines())
        return
    configure_logging(settings.config.log_level, settings.config.log_format)
    try:
        run(settings.config, _announce, read_destinations(os.environ))
    except ConfigError as error:
        refuse_config(settings.respell(error))


def _announce(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
