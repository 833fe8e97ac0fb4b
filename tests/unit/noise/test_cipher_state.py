from __future__ import annotations

import pytest

from noisegate_server.noise import (
    MAX_MESSAGE,
    MAX_PLAINTEXT,
    CipherState,
    DecryptError,
    InvalidKey,
    MessageTooLong,
    NoiseError,
    NonceExhausted,
)
from noisegate_server.noise.primitives import CIPHERS, MAX_NONCE, Cipher, InvalidTag

KEY = bytes(range(32))


@pytest.fixture(params=CIPHERS)
def cipher(request: pytest.FixtureRequest) -> Cipher:
    """Each cipher in turn."""
    return CIPHERS[request.param]


def key_of(state: CipherState) -> bytes:
    """The bytes of the key that a state holds."""
    assert state.k is not None
    return bytes(state.k)


def test_a_forged_message_does_not_move_the_nonce(cipher: Cipher) -> None:
    """A forgery at n, then the genuine message n opens (CVE-2021-4239, CVE-2024-58265)."""
    sender, receiver = CipherState(cipher, KEY), CipherState(cipher, KEY)
    for n in range(3):
        genuine = sender.encrypt_with_ad(b"ad", b"message")
        for position in range(len(genuine)):
            forged = bytearray(genuine)
            forged[position] ^= 1
            with pytest.raises(DecryptError):
                receiver.decrypt_with_ad(b"ad", forged)
        with pytest.raises(DecryptError):
            receiver.decrypt_with_ad(b"other", genuine)
        assert receiver.n == n
        assert receiver.decrypt_with_ad(b"ad", genuine) == b"message"
        assert receiver.n == n + 1


def test_the_last_nonce_is_reserved(cipher: Cipher) -> None:
    """From 2**64 - 3 two messages pass, then both directions end for good and n does not wrap (5.1)."""
    sender, receiver = CipherState(cipher, KEY), CipherState(cipher, KEY)
    sender.set_nonce(2**64 - 3)
    receiver.set_nonce(2**64 - 3)
    assert receiver.decrypt_with_ad(b"", sender.encrypt_with_ad(b"", b"x")) == b"x"
    last = sender.encrypt_with_ad(b"", b"y")
    assert receiver.decrypt_with_ad(b"", last) == b"y"
    for _ in range(2):
        with pytest.raises(NonceExhausted):
            sender.encrypt_with_ad(b"", b"x")
        with pytest.raises(NonceExhausted):
            receiver.decrypt_with_ad(b"", last)
        assert sender.n == receiver.n == MAX_NONCE


def test_a_message_has_at_most_65535_bytes(cipher: Cipher) -> None:
    """65,519 bytes of plaintext pass; 65,520 are refused before n is touched, and so is an overlong ciphertext."""
    sender, receiver = CipherState(cipher, KEY), CipherState(cipher, KEY)
    with pytest.raises(MessageTooLong):
        sender.encrypt_with_ad(b"", bytes(MAX_PLAINTEXT + 1))
    assert sender.n == 0
    sealed = sender.encrypt_with_ad(b"", bytes(MAX_PLAINTEXT))
    assert (len(sealed), sender.n) == (65535, 1)
    with pytest.raises(MessageTooLong):
        receiver.decrypt_with_ad(b"", bytes(MAX_MESSAGE + 1))
    assert receiver.n == 0
    assert receiver.decrypt_with_ad(b"", sealed) == bytes(65519)


@pytest.mark.parametrize("length", range(16))
def test_a_ciphertext_shorter_than_a_tag_does_not_open(cipher: Cipher, length: int) -> None:
    """No length below 16 is told apart from a wrong tag."""
    receiver = CipherState(cipher, KEY)
    with pytest.raises(DecryptError):
        receiver.decrypt_with_ad(b"", bytes(length))
    assert receiver.n == 0


def test_a_failed_decryption_says_nothing_of_its_cause(cipher: Cipher) -> None:
    """One text, no cause, no context of the library below."""
    with pytest.raises(DecryptError) as caught:
        CipherState(cipher, KEY).decrypt_with_ad(b"", bytes(32))
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert str(caught.value) == "decryption failed"


def test_the_nonce_is_spent_before_the_ciphertext_exists(cipher: Cipher) -> None:
    """A failure inside the AEAD burns the nonce: it cannot be used for a second message."""
    state = CipherState(cipher, KEY)
    with pytest.raises(TypeError):
        state.encrypt_with_ad("not bytes", b"message")  # type: ignore[arg-type]  # the failure that is wanted
    assert state.n == 1


def test_messages_open_out_of_order_with_set_nonce(cipher: Cipher) -> None:
    """SetNonce lets a receiver open message 7 before message 2 (11.4)."""
    sender, receiver = CipherState(cipher, KEY), CipherState(cipher, KEY)
    sealed = [sender.encrypt_with_ad(b"", bytes([n])) for n in range(8)]
    for n in (7, 2):
        receiver.set_nonce(n)
        assert receiver.decrypt_with_ad(b"", sealed[n]) == bytes([n])


def test_many_nonces_are_those_of_single_calls(cipher: Cipher) -> None:
    """Whatever their number, up to the largest counter."""
    counters = [0, 1, 255, 256, 2**32 - 1, 2**32, 2**64 - 1]
    for count in range(len(counters) + 1):
        assert list(cipher.nonces(counters[:count])) == [cipher.nonce(each) for each in counters[:count]]


