"""What no schema says: pods are what the restricted profile takes, and names, ports and labels lead to each other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.support.chart import ROOT, Resource, profiles, rendered
from tests.support.image import stages

PROFILES = profiles()
VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
"""Kinds of volumes that the restricted profile allows."""

Spec = dict[str, Any]


def specs(resources: list[Resource]) -> Iterator[tuple[dict[str, str], Spec]]:
    """(labels, specification) of every pod that these resources make."""
    for each in resources:
        if each["kind"] == "Pod":
            yield each["metadata"]["labels"], each["spec"]
        elif "template" in each.get("spec", {}):
            template = each["spec"]["template"]
            yield template["metadata"]["labels"], template["spec"]


def containers(spec: Spec) -> list[Spec]:
    """All of a pod."""
    return [*spec.get("initContainers", []), *spec["containers"]]


def documented() -> list[Resource]:
    """The resources of docs/operate.md."""
    text = (ROOT / "docs" / "operate.md").read_text(encoding="utf-8")
    found = [yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)]
    return [each for each in found if "kind" in each]


def of(resources: list[Resource], kind: str) -> list[Resource]:
    """Those of one kind."""
    return [each for each in resources if each["kind"] == kind]


@pytest.mark.parametrize("source", [*PROFILES, "docs/operate.md"])
def test_every_pod_is_what_the_restricted_profile_takes(source: str) -> None:
    """Pod Security Standards of Kubernetes, restricted; the root file system besides."""
    made = list(specs(documented() if source.startswith("docs") else rendered(PROFILES[source])))
    assert made
    for _, spec in made:
        assert not spec.keys() & {"hostNetwork", "hostPID", "hostIPC"}
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
        for volume in spec.get("volumes", []):
            assert volume.keys() - {"name"} <= VOLUMES
        for container in containers(spec):
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert not security.get("privileged")
            if container["name"] != "game":
                assert security["readOnlyRootFilesystem"] is True


def test_pods_are_of_the_user_of_the_image() -> None:
    """Numbers, because a kubelet cannot tell whether a name is root's."""
    (user,) = (step.value for step in stages()[-1] if step.name == "USER")
    for files in PROFILES.values():
        for _, spec in specs(rendered(files)):
            security = spec["securityContext"]
            assert f"{security['runAsUser']}:{security.get('runAsGroup', security['fsGroup'])}" == user


@pytest.mark.parametrize("profile", PROFILES)
def test_no_variable_is_set_twice_and_every_file_is_mounted(profile: str) -> None:
    """Of two settings Kubernetes takes the last one, in silence."""
    for _, spec in specs(rendered(PROFILES[profile])):
        for container in containers(spec):
            names = [each["name"] for each in container.get("env", [])]
            assert len(names) == len(set(names))
            mounts = [each["mountPath"] for each in container.get("volumeMounts", [])]
            for each in container.get("env", []):
                for path in re.findall(r"(?:^|[= ])(/[\w./-]+)", each.get("value", "")):
                    assert any(path.startswith(f"{mount}/") for mount in mounts), path


@pytest.mark.parametrize("profile", PROFILES)
def test_services_policies_and_budgets_choose_the_pods_of_the_set_and_no_other(profile: str) -> None:
    """The pod of `helm test` is none of them."""
    resources = rendered(PROFILES[profile])
    (labels,) = (labels for labels, spec in specs(of(resources, "StatefulSet")))
    (others,) = (labels for labels, spec in specs(of(resources, "Pod")))
    selectors = [each["spec"]["selector"] for each in of(resources, "Service")]
    selectors += [each["spec"]["selector"]["matchLabels"] for each in of(resources, "StatefulSet")]
    selectors += [each["spec"]["selector"]["matchLabels"] for each in of(resources, "PodDisruptionBudget")]
    selectors += [each["spec"]["podSelector"]["matchLabels"] for each in of(resources, "NetworkPolicy")]
    for selector in selectors:
        assert selector.items() <= labels.items()
        assert not selector.items() <= others.items()
    for monitor in of(resources, "ServiceMonitor"):
        chosen = [
            each
            for each in of(resources, "Service")
            if monitor["spec"]["selector"]["matchLabels"].items() <= each["metadata"]["labels"].items()
        ]
        assert [each["spec"]["clusterIP"] for each in chosen] == ["None"]


@pytest.mark.parametrize("profile", PROFILES)
def test_every_port_that_is_named_somewhere_is_one_of_the_container(profile: str) -> None:
    """By Services, probes and the network policy; and each of its ports is one that an option opens."""
    resources = rendered(PROFILES[profile])
    ((_, spec),) = specs(of(resources, "StatefulSet"))
    (container,) = (each for each in containers(spec) if each["name"] == "noisegate")
    ports = {each["containerPort"] for each in container["ports"]}
    variables = {each["name"]: each.get("value", "") for each in container["env"]}
    opened = {int(value.rpartition(":")[2]) for name, value in variables.items() if name.endswith("_LISTEN")}
    assert ports == opened if not variables["NOISEGATE_LISTEN"].startswith("127.") else ports < opened
    assert {each["targetPort"] for service in of(resources, "Service") for each in service["spec"]["ports"]} <= ports
    assert {container[probe]["grpc"]["port"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")} <= ports
    for policy in of(resources, "NetworkPolicy"):
        assert {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]} <= ports
    exposed = next(step.value for step in stages()[-1] if step.name == "EXPOSE")
    assert ports <= {int(port) for port in exposed.split()}
