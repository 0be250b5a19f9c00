"""What the figures depend on: the machine, the interpreter's build, versions, the revision."""

from __future__ import annotations

import os
import platform
import subprocess
import sysconfig
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def processor() -> str:
    """Its name where the system tells."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def build() -> str:
    """How the interpreter was compiled: that alone makes a factor of two."""
    words = []
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        words.append("free-threaded")
    arguments = sysconfig.get_config_var("CONFIG_ARGS") or ""
    words.append("PGO" if "--enable-optimizations" in arguments else "no PGO")
    return ", ".join(words)


def versions() -> dict[str, str]:
    """The peers that are installed."""
    from areas import peers, task_peers

    found = {}
    packages = {each.package for each in peers.SUBJECTS} | {each.package for each in task_peers.SUBJECTS} | {"uvloop"}
    for package in sorted(packages - {""}):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "n/a"
    return found


def revision() -> str:
    """The commit, with a plus sign if the tree differs from it."""

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        return done.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!README.md", ":!benches/published")
        return git("rev-parse", "--short", "HEAD") + ("+" if changed else "")
    except OSError:
        return ""


def facts() -> dict[str, Any]:
    """All of it."""
    import opool  # the benchmarks of the bank use the rest of this module without it

    return {
        "machine": f"{processor()}, {os.cpu_count()} cores, {platform.system()}",
        "python": platform.python_version(),
        "build": build(),
        "opool": opool.__version__,
        "revision": revision(),
        "load": os.getloadavg()[0],  # above 0.5 before the start, somebody else was measured as well
        "versions": versions(),
    }