@pytest.mark.parametrize("nonce", [-1, 2**64])
def test_a_nonce_has_64_bits(cipher: Cipher, nonce: int) -> None:
    """SetNonce refuses what the encoding could not hold."""
    state = CipherState(cipher, KEY)
    with pytest.raises(ValueError, match="64 bits"):
        state.set_nonce(nonce)
    assert state.n == 0


def test_without_a_key_bytes_pass_unchanged(cipher: Cipher) -> None:
    """Before the first InitializeKey nothing is encrypted and n stays 0 (5.1)."""
    state = CipherState(cipher)
    assert not state.has_key()
    assert state.encrypt_with_ad(b"ad", b"clear") == b"clear"
    assert state.decrypt_with_ad(b"ad", b"clear") == b"clear"
    assert state.n == 0
    with pytest.raises(InvalidKey):
        state.rekey()


def test_rekey_encrypts_zeros_under_the_reserved_nonce(cipher: Cipher) -> None:
    """k becomes ENCRYPT(k, 2**64 - 1, "", 32 zeros) without its tag, and n runs on (4.2, 11.3)."""
    state = CipherState(cipher, KEY)
    state.encrypt_with_ad(b"", b"")
    expected = cipher.new(KEY).encrypt(bytes(4) + b"\xff" * 8, bytes(32), b"")[:32]
    state.rekey()
    assert key_of(state) == expected
    assert state.n == 1
    assert CipherState(cipher, expected).encrypt_with_ad(b"", b"m") == cipher.new(expected).encrypt(
        bytes(12), b"m", b""
    )
    with pytest.raises(InvalidTag):
        cipher.new(KEY).decrypt(cipher.nonce(1), state.encrypt_with_ad(b"", b"m"), b"")


def test_initialize_key_starts_at_nonce_zero(cipher: Cipher) -> None:
    """A new key has its own nonces and its own context; the old key is overwritten."""
    state = CipherState(cipher, KEY)
    state.encrypt_with_ad(b"", b"")
    held = state.k
    state.initialize_key(bytes(32))
    assert state.n == 0
    assert state.k is held
    assert key_of(state) == bytes(32)
    assert state.encrypt_with_ad(b"", b"m") == cipher.new(bytes(32)).encrypt(bytes(12), b"m", b"")
    state.initialize_key(KEY)
    state.initialize_key(None)
    assert not state.has_key()
    assert held is not None
    assert bytes(held) == bytes(32)


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_a_key_has_32_bytes(cipher: Cipher, length: int) -> None:
    """Any other length is refused when it is set, and the key before it stays."""
    with pytest.raises(InvalidKey):
        CipherState(cipher, bytes(length))
    state = CipherState(cipher, KEY)
    state.encrypt_with_ad(b"", b"")
    with pytest.raises(InvalidKey):
        state.initialize_key(bytes(length))
    assert (state.n, key_of(state)) == (1, KEY)
    assert state.encrypt_with_ad(b"", b"m") == cipher.new(KEY).encrypt(cipher.nonce(1), b"m", b"")


def test_a_wiped_state_neither_seals_nor_opens_nor_speaks_in_clear(cipher: Cipher) -> None:
    """The key is zero in place, and no call makes the state usable again, short of a new key."""
    state = CipherState(cipher, KEY)
    sealed = state.encrypt_with_ad(b"", b"m")
    key = state.k
    assert key is not None
    state.wipe()
    assert bytes(key) == bytes(32)
    assert state.has_key()
    for nonce in (None, 0):
        if nonce is not None:
            state.set_nonce(nonce)
        with pytest.raises(NoiseError):
            state.encrypt_with_ad(b"", b"m")
        with pytest.raises(NoiseError):
            state.decrypt_with_ad(b"", sealed)
        with pytest.raises(NoiseError):
            state.rekey()
    state.wipe()
    state.initialize_key(KEY)
    assert state.decrypt_with_ad(b"", sealed) == b"m"


def test_a_key_that_is_handed_over_leaves_a_dead_state(cipher: Cipher) -> None:
    """The taker has the very buffer, whole; the state can no longer use or wipe it, and hands nothing over again."""
    state = CipherState(cipher, KEY)
    state.encrypt_with_ad(b"", b"m")
    held = state.k
    taken = state.take_key()
    assert taken is held
    state.wipe()
    assert bytes(taken) == KEY
    for nonce in (state.n, 0):
        state.set_nonce(nonce)
        with pytest.raises(NoiseError):
            state.encrypt_with_ad(b"", b"m")
        with pytest.raises(InvalidKey):
            state.take_key()
    with pytest.raises(InvalidKey):
        CipherState(cipher).take_key()


def test_a_copy_is_independent(cipher: Cipher) -> None:
    """Neither the nonce nor a wipe of one reaches the other."""
    state = CipherState(cipher, KEY)
    sealed = CipherState(cipher, KEY).encrypt_with_ad(b"", b"m")
    copy = state.copy()
    assert copy.decrypt_with_ad(b"", sealed) == b"m"
    copy.wipe()
    assert (state.n, key_of(state)) == (0, KEY)
    assert state.decrypt_with_ad(b"", sealed) == b"m"


def test_the_key_is_not_shown(cipher: Cipher) -> None:
    """The repr has the cipher and the nonce only."""
    assert repr(CipherState(cipher, KEY)) == f"CipherState(cipher={cipher.name}, n=0)"
