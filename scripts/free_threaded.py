"""Says which free-threaded CPython to use: the one that runs this, or one built from Debian's source package.

Prints the path of the interpreter on standard output, all else on standard error. A built one is in `.tools`, and stays
there. The source comes through apt (`debian.py`). Nothing needs root, except to install the compiler and the headers
that CPython is built with.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from debian import Apt, Unavailable, require, run

ROOT = Path(__file__).resolve().parent.parent

# Which release of Debian has the source of which CPython.
SUITES = {"3.13": "trixie", "3.14": "sid", "3.15": "sid"}

NEEDED = "build-essential xz-utils libssl-dev zlib1g-dev libffi-dev"


def build(version: str, prefix: Path) -> None:
    """Builds the interpreter and installs it into `prefix`, with pip."""
    try:
        require("apt-get", "cc", "make", "tar", "xz")
    except Unavailable as error:
        sys.exit(f"{error}\nCPython is built with: apt-get install {NEEDED}")
    shutil.rmtree(str(prefix), ignore_errors=True)
    work = prefix / "build"
    work.mkdir(parents=True)
    print(f"----- CPython {version}, free-threaded: downloading the source", file=sys.stderr)
    archive = Apt(work, SUITES[version]).source(f"python{version}")
    print(f"      {archive.name}; building it, which takes some minutes", file=sys.stderr)
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
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        print(sys.executable)
        return
    prefix = ROOT / ".tools" / f"python-{version}t"
    python = prefix / "bin" / f"python{version}t"
    # The build folder is removed last of all: while it is there, the interpreter is not finished.
    if not python.exists() or (prefix / "build").exists():
        try:
            build(version, prefix)
        except Unavailable as error:
            sys.exit(
                f"{error}\nfree-threaded: CPython {version} could not be built; if one is here, PYTHON=... names it"
            )
    check = "import ctypes, ssl, sys, zlib; assert not sys._is_gil_enabled()"
    if subprocess.run([str(python), "-c", check]).returncode != 0:
        shutil.rmtree(str(prefix))
        sys.exit(f"CPython was built without parts that are needed here. Install them: apt-get install {NEEDED}")
    print(python)


if __name__ == "__main__":
    main()
