"""As much of a cluster as docs/operate.md needs: its `kubectl` and `helm` are programs on the path, its pods processes.

Helm itself renders, noisegate itself runs in every container; what stands in for Kubernetes is what lies between:
Secrets in memory, volumes as folders, a rolling restart, names that lead to pods.
"""

from __future__ import annotations

import base64
import itertools
import json
import re
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Client, Listener
from pathlib import Path
from typing import Any, Final

import yaml

from tests.support.chart import Resource, run_tool
from tests.support.pod import Cluster, Container, Pod

__all__ = ["SmallCluster"]

_PROGRAM: Final = """#!{python}
import os, sys
from multiprocessing.connection import Client
text = sys.stdin.read() if "-" in sys.argv else ""
with Client({address!r}) as cluster:
    cluster.send(([{name!r}, *sys.argv[1:]], text, os.getcwd()))
    code, out, err = cluster.recv()
sys.stdout.write(out)
sys.stderr.write(err)
sys.exit(code)
"""

_NAME: Final = re.compile(r"([\w-]+?)(-pods)?\.default\.svc\.cluster\.local:(\d+)")
_SECONDS: Final = 60


class Refused(Exception):
    """What cannot be done: the program says it and ends with 1."""


@dataclass(frozen=True, slots=True)
class Done:
    """A container that has run to its end."""

    code: int
    log: str


