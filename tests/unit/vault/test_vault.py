"""What every vault owes to the engine: the same cases over the one in memory and the one in a file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from noisegate_server.store.vault import KeptSession, MemoryVault, Revocation, Vault
from noisegate_server.vault.sqlite import SqliteVault

WALL = 1_800_000_000.0
ISSUER = b"\x01\x02\x03\x04"


def kept(number: int, expires_wall: float = WALL + 60) -> KeptSession:
    """A suspended session; `number` is in its id and blob."""
    return KeptSession(
        session_id=number.to_bytes(24, "big"),
        tenant="acme",
        peer_id="ann",
        group="table-1",
        mode=2,
        remote_static=b"\x07" * 32,
        connection_ids=(b"\x01" * 8, b"\x02" * 8),
        by_service=True,
        resumable=number % 2 == 0,
        suspended_wall=WALL + number,
        expires_wall=expires_wall,
        blob=b"blob %d" % number,
    )


@pytest.fixture(params=["memory", "file"])
async def vault(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Vault]:
    """One of each kind."""
    made: Vault = MemoryVault(ISSUER) if request.param == "memory" else SqliteVault(tmp_path / "state", ISSUER)
    yield made
    await made.close()


async def test_what_is_kept_is_listed_without_its_blob_and_taken_once(vault: Vault) -> None:
    """The index at a start needs no blobs; whoever takes one is the only one who has it."""
    await vault.keep([kept(1), kept(2)])
    assert await vault.kept() == [replace(kept(1), blob=b""), replace(kept(2), blob=b"")]
    assert await vault.take(kept(1).session_id) == b"blob 1"
    assert await vault.take(kept(1).session_id) is None
    assert await vault.kept() == [replace(kept(2), blob=b"")]


async def test_a_session_that_is_kept_again_replaces_the_one_before(vault: Vault) -> None:
    """Two blobs of one session would be two sessions."""
    await vault.keep([kept(1)])
    await vault.keep([replace(kept(1), blob=b"newer", by_service=False, connection_ids=())])
    (listed,) = await vault.kept()
    assert (listed.by_service, listed.connection_ids) == (False, ())
    assert await vault.take(listed.session_id) == b"newer"


async def test_what_is_forgotten_is_gone_and_what_is_not_there_does_no_harm(vault: Vault) -> None:
    """As CloseSession and RevokePeer need it."""
    await vault.keep([kept(number) for number in range(4)])
    await vault.forget([kept(1).session_id, kept(3).session_id, b"\xff" * 24])
    assert [each.session_id for each in await vault.kept()] == [kept(0).session_id, kept(2).session_id]


async def test_of_a_thousand_that_spend_one_number_exactly_one_may(vault: Vault) -> None:
    """Whether at once or one after another."""
    number = b"n" * 16
    answers = await asyncio.gather(*(vault.spend(number, WALL) for _ in range(1_000)))
    assert answers.count(True) == 1
    assert await vault.spend(number, WALL + 9) is False
    assert await vault.spend(b"m" * 16, WALL) is True


async def test_of_a_thousand_that_take_one_session_exactly_one_has_it(vault: Vault) -> None:
    """Restoring twice would be two owners of one session."""
    await vault.keep([kept(1)])
    answers = await asyncio.gather(*(vault.take(kept(1).session_id) for _ in range(1_000)))
    assert answers[0] == b"blob 1"
    assert set(answers[1:]) == {None}


async def test_callers_go_on_in_the_order_of_their_calls(vault: Vault) -> None:
    """A use case that waits for `settle` finds done what was asked for before."""
    order: list[int] = []

    async def spend(number: int) -> None:
        await vault.spend(number.to_bytes(16, "big"), WALL)
        order.append(number)

    async def settle() -> None:
        await vault.settle()
        order.append(-1)

    await asyncio.gather(*(spend(number) for number in range(50)), settle(), spend(50))
    assert order == [*range(50), -1, 50]


async def test_what_is_over_goes_in_slices(vault: Vault) -> None:
    """`budget` rows of each kind at most, the oldest first; what is not over stays."""
    await vault.keep([kept(number, WALL + number) for number in range(6)])
    for number in range(6):
        await vault.spend(number.to_bytes(16, "big"), WALL + number)
    await vault.expire(WALL + 3, budget=2)
    assert [each.blob for each in await vault.kept()] == [b""] * 4
    assert await vault.take(kept(1).session_id) is None
    assert await vault.take(kept(2).session_id) == b"blob 2"
    await vault.expire(WALL + 3, budget=100)
    assert [each.session_id for each in await vault.kept()] == [kept(4).session_id, kept(5).session_id]
    assert await vault.spend((3).to_bytes(16, "big"), WALL + 9) is True
    assert await vault.spend((4).to_bytes(16, "big"), WALL + 9) is False


async def test_a_clock_that_was_set_forward_and_back_revives_no_used_number(vault: Vault) -> None:
    """What was deleted as over, and whatever ends no later, counts as used; what ends later does not."""
    for number in range(3):
        assert await vault.spend(number.to_bytes(16, "big"), WALL + number) is True
    await vault.expire(WALL + 1, budget=100)
    for number in range(3):
        assert await vault.spend(number.to_bytes(16, "big"), WALL + number) is False
    assert await vault.spend(bytes(16), WALL + 1) is False
    assert await vault.spend(b"\xff" * 16, WALL + 1.5) is True


async def test_a_session_that_came_back_and_left_again_has_its_new_end(vault: Vault) -> None:
    """What was noted of its first stay does not end the second one."""
    for number in range(300):
        await vault.keep([kept(1, WALL + number)])
        assert await vault.take(kept(1).session_id) == b"blob 1"
    await vault.keep([kept(1, WALL + 1_000)])
    await vault.expire(WALL + 500, budget=1_000)
    assert await vault.take(kept(1).session_id) == b"blob 1"


async def test_a_revocation_replaces_the_one_before_of_the_same_player(vault: Vault) -> None:
    """By name or by key; the newest moment counts."""
    by_name = Revocation(tenant="acme", peer_id="ann", revoked_wall=WALL)
    by_key = Revocation(tenant="acme", static_key=b"\x09" * 32, revoked_wall=WALL)
    later = replace(by_name, revoked_wall=WALL + 5)
    for revocation in (by_name, by_key, later):
        await vault.revoke(revocation)
    assert sorted(await vault.revoked(), key=lambda each: each.peer_id) == [by_key, later]


async def test_a_blob_is_in_no_repr() -> None:
    """It is sealed, but a log is no place for it."""
    assert "blob" not in repr(kept(1))
