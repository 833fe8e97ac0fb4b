"""Which tenant a caller is, and what it may call.

It fails closed: a caller without an identity, or one that a policy file does not list, has no tenant, and a method that
its entry does not name is refused.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from noisegate_server.rpc.call import Caller
from noisegate_server.session.errors import InvalidField
from noisegate_server.session.limits import LowerLimits, RotationLimits, limits_for
from noisegate_server.session.state import RecordMode

__all__ = ["LOCAL", "Peer", "Policy", "PolicyError", "Rights", "read_policy"]

LOCAL: Final = "local"
"""The tenant of callers on a connection without credentials, and their id in a policy file."""

Rights = Mapping[str, frozenset[str]]
"""Identity (LOCAL for none) to the full names of the methods that it may call."""

# SPIFFE-ID section 2: a trust domain of lower-case letters, digits, dots, dashes, underscores; path segments without
# "." and ".." and never empty; at most 2,048 bytes.
_SPIFFE_ID: Final = re.compile(r"spiffe://[a-z0-9._-]{1,255}(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._-]+)+")
_MAX_SPIFFE_BYTES: Final = 2_048
_MAX_TENANT_BYTES: Final = 255
"""A tenant's name stands in tickets, with one byte for its length."""


class PolicyError(ValueError):
    """A policy file says something that cannot be meant; the text names the entry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """What a transport knows about the other end of a connection."""

    authenticated: bool
    """Whether this listener demands a client certificate."""
    uris: tuple[str, ...] = ()
    """URI subject alternative names of the client certificate."""
    address: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Callers and their tenants. `tenants` None: no file, and each identity is its own tenant with every right."""

    tenants: Mapping[str, str] | None = None
    """Identity (LOCAL for none) to tenant."""
    rights: Rights | None = None
    """None: every method but those that are withheld."""
    limits: Mapping[tuple[str, RecordMode], LowerLimits] = field(default_factory=dict)
    """Limits of rotation that a tenant's sessions of a mode have lower than the service's."""
    withheld: frozenset[str] = frozenset()
    """Full names of methods that are allowed by name alone, and so to nobody without rights."""

    def caller(self, peer: Peer) -> Caller:
        """The caller behind a connection; without a tenant where the policy knows none."""
        identity = ""
        if peer.authenticated:
            identity = peer.uris[0] if len(peer.uris) == 1 else ""
            if len(identity) > _MAX_SPIFFE_BYTES or not _SPIFFE_ID.fullmatch(identity):
                return Caller(identity="", tenant="", address=peer.address)
        name = identity or LOCAL
        tenant = name if self.tenants is None else self.tenants.get(name, "")
        if len(tenant) > _MAX_TENANT_BYTES:
            tenant = ""
        return Caller(identity=identity, tenant=tenant, address=peer.address)


_SHAPE: Final = 'Each caller is a table: [[caller]], id = "spiffe://...", tenant = "...", methods = ["*"]'


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    id: str = Field(min_length=1, max_length=_MAX_SPIFFE_BYTES)
    tenant: str = Field(pattern=r"^[\x21-\x7e]{1,255}$")
    methods: list[str] = Field(min_length=1)


class _Lower(BaseModel):
    """Fields are those of `LowerLimits`, which says what they may be."""

    model_config = ConfigDict(extra="forbid", strict=True)

    soft_age: float = 0
    hard_age: float = 0
    soft_messages: int = 0
    hard_messages: int = 0
    soft_bytes: int = 0
    hard_bytes: int = 0


class _Tenant(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: str = Field(min_length=1, max_length=_MAX_TENANT_BYTES)
    datagram: _Lower = Field(default_factory=_Lower)
    noise: _Lower = Field(default_factory=_Lower)


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    caller: list[_Entry] = Field(min_length=1)
    tenant: list[_Tenant] = Field(default_factory=list)


def read_policy(text: str, methods: Iterable[str], by_name: Iterable[str] = ()) -> Policy:
    """Parse a policy file.

    Shape: TOML with one `[[caller]]` for each caller: `id` (a SPIFFE id, or "local" for connections without
    credentials), `tenant`, `methods` (names of RPCs, or "*" for all but those that are allowed by name alone). Where a
    tenant has lower limits of rotation than the service, one `[[tenant]]`: `name`, and for each mode, `datagram` and
    `noise`, a table of limits as `RotationLimits` names them.
    `methods`: the full names of all methods that need a right; `by_name`: those of them that "*" does not include.
    Raises PolicyError.
    """
    known = {name.rpartition("/")[2]: name for name in methods}
    every = frozenset(known.values()) - frozenset(by_name)
    try:
        parsed = _File.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise PolicyError(f"not TOML: {error}") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise PolicyError(f"{where}: {first['msg']}. {_SHAPE}") from None
    tenants: dict[str, str] = {}
    rights: dict[str, frozenset[str]] = {}
    for entry in parsed.caller:
        if entry.id != LOCAL and not _SPIFFE_ID.fullmatch(entry.id):
            raise PolicyError(f"caller {entry.id!r}: not a SPIFFE id and not {LOCAL!r}")
        if entry.id in tenants:
            raise PolicyError(f"caller {entry.id!r}: listed twice")
        unknown = [name for name in entry.methods if name != "*" and name not in known]
        if unknown:
            raise PolicyError(f"caller {entry.id!r}: no such method: {', '.join(unknown)}")
        tenants[entry.id] = entry.tenant
        named = frozenset(known[name] for name in entry.methods if name != "*")
        rights[entry.id] = named | every if "*" in entry.methods else named
    return Policy(tenants=tenants, rights=rights, limits=_limits(parsed.tenant, frozenset(tenants.values())))


def _limits(entries: list[_Tenant], tenants: frozenset[str]) -> dict[tuple[str, RecordMode], LowerLimits]:
    limits: dict[tuple[str, RecordMode], LowerLimits] = {}
    for entry in entries:
        if entry.name not in tenants:
            raise PolicyError(f"tenant {entry.name!r}: no caller has it")
        for mode, lower in ((RecordMode.DATAGRAM, entry.datagram), (RecordMode.NOISE, entry.noise)):
            if (entry.name, mode) in limits:
                raise PolicyError(f"tenant {entry.name!r}: listed twice")
            wanted = LowerLimits(**lower.model_dump())
            try:
                # The widest of all ciphers: a session's own may allow less.
                wanted.check(limits_for(RotationLimits(), mode=mode, cipher="ChaChaPoly"), mode.name.lower())
            except InvalidField as error:
                raise PolicyError(f"tenant {entry.name!r}: {error}") from None
            limits[entry.name, mode] = wanted
    return limits
