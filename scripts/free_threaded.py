"""Builds a free-threaded CPython from Debian's source package, in `.tools`; does nothing when it is there already.

Prints the path of the interpreter as its last line. The source comes through apt, which checks its signature, from the
mirror that this machine's apt uses already; apt gets a configuration and lists of its own, so the system's stay as
they are. Nothing needs root, except to install the compiler and the headers that CPython is built with.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Which release of Debian has the source of which CPython.
SUITES = {"3.13": "trixie", "3.14": "sid"}

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
NEEDED = "build-essential xz-utils libssl-dev zlib1g-dev libffi-dev"


def run(command: list[str], cwd: Path, log: Path | None = None, **environment: str) -> str:
    """Runs a command and returns what it printed; ends this program, showing the end of it, if the command fails."""
    env = {**os.environ, **environment}
    done = subprocess.run(command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if log:
        log.write_text(done.stdout)
    if done.returncode != 0:
        tail = "\n".join(done.stdout.splitlines()[-25:])
        sys.exit(f"{tail}\n\n{' '.join(command)}\nfailed with status {done.returncode} (above: its last lines)")
    return done.stdout


def debian_mirror() -> str:
    """Returns the address of the Debian mirror that this machine's apt uses, or of the one that the user named."""
    named = os.environ.get("DEBIAN_MIRROR")
    if named:
        return named
    listing = ["apt-get", "indextargets", "--format", "$(LABEL) $(REPO_URI)", "Created-By: Packages"]
    targets = [line.split(" ", 1) for line in run(listing, ROOT).splitlines() if " " in line]
    # Before the first `apt-get update` the labels are not known; then the path of the address has to do.
    for label, address in targets:
        if label == "Debian" or (label == "$(LABEL)" and address.rstrip("/").endswith("/debian")):
            return address
    sys.exit("apt knows no mirror of Debian here; name one: make free-threaded DEBIAN_MIRROR=http://...")


def download(version: str, work: Path) -> Path:
    """Returns the original source archive of Debian's package, with an apt that shares nothing with the system's."""
    lists, cache, status = work / "lists", work / "cache", work / "status"
    for folder in (lists / "partial", cache / "archives" / "partial"):
        folder.mkdir(parents=True)
    status.touch()
    sources = work / "sources.list"
    signed = f"[signed-by={KEYRING}] " if KEYRING.is_file() else ""
    sources.write_text(f"deb-src {signed}{debian_mirror()} {SUITES[version]} main\n")
    # How to reach the mirror (proxies, retries) is the system's; its hooks are not.
    dump = run(["apt-config", "dump"], work).splitlines()
    reach = [line for line in dump if line.startswith("Acquire::") and not line.startswith("Acquire::IndexTargets")]
    own = {
        "Dir::Etc::main": "/dev/null",
        "Dir::Etc::parts": "/dev/null",
        "Dir::Etc::sourcelist": sources,
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State": work,
        "Dir::State::lists": lists,
        "Dir::State::status": status,
        "Dir::Cache": cache,
        # Started by root, apt would download as a user who may not write here.
        "APT::Sandbox::User": "root",
    }
    config = work / "apt.conf"
    config.write_text("\n".join([*reach, *(f'{name} "{value}";' for name, value in own.items())]) + "\n")
    run(["apt-get", "update"], work, APT_CONFIG=str(config))
    run(["apt-get", "source", "--download-only", f"python{version}"], work, APT_CONFIG=str(config))
    archives = [path for path in work.iterdir() if re.search(r"\.orig\.tar\.\w+$", path.name)]
    if len(archives) != 1:
        sys.exit(f"Debian's source package of Python {version} holds no single original archive: {archives}")
    return archives[0]


def build(version: str, prefix: Path) -> None:
    """Builds the interpreter and installs it into `prefix`, with pip."""
    missing = [tool for tool in ("apt-get", "cc", "make", "tar", "xz") if shutil.which(tool) is None]
    if "apt-get" in missing:
        sys.exit("this needs apt-get, the tool of Debian and its relatives: it brings the source of CPython")
    if missing:
        sys.exit(f"not found: {', '.join(missing)}. Install what CPython is built with: apt-get install {NEEDED}")
    shutil.rmtree(str(prefix), ignore_errors=True)
    work = prefix / "build"
    work.mkdir(parents=True)
    print(f"----- CPython {version}, free-threaded: downloading the source", flush=True)
    archive = download(version, work)
    print(f"      {archive.name}; building it, which takes some minutes", flush=True)
    source = work / "source"
    source.mkdir()
    run(["tar", "--extract", "--strip-components=1", "--file", str(archive), "--directory", str(source)], work)
    options = ["--disable-gil", f"--prefix={prefix}", "--with-ensurepip=install"]
    run(["./configure", *options], source, prefix / "configure.log")
    run(["make", f"-j{os.cpu_count() or 1}"], source, prefix / "make.log")
    run(["make", "install"], source, prefix / "install.log")
    shutil.rmtree(str(work))


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("version", nargs="?", default="3.13", choices=SUITES, help="of CPython")
    version = parser.parse_args().version
    prefix = ROOT / ".tools" / f"python-{version}t"
    python = prefix / "bin" / f"python{version}t"
    # The build folder is removed last of all: while it is there, the interpreter is not finished.
    if not python.exists() or (prefix / "build").exists():
        build(version, prefix)
    check = "import ctypes, ssl, sys, zlib; assert not sys._is_gil_enabled()"
    if subprocess.run([str(python), "-c", check]).returncode != 0:
        shutil.rmtree(str(prefix))
        sys.exit(f"CPython was built without parts that are needed here. Install them: apt-get install {NEEDED}")
    print(python)


if __name__ == "__main__":
    main()
