"""The SymmetricState object (section 5.2)."""

from __future__ import annotations

from noisegate_server.noise.cipher_state import CipherState
from noisegate_server.noise.primitives import KEYLEN, BytesLike, hkdf, wipe
from noisegate_server.noise.protocol_name import ProtocolName


class SymmetricState:
    """The chaining key, the handshake hash and the handshake's CipherState."""

    __slots__ = ("_hash", "_new", "cipher_state", "ck", "h")

    def __init__(self, protocol: ProtocolName) -> None:
        """InitializeSymmetric(protocol_name)."""
        self._hash = protocol.hash
        self._new = protocol.hash.new
        self.h = protocol.initial_hash
        """The handshake hash, HASHLEN bytes. Not secret."""
        self.ck = bytearray(protocol.initial_hash)
        """The chaining key, HASHLEN bytes. Never leaves the handshake: it is no channel binding (section 11.2)."""
        self.cipher_state = CipherState(protocol.cipher)

    def mix_key(self, input_key_material: BytesLike, keyed: bool = True) -> None:
        """MixKey(input_key_material).

        Where it is not `keyed`, only the chaining key moves: the caller makes another cipher key before it uses one.
        """
        if keyed:
            ck, temp_k = hkdf(self._hash, self.ck, input_key_material, 2)
            self.cipher_state.initialize_key(temp_k[:KEYLEN])
        else:
            (ck,) = hkdf(self._hash, self.ck, input_key_material, 1)
        self.ck[:] = ck

    def mix_hash(self, data: BytesLike) -> None:
        """MixHash(data)."""
        self.h = self._new(self.h + data).digest()

    def mix_key_and_hash(self, input_key_material: BytesLike, keyed: bool = True) -> None:
        """MixKeyAndHash(input_key_material): for pre-shared keys (section 9.2); `keyed` as in `mix_key`."""
        ck, temp_h, *temp_k = hkdf(self._hash, self.ck, input_key_material, 3 if keyed else 2)
        self.ck[:] = ck
        self.mix_hash(temp_h)
        if keyed:
            self.cipher_state.initialize_key(temp_k[0][:KEYLEN])

    def encrypt_and_hash(self, plaintext: BytesLike) -> bytes:
        """EncryptAndHash(plaintext): the ciphertext, or the plaintext while there is no key."""
        ciphertext = self.cipher_state.encrypt_with_ad(self.h, plaintext)
        self.h = self._new(self.h + ciphertext).digest()
        return ciphertext

    def decrypt_and_hash(self, ciphertext: BytesLike) -> bytes:
        """DecryptAndHash(ciphertext): the plaintext; h moves only if it opened."""
        plaintext = self.cipher_state.decrypt_with_ad(self.h, ciphertext)
        self.h = self._new(self.h + ciphertext).digest()
        return plaintext

    def split(self) -> tuple[CipherState, CipherState]:
        """Split(): the initiator's sending and the responder's sending CipherState. Leaves this state as it is."""
        cipher = self.cipher_state.cipher
        temp_k1, temp_k2 = hkdf(self._hash, self.ck, b"", 2)
        return CipherState(cipher, temp_k1[:KEYLEN]), CipherState(cipher, temp_k2[:KEYLEN])

    def copy(self) -> SymmetricState:
        """An independent copy."""
        other = SymmetricState.__new__(SymmetricState)
        other._hash = self._hash
        other._new = self._new
        other.h = self.h
        other.ck = bytearray(self.ck)
        other.cipher_state = self.cipher_state.copy()
        return other

    def wipe(self) -> None:
        """Overwrite the chaining key and the handshake's cipher key; h stays (section 5)."""
        wipe(self.ck)
        self.cipher_state.wipe()
