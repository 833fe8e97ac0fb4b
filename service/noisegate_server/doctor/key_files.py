"""Files of keys: there, for their owner alone, and keys in them. Shown are public keys and ids."""

from __future__ import annotations

import os
from pathlib import Path

from noisegate_server import files
from noisegate_server.config import Config
from noisegate_server.doctor.findings import Findings
from noisegate_server.wiring import callers_policy, what_is_missing

__all__ = ["examine_key_files"]


def examine_key_files(findings: Findings, config: Config) -> None:
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
                _examine_sealing_key(findings, option, path, label)
    with findings.of_options():
        policy = callers_policy(config)
        if policy.tenants is not None:
            findings.ok("--policy", f"{config.policy}: {len(policy.tenants)} callers")
    for line in what_is_missing(config):
        findings.note("options", line)


def _examine_sealing_key(findings: Findings, option: str, path: Path, label: bytes) -> None:
    keys = files.KeyFile(option, path, label).read()
    before = f", and opens under {keys.previous.key_id.hex()} too" if keys.previous is not None else ""
    findings.ok(option, f"{path}: seals under key {keys.current.key_id.hex()}{before}")
