"""What an operator can set, as frozen data. Reads no environment, no file, no command line: cli/sources.py does."""

from __future__ import annotations

from noisegate_server.config.address import HostPort, parse_host_port
from noisegate_server.config.errors import ConfigError, option_name
from noisegate_server.config.settings import Config, read_config

__all__ = ["Config", "ConfigError", "HostPort", "option_name", "parse_host_port", "read_config"]
