from __future__ import annotations

import pytest

from noisegate_server.noise import InvalidPattern, InvalidProtocolName, ProtocolName
from noisegate_server.noise.patterns import DH_TOKENS, PATTERNS, Pattern, Token, apply_modifier, validate

# The pattern fields of the published vectors: 15 fundamental, 23 deferred, 21 with psk.
PUBLISHED = [
    "N",
    "K",
    "X",
    "NN",
    "NK",
    "NX",
    "KN",
    "KK",
    "KX",
    "XN",
    "XK",
    "XX",
    "IN",
    "IK",
    "IX",
    "NK1",
    "NX1",
    "X1N",
    "X1K",
    "XK1",
    "X1K1",
    "X1X",
    "XX1",
    "X1X1",
    "K1N",
    "K1K",
    "KK1",
    "K1K1",
    "K1X",
    "KX1",
    "K1X1",
    "I1N",
    "I1K",
    "IK1",
    "I1K1",
    "I1X",
    "IX1",
    "I1X1",
    "Npsk0",
    "Kpsk0",
    "Xpsk1",
    "NNpsk0",
    "NNpsk2",
    "NKpsk0",
    "NKpsk2",
    "NXpsk2",
    "XNpsk3",
    "XKpsk3",
    "XXpsk3",
    "KNpsk0",
    "KNpsk2",
    "KKpsk0",
    "KKpsk2",
    "KXpsk2",
    "INpsk1",
    "INpsk2",
    "IKpsk1",
    "IKpsk2",
    "IXpsk2",
]

# (initiator's pre-message, responder's pre-message, messages, what the refusal says)
ILLEGAL = [
    ("", "", (), "at least one"),
    ("ee", "", ("e",), "public keys only"),
    ("", "psk", ("e",), "public keys only"),
    ("", "", ("e ee",), "has not been sent"),
    ("", "", ("ee e",), "has not been sent"),
    ("", "", ("e es", "e ee"), "has not been sent"),
    ("", "", ("e", "e ee se"), "has not been sent"),
    ("s", "", ("e ss",), "has not been sent"),
    ("", "", ("e e",), "sent twice"),
    ("", "", ("e", "e ee", "e"), "sent twice"),
    ("", "s", ("e es s s",), "sent twice"),
    ("s", "", ("e s",), "sent twice"),
    ("e", "", ("e", "e ee"), "sent twice"),
    ("s s", "", ("e",), "sent twice"),
    ("", "", ("e", "e ee ee"), "done twice"),
    ("", "s", ("e es es",), "done twice"),
    ("", "", ("e", "e ee", "s se", "se"), "done twice"),
    ("s", "s", ("e es ss ss",), "done twice"),
    ("s", "s", ("e ss",), "static key without"),
    ("s", "s", ("e ss es", "e ee"), "static key without"),
    ("", "s", ("e es", "e"), "static key without"),
    ("", "s", ("e es", "e ee s"), "sent twice"),
    ("s", "", ("e", "e se"), "static key without"),
    ("s", "s", ("e es ss", "e ee"), "static key without"),
    ("", "", ("psk s e",), "under a psk"),
    ("", "", ("psk", "e"), "under a psk"),
    ("", "", ("e psk", "s"), "under a psk"),
]


def pattern(initiator_pre: str, responder_pre: str, messages: tuple[str, ...]) -> Pattern:
    """A pattern from the specification's notation."""

    def tokens(text: str) -> tuple[Token, ...]:
        return tuple(Token(word) for word in text.split())

    return Pattern(
        name="test",
        initiator_pre=tokens(initiator_pre),
        responder_pre=tokens(responder_pre),
        messages=tuple(tokens(message) for message in messages),
    )


def test_all_fundamental_and_deferred_patterns_are_there() -> None:
    """15 and 23, by the names of the specification."""
    assert len(PUBLISHED) == 59
    assert set(PATTERNS) == {name for name in PUBLISHED if "psk" not in name}
    assert len(PATTERNS) == 15 + 23


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_pattern_is_valid(name: str) -> None:
    """The rules of 7.3 and 9.3 refuse none of the specification's own."""
    validate(ProtocolName.parse(f"Noise_{name}_25519_ChaChaPoly_SHA256").pattern)


