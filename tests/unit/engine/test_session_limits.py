"""Limits of rotation per tenant and per session: where they come from, that they hold, and that they outlive it."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from functools import partial

import pytest

from noisegate_server.engine.policy import Options, Policy, limits_of
from noisegate_server.engine.rotate import RENEGOTIATE, RotateCommand
from noisegate_server.session.aeads import AeadCache
from noisegate_server.session.constants import RESERVED_COUNTERS
from noisegate_server.session.errors import InvalidField, RekeyRequired
from noisegate_server.session.frozen import freeze, thaw
from noisegate_server.session.limits import LowerLimits, RotationLimits
from noisegate_server.session.session import Session
from noisegate_server.session.state import RecordMode
from noisegate_server.session.suites import Suite
from tests.support.engines import TENANT, End, Engines, Link, establish, outcome_of, resumed
from tests.support.fingerprint import fingerprint

DATAGRAM, NOISE = RecordMode.DATAGRAM, RecordMode.NOISE
OURS = LowerLimits(soft_messages=5, hard_messages=2_048, soft_age=20.0, hard_age=40.0)


def tenant(mode: RecordMode, lower: LowerLimits) -> Policy:
    """A policy that lowers the tenant's limits in one mode."""
    return Policy(tenant_limits={(TENANT, mode): lower})


def soft_and_hard(end: End) -> tuple[int, int]:
    """The limits of messages that a session has."""
    records = end.session.records
    assert records is not None
    return records.limits.soft_messages, records.limits.hard_messages


@pytest.mark.parametrize("mode", RecordMode)
def test_a_tenants_limits_hold_for_its_sessions_of_that_mode(engines: Engines, mode: RecordMode) -> None:
    """A limit for UDP players says nothing about plain Noise libraries, which could not follow it."""
    policy = tenant(mode, OURS)
    link = establish(engines, mode=mode, responder=engines.make(policy=policy))
    assert soft_and_hard(link.responder) == (5, 2_048)
    other = next(each for each in RecordMode if each is not mode)
    link = establish(engines, mode=other, responder=engines.make(policy=policy))
    assert soft_and_hard(link.responder) != (5, 2_048)


@pytest.mark.parametrize("mode", RecordMode)
def test_a_session_lowers_its_tenants_limits_further(engines: Engines, mode: RecordMode) -> None:
    """Never the other way: what is above the tenant's is refused, by its field, before any work is done."""
    policy = tenant(mode, LowerLimits(soft_messages=100, hard_messages=5_000))
    first, engine = engines.make(policy=policy), engines.make(policy=policy)
    link = establish(engines, mode=mode, initiator=first, responder=engine, options=Options(rotation=OURS))
    assert [soft_and_hard(end) for end in link.ends] == [(5, 2_048)] * 2
    with pytest.raises(InvalidField) as refused:
        establish(engines, mode=mode, initiator=engine, options=Options(rotation=LowerLimits(soft_messages=101)))
    assert refused.value.field == "initiate.options.rotation.soft_messages"
    with pytest.raises(InvalidField) as refused:
        establish(engines, mode=mode, responder=engine, options=Options(rotation=LowerLimits(hard_messages=5_001)))
    assert refused.value.field == "respond.options.rotation.hard_messages"
    assert engine.parts.store.counts().half_open == 0


def _age(link: Link) -> None:
    link.clock.step(20.0)


def _messages(link: Link) -> None:
    for _ in range(6):
        outcome_of(link.initiator, link.responder.seal(b"x"))


@pytest.mark.parametrize("mode", RecordMode)
@pytest.mark.parametrize("make_due", [_age, _messages])
def test_a_sessions_own_soft_limits_make_its_rotation_due(
    engines: Engines, mode: RecordMode, make_due: Callable[[Link], None]
) -> None:
    """By age and by messages, in answers of Encrypt and of Decrypt; DATAGRAM does something about it, too."""
    link = establish(engines, mode=mode, options=Options(rotation=OURS))
    make_due(link)
    sealed = link.responder.engine.encrypt(link.responder.session_id, b"x")
    assert sealed.rotation_due
    opened = link.responder.open(link.initiator.seal(b"x"))
    assert opened.rotation_due
    if mode is DATAGRAM:
        assert link.responder.datagrams.wants_rotation


