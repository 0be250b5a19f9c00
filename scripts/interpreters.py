"""Lists the CPython interpreters that this machine has, one per supported version: `3.11 /usr/bin/python3.11`.

Looks at the running interpreter first, then on PATH, among pyenv's versions, and at what `make interpreters` brought.
`--ends` lists only the oldest supported version and the newest, `--newest` only that; neither that of the running
interpreter.
"""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

SUPPORTED = ["3.9", "3.10", "3.11", "3.12", "3.13", "3.14", "3.15"]
TOOLS = Path(__file__).resolve().parent.parent / ".tools"

# A pyenv shim exists for versions that are not selected, and fails: only an answer counts. Free-threaded builds
# share the version number and are another platform.
PROBE = """
import sys, sysconfig
if sys.implementation.name == "cpython" and not sysconfig.get_config_var("Py_GIL_DISABLED"):
    print("{}.{}".format(*sys.version_info), getattr(sys, "_base_executable", "") or sys.executable)
"""


def candidates() -> Iterator[str]:
    """Yields the paths that may be interpreters, the preferred first."""
    yield sys.executable
    for version in SUPPORTED:
        found = shutil.which("python" + version)
        if found:
            yield found
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    for version in SUPPORTED:
        yield from (str(path) for path in sorted(pyenv.glob(f"versions/{version}.*/bin/python{version}")))
        # While `work` is there, `fetch_interpreters.py` has not come to its end.
        brought = TOOLS / f"python-{version}"
        if not (brought / "work").exists():
            yield str(brought / "usr" / "bin" / f"python{version}")


def interpreters() -> dict[str, str]:
    """Returns the path of an interpreter for each supported version that was found."""
    found: dict[str, str] = {}
    for path in candidates():
        if not Path(path).exists():
            continue
        answer = subprocess.run([path, "-c", PROBE], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        version, _, executable = answer.stdout.strip().partition(" ")
        if version in SUPPORTED:
            found.setdefault(version, executable)
    return {version: found[version] for version in SUPPORTED if version in found}


def main() -> None:
    """Reads the command line and prints the list."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ends", action="store_true", help="only the oldest and the newest, less the running one")
    parser.add_argument("--newest", action="store_true", help="only the newest, unless it is the running one")
    options = parser.parse_args()
    wanted = list(SUPPORTED)
    found = interpreters()
    if options.ends or options.newest:
        running = "{}.{}".format(*sys.version_info)
        wanted = [SUPPORTED[-1]] if options.newest else [SUPPORTED[0], SUPPORTED[-1]]
        wanted = [version for version in wanted if version != running]
        for version in wanted:
            if version not in found:
                print(f"interpreters: CPython {version} IS NOT HERE: nothing is checked on it", file=sys.stderr)
    for version in wanted:
        if version in found:
            print(version, found[version])


if __name__ == "__main__":
    main()
