"""The original of `storagebox`, on dynalite: both fetched into `.tools` at their first use."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

from crowd import answer, end, go, python, start

TOOLS = Path(__file__).resolve().parents[2] / ".tools"
DYNALITE, STORAGEBOX = "4.0.0", "1.0.7"
ITEMS = 3_000

_CLIENT = """
import itertools, os
sys.path.insert(0, sys.argv[1])
import boto3, crowd
import storagebox
assert storagebox.__file__.startswith(sys.argv[1]), storagebox.__file__
number, seconds = int(sys.argv[2]), float(sys.argv[3])
if sys.argv[4] == "fill":
    client = boto3.client("dynamodb")
    for table, key in (("items", "item"), ("ids", "deduplication_id")):
        client.create_table(
            TableName=table, KeySchema=[{"AttributeName": key, "KeyType": "HASH"}], BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"}],
        )
        client.get_waiter("table_exists").wait(TableName=table, WaiterConfig={"Delay": 1})
    storagebox.ItemBankDynamoDbRepository("items").batch_add_items([f"item-{n}" for n in range(int(sys.argv[5]))])

def make(place):
    both = storagebox.ItemBankDynamoDbRepository("items"), storagebox.DeduplicationDynamoDbRepository("ids")
    deduplicator = storagebox.Deduplicator(*both)
    users = (f"{os.getpid()}-{place}-{n}" for n in itertools.count())

    def call():
        try:
            return deduplicator.fetch_item_for_deduplication_id(next(users)) is not None
        except KeyError:  # all candidates of its page were taken by others
            return True

    return call

print("ready", flush=True)
sys.stdin.readline()
figure = crowd.threads(make, number, seconds)
print(figure.rate, figure.p99, figure.fair)
"""


def _fetch() -> tuple[Path, Path] | str:
    """Returns the paths of both, or says why they are not there."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if not (npm and node):
        return "node and npm are not installed"
    server = TOOLS / f"dynalite-{DYNALITE}"
    program = server / "node_modules" / "dynalite" / "cli.js"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    if not program.exists():
        server.mkdir(parents=True, exist_ok=True)
        command = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(server), f"dynalite@{DYNALITE}"]
        if subprocess.run(command, timeout=600, check=False, **quiet).returncode != 0 or not program.exists():
            return f"npm cannot install dynalite@{DYNALITE}"
    package = TOOLS / f"storagebox-{STORAGEBOX}"
    if not package.exists():
        # Apart from everything else: the bank's wheel has the same import path.
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(package)]
        if subprocess.run([*command, f"storagebox=={STORAGEBOX}"], check=False, **quiet).returncode != 0:
            return f"pip cannot install storagebox=={STORAGEBOX}"
    return program, package


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def measure(numbers: list[int], seconds: float) -> dict[int, tuple[float, float, float]] | str:
    """Fetches items in some threads of a process of its own.

    Returns:
        For each number of threads the rate, p99 in ms, and the slowest thread as a part of the fastest; or why not.
    """
    found = _fetch()
    if isinstance(found, str):
        return found
    program, package = found
    try:
        import boto3  # noqa: F401
    except ImportError:
        return "boto3 is not installed"
    port = _free_port()
    os.environ.update(
        AWS_ENDPOINT_URL_DYNAMODB=f"http://127.0.0.1:{port}",
        AWS_ACCESS_KEY_ID="none",
        AWS_SECRET_ACCESS_KEY="none",
        AWS_DEFAULT_REGION="eu-central-1",
    )
    server = start("node", str(program), "--host", "127.0.0.1", "--port", str(port), stdout=subprocess.DEVNULL)
    try:
        for _ in range(200):
            if server.poll() is not None:
                return f"dynalite ended with status {server.returncode}"
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        figures = {}
        for number in numbers:
            fill = "go on" if figures else "fill"
            client = python(_CLIENT, package, number, seconds, fill, ITEMS)
            go(client)
            rate, p99, fair = map(float, answer(client).split())
            figures[number] = rate, p99, fair
        return figures
    finally:
        end(server)