def test_noise_is_marked_by_age_in_decrypt_alone(engines: Engines) -> None:
    """A session that only opens learns of its age, too."""
    link = establish(engines, mode=NOISE, options=Options(rotation=OURS))
    engines.clock.step(19.9)
    assert not link.responder.open(link.initiator.seal(b"x")).rotation_due
    engines.clock.step(0.1)
    assert link.responder.open(link.initiator.seal(b"x")).rotation_due


def _at_hard_age(link: Link) -> None:
    link.clock.step(40.0)


def _at_hard_messages(link: Link) -> None:
    for _ in range(2_048 - RESERVED_COUNTERS):
        link.initiator.open(link.responder.seal(b""))


def _at_hard_bytes(link: Link) -> None:
    link.initiator.open(link.responder.seal(bytes(10_000)))


@pytest.mark.parametrize("reach", [_at_hard_age, _at_hard_messages, _at_hard_bytes])
def test_a_hard_limit_of_a_noise_session_refuses_encrypt_until_it_has_rotated(
    engines: Engines, reach: Callable[[Link], None]
) -> None:
    """REKEY_REQUIRED without a trace; Decrypt goes on; the rotation itself travels in what is reserved for it."""
    link = establish(
        engines, mode=NOISE, options=Options(rotation=LowerLimits(hard_age=40, hard_messages=2_048, hard_bytes=10_000))
    )
    reach(link)
    before = fingerprint(link.responder.session)
    with pytest.raises(RekeyRequired):
        link.responder.seal(b"x")
    assert fingerprint(link.responder.session) == before
    message = link.initiator.rotate(RotateCommand(kind=RENEGOTIATE)).to_peer[0]
    carried = link.responder.open(link.initiator.seal(message)).plaintext
    answer = link.responder.rotate(RotateCommand(kind=RENEGOTIATE, message=carried or b"")).to_peer[0]
    back = link.initiator.open(link.responder.seal(answer)).plaintext
    link.initiator.rotate(RotateCommand(kind=RENEGOTIATE, message=back or b""))
    for end in link.ends:
        end.rotate(RotateCommand(kind=RENEGOTIATE, switch_send=True, switch_receive=True))
    sealed = link.responder.engine.encrypt(link.responder.session_id, b"x")
    assert (sealed.epoch, sealed.rotation_due) == (1, False)
    assert outcome_of(link.initiator, sealed.ciphertext) == b"x"


def test_a_rotation_that_never_ends_has_1024_messages(engines: Engines) -> None:
    """Whoever begins one and goes on with data is stopped all the same."""
    link = establish(engines, mode=NOISE, options=Options(rotation=LowerLimits(hard_age=40)))
    engines.clock.step(40.0)
    link.initiator.rotate(RotateCommand(kind=RENEGOTIATE))
    for _ in range(RESERVED_COUNTERS):
        link.responder.open(link.initiator.seal(b"x"))
    with pytest.raises(RekeyRequired):
        link.initiator.seal(b"x")


def test_rekey_of_a_noise_session_resets_neither_age_nor_counts(engines: Engines) -> None:
    """It has no fresh secret."""
    link = establish(engines, mode=NOISE, options=Options(rotation=OURS))
    engines.clock.step(20.0)
    link.responder.rekey(1)
    assert link.responder.engine.encrypt(link.responder.session_id, b"x").rotation_due


