"""The Java client and programs on it: built once for all checkouts, in the user's cache folder."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from tests.support.go_program import NotAvailable
from tests.support.rust_program import CACHE
from tests.support.server import ROOT

CLIENT: Final = ROOT / "clients" / "java"
_SOURCES: Final = (CLIENT, ROOT / "proto" / "noisegate")
_BY_PRODUCTS: Final = "target"
_UNREACHED: Final = re.compile(r"Could not (resolve|transfer|find artifact)|Unable to resolve|could not be resolved")


@dataclass(frozen=True, slots=True, kw_only=True)
class JavaClient:
    """The client, installed."""

    folder: Path
    """A copy of clients/java in which Maven has built it: nothing is written beside the sources."""
    libraries: Path
    """The jars that it needs, JUnit among them."""

    @property
    def classpath(self) -> str:
        """Of who uses it."""
        return os.pathsep.join((str(self.folder / "target" / "classes"), str(self.libraries / "*")))


def java_client() -> JavaClient:
    """Install the client by Maven, unless one of the same sources is there. NotAvailable without a JDK or Maven."""
    files = [path for source in _SOURCES for path in sorted(source.rglob("*")) if path.is_file()]
    sources = [path for path in files if _BY_PRODUCTS not in path.relative_to(ROOT).parts]
    digest = sha256()
    for path in sources:
        digest.update(f"\0{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    place = CACHE / f"java-{digest.hexdigest()[:16]}"
    manifest = sha256((CLIENT / "pom.xml").read_bytes()).hexdigest()
    client = JavaClient(folder=place / "clients" / "java", libraries=CACHE / f"java-libraries-{manifest[:16]}")
    built = place / "complete"
    if built.exists():
        return client
    for tool in ("java", "javac", "mvn"):
        if shutil.which(tool) is None:
            raise NotAvailable(f"{tool} is not installed")
    place.mkdir(parents=True, exist_ok=True)
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not built.exists():
            for path in sources:
                copy = place / path.relative_to(ROOT)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, copy)
            maven(client.folder, "install", "-DskipTests")
            # For programs that no build tool runs.
            maven(
                client.folder,
                "dependency:copy-dependencies",
                "-DincludeScope=runtime",
                f"-DoutputDirectory={client.libraries}",
            )
            built.touch()
    return client


def maven(folder: Path, *arguments: str) -> str:
    """Run Maven; its output. NotAvailable where its repository is not reached, RuntimeError where the build fails."""
    command = ["mvn", "-q", "-B", "-ntp", *arguments]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if ran.returncode and _UNREACHED.search(ran.stdout):
        raise NotAvailable(f"Maven cannot fetch what {folder.name} needs: {ran.stdout.strip()[:200]}")
    if ran.returncode:
        raise RuntimeError(f"mvn {' '.join(arguments)} in {folder}:\n{ran.stdout}{ran.stderr}")
    return ran.stdout


def javac(client: JavaClient, sources: Sequence[Path], out: Path) -> str:
    """Compile a program on the client, with every warning an error; its classpath."""
    command = ["javac", "-Xlint:all", "-Werror", "-d", str(out), "-cp", client.classpath, *map(str, sources)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise RuntimeError(f"{sources[0].parent} does not compile:\n{ran.stderr}")
    return os.pathsep.join((str(out), client.classpath))


def java(classpath: str, program: str, *arguments: str) -> list[str]:
    """The command that runs a program, soon rather than fast."""
    return ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", classpath, program, *arguments]
