"""The books after the game: three parties' own accounts, compared. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from examples.dice.game import STAKE, Outcome, judge, payout
from examples.dice.script import HYBRID

Report = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line of the books; `detail` says what was compared, or what is wrong."""

    name: str
    ok: bool
    detail: str


def check_books(table: Report, players: list[Report], attacker: Report) -> list[Check]:
    """Every check; the game is good if all are."""
    return [
        _money(table),
        *_bankrolls(table, players),
        _throws(table, players),
        *_messages(table, players),
        _proofs(table, players),
        *_attack(table, attacker),
        _downgrade(table, players, attacker),
        _events(table),
        _background(table, players),
        _watch(table, players),
        _sessions(table, players),
        _imports(table, players),
    ]


def _money(table: Report) -> Check:
    total = table["total"]
    detail = f"${total} in bankrolls and house, ${table['start']} at the start"
    return Check(name="all the money is there", ok=total == table["start"], detail=detail)


def _bankroll(name: str, table: Report) -> int:
    """What a player must have, from the throws alone."""
    bankroll = STAKE
    for played in table["rounds"]:
        point, outcome = 0, None
        for dice in played["throws"]:
            point, outcome = judge(point, sum(dice))
        bet = played["bets"][name]
        bankroll += payout(bet, outcome or Outcome.LOSE) - bet
    return bankroll


def _bankrolls(table: Report, players: list[Report]) -> list[Check]:
    wrong = []
    for player in players:
        name = player["name"]
        told = {str(played["number"]): played["bets"][name] for played in table["rounds"]}
        three = player["bankroll"], table["bankrolls"][name], _bankroll(name, table)
        if len(set(three)) > 1:
            wrong.append("{}: player has ${}, table has ${}, by the throws it is ${}".format(name, *three))
        if told != player["bets"]:
            wrong.append(f"{name}: the table knows other bets than the player")
    detail = "; ".join(wrong) or "player, table and a count from the throws agree"
    return [Check(name="every bankroll is right", ok=not wrong, detail=detail)]


def _throws(table: Report, players: list[Report]) -> Check:
    thrown = [[played["number"], *dice] for played in table["rounds"] for dice in played["throws"]]
    wrong = [player["name"] for player in players if player["throws"] != thrown]
    detail = f"{', '.join(wrong)} saw other dice" if wrong else f"{len(thrown)} throws, the same for all"
    return Check(name="everybody saw the same dice", ok=not wrong, detail=detail)


def _messages(table: Report, players: list[Report]) -> list[Check]:
    ways = (
        ("no message of a player was lost or doubled", "sent", "delivered"),
        ("no message to a player was lost or doubled", "delivered", "sent"),
    )
    checks = []
    for title, mine, theirs in ways:
        wrong = [
            f"{player['name']} {mine} {player[mine]}, table {theirs} {table[theirs][player['name']]}"
            for player in players
            if player[mine] != table[theirs][player["name"]]
        ]
        total = sum(player[mine] for player in players)
        checks.append(Check(name=title, ok=not wrong, detail="; ".join(wrong) or f"{total} sent, {total} delivered"))
    return checks


def _proofs(table: Report, players: list[Report]) -> Check:
    rounds = len(table["rounds"])
    wrong = [player["name"] for player in players if player["proofs"] != rounds]
    detail = f"{', '.join(wrong)} could not check" if wrong else f"{rounds} seeds, each checked by every player"
    return Check(name="the dice were fixed before the bets", ok=not wrong, detail=detail)


def _attack(table: Report, attacker: Report) -> list[Check]:
    forged, replays = table["refused"].get(str(attacker["port"]), (0, 0))
    lines = (("every forged packet was refused", forged, "forged"), ("every replay was refused", replays, "replayed"))
    return [
        Check(name=name, ok=refused == attacker[sent] > 0, detail=f"{attacker[sent]} sent, {refused} refused")
        for name, refused, sent in lines
    ]


def _downgrade(table: Report, players: list[Report], attacker: Report) -> Check:
    """Who followed the forged RETRY was told better, and has the keys that it would have had."""
    lured = [player for player in players if player["lured"]]
    ok = len(lured) == attacker["lures"] == table["counts"]["lured"] == 1
    ok = ok and all(player["suite"] == HYBRID for player in lured)
    suites = ", ".join(f"{player['name']} has suite {player['suite']}" for player in lured) or "nobody followed it"
    return Check(name="the forged downgrade led nowhere", ok=ok, detail=f"{attacker['lures']} forged RETRY; {suites}")


def _background(table: Report, players: list[Report]) -> Check:
    """Table and noisegate agree on who was suspended; nobody can link the packets of before and after a new id."""
    suspended, told = table["counts"]["suspended"], table["told"]
    ids = sum(player["ids"] for player in players)
    ok = suspended == told.get("suspended") == told.get("restored") == 1 == ids
    detail = f"suspended {suspended}, restored {told.get('restored', 0)}, new connection ids {ids}"
    return Check(name="who went away came back", ok=ok, detail=detail)


def _watch(table: Report, players: list[Report]) -> Check:
    """Every session's beginning and end was told by noisegate, unasked."""
    told, sessions = table["told"], len(players) + table["counts"]["resumed"]
    ok = told.get("established") == told.get("ended") == sessions and not told.get("lagged")
    kinds = ", ".join(f"{kind} {number}" for kind, number in sorted(told.items()))
    return Check(name="noisegate told of every session", ok=ok, detail=f"{sessions} sessions; {kinds}")


def _events(table: Report) -> Check:
    least = {"rotated": 4, "resumed": 2, "early": 1, "moved": 2}
    seen = ", ".join(f"{name} {table['counts'][name]}" for name in least)
    ok = all(table["counts"][name] >= number for name, number in least.items())
    return Check(name="keys, sessions and an address changed", ok=ok, detail=seen)


def _sessions(table: Report, players: list[Report]) -> Check:
    closed, live = table["counts"]["closed"], table["open_sessions"]
    detail = f"{closed} closed by their players, {live} left at noisegate"
    return Check(name="every session ended cleanly", ok=closed == len(players) and live == 0, detail=detail)


def _imports(table: Report, players: list[Report]) -> Check:
    found = [f"the table has {module}" for module in table["modules"]]
    found += [f"{player['name']} has {module}" for player in players for module in player["modules"]]
    detail = "; ".join(found) or "no crypto at the table, nothing of ours at the players"
    return Check(name="nobody held what it must not", ok=not found, detail=detail)
