"""The chart's values: none without an effect, none misspelt, none at odds with another, each refusal by name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import pytest
import yaml

from noisegate_server.config import Config
from tests.support.chart import CHART, ROOT, profiles, render, rendered
from tools import make_chart

VALUES = {name: default for name, default, _ in make_chart.values()}
SPREAD = {"topologyKey": "rack", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {}}
CERTIFICATE = {"tls.certManager.enabled": True, "tls.certManager.issuer.name": "games"}
OPERATORS = {"admin.clientCa.secret": "operators"}
MONITORED = {"metrics.serviceMonitor.enabled": True}
COLLECTOR = {"otlp.endpoint": "http://collector:4317"}
GAME = [{"name": "game", "image": "game"}]
SIDECAR = {"loopback": True, "extraContainers": GAME}
CLAIM = {"replicas": 1, "persistence.existingClaim": "mine"}

OTHERWISE: Mapping[str, tuple[object, Mapping[str, object]]] = {
    "replicas": (3, {}),
    "image.repository": ("images.example/noisegate", {}),
    "image.tag": ("7", {}),
    "image.digest": ("sha256:" + "0" * 64, {}),
    "image.pullPolicy": ("Always", {}),
    "image.pullSecrets": ([{"name": "images"}], {}),
    "nameOverride": ("ng", {}),
    "fullnameOverride": ("ng", {}),
    "labels": ({"team": "arena"}, {}),
    "clusterDomain": ("arena.example", {}),
    "ipv6": (True, {}),
    "loopback": (True, {"extraContainers": GAME}),
    "keys.secret": ("mine", {}),
    "keys.identity": ("mine", {}),
    "keys.ticket": ("mine", {}),
    "keys.blob": ("mine", {}),
    "keys.tenants": ({"chess": "chess.key"}, {}),
    "tls.secret": ("mine", {}),
    "tls.clientCa.secret": ("mine", {}),
    "tls.clientCa.key": ("mine", {}),
    "tls.certManager.enabled": (True, {"tls.certManager.issuer.name": "games"}),
    "tls.certManager.issuer.name": ("mine", CERTIFICATE),
    "tls.certManager.issuer.kind": ("ClusterIssuer", CERTIFICATE),
    "tls.certManager.issuer.group": ("mine.example", CERTIFICATE),
    "tls.certManager.duration": ("24h", CERTIFICATE),
    "tls.certManager.renewBefore": ("8h", CERTIFICATE),
    "policy": ("[[caller]]", {}),
    "admin.clientCa.secret": ("mine", {}),
    "admin.clientCa.key": ("mine", OPERATORS),
    "config": ({"max_sessions": 7}, {}),
    "shutdown.preStop": (9, {}),
    "shutdown.drain": (9, {}),
    "shutdown.grace": (99, {}),
    "shutdown.suspend": (99, {}),
    "shutdown.game": (99, SIDECAR),
    "persistence.enabled": (False, {}),
    "persistence.size": ("7Gi", {}),
    "persistence.storageClass": ("fast", {}),
    "persistence.accessMode": ("ReadWriteOncePod", {}),
    "persistence.existingClaim": ("mine", {"replicas": 1}),
    "persistence.whenDeleted": ("Delete", {}),
    "persistence.whenScaled": ("Delete", {}),
    "service.port": (443, {}),
    "service.annotations": ({"a": "b"}, {}),
    "serviceAccount.create": (False, {}),
    "serviceAccount.name": ("mine", {}),
    "serviceAccount.annotations": ({"a": "b"}, {}),
    "networkPolicy.enabled": (False, {}),
    "networkPolicy.callers": ([], {}),
    "networkPolicy.operators": ([{"podSelector": {}}], OPERATORS),
    "networkPolicy.scrapers": ([{"podSelector": {}}], {}),
    "networkPolicy.egress": ([{}], {}),
    "podDisruptionBudget.enabled": (False, {}),
    "podDisruptionBudget.maxUnavailable": ("50%", {}),
    "metrics.enabled": (False, {}),
    "metrics.serviceMonitor.enabled": (True, {}),
    "metrics.serviceMonitor.interval": ("7s", MONITORED),
    "metrics.serviceMonitor.labels": ({"a": "b"}, MONITORED),
    "metrics.rules.enabled": (True, {}),
    "metrics.rules.labels": ({"a": "b"}, {"metrics.rules.enabled": True}),
    "metrics.dashboard.enabled": (True, {}),
    "metrics.dashboard.labels": ({"a": "b"}, {"metrics.dashboard.enabled": True}),
    "otlp.endpoint": ("http://mine:4317", {}),
    "otlp.protocol": ("http/protobuf", COLLECTOR),
    "otlp.traces": (False, {**COLLECTOR, "otlp.metrics": True}),
    "otlp.ratio": (0.5, COLLECTOR),
    "otlp.metrics": (True, COLLECTOR),
    "resources": ({"limits": {"memory": "7Gi"}}, {}),
    "topologySpreadConstraints": ([SPREAD], {}),
    "nodeSelector": ({"a": "b"}, {}),
    "tolerations": ([{"key": "a", "operator": "Exists"}], {}),
    "affinity": ({"podAntiAffinity": {}}, {}),
    "priorityClassName": ("high", {}),
    "runtimeClassName": ("gvisor", {}),
    "podLabels": ({"a": "b"}, {}),
    "podAnnotations": ({"a": "b"}, {}),
    "extraEnv": ([{"name": "A", "value": "b"}], {}),
    "extraContainers": (GAME, {}),
    "extraVolumes": ([{"name": "a", "emptyDir": {}}], {}),
    "test.callerSecret": ("mine", {}),
}
"""Of each value another one, and what else must be set for it to matter."""


def leaves(found: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Dotted names of all values; a mapping that is empty by default is a value itself."""
    for key, value in found.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and value and name not in VALUES:
            yield from leaves(value, f"{name}.")
        else:
            yield name


