"""Salted epochs under storm: no session dies, nothing opens twice, no nonce comes twice; without a rule something does.

Each rule of docs/protocol.md, section 5, that looks fussy is taken out here, and the same lives find what it is for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import pytest

from noisegate_server.session import fields, frozen, roots, salted
from noisegate_server.session.aeads import AeadCache
from noisegate_server.session.datagram import DatagramRecords
from noisegate_server.session.epoch import Epoch
from noisegate_server.session.roots import Root
from tests.support.recording import NonceRepeated, install
from tests.support.storm import live

pytestmark = pytest.mark.timeout(300)

LIVES: Final = 250

Patch = Callable[[pytest.MonkeyPatch], None]


def test_no_session_dies_and_nothing_opens_twice() -> None:
    """Suspended and restored at any moment, either side or both, mid-rotation, again and again: all go on."""
    assert {seed: found for seed in range(LIVES) if (found := live(seed))} == {}


def test_owners_of_one_record_never_seal_alike() -> None:
    """Two owners of one record that hear and say all they can: the net under all tests finds no nonce twice."""
    assert {seed: found for seed in range(LIVES) if (found := live(seed, clones=True))} == {}


def smaller_salts_win_too(patch: pytest.MonkeyPatch) -> None:
    """Rule 3: both give way to each other."""
    genuine = salted._claimed

    def claimed(records: DatagramRecords, low_epoch: int, low_base: int, salt: bytes) -> tuple[Root, int]:
        tail, records.current.send_tail = records.current.send_tail, b""
        try:
            return genuine(records, low_epoch, low_base, salt)
        finally:
            records.current.send_tail = tail

    patch.setattr(salted, "_claimed", claimed)


def base_is_wiped_at_once(patch: pytest.MonkeyPatch) -> None:
    """Rule 4: a side that is restored once more, over the same base, is not understood."""
    genuine = salted._give_way

    def give_way(records: DatagramRecords, base: Root, epoch: Epoch, aeads: AeadCache) -> None:
        genuine(records, base, epoch, aeads)
        records.held = roots.wipe_roots(records.held)

    patch.setattr(salted, "_give_way", give_way)


def stored_roots_pass_for_ours(patch: pytest.MonkeyPatch) -> None:
    """Rule 5: a restored side seals under what it has added nothing to."""
    genuine = roots.read_roots

    def read(data: memoryview) -> list[Root]:
        read_roots = genuine(data)
        for root in read_roots:
            root.ours = True
        return read_roots

    tag = fields.Tag.ROOTS
    patch.setitem(fields.VALUES, tag, fields.VALUES[tag]._replace(read=read))


def initiator_goes_back_to_the_confirmed_epoch(patch: pytest.MonkeyPatch) -> None:
    """Rule 6: the responder may have wiped its root already."""
    patch.setattr(Root, "serves", property(lambda self: self.confirmed))


def only_confirmed_roots_are_stored(patch: pytest.MonkeyPatch) -> None:
    """Rule 7: what the peer may have taken for its base meanwhile is not known."""
    tag = fields.Tag.ROOTS

    def write(held: list[Root]) -> bytearray:
        return roots.write_roots([root for root in held if root.serves])

    patch.setitem(fields.VALUES, tag, fields.VALUES[tag]._replace(write=write))


def salt_is_not_random(patch: pytest.MonkeyPatch) -> None:
    """What keeps two owners of one record apart from their first packet on."""
    genuine = salted.own_epoch

    def own_epoch(base: Root, number: int, salt: bytes, **options: object) -> Epoch:
        del salt
        return genuine(base, number, bytes(16), **options)  # type: ignore[arg-type]  # passed on as they came

    patch.setattr(frozen, "own_epoch", own_epoch)


DEAD: Final = {"dead", "different keys"}
RULES: Final[dict[Patch, tuple[bool, set[str]]]] = {
    smaller_salts_win_too: (False, DEAD),
    base_is_wiped_at_once: (False, DEAD),
    stored_roots_pass_for_ours: (True, {"nonce"}),
    initiator_goes_back_to_the_confirmed_epoch: (False, DEAD),
    only_confirmed_roots_are_stored: (False, DEAD),
    salt_is_not_random: (True, {"nonce"}),
}
"""A rule that is gone: whether it takes clones to show, and as what."""


@pytest.fixture
def _own_net() -> Iterator[None]:
    _, remove = install()
    yield
    remove()


@pytest.mark.parametrize("rule", list(RULES), ids=lambda rule: rule.__name__)
@pytest.mark.fixed_ephemeral
@pytest.mark.usefixtures("_own_net")
def test_without_a_rule_something_is_found(rule: Patch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a few lives; each rule shows as what it is for."""
    rule(monkeypatch)
    clones, shows = RULES[rule]
    found = ""
    for seed in range(4 * LIVES):
        try:
            found = live(seed, clones=clones)
        except NonceRepeated:
            found = "nonce"
        if found:
            break
    assert found in shows
