"""Runs the wheels for 64-bit ARM, on Debian's ARM builds of CPython, in qemu: `make wheel-aarch64` does it.

An emulated program cannot start another one here, so there is no environment of their own: pip, on this side, unpacks
a wheel for that platform into a folder, if its tag fits, and that is put on the search path.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import inside
from contents import ROOT, WrongError, check_wheel

sys.path.insert(0, str(ROOT / "scripts"))
from aarch64 import PYTHONS, emulator, interpreter  # noqa: E402
from packages import Package, packages  # noqa: E402

IMPORT_ALL = """
import importlib, platform, sys
assert platform.machine() == "aarch64", platform.machine()
for name in sys.argv[1:]:
    importlib.import_module(name)
print(len(sys.argv) - 1, "modules on", platform.machine(), "Python", platform.python_version())
"""


def install(wheel: Path, version: str, site: Path) -> None:
    """Unpacks a wheel for ARM, if its tags say that it runs there with a glibc of 2.36."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-index", "--no-deps"]
    platforms = [f"--platform=manylinux_2_{minor}_aarch64" for minor in range(17, 37)]
    target = ["--only-binary", ":all:", "--python-version", version, *platforms, "--target", str(site), str(wheel)]
    done = subprocess.run([*pip, *target], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise WrongError(done.stdout)


def load_use(package: Package) -> Any:
    """Returns the module `use` of a package; each has one of that name."""
    spec = importlib.util.spec_from_file_location("use", package.folder / "tests" / "smoke" / "use.py")
    assert spec and spec.loader, package
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_package(package: Package, version: str, dist: Path) -> str:
    """Checks, unpacks and runs the wheel of one package; returns what it says."""
    tag = "cp" + version.replace(".", "")
    tag = {"per-interpreter": f"{tag}-{tag}", "abi3": "cp3*-abi3", "program": "py3-none"}[package.kind]
    (wheel,) = dist.glob(f"{package.distribution}-*-{tag}-*_aarch64.whl")
    check_wheel(package, wheel, version, released=True)
    with tempfile.TemporaryDirectory(prefix="opool-aarch64-") as folder:
        site = Path(folder)
        install(wheel, version, site)
        root = interpreter(version)
        qemu = [str(emulator()), "-L", str(root)]
        if package.kind == "program":
            return inside.run(*qemu, str(site / "bin" / package.name), "--version").strip()
        python = root / "usr" / "bin" / f"python{version}"
        # -E and -I would hide PYTHONPATH.
        inside.PYTHON = ["env", f"PYTHONPATH={site}", *qemu, str(python), "-s", "-B"]
        modules = sorted(
            re.sub(r"(/__init__)?\.py$", "", path.relative_to(site).as_posix()).replace("/", ".")
            for name in package.python
            for path in (site / name).rglob("*.py")
            if path.name != "__main__.py"
        )
        use = load_use(package)
        wanted = [name for name in modules if name not in use.EXTRAS]
        imported = inside.python("-c", IMPORT_ALL, package.module, *wanted).strip()
        return f"{imported}, {use.run()}"


def main() -> int:
    """Reads the command line and runs what it names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dist", type=Path, help="the folder with the wheels")
    parser.add_argument("versions", nargs="*", default=list(PYTHONS), help="of CPython")
    arguments = parser.parse_args()
    passed, failed = 0, 0
    for version in arguments.versions:
        if version not in PYTHONS:
            print(f"{version:>5}: NOT RUN: Debian has no such interpreter for ARM", flush=True)
            continue
        for package in packages():
            try:
                verdict = run_package(package, version, arguments.dist)
                passed += 1
            except (WrongError, AssertionError, OSError, ValueError, subprocess.TimeoutExpired) as error:
                failed += 1
                verdict = f"FAILED\n{error}"
            print(f"{version:>5}: {package.name}: {verdict}", flush=True)
    print(f"aarch64: {passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
