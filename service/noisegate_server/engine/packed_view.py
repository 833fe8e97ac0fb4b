"""A packed session as its owner may see it, without unpacking it."""

from __future__ import annotations

from noisegate_server.engine.outcomes import Established, SessionView
from noisegate_server.session.constants import DATAGRAM_OVERHEAD, NOISE_OVERHEAD
from noisegate_server.session.network import KEEP_ALIVES, PROFILES
from noisegate_server.session.record_layout import Glance, Public
from noisegate_server.session.state import RecordMode, SessionState
from noisegate_server.session.suites import NOISE_NAMES


def packed_view(seen: Glance, now: float) -> SessionView:
    """What `sessions.view` would say of it, were it an object."""
    public = seen.public
    shared, head, numbers = public
    return SessionView(
        session_id=seen.session_id,
        state=SessionState.ESTABLISHED,
        mode=shared.mode,
        role=shared.role,
        peer_id=seen.peer_id,
        group=seen.group,
        established=_established(seen, public, now),
        epoch=seen.epoch,
        sealed=numbers.send_counter if shared.mode is RecordMode.DATAGRAM else numbers.sealed,
        opened=numbers.opened,
        refused=numbers.refused,
        age=now - head.created_at,
        idle=now - seen.last_used,
        connection_id=seen.bound[0] if seen.bound else b"",
        early=shared.early,
        network=shared.network,
    )


def _established(seen: Glance, public: Public, now: float) -> Established:
    shared, head, _ = public
    return Established(
        remote_static_key=seen.remote_static,
        handshake_hash=head.handshake_hash,
        pattern=shared.pattern,
        suite=shared.suite,
        protocol_name=NOISE_NAMES[shared.pattern, shared.suite],
        expires_in=seen.lifetime_end - now,
        # In a salted epoch records are longer, and such a session is not packed.
        overhead_bytes=DATAGRAM_OVERHEAD if shared.mode is RecordMode.DATAGRAM else NOISE_OVERHEAD,
        keep_alive=min(PROFILES[shared.network].keep_alive, shared.idle_timeout / KEEP_ALIVES),
        idle_timeout=shared.idle_timeout,
    )
