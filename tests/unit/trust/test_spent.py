"""Used tickets: what is remembered, what makes room, and that forgetting never lets one in again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from noisegate_server.session.constants import TICKET_LIFETIME_S
from noisegate_server.trust.spent import SpentTickets

NOW = 1_750_000_000.0


def number(index: int) -> bytes:
    """A ticket's id."""
    return index.to_bytes(16, "big")


def test_a_ticket_is_spent_from_its_use_on() -> None:
    """Once marked it stays so; others of the tenant, and the same id of another tenant, are not touched."""
    spent = SpentTickets()
    assert not spent.is_spent("arena", number(1), NOW)
    spent.spend("arena", number(1), NOW)
    assert spent.is_spent("arena", number(1), NOW)
    assert not spent.is_spent("arena", number(2), NOW)
    assert not spent.is_spent("cards", number(1), NOW)
    assert len(spent) == 1


def test_a_full_share_refuses_older_tickets_and_no_newer_ones() -> None:
    """The row that was issued first makes room; whatever is as old counts as used from then on."""
    spent = SpentTickets(share=3)
    for index in (5, 2, 9, 7):
        spent.spend("arena", number(index), NOW + index)
    assert len(spent) == 3
    for index in (0, 1, 2, 5, 7, 9):
        assert spent.is_spent("arena", number(index), NOW + index)
    for index in (3, 4, 6, 10):
        assert not spent.is_spent("arena", number(index), NOW + index)


def test_a_tenant_that_fills_the_table_pays_for_it_itself() -> None:
    """Above the capacity of all, whoever has the most rows loses one; another tenant's floor does not rise."""
    spent = SpentTickets(capacity=6, share=100)
    spent.spend("small", number(1), NOW)
    for index in range(10):
        spent.spend("large", number(100 + index), NOW + 10 + index)
    assert len(spent) == 6
    spent.spend("small", number(3), NOW + 1)
    assert len(spent) == 6
    assert not spent.is_spent("small", number(2), NOW - 5)
    assert spent.is_spent("large", number(300), NOW + 10)
    assert not spent.is_spent("large", number(300), NOW + 100)


def test_beside_a_vault_that_knows_all_uses_forgetting_costs_nothing() -> None:
    """No ticket is refused for its age: what this table has forgotten, the vault says."""
    spent = SpentTickets(alone=False, share=2)
    for index in range(5):
        spent.spend("arena", number(index), NOW + index)
    assert len(spent) == 2
    assert not spent.is_spent("arena", number(9), NOW)
    spent.forget(NOW + 2 * TICKET_LIFETIME_S, 100)
    assert not spent.is_spent("arena", number(9), NOW + 4)


def test_a_row_goes_when_its_ticket_is_too_old() -> None:
    """And leaves the floor behind, so that a clock which was set back revives nothing."""
    spent = SpentTickets()
    for index in range(10):
        spent.spend("arena", number(index), NOW + index)
    spent.forget(NOW + TICKET_LIFETIME_S, 100)
    assert len(spent) == 10
    spent.forget(NOW + 4.5 + TICKET_LIFETIME_S, 3)
    assert len(spent) == 7
    spent.forget(NOW + 4.5 + TICKET_LIFETIME_S, 100)
    assert len(spent) == 5
    for index in range(10):
        assert spent.is_spent("arena", number(index), NOW + index)
    spent.forget(NOW + 1_000_000, 100)
    assert len(spent) == 0
    assert spent._tenants == {}
    assert spent.is_spent("cards", number(50), NOW + 9)
    assert not spent.is_spent("cards", number(50), NOW + 10)


def test_a_use_that_came_to_nothing_is_taken_back() -> None:
    """The ticket can be used, and then is spent for good."""
    spent = SpentTickets(share=2)
    spent.spend("arena", number(1), NOW)
    spent.take_back("arena", number(1))
    spent.take_back("arena", number(1))
    spent.take_back("cards", number(1))
    assert (len(spent), spent.is_spent("arena", number(1), NOW)) == (0, False)
    spent.spend("arena", number(1), NOW)
    assert (len(spent), spent.is_spent("arena", number(1), NOW)) == (1, True)
    spent.forget(NOW + 2 * TICKET_LIFETIME_S, 100)
    assert len(spent) == 0


def test_what_is_taken_back_again_and_again_takes_no_room() -> None:
    """A ticket that comes a thousand times while its use cannot be written leaves nothing behind."""
    spent = SpentTickets()
    spent.spend("arena", number(2), NOW)
    for _ in range(1_000):
        spent.spend("arena", number(1), NOW)
        spent.take_back("arena", number(1))
    assert len(spent) == 1
    assert len(spent._tenants["arena"].order) < 100
    assert spent.is_spent("arena", number(2), NOW)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c"]),
        st.integers(0, 30),
        st.sampled_from(["use", "use", "use", "use", "sweep", "lose"]),
        st.floats(-100_000, 200_000),
    ),
    max_size=60,
)


@given(STEPS)
def test_no_ticket_is_ever_used_twice(steps: list[tuple[str, int, str, float]]) -> None:
    """Whatever is forgotten, in whatever order, at whatever the clock says: used once is used for ever."""
    spent = SpentTickets(capacity=6, share=4)
    used: set[tuple[str, int]] = set()
    for tenant, index, what, offset in steps:
        issued = NOW + index // 2
        if what == "sweep":
            spent.forget(NOW + offset, 3)
        elif not spent.is_spent(tenant, number(index), issued):
            assert (tenant, index) not in used
            spent.spend(tenant, number(index), issued)
            if what == "lose":
                spent.take_back(tenant, number(index))
            else:
                used.add((tenant, index))
        assert len(spent) <= 6
