"""What the configuration means for the layers below: their own records, made from its options."""

from __future__ import annotations

from collections.abc import Iterator

from noisegate_server import files
from noisegate_server.config import Config, ConfigError
from noisegate_server.engine.policy import Policy as EnginePolicy
from noisegate_server.rpc.policy import Policy, PolicyError, read_policy
from noisegate_server.rpc.table import BY_NAME, METHODS, SERVICE_PREFIX, STREAMS
from noisegate_server.session.limits import RotationLimits
from noisegate_server.store.base import StoreLimits

__all__ = ["callers_policy", "engine_policy", "store_limits", "what_is_missing"]


def engine_policy(config: Config, policy: Policy) -> EnginePolicy:
    """What the service allows and fills in; `policy` has what tenants have lower."""
    return EnginePolicy(
        suites=config.suites,
        patterns=config.patterns,
        handshake_timeout=config.handshake_timeout,
        idle_timeout=config.idle_timeout,
        lifetime=config.lifetime,
        max_early=config.max_early_data,
        limits=RotationLimits(
            soft_age=config.rotation_soft_age,
            hard_age=config.rotation_hard_age,
            soft_messages=config.rotation_soft_messages,
            hard_messages=config.rotation_hard_messages,
            soft_bytes=config.rotation_soft_bytes,
            hard_bytes=config.rotation_hard_bytes,
        ),
        tenant_limits=policy.limits,
    )


def store_limits(config: Config) -> StoreLimits:
    """How many sessions there may be, and of whom."""
    return StoreLimits(
        capacity=config.max_sessions,
        sessions_per_tenant=config.sessions_per_tenant,
        sessions_per_peer=config.sessions_per_peer,
        half_open=config.max_handshakes,
        half_open_per_tenant=config.handshakes_per_tenant,
        half_open_per_peer=config.handshakes_per_peer,
    )


def callers_policy(config: Config) -> Policy:
    """Callers, their tenants and rights. ConfigError where the file is of no use."""
    if config.policy is None:
        return Policy() if config.dev else Policy(withheld=BY_NAME)
    text = files.read("--policy", config.policy).decode("utf-8", "replace")
    try:
        return read_policy(text, [SERVICE_PREFIX + name for name in (*METHODS, *STREAMS)], BY_NAME)
    except PolicyError as error:
        raise ConfigError("--policy", str(error)) from None


def what_is_missing(config: Config) -> Iterator[str]:
    """What an operator should know that he has gone without, a line each."""
    if config.tls_client_ca is None:
        yield "callers are not authenticated: only this machine can connect, and everyone is tenant 'local'"
    if config.admin_address is not None and config.admin_client_ca is None:
        yield "operators are not authenticated: whoever is on this machine is one"
    if config.metrics_address is not None and not config.metrics_address.is_loopback:
        yield "metrics are read by whoever reaches --metrics-listen: numbers, without ids, keys, players or tenants"
    if config.dev:
        yield "--dev: identity keys are new at each start; players that know the last one cannot connect"
    if config.state_file is None:
        yield "no --state-file: suspended sessions, used tickets and revocations end with the process"
    elif config.blob_key is None:
        yield "no --blob-key: suspended sessions end with the process; --state-file keeps the rest"
    if config.ticket_key is None:
        yield "no --ticket-key: tickets of this process end with it, and no other instance takes them"