def test_at_least_twenty_illegal_patterns_are_listed() -> None:
    """Each of them breaks a rule on its own: the list has no repeats."""
    assert len({entry[:3] for entry in ILLEGAL}) == len(ILLEGAL) >= 20


@pytest.mark.parametrize("name", PATTERNS)
def test_every_psk_place_of_every_pattern_is_valid(name: str) -> None:
    """Each message begins with or follows an ephemeral key of its sender, so a psk may go anywhere."""
    for place in range(len(PATTERNS[name].messages) + 1):
        validate(apply_modifier(PATTERNS[name], f"psk{place}"))


@pytest.mark.parametrize(("initiator_pre", "responder_pre", "messages", "reason"), ILLEGAL)
def test_every_illegal_pattern_is_refused(
    initiator_pre: str, responder_pre: str, messages: tuple[str, ...], reason: str
) -> None:
    """One breach of a validity rule each, named."""
    with pytest.raises(InvalidPattern, match=reason):
        validate(pattern(initiator_pre, responder_pre, messages))


def test_psk_tokens_go_where_section_9_4_says() -> None:
    """psk0 before the first token of message 1, pskN after the last of message N."""
    assert apply_modifier(PATTERNS["XX"], "psk0").messages[0] == (Token.PSK, Token.E)
    assert apply_modifier(PATTERNS["XX"], "psk1").messages[0] == (Token.E, Token.PSK)
    assert apply_modifier(PATTERNS["XX"], "psk3").messages[2] == (Token.S, Token.SE, Token.PSK)
    assert PATTERNS["XX"].messages[2] == (Token.S, Token.SE)


@pytest.mark.parametrize(
    "modifier", ["psk4", "psk9", "psk", "psk-1", "psk01", "psk10", "hfs1", "HFS", "fallback", "PSK0", "", "psk\u0663"]
)
def test_unknown_modifiers_are_refused(modifier: str) -> None:
    """Neither a place that the pattern does not have nor another modifier."""
    with pytest.raises(InvalidProtocolName):
        apply_modifier(PATTERNS["XX"], modifier)


def test_sides_that_need_static_keys() -> None:
    """By the letters of the name: the initiator's first, the responder's second; N needs none."""
    for name, found in PATTERNS.items():
        letters = name.replace("1", "")
        if len(letters) == 1:
            initiator, responder = letters != "N", True
        else:
            initiator, responder = letters[0] != "N", letters[1] != "N"
        assert found.uses_static(initiator=True) is initiator, name
        assert found.uses_static(initiator=False) is responder, name
        assert found.one_way is (len(letters) == 1), name


@pytest.mark.parametrize("name", ["IK", "XX", "NNpsk0", "IKpsk2", "XXhfs"])
def test_a_key_that_the_next_token_replaces_is_not_used(name: str) -> None:
    """What is sealed comes after the last key of a row of them: `ee se`, `psk e`, but not `ee s` nor `ee ekem1`."""
    dh = "25519+MLKEM1024" if "hfs" in name else "25519"
    steps = ProtocolName.parse(f"Noise_{name}_{dh}_ChaChaPoly_SHA256").steps
    unused = {
        "IK": [(1, Token.EE)],
        "XX": [],
        "NNpsk0": [(0, Token.PSK), (1, Token.E)],
        "IKpsk2": [(0, Token.E), (1, Token.E), (1, Token.EE), (1, Token.SE)],
        "XXhfs": [],
    }[name]
    makes_key = DH_TOKENS | {Token.PSK} | ({Token.E} if "psk" in name else set())
    for of_role in steps:
        found = [(at, token) for at, message in enumerate(of_role) for token, used, *_ in message if not used]
        assert [each for each in found if each[1] in makes_key] == unused


def test_each_side_of_a_dh_takes_its_own_key_and_the_peers() -> None:
    """The first letter is the initiator's key, the second the responder's (section 7.1); other tokens take none."""
    keys = {"e": Token.E, "s": Token.S}
    for role in (False, True):
        for message in ProtocolName.parse("Noise_KKpsk0_25519_ChaChaPoly_SHA256").steps[role]:
            for token, _, taken in message:
                letters = tuple(keys[letter] for letter in token.value) if token in DH_TOKENS else None
                assert taken == (letters if role or letters is None else letters[::-1]), (role, token)
