"""Downloads packages of Debian through apt, into a folder, and unpacks them there: nothing is installed.

The mirror is the one that this machine's apt uses, and how to reach it (proxies, retries) is the system's too; else apt
gets a configuration, lists and a status of its own, so the system's stay as they are. apt checks the signature of the
archive's index, and each package against the hash in the index. Nothing here needs root.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
PATIENCE = 900.0  # seconds for one command of apt


class Unavailable(Exception):
    """Something outside this program is missing: apt, a mirror, a suite, a package."""


def run(command: list[str], cwd: Path, log: Path | None = None, timeout: float | None = None, **variables: str) -> str:
    """Returns what a command printed, both streams; raises `Unavailable` with its last lines if it fails."""
    words = " ".join(command)
    environment = {**os.environ, **variables}
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{words}\nwas not done after {timeout:g} s") from None
    if log:
        log.write_text(done.stdout)
    if done.returncode != 0:
        tail = "\n".join(done.stdout.splitlines()[-25:])
        raise Unavailable(f"{tail}\n\n{words}\nfailed with status {done.returncode} (above: its last lines)")
    return done.stdout


def require(*programs: str) -> None:
    """Raises `Unavailable` unless all these programs are on PATH."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        raise Unavailable(f"not found: {', '.join(missing)} (apt and dpkg are the tools of Debian and its relatives)")


def mirror(label: str = "Debian") -> str:
    """Returns the address from which this machine's apt takes the archive with this label."""
    named = os.environ.get("DEBIAN_MIRROR")
    if named and label == "Debian":
        return named
    require("apt-get")
    listing = ["apt-get", "indextargets", "--format", "$(LABEL) $(REPO_URI)", "Created-By: Packages"]
    targets = [line.split(" ", 1) for line in run(listing, Path.cwd()).splitlines() if " " in line]
    # Before the first `apt-get update` the labels are not known; then the path of the address has to do.
    path = "/" + label.lower()
    for known, address in targets:
        if known == label or (known == "$(LABEL)" and address.rstrip("/").endswith(path)):
            return address
    raise Unavailable(f"apt knows no mirror of {label} here (DEBIAN_MIRROR=http://... names one of Debian)")


class Apt:
    """An apt of its own in the folder `work`, for one architecture, with these suites."""

    def __init__(self, work: Path, *suites: str, architecture: str | None = None) -> None:
        """Writes the configuration and fetches the lists."""
        require("apt-get", "apt-config", "dpkg", "dpkg-deb")
        self.work = work
        self.architecture = architecture or run(["dpkg", "--print-architecture"], Path.cwd()).strip()
        self.archives = work / "cache" / "archives"
        for folder in (work / "lists" / "partial", self.archives / "partial"):
            folder.mkdir(parents=True, exist_ok=True)
        (work / "status").touch()
        signed = f"[signed-by={KEYRING}] " if KEYRING.is_file() else ""
        lines = []
        for suite in suites:
            address = mirror("Debian-Security" if suite.endswith("-security") else "Debian")
            lines += [f"{kind} {signed}{address} {suite} main\n" for kind in ("deb", "deb-src")]
        (work / "sources.list").write_text("".join(lines))
        dump = run(["apt-config", "dump"], work).splitlines()
        reach = [line for line in dump if line.startswith("Acquire::") and not line.startswith("Acquire::IndexTargets")]
        own = {
            "Dir::Etc::main": "/dev/null",
            "Dir::Etc::parts": "/dev/null",
            "Dir::Etc::sourcelist": work / "sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::State": work,
            "Dir::State::lists": work / "lists",
            "Dir::State::status": work / "status",
            "Dir::Cache": work / "cache",
            "APT::Architecture": self.architecture,
            "APT::Architectures": self.architecture,
            "APT::Update::Error-Mode": "any",
            # Started by root, apt would download as a user who may not write here.
            "APT::Sandbox::User": "root",
        }
        self.config = work / "apt.conf"
        self.config.write_text("\n".join([*reach, *(f'{name} "{value}";' for name, value in own.items())]) + "\n")
        self._apt("update")

    def _apt(self, *words: str) -> str:
        return run(["apt-get", "--quiet", *words], self.work, timeout=PATIENCE, APT_CONFIG=str(self.config))

    def packages(self, *names: str) -> list[Path]:
        """Downloads these packages and all that they depend on, down to the C library."""
        self._apt("install", "--download-only", "--yes", "--no-install-recommends", *names)
        return sorted(self.archives.glob("*.deb"))

    def source(self, name: str) -> Path:
        """Downloads a source package; returns its original archive."""
        self._apt("source", "--download-only", name)
        archives = [path for path in self.work.iterdir() if ".orig.tar." in path.name and path.suffix != ".asc"]
        if len(archives) != 1:
            raise Unavailable(f"Debian's source package {name} holds no single original archive: {archives}")
        return archives[0]


def unpack(packages: list[Path], root: Path) -> None:
    """Unpacks packages into a folder, without running any script of theirs."""
    root.mkdir(parents=True, exist_ok=True)
    for package in packages:
        run(["dpkg-deb", "--extract", str(package), str(root)], root)