class SmallCluster:
    """Enter it, put `path` on the path, leave it. `entrypoint` is the image's."""

    def __init__(self, folder: Path, entrypoint: list[str]) -> None:
        self.pods: Final[dict[str, Pod]] = {}
        self.forwarded: Final[dict[str, str]] = {}
        """Addresses that `kubectl port-forward` was asked for, and where they are: ports are the system's choice."""
        self._jobs: Final[dict[str, Done]] = {}
        self._folder: Final = folder
        self._entrypoint: Final = entrypoint
        self._cluster: Final = Cluster(folder)
        self._revisions: Final[list[list[Resource]]] = []
        self.path: Final = folder / "bin"
        self.path.mkdir()
        address = str(folder / "api")
        self._listener: Final = Listener(address)
        for name in ("kubectl", "helm"):
            program = self.path / name
            program.write_text(_PROGRAM.format(python=sys.executable, address=address, name=name), encoding="utf-8")
            program.chmod(0o755)
        self._thread: Final = threading.Thread(target=self._serve)

    def __enter__(self) -> SmallCluster:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with Client(self._listener.address) as last:
            last.send(None)
        self._thread.join()
        self._listener.close()
        for pod in self.pods.values():
            pod.kill()

    def _serve(self) -> None:
        while True:
            with self._listener.accept() as caller:
                asked = caller.recv()
                if asked is None:
                    return
                (program, *words), text, folder = asked
                run = self._kubectl if program == "kubectl" else self._helm
                caller.send(_answer(run, words, text, Path(folder)))

    # --- helm ---------------------------------------------------------------------------------------------------------

    def _helm(self, words: list[str], _: str, folder: Path) -> str:
        match [word for word in words if not word.startswith(("--wait", "--timeout="))]:
            case ["install" | "upgrade", release, chart, *options]:
                done = run_tool("helm", "template", release, chart, "--namespace=default", *options, folder=folder)
                if done.returncode:
                    raise Refused(done.stderr)
                self._revisions.append([each for each in yaml.safe_load_all(done.stdout) if each])
            case ["rollback", _]:
                self._revisions.append(self._revisions[-2])
            case ["test", _]:
                return self._test()
            case _:
                raise Refused(f"helm {words}: not known here")
        self._roll(self._revisions[-1])
        return ""

    def _test(self) -> str:
        (pod,) = (each for each in self._revisions[-1] if _hook(each) == "test")
        return self._to_its_end("test", pod["spec"]).log

    def _roll(self, resources: list[Resource], *, anew: bool = False) -> None:
        """One pod after the other, the highest number first, as a StatefulSet is brought up to date."""
        kept = [each for each in resources if _hook(each) is None]
        (workload,) = (each for each in kept if each["kind"] == "StatefulSet")
        names = [f"{workload['metadata']['name']}-{number}" for number in range(workload["spec"]["replicas"])]
        for number, name in reversed(list(enumerate(names))):
            standing = self.pods.get(name)
            if standing is not None:
                if standing.spec == workload["spec"]["template"]["spec"] and not anew:
                    continue
                code = standing.terminate()
                assert code == 0, standing.log
            self.pods[name] = Pod(self._cluster, kept, self._entrypoint, number)

    # --- kubectl ------------------------------------------------------------------------------------------------------

    def _kubectl(self, words: list[str], text: str, folder: Path) -> str:
        match words:
            case ["create", "secret", "generic", name, *options]:
                manifest = _secret(name, options, folder)
                if "--dry-run=client" in options:
                    return manifest
                self._put(manifest, new=True)
            case ["create" | "replace" as verb, "--filename", file]:
                self._put(text if file == "-" else (folder / file).read_text(encoding="utf-8"), new=verb == "create")
            case ["delete", "job", name, "--ignore-not-found"]:
                self._jobs.pop(name, None)
            case ["patch", "secret", name, "--patch-file", patch]:
                fresh = json.loads((folder / patch).read_text(encoding="utf-8"))["stringData"]
                self._cluster.secrets[name] |= {key: value.encode() for key, value in fresh.items()}
                self._bring_up_to_date()
            case ["port-forward", name, port]:
                self.forwarded[f"127.0.0.1:{port}"] = self.pods[name].address(_ports(self.pods[name])[port])
            case ["rollout", "restart", "statefulset", _]:
                self._roll(self._revisions[-1], anew=True)
            case ["rollout", "status", "statefulset", _]:
                pass
            case ["wait", "--for", "condition=complete", name]:
                job = self._jobs[name.removeprefix("job/")]
                if job.code:
                    raise Refused(job.log)
            case _:
                return self._show(words)
        return ""

    def _show(self, words: list[str]) -> str:
        match words:
            case ["get", "secret", name, "--output", template]:
                (entry,) = re.findall(r'^go-template=\{\{index \.data "([\w.]+)"\}\}$', template)
                return base64.b64encode(self._cluster.secrets[name][entry]).decode()
            case ["get", "pods", *_]:
                return "".join(f"{name} Running\n" for name in sorted(self.pods))
            case ["exec", name, "--", "noisegate", *arguments]:
                return self._exec(self.pods[name], arguments)
            case ["logs", "--selector", _, "--prefix", "--tail=-1"]:
                return "".join(
                    f"[pod/{name}/noisegate] {line}\n"
                    for name, pod in self.pods.items()
                    for line in pod.log.splitlines()
                )
            case ["logs", name]:
                return self._jobs[name.removeprefix("job/")].log if "/" in name else self.pods[name].log
            case _:
                raise Refused(f"kubectl {words}: not known here")

    def _put(self, manifest: str, *, new: bool) -> None:
        found = yaml.safe_load(manifest)
        name = found["metadata"]["name"]
        if found["kind"] == "Job":
            if name in self._jobs:
                raise Refused(f"job {name}: is there already")
            self._jobs[name] = self._to_its_end(name, found["spec"]["template"]["spec"])
            return
        if (name in self._cluster.secrets) is new:
            raise Refused(f"secret {name}: {'is there already' if new else 'is not there'}")
        self._cluster.apply(manifest)
        self._bring_up_to_date()

    def _bring_up_to_date(self) -> None:
        """As kubelets do, some seconds after a Secret has changed."""
        for pod in self.pods.values():
            pod.mount()

    # --- processes ----------------------------------------------------------------------------------------------------

    def _exec(self, pod: Pod, arguments: list[str]) -> str:
        ports = _ports(pod)
        here = [re.sub(r"^127\.0\.0\.1:(\d+)$", lambda found: pod.address(ports[found[1]]), word) for word in arguments]
        done = self._run(here, pod.environment())
        if done.code:
            raise Refused(done.log)
        return done.log

    def _to_its_end(self, name: str, spec: dict[str, Any]) -> Done:
        (container,) = spec["containers"]
        box = Container(self._cluster, spec, container, self._folder / name)
        words = [word for each in container["args"] for word in self._resolved(box.inside(each))]
        return self._run(words, box.environment())

    def _resolved(self, word: str) -> Iterator[str]:
        """A word with a name of the cluster in it, once for each address that the name has."""
        found = _NAME.search(word)
        if found is None:
            yield word
            return
        pods = list(self.pods.values()) if found[2] else [self.pods[min(self.pods)]]
        for pod in pods:
            yield word.replace(found[0], pod.address(_ports(pod)[found[3]]))

    def _run(self, words: list[str], environment: dict[str, str]) -> Done:
        done = subprocess.run(
            [*self._entrypoint, *words],
            cwd="/",
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        return Done(done.returncode, done.stdout)


def _answer(
    run: Callable[[list[str], str, Path], str], words: list[str], text: str, folder: Path
) -> tuple[int, str, str]:
    """(exit code, standard output, standard error) of one program."""
    try:
        return 0, run(words, text, folder), ""
    except Refused as refused:
        return 1, "", f"{refused}\n"
    except Exception:  # noqa: BLE001  # the outermost frame of its thread: the test shows it as the program's words
        return 70, "", traceback.format_exc()


def _ports(pod: Pod) -> dict[str, str]:
    """The names of its ports by their numbers."""
    return {str(each["containerPort"]): each["name"] for each in pod.container["ports"]}


def _hook(resource: Resource) -> str | None:
    annotations: dict[str, str] = resource["metadata"].get("annotations", {})
    return annotations.get("helm.sh/hook")


def _secret(name: str, options: list[str], folder: Path) -> str:
    """The manifest of `kubectl create secret generic NAME --from-file [ENTRY=]FILE...`."""
    given = [word.partition("=") for option, word in itertools.pairwise(options) if option == "--from-file"]
    entries = {entry: (folder / (file or entry)).read_text(encoding="utf-8") for entry, _, file in given}
    manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": entries}
    return yaml.safe_dump(manifest)
