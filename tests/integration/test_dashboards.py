"""The dashboard and the alerts, held against what a running service that has seen traffic really shows."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

import noisegate
from noisegate import NoisegateError, Pattern
from noisegate_server.engine.counts import Cause, Outcome, RotationKind
from noisegate_server.rpc.call import Code
from noisegate_server.rpc.errors import RULES as REFUSALS
from noisegate_server.rpc.errors import reason_name
from noisegate_server.session.state import TerminationReason
from noisegate_server.telemetry.metrics import METRICS
from tests.integration.conftest import DEV, Launch
from tests.integration.test_early_data import bring, noise_ticket
from tests.integration.test_metrics import play
from tests.support.certificates import Authority
from tests.support.noise_client import Setup, open_noise
from tests.support.promql import alternatives, groupings, increases, matchings, parsed, selectors
from tests.support.scrape import OPTION, Samples, metrics_url, scrape
from tests.support.server import ROOT

DASHBOARD: Final[Any] = json.loads((ROOT / "dashboards" / "noisegate.json").read_text(encoding="utf-8"))
ALERTS: Final[Any] = yaml.safe_load((ROOT / "dashboards" / "alerts.yaml").read_text(encoding="utf-8"))
PANELS: Final = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
RULES: Final = [rule for group in ALERTS["groups"] for rule in group["rules"]]

OF_THE_SCRAPE: Final = frozenset({"instance", "job", "pod"})
"""Labels that Prometheus adds; `pod` where the chart's monitor tells it whom to ask."""
REASONS: Final = {each.name.lower() for each in TerminationReason}
WORDS: Final[dict[str, set[str]]] = {
    "cause": {*Cause},
    "certificate": {"server", "client_ca", "admin_client_ca"},
    "cpu_mode": {"user", "system"},
    "error_type": {each.name for each in Code},
    "key": {"ticket", "blob"},
    "kind": {*RotationKind},
    "operation": {"seal", "open"},
    "outcome": {*Outcome, *REASONS, "accepted", "rejected"},
    "reason": {*REASONS, "INTERNAL", *(reason_name(rule.reason) for rule in REFUSALS.values())},
    "rpc_status_code": {each.name for each in Code},
    "state": {"handshaking", "established", "rotating", "suspended"},
}
"""Every value that a label may have."""


def dashboard_expressions() -> list[tuple[str, str]]:
    """(where it stands, expression)."""
    targets = [(panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]]
    return targets + [(each["name"], each["expr"]) for each in DASHBOARD["annotations"]["list"]]


EXPRESSIONS: Final = [*dashboard_expressions(), *((rule["alert"], rule["expr"]) for rule in RULES)]


async def busy_scrape(launch: Launch, folder: Path) -> Samples:
    """The scrape of a service that has done everything that it counts."""
    authority = Authority()
    tls = authority.tls(authority.caller("spiffe://game.example/dice"))
    files = authority.write_server_files(folder)
    (folder / "operators.pem").write_bytes(Authority().certificate)
    admin = ("--admin-listen", "127.0.0.1:0", "--admin-client-ca", str(folder / "operators.pem"))
    server = launch(*DEV, *OPTION, *files, *admin, "--max-early-data", "1200", "--max-sessions", "3", tls=tls)
    policy = noisegate.CallPolicy(packet_deadline=5.0, control_deadline=5.0, attempts=1)
    async with noisegate.connect(server.address, tls=tls, policy=policy) as client:
        await play(client)
        ticket = await noise_ticket(client)
        session, _ = await bring(client, ticket, b"jump")
        async with noisegate.connect(
            server.address, tls=tls, policy=policy, multiplex=noisegate.Multiplex()
        ) as together:
            await together.adopt(await session.describe()).encrypt(b"in a batch of one")
        with pytest.raises(NoisegateError):
            await bring(client, ticket, b"again")
        one_more, _ = await open_noise(client, Setup(pattern=Pattern.XX))
        with pytest.raises(NoisegateError):
            await open_noise(client, Setup(pattern=Pattern.XX))
        for each in (session, one_more):
            await each.close()
    return await asyncio.to_thread(scrape, metrics_url(server))


