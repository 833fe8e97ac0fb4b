"""docs/operate.md keeps what it says: its commands run, in their order, as they stand there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from noisegate_server.bench.claims import CLAIMS
from noisegate_server.config import capacity
from tests.support.chart import CHART, ROOT, rendered
from tests.support.image import entrypoint
from tests.support.small_cluster import SmallCluster
from tests.support.vectors import not_available

DOCUMENT = (ROOT / "docs" / "operate.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
ALERTS = yaml.safe_load((ROOT / "dashboards" / "alerts.yaml").read_text(encoding="utf-8"))
TRIES = 200
"""Of a look at a log that will have something to say when the service has looked at its files."""

pytestmark = pytest.mark.timeout(300)


class Operator:
    """Who types what the document says, in a folder that has the chart."""

    def __init__(self, folder: Path, cluster: SmallCluster) -> None:
        self._folder = folder
        self._forwarded = cluster.forwarded
        path = os.pathsep.join((str(cluster.path), str(Path(sys.executable).parent), os.environ["PATH"]))
        self._environment = os.environ | {"PATH": path, "COLUMNS": "132"}
        (folder / "helm").symlink_to(ROOT / "helm")

    def type(self, command: str) -> str:
        """What it prints. Certificates get this machine's address, because the cluster's names lead there."""
        text = command.replace("subjectAltName=DNS:", "subjectAltName=IP:127.0.0.1,DNS:")
        done = self._run(text)
        for _ in range(TRIES if " | grep " in command else 0):
            if done.returncode == 0:
                break
            done = self._run(text)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        assert [path for path in self._folder.glob("*.key") if path.stat().st_mode & 0o077] == [], command
        return done.stdout

    def save(self, text: str) -> None:
        """A file under the name in its first line."""
        (self._folder / text.partition("\n")[0].removeprefix("# ")).write_text(text, encoding="utf-8")

    def _run(self, text: str) -> subprocess.CompletedProcess[str]:
        for address, place in self._forwarded.copy().items():
            text = text.replace(address + "/", place + "/")
        return subprocess.run(
            ["bash", "-o", "pipefail", "-c", text],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


def test_what_the_document_tells_to_run_runs(tmp_path: Path) -> None:
    """From the first key to a third pod, with an upgrade, a rollback and every rotation on the way."""
    for tool in ("openssl", "curl"):
        if shutil.which(tool) is None:
            not_available(f"{tool} is not installed")
    desk = tmp_path / "desk"
    desk.mkdir()
    printed: dict[str, str] = {}
    with SmallCluster(tmp_path, entrypoint()) as cluster:
        operator = Operator(desk, cluster)
        for block in BLOCK.finditer(DOCUMENT):
            if block["language"] == "yaml":
                operator.save(block["text"])
            elif block["language"] == "console":
                for line in block["text"].splitlines():
                    assert line.startswith("$ "), line
                    printed[line.removeprefix("$ ")] = operator.type(line.removeprefix("$ "))
        assert printed["kubectl exec games-noisegate-0 -- noisegate health --target 127.0.0.1:7445"] == "serving\n"
        assert "player" in printed["helm test games"]
        assert "ended 0 sessions" in printed["kubectl logs job/revoke"]
        for command in printed:
            if "revoke" in command:
                operator.type(command)
        assert sorted(cluster.pods) == [f"games-noisegate-{number}" for number in range(3)]
        for pod in cluster.pods.values():
            assert pod.terminate() == 0
            assert "defect" not in pod.log


def test_every_alert_has_its_page_for_the_night() -> None:
    """Each with its symptom and what players notice; one that pages has a first command too."""
    rules = [rule for group in ALERTS["groups"] for rule in group["rules"]]
    pages = dict(re.findall(r"^### (Noisegate\w+)\n(.*?)(?=^##|\Z)", DOCUMENT, re.MULTILINE | re.DOTALL))
    assert sorted(pages) == sorted(rule["alert"] for rule in rules)
    for rule in rules:
        page = pages[rule["alert"]]
        assert "*Symptom:*" in page, rule["alert"]
        assert "*Players:*" in page, rule["alert"]
        assert rule["labels"]["severity"] != "page" or "```console\n$ " in page, rule["alert"]


def test_the_job_of_the_document_has_the_image_and_the_number_of_its_pods() -> None:
    """The image that was pushed, in the chart's own version."""
    pushed = re.findall(r"^docker push (\S+)$", DOCUMENT, re.MULTILINE)
    built = re.findall(r"^docker build --tag (\S+) ", DOCUMENT, re.MULTILINE)
    values, job = (yaml.safe_load(block["text"]) for block in BLOCK.finditer(DOCUMENT) if block["language"] == "yaml")
    (container,) = job["spec"]["template"]["spec"]["containers"]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    tags = [chart["appVersion"], *re.findall(r"--set image\.tag=(\S+)", DOCUMENT)]
    run = [f"{values['image']['repository']}:{tag}" for tag in tags]
    assert len(pushed) == 1
    assert {*built, container["image"], *run} == {*pushed}
    assert f"--expect={values['replicas']}" in container["args"]


def test_helm_waits_as_long_as_its_pods_may_take() -> None:
    """Three minutes for each of the most that there are; a stop takes half of that at most."""
    (workload,) = (each for each in rendered() if each["kind"] == "StatefulSet")
    assert workload["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] <= 90
    most = max(int(number) for number in re.findall(r"replicas[:=] ?(\d+)", DOCUMENT))
    waits = re.findall(r"^\$ helm (?:install|upgrade|rollback) .*--wait(?: --timeout=(\d+)m)?$", DOCUMENT, re.MULTILINE)
    assert len(waits) == 4
    assert all(int(minutes or 5) >= 3 * most for minutes in waits)


def test_the_dashboard_s_rows_are_told_in_their_order() -> None:
    """With the question that each answers."""
    board = json.loads((ROOT / "dashboards" / "noisegate.json").read_text(encoding="utf-8"))
    titles = [panel["title"] for panel in board["panels"] if panel["type"] == "row"]
    told = DOCUMENT.partition("## The dashboard")[2].partition("## At night")[0]
    assert re.findall(r"^\| ([A-Z][^|]+) \|", told, re.MULTILINE) == titles


def test_the_rows_that_a_plan_is_made_from_are_measured() -> None:
    """Each that the document names is one of `noisegate bench`."""
    (asked,) = re.findall(r"^noisegate bench (.+)$", DOCUMENT, re.MULTILINE)
    rows = re.findall(r"^\| `([a-z-]+)` \|", DOCUMENT, re.MULTILINE)
    assert asked.split() == rows
    assert set(rows) <= set(CLAIMS)


def test_the_figures_of_a_plan_are_those_that_limits_are_held_against() -> None:
    """By the chart and the doctor."""
    mib, kib = 1024 * 1024, 1024
    plan = DOCUMENT.partition("## Capacity")[2].partition("## The dashboard")[0]
    assert f"| the process | {capacity.PROCESS // mib} MiB |" in plan
    assert f"| {capacity.KEPT // mib} MiB at most |" in plan
    assert f"| a session in use | {capacity.SESSION / kib} KiB |" in plan
    assert f"{capacity.SUSPENDED // kib // 2} KiB for a suspended session, and as much again" in plan
    assert f"a second for each {capacity.SUSPENDED_A_SECOND:,} sessions" in plan
    assert f"{capacity.memory_bytes(200_000) / mib:,.0f} MiB for 200,000" in plan


def test_every_link_of_the_document_leads_to_a_file() -> None:
    """From its own folder."""
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", DOCUMENT)
    assert links
    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []
