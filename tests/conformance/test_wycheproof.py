"""Wycheproof's vectors of known attacks, through the engine's primitives."""

from __future__ import annotations

import hmac
from collections import Counter
from collections.abc import Iterator
from inspect import signature
from typing import Any

import pytest
from kyber_py.ml_kem import ML_KEM_1024

from noisegate_server.noise import HandshakeState, InvalidKey, KeyPair, handshake_state
from noisegate_server.noise.primitives import (
    HASHES,
    InvalidTag,
    KemKeyPair,
    dh,
    encapsulate,
    expand,
    extract,
    load_public,
    new_aead,
)
from tests.support.vectors import load_json

Case = dict[str, Any]


def cases(file: str) -> Iterator[tuple[Case, Case]]:
    """(group, case) of a file, with as many cases as the file says it has."""
    document = load_json(f"wycheproof/{file}")
    found = [(group, case) for group in document["testGroups"] for case in group["tests"]]
    assert len(found) == document["numberOfTests"]
    yield from found


def run_aead(cipher: str, case: Case) -> str:
    """Check one case; how it was answered."""
    key, nonce, ad, plaintext, sealed = (bytes.fromhex(case[field]) for field in ("key", "iv", "aad", "msg", "ct"))
    sealed += bytes.fromhex(case["tag"])
    aead = new_aead(cipher, key)
    if case["result"] == "invalid":
        with pytest.raises(InvalidTag):
            aead.decrypt(nonce, sealed, ad)
        return "refused"
    assert aead.encrypt(nonce, plaintext, ad) == sealed, case["tcId"]
    assert aead.decrypt(nonce, sealed, ad) == plaintext, case["tcId"]
    return "equal"


def test_chachapoly_passes_every_case() -> None:
    """316 cases of 96-bit nonces, 256 of them valid; the 9 other nonce sizes are refused."""
    answers: Counter[str] = Counter()
    for group, case in cases("chacha20_poly1305_test.json"):
        if group["ivSize"] == 96:
            answers[run_aead("ChaChaPoly", case)] += 1
            continue
        aead = new_aead("ChaChaPoly", bytes.fromhex(case["key"]))
        with pytest.raises(ValueError, match="once"):
            aead.encrypt(bytes.fromhex(case["iv"]), b"", b"")
        answers["nonce size"] += 1
    assert answers == {"equal": 256, "refused": 60, "nonce size": 9}


def test_aesgcm_passes_every_case_of_the_sizes_that_noise_uses() -> None:
    """66 cases of 256-bit keys, 96-bit nonces and 128-bit tags, 39 of them valid; shorter keys are refused."""
    answers: Counter[str] = Counter()
    for group, case in cases("aes_gcm_test.json"):
        if group["keySize"] != 256:
            with pytest.raises(InvalidKey):
                new_aead("AESGCM", bytes.fromhex(case["key"]))
            answers["key size"] += 1
        elif (group["ivSize"], group["tagSize"]) == (96, 128):
            answers[run_aead("AESGCM", case)] += 1
    assert (answers["equal"], answers["refused"]) == (39, 27)
    assert answers["key size"] > 0


def test_x25519_computes_all_but_the_zero_secrets() -> None:
    """518 cases: 487 shared secrets are equal, 31 all-zero ones are refused."""
    answers: Counter[str] = Counter()
    for _, case in cases("x25519_test.json"):
        pair = KeyPair.from_private(bytes.fromhex(case["private"]))
        public = bytes.fromhex(case["public"])
        if "ZeroSharedSecret" in case["flags"]:
            with pytest.raises(InvalidKey):
                dh(pair, load_public(public))
            answers["refused"] += 1
        else:
            assert dh(pair, load_public(public)) == bytes.fromhex(case["shared"]), case["tcId"]
            answers["equal"] += 1
    assert answers == {"equal": 487, "refused": 31}


