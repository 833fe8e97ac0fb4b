from __future__ import annotations

import hashlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noisegate_server.noise import PATTERNS, InvalidProtocolName, ProtocolName

REFUSED = [
    "",
    "Noise",
    "Noise_XX_25519_ChaChaPoly",
    "Noise_XX_25519_ChaChaPoly_SHA256_",
    "Noise_XX_25519_ChaChaPoly_SHA256_SHA256",
    "noise_XX_25519_ChaChaPoly_SHA256",
    "NoiseXX_25519_ChaChaPoly_SHA256",
    " Noise_XX_25519_ChaChaPoly_SHA256",
    "Noise_XX_25519_ChaChaPoly_SHA256 ",
    "Noise_XX_25519_ChaChaPoly_SHA256\n",
    "Noise_XX_25519_ChaChaPoly_SHA256\0",
    "Noise_xx_25519_ChaChaPoly_SHA256",
    "Noise_XX_25519_chachapoly_SHA256",
    "Noise_XX_25519_ChaChaPoly_sha256",
    "Noise_XX_25519_ChaChaPoly_BLAKE2S",
    "Noise_XX_25519_ChaCha-Poly_SHA256",
    "Noise_XX_25519_ChaChaPoly_SHA-256",
    "Noise_XX_448_ChaChaPoly_SHA256",
    "Noise_XX_25519+MLKEM1024_ChaChaPoly_SHA256",
    "Noise_XX_X25519_ChaChaPoly_SHA256",
    "Noise__25519_ChaChaPoly_SHA256",
    "Noise_XY_25519_ChaChaPoly_SHA256",
    "Noise_XX2_25519_ChaChaPoly_SHA256",
    "Noise_XX+hfs_25519_ChaChaPoly_SHA256",
    "Noise_XXhfs_25519_ChaChaPoly_SHA256",
    "Noise_XXhfs+hfs_25519+MLKEM1024_ChaChaPoly_SHA256",
    "Noise_XXpsk3+hfs_25519+MLKEM1024_ChaChaPoly_SHA256",
    "Noise_XXhfspsk3_25519+MLKEM1024_ChaChaPoly_SHA256",
    "Noise_XX+hfs_25519+MLKEM1024_ChaChaPoly_SHA256",
    "Noise_XXpsk3_25519+MLKEM1024_ChaChaPoly_SHA256",
    "Noise_XXhfs+psk3_25519_ChaChaPoly_SHA256",
    "Noise_XXhfs_MLKEM1024_ChaChaPoly_SHA256",
    "Noise_XXhfs_MLKEM1024+25519_ChaChaPoly_SHA256",
    "Noise_XXhfs_25519+ML-KEM-1024_ChaChaPoly_SHA256",
    "Noise_XXhfs_25519+MLKEM768_ChaChaPoly_SHA256",
    "Noise_XXhfs_25519+mlkem1024_ChaChaPoly_SHA256",
    "Noise_XXhfs_25519+Kyber1024_ChaChaPoly_SHA256",
    "Noise_XXhfs_25519+MLKEM1024+MLKEM1024_ChaChaPoly_SHA256",
    "Noise_XXhfs_25519+_ChaChaPoly_SHA256",
    "Noise_hybridXX_X25519+MLKEM1024_ChaChaPoly_SHA256",
    "Noise_Nhfs_25519+MLKEM1024_ChaChaPoly_SHA256",
    "Noise_Khfs_25519+MLKEM1024_ChaChaPoly_SHA256",
    "Noise_Xhfs_25519+MLKEM1024_ChaChaPoly_SHA256",
    "Noise_KKhfs_25519+MLKEM1024_ChaChaPoly_SHA256",
    "Noise_INhfs_25519+MLKEM1024_ChaChaPoly_SHA256",
    "Noise_XX1hfs_25519+MLKEM1024_ChaChaPoly_SHA256",
    "Noise_XXfallback_25519_ChaChaPoly_SHA256",
    "Noise_XXpsk9_25519_ChaChaPoly_SHA256",
    "Noise_XXpsk4_25519_ChaChaPoly_SHA256",
    "Noise_XXpsk_25519_ChaChaPoly_SHA256",
    "Noise_XXpsk00_25519_ChaChaPoly_SHA256",
    "Noise_XXpsk0+_25519_ChaChaPoly_SHA256",
    "Noise_XX+psk0_25519_ChaChaPoly_SHA256",
    "Noise_XXpsk0psk3_25519_ChaChaPoly_SHA256",
    "Noise_XXpsk3+psk0_25519_ChaChaPoly_SHA256",
    "Noise_XXpsk0+psk0_25519_ChaChaPoly_SHA256",
    "Noise_XXPSK0_25519_ChaChaPoly_SHA256",
    "Noise_\uff38\uff38_25519_ChaChaPoly_SHA256",
    "Noise_XXpsk\u0663_25519_ChaChaPoly_SHA256",
    "Noise_XX_25519_ChaChaPoly_SHA256".ljust(256, "x"),
    "Noise_XX_25519_ChaChaPoly_" + "SHA256" * 40,
    "x" * 1_000_000,
]


