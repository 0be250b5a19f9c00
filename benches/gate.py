"""The gate: how many instructions of ours a lease and an id cost, counted by callgrind.

Unlike nanoseconds they are the same on a busy machine and an idle one, so CI can hold a limit against them. Every form
is counted twice, for a short loop and for a long one: what starting up costs is in both, and cancels. Whatever runs
inside our shared object counts as ours, whether it has symbols or not.

    python benches/gate.py [--limit 140] [--ids-limit 170]
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import opool._opool

OURS = opool._opool.__file__
SHORT, LONG = 100, 1_100
LEASE = "with pool.lease() as obj: pass"
IDS = "ids.free_object(ids.get_object())"
FORMS = [
    LEASE,
    "with pool.lease(timeout=5.0) as obj: pass",
    "pool.release(pool.acquire())",
    "async with pool.lease_async() as obj: pass",
    IDS,
]

# Of the manager every id was given and every other one is back: that takes more than fresh ids do.
SETUP = """import sys, opool
pool = opool.Pool([object() for _ in range(4)])
ids = opool.ObjectMgr(100_001)
ids.get_range(100_000)
ids.free_many(range(1, 50_001))
"""

# What one run does: each form as often as the argument in its place says. Nothing here suspends, so no event loop is
# needed: one step of the coroutine is all of it.
PROGRAM = SETUP + "".join(
    f"async def run(n):\n  for _ in range(n):\n    {form}\n"
    f"try: run(int(sys.argv[{place}])).send(None)\nexcept StopIteration: pass\n"
    for place, form in enumerate(FORMS, 1)
)


def instructions(profile: str, shared_object: str) -> int:
    """What a profile without name compression counts inside one object file, calls to other files left out."""
    total, counts, call = 0, False, False
    for line in profile.splitlines():
        if line.startswith("ob="):
            counts = line[3:] == shared_object
        elif line.startswith("calls="):
            call = True  # the next line holds what the callee took
        elif line[:1].isdigit():
            if counts and not call:
                total += int(line.split()[1])
            call = False
    return total


def count(valgrind: str, repeats: list[int]) -> int:
    """Our instructions in one run of the program."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "callgrind.out"
        options = ["--tool=callgrind", "--compress-strings=no", "--compress-pos=no", f"--callgrind-out-file={out}"]
        program = [sys.executable, "-c", PROGRAM, *map(str, repeats)]
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        done = subprocess.run([valgrind, *options, *program], env=environment, stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            sys.exit(f"gate: valgrind failed with status {done.returncode}:\n{done.stderr}")
        return instructions(out.read_text(encoding="utf-8", errors="replace"), OURS)


def per_cycle(valgrind: str) -> dict[str, float]:
    """Our instructions in one cycle of each form."""
    short = count(valgrind, [SHORT] * len(FORMS))
    found = {}
    for place, form in enumerate(FORMS):
        repeats = [LONG if place == other else SHORT for other in range(len(FORMS))]
        found[form] = (count(valgrind, repeats) - short) / (LONG - SHORT)
    return found


def find_valgrind() -> str | None:
    """Its path; installs it first if it is missing and this process may."""
    found = shutil.which("valgrind")
    if not found and os.geteuid() == 0 and shutil.which("apt-get"):
        print("gate: valgrind is missing: installing it with apt-get", flush=True)
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        install = ["apt-get", "install", "--quiet", "--yes", "--no-install-recommends", "valgrind"]
        for command in (install, ["apt-get", "update", "--quiet"], install):
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            found = shutil.which("valgrind")
            if found:
                break
            print(f"gate: {' '.join(command)}: status {done.returncode}\n{done.stdout[-500:]}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=float, default=140, help="instructions a lease may cost (%(default)s)")
    parser.add_argument("--ids-limit", type=float, default=170, help="and an id, given and freed (%(default)s)")
    arguments = parser.parse_args()
    limit, ids_limit = arguments.limit, arguments.ids_limit
    if not sys.platform.startswith("linux") or platform.machine() not in ("x86_64", "AMD64"):
        print(f"gate: NOT CHECKED: the limit holds for x86-64 Linux, this is {platform.machine()} {sys.platform}")
        return
    valgrind = find_valgrind()
    if not valgrind:
        sys.exit("gate: NOT CHECKED: it needs valgrind, which could not be installed here: install it, or run as root")
    found = per_cycle(valgrind)
    print(f"own instructions a cycle, CPython {platform.python_version()}, by callgrind:")
    for form, instructions_of_form in found.items():
        print(f"  {instructions_of_form:7.1f}  {form}")
    if found[LEASE] <= 0 or found[IDS] <= 0:
        sys.exit(f"gate: counted nothing in {OURS}: the count is broken")
    if found[LEASE] > limit:
        sys.exit(f"gate: a lease costs {found[LEASE]:.1f} instructions of ours, over the limit of {limit:g}")
    if found[IDS] > ids_limit:
        sys.exit(f"gate: an id costs {found[IDS]:.1f} instructions of ours, over the limit of {ids_limit:g}")
    print(f"gate: {found[LEASE]:.1f} is within the limit of {limit:g}, {found[IDS]:.1f} within that of {ids_limit:g}")


if __name__ == "__main__":
    main()
