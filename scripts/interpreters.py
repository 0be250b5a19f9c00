"""Lists the CPython interpreters that this machine has, one per supported version: `3.11 /usr/bin/python3.11`.

Looks at the running interpreter first, then on PATH, then among pyenv's versions.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

SUPPORTED = ["3.9", "3.10", "3.11", "3.12", "3.13"]

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


def interpreters() -> dict[str, str]:
    """Returns the path of an interpreter for each supported version that was found."""
    found: dict[str, str] = {}
    for path in candidates():
        answer = subprocess.run([path, "-c", PROBE], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        version, _, executable = answer.stdout.strip().partition(" ")
        if version in SUPPORTED:
            found.setdefault(version, executable)
    return {version: found[version] for version in SUPPORTED if version in found}


if __name__ == "__main__":
    for version, executable in interpreters().items():
        print(version, executable)
