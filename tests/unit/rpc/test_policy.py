"""Who a caller is: SPIFFE ids, tenants, and the policy file."""

from __future__ import annotations

import pytest

from noisegate_server.rpc.policy import Peer, Policy, PolicyError, read_policy

METHODS = ("/p.S/Encrypt", "/p.S/Decrypt")
MATCH = "spiffe://game.example/match"

FILE = """
[[caller]]
id = "spiffe://game.example/match"
tenant = "tenant-a"
methods = ["*"]

[[caller]]
id = "spiffe://game.example/chat"
tenant = "tenant-a"
methods = ["Encrypt"]
"""


def peer(*uris: str) -> Peer:
    """A client certificate with these URI names."""
    return Peer(authenticated=True, uris=uris, address="ipv4:1")


def test_without_a_file_each_identity_is_its_own_tenant() -> None:
    """No configuration shares sessions between callers by accident."""
    caller = Policy().caller(peer(MATCH))
    assert (caller.identity, caller.tenant, caller.address) == (MATCH, MATCH, "ipv4:1")
    assert Policy().rights is None


def test_without_credentials_the_tenant_is_local() -> None:
    """Such a listener is on loopback only; URIs that it did not verify count for nothing."""
    caller = Policy().caller(Peer(authenticated=False, uris=(MATCH,)))
    assert (caller.identity, caller.tenant) == ("", "local")


@pytest.mark.parametrize(
    "uris",
    [
        (),
        (MATCH, "spiffe://game.example/chat"),
        (MATCH, "https://game.example"),
        ("https://game.example/match",),
        ("spiffe://game.example",),
        ("spiffe://game.example/",),
        ("spiffe://Game.example/match",),
        ("spiffe://game.example/a/../b",),
        ("spiffe://game.example/a//b",),
        ("spiffe://game.example/match?x",),
        ("spiffe://game.example:1/match",),
        ("spiffe:///match",),
        (MATCH + "\n",),
        (MATCH + "/" + "x" * 2_048,),
        ("local",),
    ],
)
def test_anything_but_one_spiffe_id_is_nobody(uris: tuple[str, ...]) -> None:
    """SPIFFE X.509-SVID section 2: exactly one URI SAN; and its syntax has no room for look-alikes."""
    caller = Policy().caller(peer(*uris))
    assert (caller.identity, caller.tenant) == ("", "")


def test_an_id_too_long_for_a_tenant_has_none() -> None:
    """A ticket holds a tenant of 255 bytes, so a longer one is refused from the start."""
    longest = MATCH + "/" + "x" * (254 - len(MATCH))
    assert Policy().caller(peer(longest)).tenant == longest
    caller = Policy().caller(peer(longest + "x"))
    assert (caller.identity, caller.tenant) == (longest + "x", "")


def test_a_file_maps_callers_to_tenants_and_methods() -> None:
    """Only those listed, with what is listed."""
    policy = read_policy(FILE, METHODS)
    assert policy.caller(peer(MATCH)).tenant == "tenant-a"
    stranger = policy.caller(peer("spiffe://game.example/stranger"))
    assert (stranger.identity, stranger.tenant) == ("spiffe://game.example/stranger", "")
    assert policy.rights == {
        MATCH: frozenset(METHODS),
        "spiffe://game.example/chat": frozenset({"/p.S/Encrypt"}),
    }


def test_a_file_shuts_out_callers_without_credentials_unless_it_lists_them() -> None:
    """Loopback is no exception once there is a policy."""
    assert read_policy(FILE, METHODS).caller(Peer(authenticated=False)).tenant == ""
    listed = read_policy('[[caller]]\nid = "local"\ntenant = "dev"\nmethods = ["*"]', METHODS)
    assert listed.caller(Peer(authenticated=False)).tenant == "dev"


def test_a_star_does_not_include_what_must_be_named() -> None:
    """Whoever may call everything has still to be given such a method by its name; it may stand beside the star."""
    methods, by_name = (*METHODS, "/p.S/Export"), ("/p.S/Export",)
    caller = '[[caller]]\nid = "local"\ntenant = "dev"\nmethods = '
    granted = [
        (read_policy(caller + names, methods, by_name).rights or {})["local"]
        for names in ('["*"]', '["*", "Export"]', '["Export"]', '["Encrypt"]')
    ]
    assert granted == [
        frozenset(METHODS),
        frozenset(methods),
        frozenset(by_name),
        frozenset({"/p.S/Encrypt"}),
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "caller"),
        ("caller = 1", "caller"),
        ("[[caller", "not TOML"),
        ('[[caller]]\nid = "x"\ntenant = "t"\nmethods = ["*"]', "not a SPIFFE id"),
        (f'[[caller]]\nid = "{MATCH}"\ntenant = ""\nmethods = ["*"]', "tenant"),
        (f'[[caller]]\nid = "{MATCH}"\ntenant = "t"\nmethods = []', "methods"),
        (f'[[caller]]\nid = "{MATCH}"\ntenant = "t"', "methods"),
        (f'[[caller]]\nid = "{MATCH}"\ntenant = "t"\nmethods = ["Encript"]', "no such method: Encript"),
        (f'[[caller]]\nid = "{MATCH}"\ntenant = "t"\nmethods = ["*"]\nadmin = true', "admin"),
        (FILE + FILE, "listed twice"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(text: str, complaint: str) -> None:
    """With a word on where to look: a misspelt method must not pass as a right that nobody has."""
    with pytest.raises(PolicyError, match=complaint):
        read_policy(text, METHODS)
