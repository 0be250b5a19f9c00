"""The packages of this repository agree: one list, one version, one choice of each crate that they share."""

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

import packages
from packages import Package

ROOT = packages.ROOT
ALL = packages.packages()


def fake(root: Path, name: str, version: str, extras: str = "") -> Package:
    folder = root / name
    folder.mkdir()
    (folder / "Cargo.toml").write_text(f'[package]\nname = "{name}"\nversion = "{version}"\n')
    (folder / "pyproject.toml").write_text(f'[project]\nname = "{name}"\n{extras}')
    return Package(name, folder, "abi3", f"{name}._core", (name,), "")


def lock(**versions: str) -> str:
    entry = '[[package]]\nname = "{}"\nversion = "{}"\nsource = "registry+index"\ndependencies = [\n "x",\n]\n\n'
    own = '[[package]]\nname = "own"\nversion = "{}"\n'
    return "version = 4\n\n" + "".join(entry.format(*item) for item in versions.items()) + own.format(len(versions))


def test_the_list_says_what_the_files_of_each_package_say() -> None:
    assert ALL[0].folder == ROOT
    assert len({package.name for package in ALL}) == len(ALL)
    for package in ALL:
        text = (package.folder / "pyproject.toml").read_text(encoding="utf-8")
        assert packages.toml_strings(text, "project", "name") == [package.name]
        assert (package.folder / "LICENSE").is_file()
        assert (package.folder / "Cargo.lock").is_file()
        inside = {path.name for path in (package.folder / "python").iterdir() if path.is_dir()}
        assert set(package.python) == inside - {"__pycache__"}
        assert packages.toml_strings(text, "tool.maturin", "module-name") == [package.module]


def test_no_folder_with_a_cargo_package_and_a_pyproject_is_missing_in_the_list() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if listed.returncode:
        pytest.skip("this is no clone")
    files = set(listed.stdout.splitlines())
    both = {str(Path(file).parent) for file in files if Path(file).name == "Cargo.toml"}
    both = {folder for folder in both if f"{folder}/pyproject.toml".replace("./", "") in files}
    assert both - {"benches/floor"} == {str(package.folder.relative_to(ROOT)) for package in ALL}


def test_a_line_that_cannot_be_read_is_shown(tmp_path: Path) -> None:
    listing = tmp_path / "packages.txt"
    listing.write_text("# name\n\nopool . wheel opool._opool opool\n")
    with pytest.raises(ValueError, match=r"per-interpreter, abi3, program.*opool \. wheel"):
        packages.packages(tmp_path, listing)


def test_the_version_is_one_number_everywhere() -> None:
    assert packages.version_errors(ALL) == []
    for package in ALL:
        assert importlib.metadata.version(package.name) == packages.version(package)
        for name in package.python[:1]:
            __import__(name)
            assert sys.modules[name].__version__ == packages.version(package)


def test_a_version_of_its_own_and_a_missing_pin_are_found(tmp_path: Path) -> None:
    extras = '[project.optional-dependencies]\none = ["one==1.2.0"]\ntwo = ["two>=1.2.0"]\n'
    first = fake(tmp_path, "first", "1.2.0", extras)
    one, two = fake(tmp_path, "one", "1.2.0"), fake(tmp_path, "two", "1.2.0")
    late = fake(tmp_path, "late", "1.1.0")
    assert packages.version_errors([first, one]) == []
    assert packages.version_errors([first, one, two]) == ["no extra of first asks for two==1.2.0"]
    assert packages.version_errors([first, late])[0] == "late is 1.1.0, first is 1.2.0"


def test_crates_that_packages_share_have_one_version() -> None:
    folders = [package.folder for package in ALL] + [ROOT / "benches" / "floor"]
    locks = {
        folder.relative_to(ROOT).as_posix(): (folder / "Cargo.lock").read_text(encoding="utf-8") for folder in folders
    }
    shared = set.intersection(*(set(packages.locked(text)) for text in locks.values()))
    assert ("libc", "0.2") in shared, "the locks have nothing in common: this check looks at nothing"
    assert packages.disagreements(locks) == []


def test_crates_in_different_compatible_versions_are_found() -> None:
    same = {"root": lock(libc="0.2.180", syn="2.0.1"), "bank": lock(libc="0.2.180", syn="3.0.9")}
    assert packages.disagreements(same) == []  # own packages aside, and what cargo holds for incompatible
    different = {**same, "server": lock(libc="0.2.181", syn="3.0.9")}
    assert packages.disagreements(different) == ["libc: 0.2.180 in root, 0.2.180 in bank, 0.2.181 in server"]
    assert packages.disagreements({"a": lock(tokio="1.40.0"), "b": lock(tokio="1.41.0+x")}) == [
        "tokio: 1.40.0 in a, 1.41.0+x in b"
    ]