@cache
def _text(of: str) -> str:
    return render(values=json.loads(of)).stdout


@pytest.mark.parametrize("name", VALUES)
def test_no_value_is_without_an_effect(name: str) -> None:
    """Another one renders otherwise, and is what the schema allows."""
    other, beside = OTHERWISE[name]
    assert other != VALUES[name]
    done = render(values={**beside, name: other})
    assert done.returncode == 0, done.stderr
    assert done.stdout != _text(json.dumps({key: value for key, value in beside.items() if key != name}))


BESIDE: Mapping[str, tuple[Mapping[str, object], Sequence[str]]] = {
    "a digest": ({"image.digest": OTHERWISE["image.digest"][0]}, ["image"]),
    "a sidecar": (SIDECAR, [""]),
    "a claim": (CLAIM, ["persistence", "shutdown"]),
    "no volume": ({"persistence.enabled": False}, ["persistence", "shutdown"]),
    "no account": ({"serviceAccount.create": False}, ["serviceAccount"]),
    "no network policy": ({"networkPolicy.enabled": False}, ["networkPolicy"]),
    "no budget": ({"podDisruptionBudget.enabled": False}, ["podDisruptionBudget"]),
    "no metrics": ({"metrics.enabled": False}, ["metrics", "networkPolicy"]),
    "metrics for nobody": ({}, ["metrics"]),
    "no operators": ({}, ["admin", "networkPolicy"]),
    "no receiver": ({}, ["otlp"]),
    "no traces": ({**COLLECTOR, "otlp.metrics": True, "otlp.traces": False}, ["otlp"]),
    "no cert-manager": ({}, ["tls"]),
}
"""What else may be so, and in which sections another value could then be one that nobody sees."""


