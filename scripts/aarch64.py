"""Builds the wheels for 64-bit ARM on a machine of another kind, with what Debian and PyPI have; installs nothing.

rustup's own standard library for ARM may be out of reach; Debian has one, in the package of a compiler of its own,
which is new enough in bookworm-security (the one that Debian's browsers are built with). That compiler runs with the
libraries of its release, beside the system's C library; zig links. All is unpacked below .tools/aarch64, together with
qemu and Debian's ARM builds of CPython, in which `tests/smoke/check_aarch64.py` runs the wheels.

Run by `make wheel-aarch64` with the environment that holds maturin and zig.
"""

from __future__ import annotations

import argparse
import re
import shutil
from pathlib import Path

from debian import Apt, unpack
from interpreters import SUPPORTED, TOOLS
from packages import packages
from wheels import TARGET, build, environment

HOME = TOOLS / "aarch64"
COMPILER = HOME / "rust"
TRIPLE = "aarch64-unknown-linux-gnu"
# Debian's releases that have a CPython, for ARM too.
PYTHONS = {"3.11": "bookworm", "3.13": "trixie", "3.14": "sid", "3.15": "sid"}
# The machine has these, and a newer C library does not go with an older part of itself.
NOT_OURS = r"(libc6|libc-|linux-libc|gcc|libgcc|libstdc|cpp|binutils|libbinutils|lib[a-z]+san\d)"
WRAPPER = """#!/bin/sh
export LD_LIBRARY_PATH="{libraries}"
exec "{program}" "$@"
"""


def finished(folder: Path) -> bool:
    """Says whether a folder was filled to its end; empties it if not."""
    if (folder / "finished").exists():
        return True
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "apt").mkdir(parents=True)
    return False


def finish(folder: Path) -> None:
    """Notes that a folder is filled."""
    shutil.rmtree(folder / "apt")
    (folder / "finished").touch()


def compiler() -> Path:
    """Returns a rustc with the standard libraries of this machine and of ARM."""
    wrapper = COMPILER / "rustc"
    if not finished(COMPILER):
        print("aarch64: fetching Debian's compiler", flush=True)
        suites = ("bookworm", "bookworm-security")
        own = Apt(COMPILER / "apt" / "own", *suites).packages("rustc-web")
        unpack([path for path in own if not re.match(NOT_OURS, path.name)], COMPILER)
        foreign = Apt(COMPILER / "apt" / "foreign", *suites, architecture="arm64").packages("libstd-rust-web-dev")
        unpack([path for path in foreign if path.name.startswith("libstd-rust")], COMPILER)
        places = [path for lib in ("lib", "usr/lib") for path in COMPILER.glob(f"{lib}/*-linux-gnu")]
        libraries = ":".join(str(path) for path in places if "aarch64" not in path.name)
        program = COMPILER / "usr" / "bin" / "rustc"
        if not program.exists():
            (program,) = COMPILER.glob("usr/lib/rust-web*/bin/rustc")
        wrapper.write_text(WRAPPER.format(libraries=libraries, program=program))
        wrapper.chmod(0o755)
        finish(COMPILER)
    return wrapper


def emulator() -> Path:
    """Returns qemu for programs of ARM."""
    folder = HOME / "qemu"
    if not finished(folder):
        print("aarch64: fetching qemu", flush=True)
        found = Apt(folder / "apt", "bookworm").packages("qemu-user-static")
        unpack([path for path in found if path.name.startswith("qemu-user-static")], folder)
        finish(folder)
    return folder / "usr" / "bin" / "qemu-aarch64-static"


def interpreter(version: str) -> Path:
    """Returns the root folder of Debian's ARM build of a CPython, with all its libraries."""
    folder = HOME / f"python-{version}"
    if not finished(folder):
        print(f"aarch64: fetching CPython {version}", flush=True)
        unpack(Apt(folder / "apt", PYTHONS[version], architecture="arm64").packages(f"python{version}"), folder)
        if not (folder / "lib").exists():  # later releases keep all in /usr; a link for the rest is not in a package
            (folder / "lib").symlink_to("usr/lib")
        finish(folder)
    return folder


def main() -> None:
    """Reads the command line, fetches what is missing, and builds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the folder that the wheels go to")
    parser.add_argument("--manylinux", metavar="X_Y", default="2_17", help="the glibc to link for")
    parser.add_argument("versions", nargs="*", default=SUPPORTED, help="of CPython")
    arguments = parser.parse_args()
    rustc = str(compiler())
    options = ["--target", TRIPLE, "--zig", "--compatibility", f"manylinux_{arguments.manylinux}"]
    for package in packages():
        env = environment(TARGET / "aarch64" / package.name, RUSTC=rustc)
        for version in arguments.versions if package.kind == "per-interpreter" else arguments.versions[:1]:
            print(f"  {build(package, f'python{version}', arguments.out, env, *options).name}", flush=True)


if __name__ == "__main__":
    main()
