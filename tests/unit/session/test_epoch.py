"""An epoch's phases with the ratchet off: which keys exist when, and what a record that lies ahead or behind costs."""

from __future__ import annotations

import hmac
import os

import pytest

from noisegate_server.noise.primitives import CIPHERS
from noisegate_server.session.aeads import AeadCache
from noisegate_server.session.constants import GRACE_S, MAX_PHASES
from noisegate_server.session.epoch import Epoch, begin_epoch
from noisegate_server.session.errors import DecryptFailed
from noisegate_server.session.keys import EpochSecrets
from noisegate_server.session.phases import PhaseReceiver, PhaseSender

CIPHER = CIPHERS["ChaChaPoly"]
NONCE = bytes(12)


def make(*, send: bytes = b"s" * 32, receive: bytes = b"r" * 32) -> Epoch:
    """Epoch 0 with these traffic secrets."""
    return begin_epoch(
        EpochSecrets(i2r=bytearray(send), r2i=bytearray(receive), root=bytearray(b"o" * 32)),
        number=0,
        h=bytes(32),
        initiator=True,
        ratchet=False,
        now=0.0,
        confirmed=True,
    )


def sends(epoch: Epoch) -> PhaseSender:
    """The keys of what it seals."""
    assert isinstance(epoch.sender, PhaseSender)
    return epoch.sender


def receives(epoch: Epoch) -> PhaseReceiver:
    """The keys of what it opens."""
    assert isinstance(epoch.receiver, PhaseReceiver)
    return epoch.receiver


def key_by_hand(secret: bytes, phase: int) -> bytes:
    """Protocol, section 3: P(p+1) = Expand(P(p), "ng1 next"), key = Expand(P(p), "ng1 key"), with HMAC alone."""
    for _ in range(phase):
        secret = hmac.digest(secret, b"ng1 next\x01", "sha256")
    return hmac.digest(secret, b"ng1 key\x01", "sha256")


def opens(epoch: Epoch, phase: int, aeads: AeadCache, secret: bytes, now: float = 0.0) -> bool:
    """Whether the context of `phase` opens what the key of that phase, computed by hand, has sealed."""
    nonce = os.urandom(12)
    sealed = CIPHER.new(key_by_hand(secret, phase)).encrypt(nonce, b"roll", b"")
    context, moves = epoch.receiver.find(phase, 0, CIPHER, aeads, now)
    opened = context.decrypt(nonce, sealed, b"") == b"roll"
    if moves:
        epoch.receiver.commit(phase, 0, aeads, now)
    return opened


@pytest.mark.parametrize("phase", [0, 1, 2, MAX_PHASES - 1])
def test_a_phase_s_key_is_the_specification_s(phase: int) -> None:
    """Sending and receiving in a phase use the key that HMAC gives by hand."""
    aeads, secret = AeadCache(), os.urandom(32)
    sender, receiver = make(send=secret), make(receive=secret)
    for _ in range(phase):
        assert sender.sender.rekey(aeads)
    by_hand = CIPHER.new(key_by_hand(secret, phase))
    assert by_hand.decrypt(NONCE, sender.sender.context(0, CIPHER, aeads).encrypt(NONCE, b"roll", b""), b"") == b"roll"
    assert opens(receiver, phase, aeads, secret)


def test_an_epoch_has_sixty_four_phases() -> None:
    """The 64th REKEY of a direction is refused and changes nothing (protocol, section 3)."""
    aeads = AeadCache()
    epoch = make()
    assert [epoch.sender.rekey(aeads) for _ in range(MAX_PHASES - 1)] == [True] * 63
    before = (epoch.sender.phase, bytes(sends(epoch).secret))
    assert epoch.sender.rekey(aeads) is False
    assert (epoch.sender.phase, bytes(sends(epoch).secret)) == before


@pytest.mark.parametrize("phase", [MAX_PHASES, MAX_PHASES + 1, 200])
def test_a_phase_that_no_epoch_has_is_refused_without_a_derivation(phase: int) -> None:
    """Beyond the last phase nothing is tried, and nothing is built."""
    aeads = AeadCache()
    epoch = make()
    with pytest.raises(DecryptFailed):
        epoch.receiver.find(phase, 0, CIPHER, aeads, 0.0)
    assert len(aeads) == 0


