"""Builds a wheel for every interpreter that is here, installs it where no Rust is, and runs what it holds.

Also: the wheels and the source distribution hold exactly what they should, and the latter builds from itself.
Run by `make smoke` with the environment of the developers' tools; `inside.py` is what runs on the other side.
"""

import argparse
import fnmatch
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Optional

ROOT = Path(__file__).resolve().parents[2]
SMOKE = Path(__file__).resolve().parent
MATURIN = Path(sysconfig.get_path("scripts")) / "maturin"

sys.path.insert(0, str(ROOT / "scripts"))
from interpreters import SUPPORTED, interpreters  # noqa: E402

# What a wheel may take from python/, and what the source distribution takes from the whole tree.
IN_WHEEL = re.compile(r"(opool|design|algorithms)/(.+\.pyi?|py\.typed)")
IN_SDIST = re.compile(
    r"Cargo\.(toml|lock)|\.cargo/config\.toml|build\.rs|pyproject\.toml|LICENSE|[^/]+\.md|src/.+\.rs|python/.+"
)


class WrongError(Exception):
    """A check failed."""


def run(*command: object, env: Optional[dict[str, str]] = None, cwd: Path = ROOT, timeout: int = 900) -> str:
    """Runs a command; its output is returned, or shown if it fails."""
    words = [str(word) for word in command]
    done = subprocess.run(
        words, env=env, cwd=cwd, timeout=timeout, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode != 0:
        raise WrongError(f"{' '.join(words)}\nended with status {done.returncode}:\n{done.stdout}")
    return done.stdout


def build_environment(python: str) -> dict[str, str]:
    """The environment of a build: the target directory that the Makefile uses for this interpreter."""
    soabi = run(python, "-c", "import sysconfig; print(sysconfig.get_config_var('SOABI'))").strip()
    return {**os.environ, "CARGO_TARGET_DIR": str(ROOT / "target" / soabi), "PATH": with_tools(os.environ["PATH"])}


def with_tools(path: str) -> str:
    """PATH with our maturin in front: the build backend looks for it there."""
    return f"{MATURIN.parent}{os.pathsep}{path}"


def compare(what: str, found: Iterable[str], expected: Iterable[str]) -> None:
    """Fails unless an archive holds exactly the files that it should."""
    extra, missing = sorted(set(found) - set(expected)), sorted(set(expected) - set(found))
    if extra or missing:
        raise WrongError(f"{what}: holds {extra} and should not, lacks {missing}")


def sources(pattern: re.Pattern[str]) -> set[str]:
    """The files of the tree that match, but for what git ignores (environments, caches, built extensions)."""
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z").split("\0")
    return {path for path in listed if pattern.fullmatch(path) and (ROOT / path).is_file()}


def package_sources() -> set[str]:
    """The Python files of the three packages, named as in a wheel; a file of another kind is an error."""
    paths = {path[len("python/") :] for path in sources(re.compile("python/.+"))}
    strangers = [path for path in paths if not IN_WHEEL.fullmatch(path)]
    if strangers:
        raise WrongError(f"python/ holds what no wheel should: {strangers}")
    for name in ("opool/_opool.pyi", "opool/py.typed", "design/py.typed", "algorithms/py.typed"):
        if name not in paths:
            raise WrongError(f"python/{name} is missing: the types would be lost")
    return paths


def check_wheel(wheel: Path, version: str) -> None:
    """Compares a wheel's name and list of files with what they should be."""
    tag = "cp" + version.replace(".", "")
    match = re.fullmatch(rf"opool-([^-]+)-{tag}-{tag}-[^-]+\.whl", wheel.name)
    if not match:
        raise WrongError(f"{wheel.name} is not a wheel for CPython {version} alone")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        info = f"opool-{match.group(1)}.dist-info"
        metadata = archive.read(f"{info}/METADATA").decode("utf-8")
    extensions = fnmatch.filter(names, f"opool/_opool.cpython-{tag[2:]}-*.so")
    if len(extensions) != 1:
        raise WrongError(f"{wheel.name} holds {len(extensions)} extension modules: {extensions}")
    paperwork = {f"{info}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "licenses/LICENSE")}
    compare(wheel.name, names, package_sources() | paperwork | set(extensions))
    needed = re.findall(r"^Requires-Dist: (?!.*; extra == )(.*)", metadata, re.MULTILINE)
    extras = sorted(re.findall(r"^Provides-Extra: (.*)", metadata, re.MULTILINE))
    if "\nLicense-Expression: MIT\n" not in metadata or needed or extras != ["otel", "prometheus"]:
        raise WrongError(f"{wheel.name} has odd metadata:\n{metadata}")


def install_and_run(wheel: Path, python: str, work: Path) -> str:
    """Installs a wheel in an empty environment and runs `inside.py` there, out of reach of the source and of Rust."""
    venv = work / "venv"
    run(python, ROOT / "scripts" / "make_venv.py", venv)
    pip = [venv / "bin" / "python", "-I", "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    run(*pip, "--no-index", "--no-deps", wheel)
    outside = work / "outside"
    shutil.copytree(ROOT / "tests" / "parity", outside / "parity", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(SMOKE / "inside.py", outside)
    env = {"PATH": str(venv / "bin"), "HOME": str(outside), "LANG": "C.UTF-8"}
    if "LD_LIBRARY_PATH" in os.environ:  # an interpreter may need it to start
        env["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
    return run(venv / "bin" / "python", "-I", "inside.py", env=env, cwd=outside)


def smoke_interpreter(version: str, python: str, work: Path) -> str:
    """Builds, checks, installs and runs the wheel for one interpreter."""
    run(
        *[MATURIN, "build", "--release", "--locked", "--interpreter", python, "--out", work],
        env=build_environment(python),
    )
    (wheel,) = work.glob("*.whl")
    check_wheel(wheel, version)
    return install_and_run(wheel, python, work)


def smoke_sdist(work: Path) -> str:
    """Makes the source distribution, checks its list of files, and builds a wheel from nothing but it."""
    run(MATURIN, "sdist", "--out", work)
    (sdist,) = work.glob("*.tar.gz")
    folder = sdist.name[: -len(".tar.gz")]
    with tarfile.open(sdist) as archive:
        names = {name[len(folder) + 1 :] for name in archive.getnames() if name.startswith(folder + "/")}
        compare(sdist.name, names, sources(IN_SDIST) | {"PKG-INFO"})
        archive.extractall(work / "unpacked")  # ours, made a moment ago
    # Our maturin instead of an isolated one: the check then gives the same answer every day, without a network.
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--no-index", "--no-deps"]
    run(
        *[*pip, "--no-build-isolation", "--wheel-dir", work, work / "unpacked" / folder],
        env=build_environment(sys.executable),
        cwd=work,
    )
    (wheel,) = work.glob("*.whl")
    check_wheel(wheel, "{}.{}".format(*sys.version_info))
    return install_and_run(wheel, sys.executable, work)


def main() -> int:
    """Runs the whole matrix and closes with a line of counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=[*SUPPORTED, "sdist"], action="append", help="a part of the matrix")
    only = parser.parse_args().only
    # For our own version the environment's interpreter, as in `make develop`: PyO3 is built anew for another path.
    found = {**interpreters(), "{}.{}".format(*sys.version_info): sys.executable}
    missing = [version for version in SUPPORTED if version not in found]
    print(f"interpreters: {', '.join(found)}" + (f" (not here: {', '.join(missing)})" if missing else ""), flush=True)

    parts = [part for part in [*found, "sdist"] if not only or part in only]
    passed, failed = 0, 0
    for part in parts:
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="opool-smoke-") as folder:
            work = Path(folder).resolve()
            try:
                said = smoke_sdist(work) if part == "sdist" else smoke_interpreter(part, found[part], work)
                passed += 1
                verdict = said.strip().replace("\n", "; ")
            except (WrongError, subprocess.TimeoutExpired, ValueError) as error:
                failed += 1
                verdict = f"FAILED\n{error}"
        print(f"{part:>5}: {verdict} ({time.monotonic() - started:.0f} s)", flush=True)
    print(f"smoke: {passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
