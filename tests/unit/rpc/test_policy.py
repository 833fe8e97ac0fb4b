"""Who a caller is: SPIFFE ids, tenants, and the policy file."""

from __future__ import annotations

import pytest

from noisegate_server.rpc.policy import Peer, Policy, PolicyError, read_policy
from noisegate_server.session.limits import LowerLimits
from noisegate_server.session.state import RecordMode

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


TENANTS = f"""
[[caller]]
id = "{MATCH}"
tenant = "dice"
methods = ["*"]

[[tenant]]
name = "dice"
datagram = {{ soft_age = 60, hard_age = 90.5, soft_messages = 100_000 }}
noise = {{ hard_bytes = 1_000_000 }}
"""


def test_a_file_lowers_a_tenants_limits_of_rotation_by_mode() -> None:
    """What is not named stays the service's."""
    assert read_policy(TENANTS, METHODS).limits == {
        ("dice", RecordMode.DATAGRAM): LowerLimits(soft_age=60, hard_age=90.5, soft_messages=100_000),
        ("dice", RecordMode.NOISE): LowerLimits(hard_bytes=1_000_000),
    }
    assert read_policy(FILE, METHODS).limits == {}


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('name = "dice"', 'name = "dies"', "tenant 'dies': no caller has it"),
        ("soft_age = 60", "soft_age = 121", "tenant 'dice': datagram.soft_age: at most 120"),
        ("soft_age = 60", "soft_age = 5", "tenant 'dice': datagram.soft_age: at least 10"),
        ("soft_age = 60", "soft_age = 91", "tenant 'dice': datagram.soft_age: below hard_age"),
        ("soft_age = 60", 'soft_age = "60"', "tenant.0.datagram.soft_age"),
        ("soft_age = 60", "softage = 60", "tenant.0.datagram.softage"),
        ("soft_messages = 100_000", "hard_messages = 1_024", "datagram.hard_messages: at least 2,048"),
        ("soft_messages = 100_000", "soft_messages = -1", "datagram.soft_messages: at least 1"),
        ("noise =", "quic =", "tenant.0.quic"),
    ],
)
def test_limits_that_cannot_be_meant_are_refused_at_the_start(old: str, new: str, complaint: str) -> None:
    """With the tenant and the field, and what would be allowed."""
    with pytest.raises(PolicyError, match=complaint):
        read_policy(TENANTS.replace(old, new), METHODS)


def test_a_tenant_is_listed_once() -> None:
    """Which of two would hold is not to be guessed."""
    with pytest.raises(PolicyError, match="'dice': listed twice"):
        read_policy(TENANTS + TENANTS[TENANTS.index("[[tenant]]") :], METHODS)
