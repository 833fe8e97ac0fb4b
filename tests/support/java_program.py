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
_SOURCES: Final = (CLIENT / "src", ROOT / "proto" / "noisegate")
_FORMATTER: Final = "google-java-format-1.28.0-all-deps.jar"
_FORMATTER_NAME: Final = "com.google.googlejavaformat:google-java-format:1.28.0:jar:all-deps"
_FORMATTER_SHA256: Final = "32342e7c1b4600f80df3471da46aee8012d3e1445d5ea1be1fb71289b07cc735"
_COMPILER: Final = ("api", "code", "file", "parser", "tree", "util")
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
    sources = [path for source in _SOURCES for path in sorted(source.rglob("*")) if path.is_file()]
    sources.append(CLIENT / "pom.xml")
    digest = sha256()
    for path in sources:
        digest.update(f"\0{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    place = CACHE / f"java-{digest.hexdigest()[:16]}"
    manifest = sha256((CLIENT / "pom.xml").read_bytes()).hexdigest()
    client = JavaClient(folder=place / "clients" / "java", libraries=CACHE / f"java-libraries-{manifest[:16]}")
    built = place / "complete"
    if built.exists():
        return client
    _check_tools()
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


def _check_tools() -> None:
    for tool in ("java", "javac", "mvn"):
        if shutil.which(tool) is None:
            raise NotAvailable(f"{tool} is not installed")


def formatter() -> list[str]:
    """The command of the formatter, but for its files. NotAvailable without a JDK or Maven."""
    _check_tools()
    jar = CACHE / _FORMATTER
    if not jar.exists():
        maven(CLIENT, "dependency:copy", f"-Dartifact={_FORMATTER_NAME}", f"-DoutputDirectory={CACHE}")
    if sha256(jar.read_bytes()).hexdigest() != _FORMATTER_SHA256:
        raise RuntimeError(f"{jar} is not the formatter that the code was formatted with")
    exports = [f"--add-exports=jdk.compiler/com.sun.tools.javac.{package}=ALL-UNNAMED" for package in _COMPILER]
    return ["java", "-XX:TieredStopAtLevel=1", *exports, "-jar", str(jar)]


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
