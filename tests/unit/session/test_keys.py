"""The key schedule, against RFC 5869 written out with hmac and the labels as docs/protocol.md prints them."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from noisegate_server.session import keys

H = bytes(range(32))
K1 = bytes(range(32, 64))
K2 = bytes(range(64, 96))
SALT = bytes(range(200, 216))


def _extract(salt: bytes, ikm: bytes) -> bytes:
    return hmac.new(salt, ikm, hashlib.sha256).digest()


def _expand(prk: bytes, label: str) -> bytes:
    return hmac.new(prk, label.encode() + b"\x01", hashlib.sha256).digest()


PRK = _extract(H, K1 + K2)


def test_an_epoch_has_three_sibling_secrets() -> None:
    """i2r, r2i and root are Expand of prk = Extract(h, k1 ‖ k2)."""
    secrets = keys.derive_epoch(H, K1, bytearray(K2))
    assert secrets.i2r == _expand(PRK, "ng1 i2r")
    assert secrets.r2i == _expand(PRK, "ng1 r2i")
    assert secrets.root == _expand(PRK, "ng1 root")


def test_the_first_epoch_has_the_sessions_secrets_too() -> None:
    """export and mask are siblings of the first epoch's secrets, which are as those of any epoch."""
    epoch, session = keys.derive_session(H, K1, K2)
    assert session.export == _expand(PRK, "ng1 export")
    assert session.mask == _expand(PRK, "ng1 mask")
    assert [epoch.i2r, epoch.r2i, epoch.root] == [_expand(PRK, f"ng1 {name}") for name in ("i2r", "r2i", "root")]


def test_deriving_leaves_the_callers_keys_alone() -> None:
    """k1 and k2 are the caller's to wipe: NOISE mode goes on using them."""
    k1, k2 = bytearray(K1), bytearray(K2)
    keys.derive_session(H, k1, k2)
    assert (bytes(k1), bytes(k2)) == (K1, K2)


def test_a_salted_epoch_comes_from_root_salt_and_number() -> None:
    """prk = Extract(salt ‖ N, Expand(root, "ng1 salted")), then as in any epoch; root stays for a second try."""
    root = bytearray(K1)
    prk = _extract(SALT + b"\0\0\x01\x02", _expand(K1, "ng1 salted"))
    secrets = keys.derive_salted(root, SALT, 0x102)
    assert [secrets.i2r, secrets.r2i, secrets.root] == [_expand(prk, f"ng1 {name}") for name in ("i2r", "r2i", "root")]
    assert root == K1


def test_a_salted_epoch_has_a_handshake_hash_of_its_own() -> None:
    """h(N) = SHA256("ng1 salted" ‖ h(base) ‖ salt ‖ N)."""
    assert keys.salted_hash(H, SALT, 7) == hashlib.sha256(b"ng1 salted" + H + SALT + b"\0\0\0\x07").digest()


@pytest.mark.parametrize(
    ("function", "label"),
    [
        (keys.renegotiate_psk, "ng1 renegotiate"),
        (keys.next_phase, "ng1 next"),
        (keys.phase_key, "ng1 key"),
        (keys.chain_start, "ng1 chain"),
        (keys.next_chain, "ng1 next"),
        (keys.message_key, "ng1 key"),
    ],
)
def test_each_step_is_one_expand_with_its_label(function, label: str) -> None:
    """Every step is Expand with its own label, leaves its input alone and gives a buffer that can be wiped."""
    secret = bytearray(K1)
    derived = function(secret)
    assert derived == _expand(K1, label)
    assert isinstance(derived, bytearray)
    assert secret == K1


def test_known_answers_hold() -> None:
    """Frozen outputs for h = 00..1f, k1 = 20..3f, k2 = 40..5f, so that a change of a label cannot go unseen.

    Made with OpenSSL: `openssl kdf -keylen 32 -kdfopt digest:SHA256 -kdfopt mode:EXTRACT_ONLY -kdfopt hexkey:(k1 k2)
    -kdfopt hexsalt:(h) HKDF`, then mode:EXPAND_ONLY with `-kdfopt info:"ng1 root"`, and again with "ng1 next" over the
    "ng1 i2r" output.
    """
    secrets = keys.derive_epoch(H, K1, K2)
    assert secrets.root.hex() == "b7c8feacaa4274fb13705641f717a47b9274f9b4e57e2f8c38c82b32dff126eb"
    assert keys.next_phase(secrets.i2r).hex() == "7ce5c7f093842cc2aa718c288c5dbb0edef6238187d1b845597c5960e15d7027"


def test_wiping_leaves_zeros_in_place() -> None:
    """wipe() overwrites the very buffers that others may hold."""
    epoch, session = keys.derive_session(H, K1, K2)
    buffers = [epoch.i2r, epoch.r2i, epoch.root, session.export, session.mask]
    epoch.wipe()
    session.wipe()
    assert buffers == [bytearray(32)] * 5


def test_no_secret_shows_in_a_repr() -> None:
    """Neither hex nor bytes of a secret stand in the printed form."""
    epoch, session = keys.derive_session(H, K1, K2)
    assert repr(epoch) == "EpochSecrets(...)"
    assert repr(session) == "SessionSecrets(...)"


@pytest.mark.parametrize(("h", "k1", "k2"), [(H[1:], K1, K2), (H, K1[1:], K2), (H, K1 + b"\0", K2[1:]), (H, K1, b"")])
def test_inputs_of_another_length_are_refused(h: bytes, k1: bytes, k2: bytes) -> None:
    """Two keys whose lengths merely add up to 64 would give one prk for different keys."""
    with pytest.raises(ValueError, match="32 bytes"):
        keys.derive_epoch(h, k1, k2)


@pytest.mark.parametrize(("salt", "number"), [(SALT[1:], 1), (SALT + b"\0", 1), (SALT, 0), (SALT, -1), (SALT, 2**32)])
def test_a_salt_or_number_outside_its_bounds_is_refused(salt: bytes, number: int) -> None:
    """A salted epoch has 16 bytes of salt and a number of its own, above the first."""
    with pytest.raises(ValueError, match=r"salt|number"):
        keys.derive_salted(K1, salt, number)
    with pytest.raises(ValueError, match=r"salt|number"):
        keys.salted_hash(H, salt, number)


def test_a_salted_hash_needs_a_whole_base() -> None:
    """h of the base has 32 bytes."""
    with pytest.raises(ValueError, match="h: 32 bytes"):
        keys.salted_hash(H[1:], SALT, 1)
