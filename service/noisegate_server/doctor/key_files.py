"""Files of keys: there, for their owner alone, and keys in them. Shown are public keys and ids."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from noisegate_server import files
from noisegate_server.config import Config
from noisegate_server.doctor.findings import Findings
from noisegate_server.vault.key_dates import read_dates
from noisegate_server.wiring import callers_policy, what_is_missing

__all__ = ["OLD", "examine_key_files"]

OLD: Final[Mapping[str, float]] = {"--ticket-key": 26 * 3_600.0, "--blob-key": 90 * 86_400.0}
"""Seconds after which a key wants a new one, as the alerts have it."""


def examine_key_files(findings: Findings, config: Config, wall: float) -> None:
    """Identities, ticket key, blob key, and who may call."""
    with findings.of_options():
        identities = files.identities(config, os.urandom)
        for entry in config.identity:
            tenant = entry.partition("=")[0] if "=" in entry else ""
            key = identities.key_for(tenant).public.hex()
            findings.ok("--identity", f"public key of {tenant or 'every other tenant'}: {key}")
    for option, path, label in (
        ("--ticket-key", config.ticket_key, files.TICKET_KEYS),
        ("--blob-key", config.blob_key, files.BLOB_KEYS),
    ):
        if path is not None:
            with findings.of_options():
                _examine_sealing_key(findings, files.KeyFile(option, path, label), config.state_file, wall)
    with findings.of_options():
        policy = callers_policy(config)
        if policy.tenants is not None:
            findings.ok("--policy", f"{config.policy}: {len(policy.tenants)} callers")
    for line in what_is_missing(config):
        findings.note("options", line)


def _examine_sealing_key(findings: Findings, file: files.KeyFile, state_file: Path | None, wall: float) -> None:
    keys = file.read()
    key_id = keys.current.key_id.hex()
    before = f", and opens under {keys.previous.key_id.hex()} too" if keys.previous is not None else ""
    since = read_dates(state_file).get(file.option, {}).get(key_id, file.written_at)
    told = (
        f"{file.path}: seals under key {key_id} since {datetime.fromtimestamp(since, UTC):%Y-%m-%d %H:%M} UTC{before}"
    )
    if wall - since > OLD[file.option]:
        findings.note(file.option, told, "put a new key before it in the file, and drop the one behind it")
    else:
        findings.ok(file.option, told)
