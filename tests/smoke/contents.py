"""What wheels and source distributions must hold: these files and no others, the right tags, an old enough glibc."""

from __future__ import annotations

import fnmatch
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
from packages import Package, extras, packages  # noqa: E402

# What a wheel may take from python/, and what a source distribution takes from the folder of its package.
IN_WHEEL = r"({})/(.+\.pyi?|py\.typed)"
IN_SDIST = r"Cargo\.(toml|lock)|\.cargo/config\.toml|build\.rs|pyproject\.toml|LICENSE|[^/]+\.md|(src|python|assets)/.+"


class WrongError(Exception):
    """A check failed."""


def compare(what: str, found: Iterable[str], expected: Iterable[str]) -> None:
    """Fails unless an archive holds exactly the files that it should."""
    extra, missing = sorted(set(found) - set(expected)), sorted(set(expected) - set(found))
    if extra or missing:
        raise WrongError(f"{what}: holds {extra} and should not, lacks {missing}")


def sources(package: Package, pattern: str) -> set[str]:
    """The files of a package that match, but for what git ignores (environments, caches, built extensions)."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=package.folder, stdout=subprocess.PIPE, text=True, check=True).stdout
    return {path for path in listed.split("\0") if re.fullmatch(pattern, path) and (package.folder / path).is_file()}


def python_sources(package: Package) -> set[str]:
    """The Python files of a package, named as in a wheel; a file of another kind is an error."""
    paths = {path[len("python/") :] for path in sources(package, "python/.+")}
    pattern = IN_WHEEL.format("|".join(package.python))
    strangers = [path for path in paths if not re.fullmatch(pattern, path)]
    if strangers:
        raise WrongError(f"{package.folder.name}/python/ holds what no wheel should: {strangers}")
    typed = [f"{name}/py.typed" for name in package.python]
    if package.kind != "program":
        typed.append(package.stub.relative_to(package.folder / "python").as_posix())
    for name in typed:
        if name not in paths:
            raise WrongError(f"{package.folder.name}/python/{name} is missing: the types would be lost")
    return paths


def glibc_needed(binary: bytes) -> tuple[int, int]:
    """The newest version of glibc that a shared object or a program names among those that it needs."""
    named = re.findall(rb"\0GLIBC_(\d+)\.(\d+)(?:\.\d+)?(?=\0)", binary)
    versions = [(int(major), int(minor)) for major, minor in named]
    if not versions:
        raise WrongError("no version of glibc is named in the binary: this check looks at nothing")
    return max(versions)


def check_platform(wheel: Path, binary: bytes, released: bool) -> None:
    """Fails if the tag promises an older glibc than the binary needs, or promises none where it must."""
    promised = [(int(major), int(minor)) for major, minor in re.findall(r"manylinux_(\d+)_(\d+)_", wheel.name)]
    if released and not promised:
        raise WrongError(f"{wheel.name}: a released wheel needs a manylinux tag")
    needed = glibc_needed(binary)
    if promised and needed > min(promised):
        raise WrongError(f"{wheel.name} needs glibc {needed[0]}.{needed[1]}, its tag promises less")


def check_wheel(package: Package, wheel: Path, version: str, released: bool = False) -> None:
    """Compares a wheel's name, files and metadata with what they should be; `version` is that of CPython."""
    digits = version.replace(".", "")
    place = package.module.replace(".", "/")
    tags, binaries = {
        "per-interpreter": (f"cp{digits}-cp{digits}", f"{place}.cpython-{digits}-*.so"),
        "abi3": (r"cp3\d+-abi3", f"{place}.abi3.so"),
        "program": ("py3-none", f"*.data/scripts/{package.name}"),
    }[package.kind]
    match = re.fullmatch(rf"{package.distribution}-([^-]+)-{tags}-[^-]+\.whl", wheel.name)
    if not match:
        raise WrongError(f"{wheel.name} is not {tags}: it should be, for CPython {version}")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        info = f"{package.distribution}-{match.group(1)}.dist-info"
        metadata = archive.read(f"{info}/METADATA").decode("utf-8")
        found = fnmatch.filter(names, binaries)
        if len(found) != 1:
            raise WrongError(f"{wheel.name} holds {len(found)} of {binaries}: {found}")
        check_platform(wheel, archive.read(found[0]), released)
    paperwork = {f"{info}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "licenses/LICENSE")}
    project = (package.folder / "pyproject.toml").read_text(encoding="utf-8")
    if re.search(r"^\[project\.(scripts|entry-points\.)", project, re.MULTILINE):
        paperwork.add(f"{info}/entry_points.txt")
    compare(wheel.name, names, python_sources(package) | paperwork | set(found))
    needed = re.findall(r"^Requires-Dist: (?!.*; extra == )(.*)", metadata, re.MULTILINE)
    provided = set(re.findall(r"^Provides-Extra: (.*)", metadata, re.MULTILINE))
    if "\nLicense-Expression: MIT\n" not in metadata or needed or provided != set(extras(package)):
        raise WrongError(f"{wheel.name} has odd metadata:\n{metadata}")


def check_sdist(package: Package, sdist: Path) -> str:
    """Compares the list of files with what it should be; returns the name of the folder that they are in.

    A crate that is named by its path comes along, in a folder beside that of the package's own crate.
    """
    folder = sdist.name[: -len(".tar.gz")]
    with tarfile.open(sdist) as archive:
        names = {name[len(folder) + 1 :] for name in archive.getnames() if name.startswith(folder + "/")}
    manifest = (package.folder / "Cargo.toml").read_text(encoding="utf-8")
    for other in packages():
        if f'path = "../{other.folder.name}"' in manifest:
            theirs = {name for name in names if name.startswith(other.folder.name + "/")}
            known = {f"{other.folder.name}/{path}" for path in sources(other, ".+")}
            needed = {f"{other.folder.name}/{path}" for path in sources(other, r"Cargo\.toml|build\.rs|src/.+")}
            compare(f"{sdist.name}, {other.name}", theirs, (theirs & known) | needed)
            names -= theirs
    own = package.folder.name + "/"
    names = {name[len(own) :] if name.startswith(own) else name for name in names}
    compare(sdist.name, names, sources(package, IN_SDIST) | {"PKG-INFO"})
    return folder
