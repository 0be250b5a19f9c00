"""Finds the programs of a PostgreSQL server; installs them first if they are missing and this process may.

The tests start a server of their own from them (`tests/python/postgres.py`). What Debian's package would do besides,
which is to create a server for the whole machine and start it, is asked off.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

NEEDED = ("initdb", "pg_ctl", "postgres")
DEBIAN = Path("/usr/lib/postgresql")
NO_CLUSTER = Path("/etc/postgresql-common/createcluster.d/opool.conf")


def find_programs() -> Path | None:
    """The folder with the server's programs, of the newest version if there are several."""
    found = [path for path in DEBIAN.glob("*/bin") if re.fullmatch(r"\d+", path.parent.name)]
    found.sort(key=lambda path: -int(path.parent.name))
    on_path = shutil.which("pg_ctl")
    if on_path:
        found.append(Path(on_path).resolve().parent)
    return next((path for path in found if all((path / name).is_file() for name in NEEDED)), None)


def install() -> Path | None:
    """Installs Debian's package. Without root or apt-get this does nothing; a failure is printed."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return None
    print("postgres: PostgreSQL is missing: installing it with apt-get", flush=True)
    NO_CLUSTER.parent.mkdir(parents=True, exist_ok=True)
    NO_CLUSTER.write_text("create_main_cluster = off\n")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", "install", "--quiet", "--yes", "--no-install-recommends", "postgresql"]
    try:
        for step in (command, ["apt-get", "update", "--quiet"], command):
            done = subprocess.run(step, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            found = find_programs()
            if found:
                return found
            print(f"postgres: {' '.join(step)}: status {done.returncode}\n{done.stdout[-500:]}", flush=True)
    finally:
        NO_CLUSTER.unlink()
    sys.exit("postgres: apt-get is here, this is root, and still PostgreSQL could not be installed")


def main() -> None:
    """Says where they are."""
    found = find_programs() or install()
    print(f"postgres: {found or 'NOT FOUND: its tests will be skipped. Install PostgreSQL, or run this as root'}")


if __name__ == "__main__":
    main()
