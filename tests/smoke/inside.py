"""What runs in the clean environment: imports all that was installed, runs every entry point and the recordings.

Standard library only. Prints one line of counts; anything wrong is an exception.
"""

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

DEMONSTRATIONS = [
    "design.opool_demo",
    "design.opool_sample",
    "design.objectmgr_demo",
    "algorithms.palindrome",
    "algorithms.triplets",
]
SELF_CHECKS = ["design.opool_tests", "algorithms.palindrome_tests", "algorithms.triplets_tests"]
# What is not installed here; each says so, and names the extra that brings what it needs.
EXTRAS = {"opool.metrics.prometheus": "opool[prometheus]", "opool.metrics.otel": "opool[otel]"}
PROMISED = [*EXTRAS, "opool", "opool._opool", "design.opool", "design.objectmgr", *DEMONSTRATIONS, *SELF_CHECKS]


def check_surroundings() -> None:
    """Makes sure that this is the place it should be: no Rust, no tools, no source tree."""
    for program in ("cargo", "rustc", "maturin", "pytest"):
        assert shutil.which(program) is None, f"{program} is on PATH"
    for module in ("maturin", "pytest", "hypothesis", "mypy"):
        assert importlib.util.find_spec(module) is None, f"{module} is installed here"
    assert importlib.util.find_spec("opool") is not None, "opool is not installed"
    for path in filter(None, sys.path):
        assert not (Path(path) / "Cargo.toml").exists(), f"the source tree is on the search path: {path}"


def import_everything() -> int:
    """Imports each module of the distribution, quietly and from the place where it was installed."""
    distribution = importlib.metadata.distribution("opool")
    modules = set()
    for file in distribution.files or []:
        name = re.sub(r"(\.cpython-[^/]*\.so|\.py)$", "", str(file))
        if name != str(file) and not name.endswith("__main__"):
            modules.add(re.sub(r"/__init__$", "", name).replace("/", "."))
    missing = sorted(set(PROMISED) - modules)
    assert not missing, f"the wheel lacks {missing}"
    for name in sorted(modules):
        try:
            module = importlib.import_module(name)
        except ImportError as error:
            assert EXTRAS.get(name, "no extra") in str(error), f"{name}: {error!r}"
            continue
        assert name not in EXTRAS, f"{name} could be imported without what it needs"
        place = Path(module.__file__ or "").resolve()
        assert SITE in place.parents, f"{name} was imported from {place}, not from {SITE}"
    version = importlib.import_module("opool").__version__
    assert version == distribution.version, f"opool.__version__ is {version}, the distribution's {distribution.version}"
    return len(modules)


def python(*arguments: str) -> str:
    """Runs the interpreter in isolation and returns all that it printed."""
    done = subprocess.run(
        [sys.executable, "-I", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300
    )
    command = "python -I " + " ".join(arguments)
    assert done.returncode == 0, f"{command} ended with status {done.returncode}:\n{done.stdout}"
    assert done.stdout.strip(), f"{command} printed nothing"
    return done.stdout


def run_entry_points() -> int:
    """Runs the demonstrations and the self-checks; returns how many tests the latter ran."""
    for name in DEMONSTRATIONS:
        python("-m", name)
    ran = 0
    for name in SELF_CHECKS:
        output = python("-m", name, "-v")
        counted = re.search(r"^Ran (\d+) tests? in", output, re.MULTILINE)
        assert counted, f"{name} says nothing of tests:\n{output}"
        assert int(counted.group(1)) > 0, f"{name} ran no test"
        assert re.search(r"^OK\b", output, re.MULTILINE), f"{name} is not OK:\n{output}"
        ran += int(counted.group(1))
    return ran


def main() -> None:
    """Runs it all."""
    check_surroundings()
    imported = import_everything()
    ran = run_entry_points()
    closing = python(str(HERE / "parity" / "replay.py")).strip().splitlines()[-1]
    assert re.fullmatch(r"parity: [1-9]\d* passed, 0 failed", closing), closing
    print(f"{imported} modules, {len(DEMONSTRATIONS)} demonstrations, {ran} self-checks, {closing}")


if __name__ == "__main__":
    main()