def test_looking_ahead_changes_nothing() -> None:
    """A record that claims a later phase moves nothing until it has opened."""
    aeads, secret = AeadCache(), os.urandom(32)
    epoch = make(receive=secret)
    for _ in range(3):
        _, moves = epoch.receiver.find(40, 0, CIPHER, aeads, 0.0)
        assert moves
    assert epoch.receiver.phase == 0
    assert bytes(receives(epoch).secret) == secret
    assert not receives(epoch).passed


def test_passed_phases_open_until_their_grace_ends() -> None:
    """After a jump to phase 3, phases 0 to 2 open for 30 s and not a moment longer."""
    aeads, secret = AeadCache(), os.urandom(32)
    epoch = make(receive=secret)
    assert opens(epoch, 3, aeads, secret, now=100.0)
    for phase in range(3):
        assert opens(epoch, phase, aeads, secret, now=100.0 + GRACE_S - 0.001)
        with pytest.raises(DecryptFailed):
            epoch.receiver.find(phase, 0, CIPHER, aeads, 100.0 + GRACE_S)


def test_passed_keys_are_wiped_when_their_grace_ends() -> None:
    """`forget_passed` overwrites what is over, and leaves what is not."""
    aeads, secret = AeadCache(), os.urandom(32)
    epoch = make(receive=secret)
    assert opens(epoch, 1, aeads, secret, now=100.0)
    assert opens(epoch, 2, aeads, secret, now=110.0)
    first, second = (receives(epoch).passed[phase][0] for phase in (0, 1))
    assert epoch.receiver.kept_until == 100.0 + GRACE_S
    epoch.receiver.forget(100.0 + GRACE_S)
    assert list(receives(epoch).passed) == [1]
    assert not any(first)
    assert any(second)


def test_a_phase_that_is_left_is_wiped() -> None:
    """Moving on overwrites the secret of the phase before, in both directions: it would yield every later key."""
    aeads, secret = AeadCache(), os.urandom(32)
    epoch = make(send=secret, receive=secret)
    sent, received = sends(epoch).secret, receives(epoch).secret
    epoch.sender.rekey(aeads)
    assert opens(epoch, 2, aeads, secret)
    assert not any(sent)
    assert not any(received)


def test_wiping_leaves_no_secret_and_no_context() -> None:
    """After `wipe` every buffer is zero, and the cache is empty."""
    aeads, secret = AeadCache(), os.urandom(32)
    epoch = make(send=os.urandom(32), receive=secret)
    epoch.sender.context(0, CIPHER, aeads)
    assert opens(epoch, 2, aeads, secret)
    assert opens(epoch, 2, aeads, secret)
    buffers = [
        sends(epoch).secret,
        receives(epoch).secret,
        epoch.root,
        *(key for key, _ in receives(epoch).passed.values()),
    ]
    assert len(buffers) == 5
    epoch.wipe(aeads)
    assert not any(any(buffer) for buffer in buffers)
    assert len(aeads) == 0
    assert not receives(epoch).passed


@pytest.mark.parametrize("ratchet", [False, True])
def test_what_was_wiped_makes_no_key(ratchet: bool) -> None:
    """Zeros where a secret was would make one that anybody knows."""
    aeads = AeadCache()
    epoch = begin_epoch(
        EpochSecrets(i2r=bytearray(b"s" * 32), r2i=bytearray(b"r" * 32), root=bytearray(b"o" * 32)),
        number=0,
        h=bytes(32),
        initiator=True,
        ratchet=ratchet,
        now=0.0,
        confirmed=True,
    )
    epoch.wipe(aeads)
    for ask in (
        lambda: epoch.sender.context(0, CIPHER, aeads),
        lambda: epoch.receiver.find(0, 0, CIPHER, aeads, 0.0),
        lambda: epoch.receiver.find(1, 256, CIPHER, aeads, 0.0),
    ):
        with pytest.raises(ValueError, match="wiped"):
            ask()
    if not ratchet:
        with pytest.raises(ValueError, match="wiped"):
            epoch.sender.rekey(aeads)
    assert len(aeads) == 0


def test_its_repr_shows_no_secret() -> None:
    """What a debugger prints of an epoch is its number."""
    assert repr(make()) == "Epoch(number=0, confirmed=True)"