def test_hmac_sha256_passes_every_case() -> None:
    """174 cases, tags cut to the group's size: 66 are equal, 108 modified ones differ."""
    answers: Counter[str] = Counter()
    for group, case in cases("hmac_sha256_test.json"):
        tag = HASHES["SHA256"].hmac(bytes.fromhex(case["key"]), bytes.fromhex(case["msg"]))[: group["tagSize"] // 8]
        equal = hmac.compare_digest(tag, bytes.fromhex(case["tag"]))
        assert equal is (case["result"] == "valid"), case["tcId"]
        answers["equal" if equal else "differs"] += 1
    assert answers == {"equal": 66, "differs": 108}


def test_hkdf_sha256_passes_every_case() -> None:
    """83 outputs are equal; 3 are larger than HKDF can make, and are refused."""
    answers: Counter[str] = Counter()
    for _, case in cases("hkdf_sha256_test.json"):
        info, size, expected = bytes.fromhex(case["info"]), case["size"], bytes.fromhex(case["okm"])
        prk = extract(bytes.fromhex(case["salt"]), bytes.fromhex(case["ikm"]))
        assert len(expand(prk, info)) == 32
        if "SizeTooLarge" in case["flags"]:
            with pytest.raises(ValueError, match="derive"):
                expand(prk, info, size)
            answers["too large"] += 1
            continue
        assert expand(prk, info, size) == expected, case["tcId"]
        answers["equal"] += 1
    assert answers == {"equal": 83, "too large": 3}


def test_mlkem_1024_decapsulates_every_case() -> None:
    """193 cases: 153 keys and secrets are equal, rejected ciphertexts' among them; 40 of a wrong length are refused."""
    answers: Counter[str] = Counter()
    for _, case in cases("mlkem_1024_test.json"):
        seed, ciphertext = bytes.fromhex(case["seed"]), bytes.fromhex(case["c"])
        if case["result"] == "invalid":
            with pytest.raises(InvalidKey):
                KemKeyPair.from_seed(seed).decapsulate(ciphertext)
            answers["refused"] += 1
            continue
        pair = KemKeyPair.from_seed(seed)
        assert pair.public == bytes.fromhex(case["ek"]), case["tcId"]
        assert pair.decapsulate(ciphertext) == bytes.fromhex(case["K"]), case["tcId"]
        answers["equal"] += 1
    assert answers == {"equal": 153, "refused": 40}


def test_mlkem_1024_takes_every_valid_key_and_no_other() -> None:
    """269 keys: 133 are taken; 136 of a wrong length or with a coefficient of q or more are refused.

    The library below draws the message itself, so what it makes of these keys cannot be compared. kyber-py, with which
    our vectors are made, takes the message: its ciphertexts and secrets are the published ones.
    """
    answers: Counter[str] = Counter()
    for _, case in cases("mlkem_1024_encaps_test.json"):
        public = bytes.fromhex(case["ek"])
        if case["result"] == "invalid":
            with pytest.raises(InvalidKey):
                encapsulate(public)
            answers["refused"] += 1
            continue
        secret, ciphertext = encapsulate(public)
        assert (len(secret), len(ciphertext)) == (32, 1568)
        published = bytes.fromhex(case["K"]), bytes.fromhex(case["c"])
        assert ML_KEM_1024._encaps_internal(public, bytes.fromhex(case["m"])) == published, case["tcId"]
        answers["equal"] += 1
    assert answers == {"equal": 133, "refused": 136}


def test_mlkem_1024_makes_every_key_from_its_seed() -> None:
    """100 seeds: the public key is equal. The private one is the seed here, and never leaves in another form."""
    answers: Counter[str] = Counter()
    for _, case in cases("mlkem_1024_keygen_seed_test.json"):
        assert KemKeyPair.from_seed(bytes.fromhex(case["seed"])).public == bytes.fromhex(case["ek"]), case["tcId"]
        answers["equal"] += 1
    assert answers == {"equal": 100}


def test_the_handshake_uses_the_adapter_of_these_cases() -> None:
    """All 562 cases of ML-KEM went through `KemKeyPair` and `encapsulate`; a handshake has no other way to the KEM."""
    names = vars(handshake_state)
    assert (names["KemKeyPair"], names["encapsulate"]) == (KemKeyPair, encapsulate)
    assert signature(HandshakeState).parameters["encapsulate"].default is encapsulate