@pytest.mark.parametrize("beside", BESIDE)
def test_a_value_that_others_leave_without_an_effect_is_refused_by_name(beside: str) -> None:
    """It renders otherwise, or not at all."""
    given, sections = BESIDE[beside]
    before = render(values=given)
    assert before.returncode == 0, before.stderr
    for name in VALUES:
        if name not in given and name.startswith(tuple(sections)):
            other = OTHERWISE[name][0]
            done = render(values={**given, name: other})
            if done.returncode:
                section = name.rpartition(".")[0] or name
                assert re.search(rf"\b{section}[.\w]*: ", done.stderr), (name, done.stderr)
            else:
                assert done.stdout != before.stdout, name


def test_every_value_has_its_sentence_and_its_turn_above() -> None:
    """None is missing in the README, and none in the table."""
    text = (CHART / "values.yaml").read_text(encoding="utf-8")
    assert list(leaves(yaml.safe_load(text))) == list(VALUES)
    assert set(OTHERWISE) == set(VALUES)


def test_every_option_of_the_service_is_a_value_or_follows_from_one() -> None:
    """One that is new comes into `config` by itself; the rest are the chart's own or for development."""
    pods = [
        container
        for files in profiles().values()
        for resource in rendered(files)
        if resource["kind"] == "StatefulSet"
        for container in resource["spec"]["template"]["spec"]["containers"]
    ]
    variables = {each["name"] for container in pods for each in container.get("env", [])}
    options = set(Config.model_fields)
    assert options >= make_chart.SET_BY_THE_CHART | make_chart.FOR_DEVELOPMENT
    assert {f"NOISEGATE_{name.upper()}" for name in make_chart.SET_BY_THE_CHART} <= variables
    assert {name for name, _ in make_chart.options()} == (
        options - make_chart.SET_BY_THE_CHART - make_chart.FOR_DEVELOPMENT
    )


def test_schema_readme_and_figures_are_what_options_and_values_say() -> None:
    """`python -m tools.make_chart --check`."""
    assert make_chart.CAPACITY.read_text(encoding="utf-8") == make_chart.capacity()
    assert make_chart.SCHEMA.read_text(encoding="utf-8") == make_chart.schema()
    assert make_chart.README.read_text(encoding="utf-8") == make_chart.readme()


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"replica": 3}, "replica"),
        ({"image.tga": "7"}, "tga"),
        ({"keys.secrets": "x"}, "secrets"),
        ({"tls.certManager.issuer.nmae": "x"}, "nmae"),
        ({"config.max_session": 7}, "max_session"),
        ({"config.listen": "0.0.0.0:1"}, "listen"),
        ({"config.dev": True}, "dev"),
        ({"replicas": 0}, "replicas"),
        ({"replicas": "2"}, "replicas"),
        ({"keys.secret": ""}, "secret"),
        ({"tls.clientCa.secret": ""}, "secret"),
        ({"keys.tenants": {"a b": "c"}}, "'a b'"),
        ({"image.digest": "latest"}, "digest"),
        ({"config.max_sessions": 0}, "max_sessions"),
        ({"config.max_sessions": 10_000_001}, "max_sessions"),
        ({"config.patterns": ["XXfallback"]}, "patterns"),
        ({"config.suites": []}, "suites"),
        ({"config.log_level": "debug"}, "log_level"),
        ({"shutdown.drain": 61}, "drain"),
        ({"persistence.accessMode": "ReadWriteMany"}, "accessMode"),
        ({"persistence.size": "2"}, "size"),
        ({"podDisruptionBudget.maxUnavailable": 0}, "maxUnavailable"),
        ({"otlp.endpoint": "collector"}, "endpoint"),
        ({"otlp.ratio": 2}, "ratio"),
        ({"persistence.existingClaim": "x"}, "persistence.existingClaim: one process has the state file"),
        (
            {"persistence.existingClaim": "x", "persistence.enabled": False, "replicas": 1},
            "existingClaim: has no effect",
        ),
        ({"extraEnv": [{"name": "NOISEGATE_GRACE", "value": "7"}]}, "extraEnv: NOISEGATE_GRACE is set already"),
        ({"labels": {"app.kubernetes.io/version": "7"}}, "labels: app.kubernetes.io/version is set already"),
        ({"podLabels": {"app.kubernetes.io/name": "x"}}, "podLabels: app.kubernetes.io/name selects the pods"),
        ({"config.max_sessions": 300_000}, "resources.limits.memory: 1280Mi is too little"),
        ({"persistence.size": "300Mi"}, "persistence.size: 300Mi is too little"),
        ({"shutdown.suspend": 30}, "shutdown.suspend: 30 s are too short"),
        ({"service.type": "LoadBalancer"}, "type"),
        ({"tls.certManager.enabled": True}, "tls.certManager.issuer.name: name the issuer"),
        ({"admin.clientCa.secret": "noisegate-tls"}, "admin.clientCa: must not be tls.clientCa"),
        ({"metrics.enabled": False, **MONITORED}, "metrics.serviceMonitor.enabled: has no effect"),
        ({"metrics.enabled": False, "metrics.rules.enabled": True}, "metrics.rules.enabled: has no effect"),
        ({"metrics.enabled": False, "metrics.dashboard.enabled": True}, "metrics.dashboard.enabled: has no effect"),
        ({**COLLECTOR, "otlp.traces": False}, "otlp.endpoint: has no effect"),
        ({"loopback": True}, "extraContainers: with loopback nobody but these"),
        ({"loopback": True, "extraContainers": GAME, **CERTIFICATE}, "tls.certManager.enabled: has no effect"),
        (
            {"loopback": True, "extraContainers": GAME, **OPERATORS},
            "admin.clientCa.secret: has no effect with loopback",
        ),
        (
            {"loopback": True, "extraContainers": GAME, "test.callerSecret": "x"},
            "test.callerSecret: has no effect with loopback",
        ),
    ],
)
def test_a_value_that_cannot_be_meant_is_refused_by_name(values: dict[str, object], named: str) -> None:
    """Before anything reaches a cluster."""
    done = render(values=values)
    assert done.returncode == 1
    assert named in done.stderr