async def test_every_metric_and_label_in_them_is_one_that_a_busy_service_shows(launch: Launch, tmp_path: Path) -> None:
    """Names, labels in selectors and in groupings, and the legends that name labels."""
    samples = await busy_scrape(launch, tmp_path)
    labels = {name: {label for point in points for label, _ in point} for name, points in samples.items()}
    labels["up"] = set()  # Prometheus' own, of each target.
    for place, text in EXPRESSIONS:
        expression = parsed(text)
        available = set(OF_THE_SCRAPE)
        for selector in selectors(expression):
            assert selector.name is not None
            assert selector.name in labels, f"{place}: {selector.name}"
            available |= labels[selector.name]
            used = {matcher.name for matcher in selector.matchers.matchers}
            assert used <= labels[selector.name] | OF_THE_SCRAPE, f"{place}: {selector}"
        for grouping in groupings(expression):
            assert set(grouping) <= available, f"{place}: {grouping}"
    for panel in PANELS:
        for target in panel["targets"]:
            shown: set[str] = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            kept: set[str] = set(itertools.chain(OF_THE_SCRAPE, *groupings(parsed(target["expr"]))))
            assert shown <= kept, f"{panel['title']}: {target['legendFormat']}"
    exported = {selector.name for _, text in dashboard_expressions() for selector in selectors(parsed(text))}
    assert {dict(point)["certificate"] for point in samples["noisegate_tls_certificate_not_after_seconds"]} == (
        WORDS["certificate"]
    )
    unseen = {name for name in samples if not name.endswith(("_count", "_sum", "_bucket", "_created"))} - exported
    assert unseen == {"target_info"}
    assert len(METRICS) == len({re.sub(r"_(bucket|count|sum)$", "", name) for name in samples} - {"target_info"})


async def test_what_an_alert_waits_for_the_first_of_is_there_with_nought(launch: Launch) -> None:
    """Prometheus sees no increase in a series that begins with 1."""
    samples = await asyncio.to_thread(scrape, metrics_url(launch(*DEV, *OPTION)))
    awaited = [selector for rule in RULES for selector in increases(parsed(rule["expr"]))]
    assert len(awaited) == sum(rule["expr"].count("increase(") for rule in RULES) > 0
    for selector in awaited:
        asked = frozenset((matcher.name, matcher.value) for matcher in selector.matchers.matchers)
        assert samples[selector.name or ""][asked] == 0, selector


@pytest.mark.parametrize(("place", "text"), EXPRESSIONS)
def test_a_value_that_is_asked_for_exists(place: str, text: str) -> None:
    """A misspelt reason would be an alert that never comes."""
    for selector in selectors(parsed(text)):
        for matcher in selector.matchers.matchers:
            known: set[str] = WORDS.get(matcher.name, set(alternatives(matcher)))
            assert set(alternatives(matcher)) <= known, place


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    """Ids once, nothing on top of something else, everything from the data source that its reader picks."""
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [
        (panel["gridPos"]["x"] + x, panel["gridPos"]["y"] + y)
        for panel in panels
        for x in range(panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["h"])
    ]
    assert len(set(places)) == len(places)
    assert max(x for x, _ in places) < 24
    for panel in PANELS:
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["fieldConfig"]["defaults"]["unit"]
    variables = {each["name"] for each in DASHBOARD["templating"]["list"]}
    assert set(re.findall(r"\$(\w+)", json.dumps(DASHBOARD))) - {"__rate_interval", "__all"} <= variables


def test_an_alert_says_what_it_means_and_how_urgent_it_is() -> None:
    """In words that its reader at night has not to look up; each name once."""
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert re.fullmatch(r"Noisegate[A-Z]\w+", rule["alert"])
        assert rule["labels"]["severity"] in {"page", "warn"}
        assert set(rule["annotations"]) == {"summary", "description"}
        assert re.fullmatch(r"\d+[mh]", rule.get("for", "1m"))
        if "$labels.instance" in rule["annotations"]["summary"]:
            expression = parsed(rule["expr"])
            for grouping in (*groupings(expression), *matchings(expression)):
                assert {"instance", "pod"} <= set(grouping), rule["alert"]
