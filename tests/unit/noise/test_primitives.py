from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Any

import pytest

from noisegate_server.noise import InvalidKey, KeyPair, primitives
from noisegate_server.noise.primitives import (
    CIPHERS,
    HASHES,
    MAX_NONCE,
    Aead,
    BytesLike,
    dh,
    expand,
    extract,
    header_mask,
    hkdf,
    load_public,
    new_aead,
    wipe,
)
from tests.support.noise_pair import INITIATOR_STATIC, RESPONDER_STATIC, finish, pair

# The u-coordinates of low order on Curve25519 and its twist, with the non-canonical encodings, little-endian.
LOW_ORDER_POINTS = (
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b880",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f11d7",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
)


@pytest.mark.parametrize("point", LOW_ORDER_POINTS)
def test_every_point_of_low_order_is_refused(point: str) -> None:
    """The twelve encodings whose shared secret is zero are InvalidKey, with no cause attached."""
    with pytest.raises(InvalidKey) as caught:
        dh(INITIATOR_STATIC, load_public(bytes.fromhex(point)))
    assert caught.value.__suppress_context__


def test_x25519_agrees_with_rfc_7748() -> None:
    """The key pairs and the shared secret of RFC 7748, section 6.1."""
    alice = KeyPair.from_private(bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"))
    bob = KeyPair.from_private(bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"))
    assert alice.public.hex() == "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
    assert bob.public.hex() == "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
    secret = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"
    assert dh(alice, load_public(bob.public)).hex() == dh(bob, load_public(alice.public)).hex() == secret


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_keys_of_another_length_are_refused(length: int) -> None:
    """Private and public keys and cipher keys have 32 bytes."""
    with pytest.raises(InvalidKey):
        KeyPair.from_private(bytes(length))
    with pytest.raises(InvalidKey):
        load_public(bytes(length))
    for cipher in CIPHERS:
        with pytest.raises(InvalidKey):
            new_aead(cipher, bytes(length))


def test_aesgcm_refuses_the_shorter_keys_of_aes() -> None:
    """AES-128 and AES-192 keys are no keys of this cipher."""
    for length in (16, 24):
        with pytest.raises(InvalidKey):
            new_aead("AESGCM", bytes(length))


def test_a_key_pair_is_made_from_the_bytes_that_it_is_given() -> None:
    """Generation takes 32 bytes from its argument and nothing from elsewhere."""
    asked: list[int] = []

    def random_bytes(size: int) -> bytes:
        asked.append(size)
        return RESPONDER_STATIC.private_bytes()

    generated = KeyPair.generate(random_bytes)
    assert asked == [32]
    assert generated.public == RESPONDER_STATIC.public
    assert KeyPair.from_private(bytearray(generated.private_bytes())).public == generated.public


def test_a_key_pair_does_not_show_its_secret() -> None:
    """Neither repr nor str has the private key or the object that holds it."""
    shown = f"{INITIATOR_STATIC!r} {INITIATOR_STATIC}"
    assert "private" not in shown.lower()
    assert repr(INITIATOR_STATIC.private_bytes()) not in shown


def test_nonces_are_encoded_as_the_ciphers_want_them() -> None:
    """Four zero bytes, then 64 bits: little-endian for ChaChaPoly, big-endian for AESGCM (12.3, 12.4)."""
    assert CIPHERS["ChaChaPoly"].nonce(0x0102) == bytes(4) + b"\x02\x01" + bytes(6)
    assert CIPHERS["AESGCM"].nonce(0x0102) == bytes(4) + bytes(6) + b"\x01\x02"
    for cipher in CIPHERS.values():
        assert cipher.nonce(MAX_NONCE) == bytes(4) + b"\xff" * 8


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("SHA256", hashlib.sha256),
        ("SHA512", hashlib.sha512),
        ("BLAKE2s", hashlib.blake2s),
        ("BLAKE2b", hashlib.blake2b),
    ],
)
def test_hkdf_is_a_chain_of_hmacs(name: str, function: Callable[[], Any]) -> None:
    """Two and three outputs equal section 4.3 written with the standard library's HMAC."""
    hash_ = HASHES[name]
    chaining_key = bytes(range(hash_.hashlen))
    for ikm in (b"", b"m" * 32):
        temp_key = hmac.new(chaining_key, ikm, function).digest()
        first = hmac.new(temp_key, b"\x01", function).digest()
        second = hmac.new(temp_key, first + b"\x02", function).digest()
        third = hmac.new(temp_key, second + b"\x03", function).digest()
        assert hkdf(hash_, bytearray(chaining_key), ikm, 2) == (first, second)
        assert hkdf(hash_, chaining_key, ikm, 3) == (first, second, third)