PARTS = (
    *("Noise", "_", "XX", "IK", "N", "1", "psk0", "psk3", "psk9", "+", "hfs", "25519", "448", "/", "-"),
    *("MLKEM1024", "Kyber1024", "Noise_XXhfs_25519+MLKEM1024", "_25519+MLKEM1024_ChaChaPoly_SHA256"),
    *("ChaChaPoly", "AESGCM", "SHA256", "BLAKE2s", "Noise_", "_25519_ChaChaPoly_SHA256", "\u00e9", "\0"),
)


def test_a_name_is_taken_apart() -> None:
    """Pattern, modifiers and algorithms of a name with everything in it."""
    protocol = ProtocolName.parse("Noise_XXpsk0+psk3_25519_AESGCM_BLAKE2b")
    assert protocol.name == "Noise_XXpsk0+psk3_25519_AESGCM_BLAKE2b"
    assert protocol.pattern.name == "XX"
    assert protocol.pattern.psk_count == 2
    assert protocol.modifiers == ("psk0", "psk3")
    assert (protocol.dh, protocol.cipher.name, protocol.hash.name) == ("25519", "AESGCM", "BLAKE2b")


@pytest.mark.parametrize("name", REFUSED)
def test_other_names_are_refused(name: str) -> None:
    """Case, order, separators and algorithms are strict: one protocol has one name."""
    with pytest.raises(InvalidProtocolName):
        ProtocolName.parse(name)


def test_every_combination_of_known_parts_is_accepted() -> None:
    """38 patterns, 2 ciphers, 4 hashes."""
    names = [
        f"Noise_{pattern}_25519_{cipher}_{hash_}"
        for pattern, cipher, hash_ in itertools.product(
            PATTERNS, ("ChaChaPoly", "AESGCM"), ("SHA256", "SHA512", "BLAKE2s", "BLAKE2b")
        )
    ]
    assert len({ProtocolName.parse(name).name for name in names}) == 304


def test_the_initial_hash_is_the_padded_name_or_its_hash() -> None:
    """Up to HASHLEN bytes the name is padded with zeros, above it is hashed (5.2)."""
    exact = "Noise_XX_25519_ChaChaPoly_SHA256"
    assert len(exact) == 32
    assert ProtocolName.parse(exact).initial_hash == exact.encode()
    short = "Noise_NN_25519_AESGCM_SHA256"
    assert ProtocolName.parse(short).initial_hash == short.encode() + bytes(4)
    long = "Noise_X1X1_25519_ChaChaPoly_SHA256"
    assert ProtocolName.parse(long).initial_hash == hashlib.sha256(long.encode()).digest()


@pytest.mark.parametrize(
    ("pattern", "overheads"),
    [
        ("N", (48,)),
        ("X", (96,)),
        ("NN", (32, 48)),
        ("XX", (32, 96, 64)),
        ("XX1", (32, 96, 64)),
        ("X1X", (32, 96, 64, 16)),
        ("IX", (64, 96)),
        ("IK", (96, 48)),
        ("NK", (48, 48)),
        ("XXpsk0", (48, 96, 64)),
        ("XXpsk3", (48, 96, 64)),
        ("INpsk2", (96, 48)),
    ],
)
def test_overheads_are_the_published_message_sizes(pattern: str, overheads: tuple[int, ...]) -> None:
    """32 bytes for a key in clear, 48 for a sealed one, 16 for a payload's tag; in psk mode `e` sets a key."""
    assert ProtocolName.parse(f"Noise_{pattern}_25519_ChaChaPoly_SHA256").overheads == overheads


@given(st.text(max_size=300))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    """Nothing but InvalidProtocolName ever leaves the parser."""
    check(text)


@given(st.lists(st.sampled_from(PARTS), max_size=12).map("".join))
def test_any_mixture_of_a_names_parts_is_parsed_or_refused(text: str) -> None:
    """As above, nearer to real names."""
    check(text)


def check(text: str) -> None:
    """What is accepted keeps its name and obeys section 8."""
    try:
        protocol = ProtocolName.parse(text)
    except InvalidProtocolName:
        return
    assert protocol.name == text
    assert len(text) <= 255
    rebuilt = f"Noise_{protocol.pattern.name}{'+'.join(protocol.modifiers)}"
    assert text == f"{rebuilt}_{protocol.dh}_{protocol.cipher.name}_{protocol.hash.name}"
