"""The chart, for a matrix of values: it lints, renders, and every resource is what Kubernetes' schemas allow."""

from __future__ import annotations

import json
import re
import tarfile
from pathlib import Path

import pytest
import yaml

from tests.support.chart import CHART, CHECKED, ROOT, profiles, render, rendered, run_tool, schemas

PROFILES = profiles()
SCHEMAS_OF_OTHERS = Path(__file__).parent / "schemas"
LIKE_NUMBERS = {
    "nameOverride": "12", "fullnameOverride": "1e3", "keys.secret": "12", "keys.ticket": "1e3", "tls.secret": "0x1",
    "tls.clientCa.secret": "12", "persistence.storageClass": "12", "priorityClassName": "12",
    "serviceAccount.name": "12", "runtimeClassName": "12", "test.callerSecret": "12", "image.tag": "1e3",
    "nodeSelector": {"pool": "12"}, "labels": {"team": "12"}, "admin.clientCa.secret": "1e3", "ipv6": True,
}  # fmt: skip
"""Names that must stay texts."""


@pytest.mark.parametrize("profile", PROFILES)
def test_the_chart_lints_strictly(profile: str) -> None:
    """With each set of values."""
    linted = run_tool("helm", "lint", "--strict", str(CHART), *(f"--values={path}" for path in PROFILES[profile]))
    assert linted.returncode == 0, linted.stdout


@pytest.mark.parametrize("release", [0, 1], ids=["oldest", "newest"])
def test_every_resource_has_only_fields_of_its_kind(release: int) -> None:
    """In the oldest release that the chart is for and in the newest; of all sets of values together, which is cheap."""
    texts = [render(files).stdout for files in PROFILES.values()]
    # YAML would read 12 and 1e3 as numbers, and an API server refuse them.
    texts.append(render(values=LIKE_NUMBERS).stdout)
    texts.append(render(PROFILES["cert-manager"], {"persistence.existingClaim": "12", "tls.secret": "12"}).stdout)
    assert all(texts)
    assert len(schemas()) == 2
    checked = run_tool(
        "kubeconform", "-strict", "-summary",
        "-schema-location", f"{CHECKED}/schemas/{schemas()[release]}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json",
        "-schema-location", f"{SCHEMAS_OF_OTHERS}/{{{{.ResourceKind}}}}.json",
        text="\n".join(texts),
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout
    count = sum(text.count("\nkind: ") for text in texts)
    assert f"Valid: {count}, Invalid: 0, Errors: 0, Skipped: 0" in checked.stdout, checked.stdout


def test_a_field_that_a_kind_has_not_is_found() -> None:
    """The test above can fail."""
    text = render().stdout.replace("podManagementPolicy:", "podManagmentPolicy:")
    location = f"{CHECKED}/schemas/{schemas()[0]}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
    checked = run_tool("kubeconform", "-strict", "-schema-location", location, text=text)
    assert checked.returncode == 1
    assert "podManagmentPolicy" in checked.stdout


def test_the_schemas_of_other_projects_are_all_needed() -> None:
    """Each is of a kind that some set of values renders."""
    kinds = {resource["kind"].lower() for files in PROFILES.values() for resource in rendered(files)}
    assert {path.stem for path in SCHEMAS_OF_OTHERS.glob("*.json")} <= kinds


def test_the_chart_is_for_the_oldest_release_that_is_checked() -> None:
    """And refuses one before it."""
    done = run_tool("helm", "template", "games", str(CHART), "--kube-version", schemas()[0])
    assert done.returncode == 0, done.stderr
    refused = run_tool("helm", "template", "games", str(CHART), "--kube-version", "1.29.0")
    assert "requires kubeVersion" in refused.stderr


def test_every_template_has_one_resource_and_a_suite_that_passes() -> None:
    """helm-unittest, with a file for each template."""
    folder = CHART / "templates"
    templates = {path.stem for path in folder.rglob("*") if path.suffix in (".yaml", ".txt")}
    suites = {path.name.removesuffix("_test.yaml") for path in (CHART / "tests").glob("*_test.yaml")}
    assert suites == {name.lower() for name in templates}
    for path in folder.rglob("*.yaml"):
        assert len(re.findall(r"^kind: ", path.read_text(encoding="utf-8"), re.MULTILINE)) == 1, path.name
    done = run_tool("helm-unittest", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout
    assert re.search(rf"Test Suites: {len(suites)} passed", done.stdout), done.stdout


def test_alerts_and_dashboard_are_those_of_the_repository_to_the_letter() -> None:
    """Braces in them are Prometheus' and Grafana's, not Helm's."""
    resources = {each["kind"]: each for each in rendered(PROFILES["everything"]) if each["kind"] != "ConfigMap"}
    alerts = yaml.safe_load((ROOT / "dashboards" / "alerts.yaml").read_text(encoding="utf-8"))
    assert resources["PrometheusRule"]["spec"] == alerts
    (text,) = (
        each["data"]["noisegate.json"]
        for each in rendered(PROFILES["everything"])
        if each["kind"] == "ConfigMap" and "noisegate.json" in each["data"]
    )
    assert json.loads(text) == json.loads((ROOT / "dashboards" / "noisegate.json").read_text(encoding="utf-8"))


def test_the_package_has_what_is_rendered_and_nothing_else(tmp_path: Path) -> None:
    """Alerts and dashboard, which are links in the repository, are files in there; tests stay at home."""
    packed = run_tool("helm", "package", str(CHART), "--destination", str(tmp_path))
    assert packed.returncode == 0, packed.stderr
    (package,) = tmp_path.glob("noisegate-*.tgz")
    with tarfile.open(package) as archive:
        names = [Path(name).relative_to("noisegate").as_posix() for name in archive.getnames()]
    assert {
        "values.schema.json",
        "values-sidecar.yaml",
        "dashboards/alerts.yaml",
        "capacity.yaml",
        "defaults.yaml",
    } <= set(names)
    assert [name for name in names if name.startswith(("tests/", "ci/"))] == []
    values = f"--values={PROFILES['everything'][0]}"
    texts = [run_tool("helm", "template", "games", str(path), values).stdout for path in (package, CHART)]
    assert texts[0] == texts[1]


def test_names_fit_where_they_must_however_long_the_release() -> None:
    """Kubernetes allows 63 characters in the name of a Service."""
    names = [resource["metadata"]["name"] for resource in rendered(values={"fullnameOverride": "n" * 48})] + [
        resource["metadata"]["name"] for resource in rendered(values={"nameOverride": "n" * 48})
    ]
    assert all(len(name) <= 63 for name in names)
