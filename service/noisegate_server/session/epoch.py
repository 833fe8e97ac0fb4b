"""One key epoch of a DATAGRAM session: what seals and what opens in it, and its replay window.

docs/protocol.md, section 3. How keys follow from the traffic secrets is the business of `session.phases` (ratchet off)
and `session.ratchet` (on), which have one interface. Nothing kept here yields an earlier key, and the root is a sibling
of the traffic secrets.
"""

from __future__ import annotations

import math

from noisegate_server.noise.primitives import wipe
from noisegate_server.session.aeads import AeadCache
from noisegate_server.session.keys import EpochSecrets
from noisegate_server.session.phases import PhaseReceiver, PhaseSender
from noisegate_server.session.ratchet import Ratchet, RatchetReceiver, RatchetSender
from noisegate_server.session.replay import ReplayWindow

Sender = PhaseSender | RatchetSender
Receiver = PhaseReceiver | RatchetReceiver


class Epoch:
    """Sender, receiver and window of one epoch. Owned by one session; secrets are wiped by `wipe()`."""

    __slots__ = (
        "began_at",
        "confirmed",
        "expires_at",
        "h",
        "number",
        "opened",
        "receive_tail",
        "receiver",
        "root",
        "send_tail",
        "sender",
        "window",
    )

    def __init__(
        self,
        *,
        number: int,
        h: bytes,
        root: bytearray,
        sender: Sender,
        receiver: Receiver,
        now: float,
        confirmed: bool,
    ) -> None:
        self.number = number
        self.h = h
        self.root = root
        self.sender = sender
        self.receiver = receiver
        self.window = ReplayWindow()
        self.opened = 0
        self.confirmed = confirmed
        """A record of this epoch from the peer has opened (epoch 0: its handshake has finished)."""
        self.began_at = now
        self.expires_at = math.inf
        """Set when a newer epoch was confirmed: the receive keys live until then (monotonic seconds)."""
        self.send_tail = b""
        """A salted epoch of ours that the peer has not confirmed: base ‖ salt, which its SALTED packets carry."""
        self.receive_tail = b""
        """A salted epoch of the peer: base ‖ salt of its SALTED packets."""

    def __repr__(self) -> str:
        return f"Epoch(number={self.number}, confirmed={self.confirmed})"

    def stop_sending(self, aeads: AeadCache) -> None:
        """Wipe what seals; what opens lives on until the grace ends."""
        self.sender.wipe(aeads)

    def wipe(self, aeads: AeadCache) -> None:
        """Wipe every secret of this epoch."""
        self.sender.wipe(aeads)
        self.receiver.wipe(aeads)
        wipe(self.root)


def begin_epoch(
    secrets: EpochSecrets,
    *,
    number: int,
    h: bytes,
    initiator: bool,
    ratchet: bool,
    now: float,
    confirmed: bool,
) -> Epoch:
    """The epoch of fresh secrets, which are its own from here on, as the Noise initiator uses it or the responder."""
    to_send, to_receive = (secrets.i2r, secrets.r2i) if initiator else (secrets.r2i, secrets.i2r)
    sender: Sender = RatchetSender(Ratchet.begin(to_send)) if ratchet else PhaseSender(to_send)
    receiver = begin_receiver(to_receive, ratchet=ratchet)
    return Epoch(number=number, h=h, root=secrets.root, sender=sender, receiver=receiver, now=now, confirmed=confirmed)


def begin_receiver(secret: bytearray, *, ratchet: bool) -> Receiver:
    """What opens, at the first record of the direction whose P(0) is `secret`, which is its own from here on."""
    return RatchetReceiver(Ratchet.begin(secret)) if ratchet else PhaseReceiver(secret)


def retire(epoch: Epoch | None, aeads: AeadCache) -> None:
    """Wipe every secret of an epoch that may be there."""
    if epoch is not None:
        epoch.wipe(aeads)