@pytest.mark.parametrize("life", [24 * 365, 24 * 90, 24])
def test_a_certificate_that_is_renewed_when_the_chart_says_raises_no_alert(life: int) -> None:
    """By default, and with lives of a year or a day whose last third is for the renewal."""
    assert VALUES["tls.certManager.duration"] == f"{24 * 90}h"
    assert VALUES["tls.certManager.renewBefore"] == f"{24 * 90 // 3}h"
    groups = yaml.safe_load((ROOT / "dashboards" / "alerts.yaml").read_text(encoding="utf-8"))["groups"]
    rules = {rule["alert"]: rule["expr"] for group in groups for rule in group["rules"]}
    for alert in ("NoisegateCertificateEnds", "NoisegateCertificateEndsSoon"):
        (days,) = re.findall(r"< (\d+) \* 24 \* 3600$", rules[alert], re.MULTILINE)
        (share,) = re.findall(r"< (0\.\d+) \* \(", rules[alert])
        assert life / 3 > min(int(days) * 24, float(share) * life), alert


@pytest.mark.parametrize("end", ["minimum", "maximum"])
def test_the_ends_of_an_option_s_range_are_allowed(end: str) -> None:
    """As the service's own are, from which the schema is made; and they arrive as numbers that it reads."""
    values = {name: option[end] for name, option in make_chart.options() if end in option}
    assert len(values) > 10
    room = {"resources.limits.memory": "1Ti", "persistence.size": "1Ti", "shutdown.suspend": 3_600}
    (pods,) = (each for each in rendered(values={"config": values, **room}) if each["kind"] == "StatefulSet")
    variables = pods["spec"]["template"]["spec"]["containers"][0]["env"]
    told = {each["name"]: each.get("value", "") for each in variables}
    assert {name: float(told[f"NOISEGATE_{name.upper()}"]) for name in values} == values
    assert not any("e" in told[f"NOISEGATE_{name.upper()}"] for name in values)
