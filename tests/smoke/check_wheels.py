"""Builds the wheels for every interpreter that is here, installs them where no Rust is, and runs what they hold.

Also: wheels and source distributions hold exactly what they should (`contents.py`), and the latter build from
themselves. `--release DIR` builds nothing and takes the wheels and source distributions that are in a folder.
Run by `make smoke` with the environment of the developers' tools; `inside.py` is what runs on the other side, with the
file `tests/smoke/use.py` of each package.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Callable

from contents import ROOT, WrongError, check_sdist, check_wheel
from interpreters import SUPPORTED, interpreters
from packages import Package, extras, packages
from wheels import build, build_sdist, environment, target_of

SMOKE = Path(__file__).resolve().parent
PACKAGES = packages()
OWN = "{}.{}".format(*sys.version_info)


def run(*command: object, env: dict[str, str] | None = None, cwd: Path = ROOT, timeout: int = 900) -> str:
    """Runs a command; its output is returned, or shown if it fails."""
    words = [str(word) for word in command]
    done = subprocess.run(
        words, env=env, cwd=cwd, timeout=timeout, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode != 0:
        raise WrongError(f"{' '.join(words)}\nended with status {done.returncode}:\n{done.stdout}")
    return done.stdout


def requirement() -> str:
    """What brings all packages: the first, with the extras that name the others."""
    first, *others = PACKAGES
    names = []
    for package in others:
        naming = [name for name, wanted in extras(first).items() if any(pin.startswith(package.name) for pin in wanted)]
        if not naming:
            raise WrongError(f"no extra of {first.name} brings {package.name}")
        names += naming[:1]
    return first.name + (f"[{','.join(names)}]" if names else "")


def install_and_run(python: str, work: Path, arguments: list[object], installed: list[Package]) -> str:
    """Installs wheels in an empty environment and runs `inside.py` there, out of reach of the source and of Rust."""
    venv = work / "venv"
    run(python, ROOT / "scripts" / "make_venv.py", venv)
    pip = [venv / "bin" / "python", "-I", "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    run(*pip, "--no-index", *arguments)
    said = []
    for package in installed:
        outside = work / "outside" / package.name
        outside.mkdir(parents=True)
        tests = package.folder / "tests"
        if (tests / "parity").exists():
            shutil.copytree(tests / "parity", outside / "parity", ignore=shutil.ignore_patterns("__pycache__"))
        (outside / "smoke").mkdir()
        shutil.copy(SMOKE / "inside.py", outside / "smoke")
        shutil.copy(tests / "smoke" / "use.py", outside / "smoke")
        env = {"PATH": str(venv / "bin"), "HOME": str(outside), "LANG": "C.UTF-8"}
        if "LD_LIBRARY_PATH" in os.environ:  # an interpreter may need it to start
            env["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
        name = [package.name, package.kind, package.python[0]]
        said.append(run(venv / "bin" / "python", "-I", "smoke/inside.py", *name, env=env, cwd=outside).strip())
    return "; ".join(said)


def smoke_interpreter(version: str, python: str, wheels: Path, released: bool, work: Path) -> str:
    """Checks, installs and runs the wheels for one interpreter; builds those that are for it alone, unless released."""
    digits = version.replace(".", "")
    for package in PACKAGES:
        if package.kind == "per-interpreter" and not released:
            build(package, python, wheels, environment(target_of(package, python)))
        tag = {"per-interpreter": f"cp{digits}-cp{digits}", "abi3": "cp3*-abi3", "program": "py3-none"}[package.kind]
        found = list(wheels.glob(f"{package.distribution}-*-{tag}-*_{os.uname().machine}.whl"))
        if len(found) != 1:
            raise WrongError(f"{wheels} should hold one wheel of {package.name} for {tag}: {found}")
        check_wheel(package, found[0], version, released)
    return install_and_run(python, work, ["--find-links", wheels, requirement()], PACKAGES)


def smoke_sdist(package: Package, wheels: Path, released: bool, work: Path) -> str:
    """Makes a source distribution, checks its list of files, and builds a wheel from nothing but it."""
    found = list(wheels.glob(f"{package.distribution}-*.tar.gz")) if released else [build_sdist(package, work)]
    if len(found) != 1:
        raise WrongError(f"{wheels} should hold one source distribution of {package.name}: {found}")
    folder = check_sdist(package, found[0])
    with tarfile.open(found[0]) as archive:
        archive.extractall(work / "unpacked")  # ours, made a moment ago
    # Our maturin instead of an isolated one: the check then gives the same answer every day, without a network.
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--no-index", "--no-deps"]
    run(
        *[*pip, "--no-build-isolation", "--wheel-dir", work, work / "unpacked" / folder],
        env=environment(target_of(package, sys.executable)),
        cwd=work,
    )
    (wheel,) = work.glob("*.whl")
    check_wheel(package, wheel, OWN)
    return install_and_run(sys.executable, work, ["--no-deps", wheel], [package])


def main() -> int:
    """Runs the whole matrix and closes with a line of counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=[*SUPPORTED, "sdist"], action="append", help="a part of the matrix")
    parser.add_argument("--release", type=Path, metavar="DIR", help="the folder with what is to be released")
    arguments = parser.parse_args()
    released = arguments.release is not None
    # For our own version the environment's interpreter, as in `make develop`: PyO3 is built anew for another path.
    found = {**interpreters(), OWN: sys.executable}
    missing = [version for version in SUPPORTED if version not in found]
    print(f"interpreters: {', '.join(found)}" + (f" (not here: {', '.join(missing)})" if missing else ""), flush=True)

    with tempfile.TemporaryDirectory(prefix="opool-wheels-") as folder:
        wheels = arguments.release.resolve() if released else Path(folder).resolve()
        parts: dict[str, Callable[[Path], str]] = {}
        for version, python in found.items():
            if not arguments.only or version in arguments.only:
                parts[version] = partial(smoke_interpreter, version, python, wheels, released)
        if parts and not released:
            for package in PACKAGES:
                if package.kind != "per-interpreter":
                    build(package, sys.executable, wheels, environment(target_of(package, sys.executable)))
        if not arguments.only or "sdist" in arguments.only:
            for package in PACKAGES:
                parts[f"{package.name} from source"] = partial(smoke_sdist, package, wheels, released)
        passed, failed = 0, 0
        for name, part in parts.items():
            started = time.monotonic()
            with tempfile.TemporaryDirectory(prefix="opool-smoke-") as scratch:
                try:
                    verdict = part(Path(scratch).resolve())
                    passed += 1
                except (WrongError, subprocess.TimeoutExpired, OSError, ValueError, SystemExit) as error:
                    failed += 1
                    verdict = f"FAILED\n{error}"
            print(f"{name:>5}: {verdict} ({time.monotonic() - started:.0f} s)", flush=True)
    print(f"smoke: {passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
