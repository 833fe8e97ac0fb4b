"""Which static key the service shows to a tenant's players. Tenants have keys of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from noisegate_server.noise import KeyPair, RandomBytes


class Identities:
    """Static key pairs by tenant: configured ones, then the default, then, where allowed, one made on first use."""

    __slots__ = ("_default", "_generate", "_pairs")

    def __init__(
        self, pairs: Mapping[str, KeyPair], *, default: KeyPair | None = None, generate: RandomBytes | None = None
    ) -> None:
        """`generate` (development alone) makes a key for a tenant that has none; it lives as long as the process."""
        self._pairs: Final = dict(pairs)
        self._default: Final = default
        self._generate: Final = generate

    def key_for(self, tenant: str) -> KeyPair:
        """The tenant's key pair. LookupError where the configuration has none for it."""
        pair = self._pairs.get(tenant, self._default)
        if pair is None:
            if self._generate is None:
                raise LookupError("no identity for this tenant")
            pair = self._pairs[tenant] = KeyPair.generate(self._generate)
        return pair
