"""Builds the wheels and source distributions of the packages in `packages.txt`, and installs wheels into environments.

    python scripts/wheels.py build dist                    for the interpreter that runs this
    python scripts/wheels.py build dist --manylinux 2_17   for every interpreter here, linked by zig for that glibc
    python scripts/wheels.py install                       what the tests need beside the first package
    python scripts/wheels.py install --release             the same as it is released, for the benchmarks

Run by the interpreter of an environment that holds maturin (and, for the second, zig).
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from interpreters import interpreters
from packages import ROOT, Package, packages

SCRIPTS = Path(sysconfig.get_path("scripts"))
TARGET = ROOT / "target"
# Compiled in a third of the time of what is shipped. A change of these rebuilds everything: a target of its own.
QUICK = {"CARGO_PROFILE_RELEASE_LTO": "off", "CARGO_PROFILE_RELEASE_CODEGEN_UNITS": "16"}


def ask(python: str, expression: str) -> str:
    """Returns what an interpreter says about itself."""
    program = f"import sys, sysconfig; print({expression})"
    return subprocess.run([python, "-I", "-c", program], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def target_of(package: Package, python: str, kind: str = "") -> Path:
    """Returns the target directory of a package and an ABI; for the first package the one that the Makefile uses.

    Packages do not share one. A crate that one builds for itself and another as a dependency, with other features, has
    the same file in both builds (`libNAME.so`): the later one wins, and cargo takes it for the earlier one's.
    """
    own = TARGET if package.folder == ROOT else TARGET / package.name
    return own / (kind + ask(python, "sysconfig.get_config_var('SOABI')"))


def environment(target: Path, **more: str) -> dict[str, str]:
    """Returns the environment of a build: our maturin and zig come first, what cargo makes goes to `target`."""
    path = f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}"
    zig = {"CARGO_ZIGBUILD_PYTHON_PATH": str(SCRIPTS / "python")}
    return {**os.environ, "PATH": path, "CARGO_TARGET_DIR": str(target), **zig, **more}


def run(command: list[str], env: dict[str, str]) -> None:
    """Runs a command; ends this program, showing its output, if it fails."""
    done = subprocess.run(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        sys.exit(f"{done.stdout}\n{' '.join(command)}\nended with status {done.returncode}")


def maturin(verb: str, package: Package, out: Path, env: dict[str, str], *options: str) -> Path:
    """Runs maturin for one package; returns the path of the one archive that it made, in `out`."""
    out.mkdir(parents=True, exist_ok=True)
    manifest = ["--manifest-path", str(package.folder / "Cargo.toml")]
    with tempfile.TemporaryDirectory(prefix=".new-", dir=out) as folder:
        run([str(SCRIPTS / "maturin"), verb, *manifest, *options, "--out", folder], env)
        (made,) = Path(folder).iterdir()
        return made.replace(out / made.name)


def build(package: Package, python: str, out: Path, env: dict[str, str], *options: str) -> Path:
    """Builds one wheel; returns its path."""
    interpreter = [] if package.kind == "program" else ["--interpreter", python]
    return maturin("build", package, out, env, "--release", "--locked", *interpreter, *options)


def build_sdist(package: Package, out: Path) -> Path:
    """Packs the source distribution; returns its path."""
    return maturin("sdist", package, out, dict(os.environ))


def build_all(out: Path, pythons: list[str], *options: str) -> list[Path]:
    """Builds the wheels of all packages, one for each of these interpreters where there is one an interpreter."""
    made = []
    for package in packages():
        for python in pythons if package.kind == "per-interpreter" else pythons[:1]:
            made.append(build(package, python, out, environment(target_of(package, python)), *options))
            print(f"  {made[-1].name}", flush=True)
    return made


def quick_interpreter() -> str:
    """Returns the interpreter that quick wheels are built with: always the same, as another one rebuilds PyO3."""
    note = TARGET / "quick-interpreter"
    if not (note.exists() and Path(note.read_text()).exists()):
        TARGET.mkdir(exist_ok=True)
        note.write_text(str(getattr(sys, "_base_executable", "") or sys.executable))
    return note.read_text()


def install(release: bool) -> None:
    """Builds every package but the first, quickly or as released, and installs it here unless it is there."""
    free_threaded = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
    for package in packages()[1:]:
        # One wheel serves all interpreters with a GIL. What has none needs a wheel of its own.
        python = sys.executable if free_threaded and package.kind != "program" else quick_interpreter()
        target = target_of(package, python, "" if release else "quick-")
        wheel = build(package, python, target / "wheels", environment(target, **({} if release else QUICK)))
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        stamp = Path(sys.prefix) / f".installed-{package.name}"
        if not (stamp.exists() and stamp.read_text() == digest):
            pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-index"]
            run([*pip, "--no-deps", "--force-reinstall", str(wheel)], dict(os.environ))
            stamp.write_text(digest)
            print(f"installed {wheel.name}", flush=True)


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    installing = verbs.add_parser("install", help="into the environment of the interpreter that runs this")
    installing.add_argument("--release", action="store_true", help="compiled as it is released, for the benchmarks")
    building = verbs.add_parser("build", help="wheels and source distributions")
    building.add_argument("out", type=Path, help="the folder that they go to")
    building.add_argument("--manylinux", metavar="X_Y", help="for each interpreter here, and for this glibc or newer")
    arguments = parser.parse_args()
    if arguments.verb == "install":
        install(arguments.release)
    elif arguments.manylinux:
        options = ["--zig", "--compatibility", f"manylinux_{arguments.manylinux}"]
        build_all(arguments.out, list(interpreters().values()), *options)
    else:
        build_all(arguments.out, [sys.executable])
    if arguments.verb == "build":
        for package in packages():
            print(f"  {build_sdist(package, arguments.out).name}", flush=True)


if __name__ == "__main__":
    main()
