"""Makes a virtual environment and fills it from a lock file; does nothing when it is up to date.

Works on interpreters without `venv` or `ensurepip` (Debian packages them apart) and on those that refuse
installations of their own ("externally managed"): `virtualenv` then comes from the package index into `.tools`.
"""

from __future__ import annotations  # older interpreters must get as far as the message that they are too old

import argparse
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STAMP = ".made-from"

# Inside a virtual environment, the interpreter that it was made with: the one to build on.
BASE_PYTHON = str(getattr(sys, "_base_executable", "") or sys.executable)


def fingerprint(lock: Path | None) -> str:
    """Says which interpreter and which lock file an environment was made from."""
    digest = hashlib.sha256(lock.read_bytes()).hexdigest() if lock else "nothing installed"
    return "\n".join([sys.base_prefix, sys.version, digest, ""])


def run(command: list[str]) -> None:
    """Runs a command and ends this program, showing the output, if it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        sys.exit("{}\nfailed with status {}:\n{}".format(" ".join(command), done.returncode, done.stdout))


def make_with_virtualenv(target: Path) -> None:
    """Makes an environment with `virtualenv`, fetched from the package index at most once per Python version."""
    tools = ROOT / ".tools" / "virtualenv-{}.{}".format(*sys.version_info)
    stamp = tools / STAMP
    lock = ROOT / "requirements" / "venv.lock"
    made_from = fingerprint(lock)
    if not (stamp.is_file() and stamp.read_text() == made_from):
        print("      this interpreter has no working venv module: fetching virtualenv", flush=True)
        shutil.rmtree(str(tools), ignore_errors=True)
        pip = [BASE_PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        run([*pip, "--target", str(tools), "--require-hashes", "--requirement", str(lock)])
        stamp.write_text(made_from)
    env = {**os.environ, "PYTHONPATH": str(tools)}
    command = [BASE_PYTHON, "-m", "virtualenv", "--quiet", "--no-periodic-update", str(target)]
    if subprocess.run(command, env=env).returncode != 0:
        sys.exit("virtualenv could not make " + str(target))


def make(target: Path) -> None:
    """Makes an environment with pip and nothing else in it, replacing what stood there."""
    shutil.rmtree(str(target), ignore_errors=True)
    command = [BASE_PYTHON, "-m", "venv", str(target)]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if done.returncode != 0:
        shutil.rmtree(str(target), ignore_errors=True)
        make_with_virtualenv(target)


def requirements(lock: Path) -> list[str]:
    """Returns the pinned requirements of a lock file, each with its hashes."""
    text = "".join(line for line in lock.read_text().splitlines(keepends=True) if not line.lstrip().startswith("#"))
    return text.replace("\\\n", " ").splitlines()


def install_what_can_be_had(pip: list[str], lock: Path, scratch: Path) -> None:
    """Installs what a lock file names: all of it, or what this interpreter has wheels for."""
    whole = [*pip, "--require-hashes", "--only-binary", ":all:", "--requirement"]
    if subprocess.run([*whole, str(lock)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0:
        return
    missing, found = [], 0
    for requirement in requirements(lock):
        scratch.write_text(requirement + "\n")
        done = subprocess.run([*whole, str(scratch), "--no-deps"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        found += done.returncode == 0
        if done.returncode != 0:
            missing.append(requirement.split("==")[0])
    if not found:
        run([*whole, str(lock)])  # nothing at all can be had: say why
    print("      this interpreter goes without " + ", ".join(missing), flush=True)


def main() -> None:
    """Reads the command line."""
    if sys.version_info < (3, 9) or sys.implementation.name != "cpython":
        found = f"{platform.python_implementation()} {platform.python_version()}"
        sys.exit(f"opool needs CPython 3.9 or newer, but {sys.executable} is {found}: set PYTHON=...")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", type=Path, help="where the environment goes")
    parser.add_argument("--lock", type=Path, help="what to install in it")
    parser.add_argument("--what-can-be-had", action="store_true", help="go without what this interpreter cannot have")
    arguments = parser.parse_args()

    target, lock = arguments.target.absolute(), arguments.lock
    stamp = target / STAMP
    made_from = fingerprint(lock)
    if stamp.is_file() and stamp.read_text() == made_from and (target / "bin" / "python").exists():
        return
    print(f"----- making {arguments.target} (Python {platform.python_version()})", flush=True)
    make(target)
    if lock:
        print(f"      installing {lock}", flush=True)
        pip = [str(target / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        if arguments.what_can_be_had:
            install_what_can_be_had(pip, lock, target / "requirement.txt")
        else:
            run([*pip, "--require-hashes", "--requirement", str(lock)])
    stamp.write_text(made_from)


if __name__ == "__main__":
    main()
