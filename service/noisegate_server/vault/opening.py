"""The vault that the configuration asks for."""

from __future__ import annotations

from noisegate_server.config import Config, ConfigError
from noisegate_server.engine.parts import INSTANCE
from noisegate_server.noise import RandomBytes
from noisegate_server.store.vault import MemoryVault, Vault
from noisegate_server.vault.sqlite import SqliteVault, UnusableFile

__all__ = ["open_vault"]


def open_vault(config: Config, random_bytes: RandomBytes) -> Vault:
    """In the file of `--state-file`, or in memory. ConfigError where the file is of no use."""
    issuer = random_bytes(INSTANCE)
    if config.state_file is None:
        return MemoryVault(issuer)
    try:
        return SqliteVault(config.state_file, issuer)
    except UnusableFile as unusable:
        raise ConfigError("--state-file", f"{config.state_file}: {unusable}") from None