@pytest.mark.parametrize("name", HASHES)
def test_hmac_takes_keys_longer_than_a_block(name: str) -> None:
    """A long key is hashed first, whatever kind of buffer it comes in (RFC 2104)."""
    hash_ = HASHES[name]
    key = b"k" * (hash_.blocklen + 1)
    expected = hmac.new(hash_.hash(key), b"data", name.lower()).digest()
    assert hash_.hmac(bytearray(key), b"data") == expected
    assert len(expected) == hash_.hashlen


def test_extract_and_expand_agree_with_rfc_5869() -> None:
    """Test case 1 of RFC 5869: the pseudorandom key, and the first block of the output."""
    prk = extract(bytes(range(13)), b"\x0b" * 22)
    assert prk.hex() == "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5"
    okm = expand(prk, bytes(range(0xF0, 0xFA)))
    assert okm.hex() == "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"


def test_the_header_mask_is_one_block_of_aes_256() -> None:
    """The first six bytes of FIPS 197's example C.3."""
    mask = header_mask(bytes(range(32)), bytes.fromhex("00112233445566778899aabbccddeeff"))
    assert mask.hex() == "8ea2b7ca5167"


def test_wipe_overwrites_in_place() -> None:
    """A view taken before sees the zeros: no new buffer was made."""
    buffer = bytearray(b"secret")
    view = memoryview(buffer)
    wipe(buffer)
    assert view == bytes(6)


class RecordingAead:
    """An AEAD that notes (key, nonce) of all that it seals; the seam that `new_aead` documents."""

    def __init__(self, aead: Aead, key: bytes, sealed: list[tuple[bytes, bytes]]) -> None:
        self._aead = aead
        self._key = key
        self._sealed = sealed

    def encrypt(self, nonce: bytes, data: BytesLike, associated_data: BytesLike | None, /) -> bytes:
        """Note, then seal."""
        self._sealed.append((self._key, nonce))
        return self._aead.encrypt(nonce, data, associated_data)

    def decrypt(self, nonce: bytes, data: BytesLike, associated_data: BytesLike | None, /) -> bytes:
        """Open; nothing to note."""
        return self._aead.decrypt(nonce, data, associated_data)

    def encrypt_into(
        self, nonce: bytes, data: BytesLike, associated_data: BytesLike | None, buf: bytearray | memoryview, /
    ) -> int:
        """Note, then seal in place."""
        self._sealed.append((self._key, nonce))
        return self._aead.encrypt_into(nonce, data, associated_data, buf)

    def decrypt_into(
        self, nonce: bytes, data: BytesLike, associated_data: BytesLike | None, buf: bytearray | memoryview, /
    ) -> int:
        """Open in place; nothing to note."""
        return self._aead.decrypt_into(nonce, data, associated_data, buf)


@pytest.mark.parametrize("name", ["Noise_XXpsk3_25519_ChaChaPoly_SHA256", "Noise_IK_25519_AESGCM_BLAKE2s"])
def test_every_seal_can_be_recorded_and_no_nonce_is_used_twice(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A handshake and forty messages go through `new_aead`, each under a (key, nonce) of its own."""
    sealed: list[tuple[bytes, bytes]] = []

    def recording(cipher_name: str, key: BytesLike) -> Aead:
        return RecordingAead(new_aead(cipher_name, key), bytes(key), sealed)

    monkeypatch.setattr(primitives, "new_aead", recording)
    initiator, responder = pair(name)
    (send, receive), _ = finish(initiator, responder)
    in_handshake = len(sealed)
    for _ in range(20):
        send.encrypt_with_ad(b"", b"same plaintext")
        receive.encrypt_with_ad(b"", b"same plaintext")
    assert in_handshake >= 3
    assert len(sealed) == in_handshake + 40
    assert len(set(sealed)) == len(sealed)
