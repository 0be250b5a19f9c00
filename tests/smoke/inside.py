"""What runs in the clean environment, for one package: imports all that was installed, then does what `use.py` says.

Standard library only, as is `use.py` of each package: the modules that it promises, those that need an extra which is
not installed here (with the words that their ImportError must hold), and `run()`, which uses the package and returns a
line; only through `python` of this file, as that may be an interpreter for another kind of machine.
Prints one line of counts; anything wrong is an exception.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

HERE = Path(__file__).resolve().parent
SITE = Path(sysconfig.get_path("platlib")).resolve()
PYTHON = [sys.executable, "-I"]


def check_surroundings() -> None:
    """Makes sure that this is the place it should be: no Rust, no tools, no source tree."""
    for program in ("cargo", "rustc", "maturin", "pytest"):
        assert shutil.which(program) is None, f"{program} is on PATH"
    for module in ("maturin", "pytest", "hypothesis", "mypy"):
        assert importlib.util.find_spec(module) is None, f"{module} is installed here"
    for path in filter(None, sys.path):
        assert not (Path(path) / "Cargo.toml").exists(), f"the source tree is on the search path: {path}"


def import_everything(name: str, package: str, promised: list[str], extras: dict[str, str]) -> int:
    """Imports each module of the distribution, quietly and from the place where it was installed."""
    distribution = importlib.metadata.distribution(name)
    modules = set()
    for file in distribution.files or []:
        module = re.sub(r"(\.cpython-[^/]*\.so|\.abi3\.so|\.py)$", "", str(file))
        if module != str(file) and not module.endswith("__main__"):
            modules.add(re.sub(r"/__init__$", "", module).replace("/", "."))
    missing = sorted(set(promised) - modules)
    assert not missing, f"the wheel lacks {missing}"
    for module in sorted(modules):
        try:
            imported = importlib.import_module(module)
        except ImportError as error:
            assert extras.get(module, "no extra") in str(error), f"{module}: {error!r}"
            continue
        assert module not in extras, f"{module} could be imported without what it needs"
        place = Path(imported.__file__ or "").resolve()
        assert SITE in place.parents, f"{module} was imported from {place}, not from {SITE}"
    version = importlib.import_module(package).__version__
    assert version == distribution.version, f"{package} says version {version}, its wheel {distribution.version}"
    return len(modules)


def run(*command: str) -> str:
    """Runs a program and returns all that it printed; it must print something and end with status 0."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
    words = " ".join(command)
    assert done.returncode == 0, f"{words} ended with status {done.returncode}:\n{done.stdout}"
    assert done.stdout.strip(), f"{words} printed nothing"
    return done.stdout


def python(*arguments: str) -> str:
    """Runs the interpreter in isolation and returns all that it printed."""
    return run(*PYTHON, *arguments)


def main() -> None:
    """Runs it all, for the package that the command line names."""
    name, kind, package = sys.argv[1:]
    sys.path.insert(0, str(HERE))
    use = importlib.import_module("use")
    check_surroundings()
    said = [f"{name}: {import_everything(name, package, use.PROMISED, use.EXTRAS)} modules"]
    if kind == "program":
        version = run(str(Path(sys.executable).parent / name), "--version").strip()
        assert importlib.metadata.version(name) in version, f"{name} --version says {version}"
    said.append(use.run())
    print(", ".join(said))


if __name__ == "__main__":
    main()