@pytest.mark.parametrize("mode", RecordMode)
def test_a_resumed_session_has_the_limits_of_its_ticket(engines: Engines, mode: RecordMode) -> None:
    """In both roles: the ticket carries what its session's caller wanted, and our own note of it does."""
    link = establish(engines, mode=mode, options=Options(rotation=OURS))
    link.initiator.open(link.responder.engine.issue(link.responder.session_id).to_peer[0], ticket=mode is NOISE)
    back = resumed(link)
    assert [soft_and_hard(end) for end in back.ends] == [(5, 2_048)] * 2
    assert [end.session.rotation for end in back.ends] == [OURS] * 2


def thawed(end: End) -> Session:
    """The session as it comes back from its record."""
    clock = end.engine.clock
    record = freeze(
        end.session, blob_id=bytes(16), issuer=b"i", now=clock.now, wall=clock.wall, expires_wall=clock.wall + 900
    )
    clock.step(5.0)
    return thaw(
        record,
        tenant=TENANT,
        aeads=AeadCache(),
        limits_of=partial(limits_of, end.engine.parts.policy),
        random_bytes=os.urandom,
        now=clock.now,
        wall=clock.wall,
    )


@pytest.mark.parametrize("mode", RecordMode)
def test_a_suspended_session_comes_back_with_its_limits(engines: Engines, mode: RecordMode) -> None:
    """And a NOISE one with its age, since it comes back under its old keys."""
    link = establish(engines, mode=mode, options=Options(rotation=OURS))
    engines.clock.step(16.0)
    session = thawed(link.responder)
    records = session.records
    assert records is not None
    assert (records.limits.soft_messages, records.limits.hard_age) == (5, 40.0)
    if mode is NOISE:
        assert records.seal(b"x", b"", engines.clock.now, session.aeads).rotation_due
    session.wipe()


def test_a_policy_that_is_stricter_now_holds_for_what_comes_back(engines: Engines) -> None:
    """The ticket's word is what its caller wanted, not what the service must allow."""
    link = establish(engines, options=Options(rotation=LowerLimits(soft_messages=50)))
    link.initiator.open(link.responder.engine.issue(link.responder.session_id).to_peer[0])
    policy = link.responder.engine.parts.policy
    stricter = Policy(tenant_limits={(TENANT, DATAGRAM): LowerLimits(soft_messages=7)})
    assert limits_of(policy, link.responder.session).soft_messages == 50
    assert limits_of(stricter, link.responder.session).soft_messages == 7


@pytest.mark.parametrize("mode", RecordMode)
@pytest.mark.parametrize("suite", [Suite.AES256_GCM_X25519, Suite.CHACHA20_POLY1305_X25519])
def test_no_policy_lets_a_key_be_used_beyond_its_ciphers_limit(
    engines: Engines, mode: RecordMode, suite: Suite
) -> None:
    """AES-GCM stops at 2^28 messages and 2^39 bytes, in both modes; ChaChaPoly goes on."""
    wide = RotationLimits(soft_age=math.inf, hard_age=math.inf, hard_messages=2**61, soft_bytes=2**70, hard_bytes=2**70)
    link = establish(engines, mode=mode, suite=suite, responder=engines.make(policy=Policy(limits=wide)))
    end = link.responder
    stops = suite is Suite.AES256_GCM_X25519
    for messages, sealed_bytes in ((2**28 - RESERVED_COUNTERS, 0), (5, 2**39)):
        _use(end, messages, sealed_bytes)
        if stops:
            with pytest.raises(RekeyRequired):
                end.seal(b"x")
        else:
            end.seal(b"x")


def _use(end: End, messages: int, sealed_bytes: int) -> None:
    """As though so much had been sealed under the keys of now."""
    if end.session.mode is NOISE:
        end.noise.sealed, end.noise.sealed_bytes, end.noise.look_at = messages, sealed_bytes, 0
    else:
        end.datagrams.current.sender.counter, end.datagrams.current.sender.sent_bytes = messages, sealed_bytes
        end.datagrams.look_at = 0
