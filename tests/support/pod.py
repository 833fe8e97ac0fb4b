"""A rendered pod as a kubelet would start it, below a folder: its volumes, its environment, its probes, its end.

What differs from a node: paths begin in that folder, ports are the system's choice, and the process is of the user
who runs the tests.
"""

from __future__ import annotations

import http.client
import itertools
import re
import resource
import selectors
import signal
import subprocess
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from noisegate import health
from tests.support.chart import Resource
from tests.support.logs import told

__all__ = ["Cluster", "Container", "Pod"]

_START_SECONDS: Final = 60
_WHAT: Final = {"grpc": "callers", "admin": "operators", "health": "probes", "metrics": "metrics"}
"""What listens there, in the log's words, by the container's names of ports."""


@dataclass(slots=True)
class Cluster:
    """What there is besides the chart: Secrets by name and entry; and volumes, which outlive their pods."""

    folder: Path
    secrets: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def apply(self, manifest: str) -> None:
        """A Secret as `kubectl apply` takes it."""
        secret = yaml.safe_load(manifest)
        entries = {key: value.encode() for key, value in secret["stringData"].items()}
        self.secrets[secret["metadata"]["name"]] = entries


class Container:
    """One container of a pod: its volumes and its environment, below `folder`."""

    def __init__(
        self,
        cluster: Cluster,
        spec: Mapping[str, Any],
        container: Mapping[str, Any],
        folder: Path,
        *,
        claims: Collection[str] = (),
        maps: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self.spec: Final = spec
        self.container: Final = container
        self.folder: Final = folder
        self._cluster = cluster
        self._claims: Final = claims
        self._maps: Final = maps or {}
        self._updates = itertools.count()
        self.mount()

    # --- volumes ------------------------------------------------------------------------------------------------------

    def mount(self) -> None:
        """Lay out every volume, or bring Secrets and ConfigMaps up to date: with one rename, as kubelets do."""
        for mount in self.container.get("volumeMounts", []):
            target = self.path(mount["mountPath"])
            target.mkdir(parents=True, exist_ok=True)
            if mount["name"] in self._claims:
                continue
            (volume,) = (each for each in self.spec["volumes"] if each["name"] == mount["name"])
            if "persistentVolumeClaim" not in volume:
                self._publish(target, self._content(volume))

    def _content(self, volume: Mapping[str, Any]) -> dict[str, bytes]:
        if "configMap" in volume:
            return {key: text.encode() for key, text in self._maps[volume["configMap"]["name"]].items()}
        secret = self._cluster.secrets[volume["secret"]["secretName"]]
        items = volume["secret"].get("items", [{"key": key, "path": key} for key in secret])
        return {each["path"]: secret[each["key"]] for each in items}

    def _publish(self, target: Path, files: Mapping[str, bytes]) -> None:
        update = f"..update{next(self._updates)}"
        for name, content in files.items():
            path = target / update / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o400)
            path.chmod(0o600)
            path.write_bytes(content)
            path.chmod(0o400)
        fresh = target / "..fresh"
        fresh.symlink_to(update)
        fresh.rename(target / "..data")
        for name in {Path(name).parts[0] for name in files}:
            if not (target / name).is_symlink():
                (target / name).symlink_to(f"..data/{name}")

    # --- environment --------------------------------------------------------------------------------------------------

    def path(self, inside: str) -> Path:
        """Where a path of the container is."""
        return self.folder / "root" / inside.lstrip("/")

    def inside(self, text: str) -> str:
        """A text with the container's paths in it, as it is out here."""
        mounts = "|".join(re.escape(mount["mountPath"]) for mount in self.container.get("volumeMounts", []))
        return re.sub(rf"(?<![\w/])(?={mounts})", str(self.folder / "root"), text) if mounts else text

    def environment(self) -> dict[str, str]:
        """The container's variables, in their order: later ones may name earlier ones."""
        told: dict[str, str] = {}
        for each in self.container.get("env", []):
            if "valueFrom" in each:
                assert each["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}
                told[each["name"]] = self.folder.name
            else:
                told[each["name"]] = re.sub(r"\$\((\w+)\)", lambda found: told[found[1]], each["value"])
        for name, value in told.items():
            if name.endswith("_LISTEN"):
                host = value.rpartition(":")[0]
                told[name] = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host) + ":0"
            elif name.startswith("NOISEGATE_"):
                told[name] = self.inside(value)
        return told | {"PATH": str(Path(sys.executable).parent), "HOME": "/nonexistent", "TMPDIR": "/nonexistent"}


class Pod(Container):
    """One pod of a StatefulSet, with the container `noisegate` running. Stop it, or leave its block."""

    def __init__(self, cluster: Cluster, resources: list[Resource], entrypoint: list[str], ordinal: int = 0) -> None:
        (workload,) = (each for each in resources if each["kind"] == "StatefulSet")
        spec = workload["spec"]["template"]["spec"]
        containers = [*spec.get("initContainers", []), *spec["containers"]]
        (container,) = (each for each in containers if each["name"] == "noisegate")
        super().__init__(
            cluster,
            spec,
            container,
            cluster.folder / f"{workload['metadata']['name']}-{ordinal}",
            claims=[each["metadata"]["name"] for each in workload["spec"].get("volumeClaimTemplates", [])],
            maps={each["metadata"]["name"]: each["data"] for each in resources if each["kind"] == "ConfigMap"},
        )
        self._log = self.folder / "log"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*entrypoint, *container["args"]],
                cwd="/",
                env=self.environment(),
                stdout=subprocess.PIPE,
                stderr=log,
            )
        try:
            self._said = self._first_line()
        except BaseException:
            self.kill()
            raise

    def __enter__(self) -> Pod:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    # --- life ---------------------------------------------------------------------------------------------------------

    @property
    def log(self) -> str:
        """What it has written to standard error, the starts before this one included."""
        return self._log.read_text(encoding="utf-8")

    def address(self, port: str) -> str:
        """HOST:PORT of one of the container's ports."""
        found = told(self.log, "listening", what=_WHAT[port])
        assert found, self.log
        address: str = found[-1]["address"]
        return address

    async def probe(self, kind: str) -> bool:
        """What a kubelet gets from `startupProbe`, `readinessProbe` or `livenessProbe`: no TLS, no certificate."""
        asked = self.container[kind]["grpc"]
        (name,) = (each["name"] for each in self.container["ports"] if each["containerPort"] == asked["port"])
        return await health.is_serving(self.address(name), service=asked.get("service", ""))

    def scrape(self) -> str:
        """What Prometheus gets."""
        connection = http.client.HTTPConnection(self.address("metrics"), timeout=10)
        try:
            connection.request("GET", "/metrics")
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def resident_bytes(self) -> int:
        """Memory that the process has now."""
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text(encoding="ascii").split()[1])
        return pages * resource.getpagesize()

    def terminate(self) -> int:
        """SIGTERM, and the exit code if it comes within the pod's grace; preStop's sleep is the kubelet's own."""
        self._process.send_signal(signal.SIGTERM)
        hook = self.container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        code = self._process.wait(self.spec["terminationGracePeriodSeconds"] - hook)
        self.kill()
        return code

    def kill(self) -> None:
        """As SIGKILL ends it. May be called again."""
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _first_line(self) -> str:
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            assert selector.select(_START_SECONDS), self.log
        line = self._process.stdout.readline().decode()
        assert line, self.log
        return line
