"""A demonstration: processes share a file, some are killed, and nothing is lost or given twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time

from opool_bank import Bank, Lock, Semaphore, SharedObjectMgr, once

_CLIENT = """
import sys
from opool_bank import Bank
bank = Bank(sys.argv[1])
for n in range(int(sys.argv[3])):
    if bank.claim(f"user {sys.argv[2]}-{n}") is None:
        break
"""

_HOLDER = """
import sys
from opool_bank import Bank
lease = Bank(sys.argv[1]).lease(600)
print(lease.key, flush=True)
input()
"""


def main() -> None:
    """Runs it."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "vouchers.opool")
        with Bank(path) as bank:
            _vouchers(bank, path)
            _lease(bank)
        _others(os.path.join(folder, "shared.opool"))


def _vouchers(bank: Bank, path: str) -> None:
    print(f"{bank.put(f'CODE-{n:04}' for n in range(2_000)):,} voucher codes are in {os.path.basename(path)}")
    begun = time.perf_counter()
    clients = [subprocess.Popen([sys.executable, "-c", _CLIENT, path, str(n), "200"]) for n in range(8)]
    killed = 0
    while any(client.poll() is None for client in clients):
        time.sleep(0.05)
        client = random.choice(clients)
        if client.poll() is None and killed < 4:
            client.send_signal(signal.SIGKILL)
            killed += 1
    print(f"8 processes claimed for their users for {time.perf_counter() - begun:.1f} s; {killed} of them were killed")
    counts = bank.counts()
    users = [item.claim_id for item in bank.items("given")]
    assert len(users) == len(set(users)) == counts.given
    assert counts.free + counts.given == 2_000
    print(f"{counts.given:,} codes were given to as many users, {counts.free:,} are free: nothing lost, nothing twice")
    first = next(bank.items("given"))
    again = bank.claim(first.claim_id)
    assert again is not None
    print(f"{first.claim_id} asks again, and gets the same: {again.key}")
    print(f"the file's invariants: {bank.verify() or 'all hold'}")


def _lease(bank: Bank) -> None:
    code = (
        "import sys; from opool_bank import Bank; l = Bank(sys.argv[1]).lease(600); print(l.key, flush=True); input()"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, bank.path], stdout=subprocess.PIPE, stdin=subprocess.PIPE)
    assert holder.stdout is not None
    key = holder.stdout.readline().decode().strip()
    print(f"process {holder.pid} leases {key} for ten minutes, and is killed")
    holder.kill()
    holder.communicate()
    begun = time.perf_counter()
    with bank.lease(key=key, timeout=60) as lease:
        print(f"{lease.key} is ours {(time.perf_counter() - begun) * 1e3:.0f} ms later, with the token {lease.token}")


def _others(path: str) -> None:
    ids = SharedObjectMgr(path, 1_000_000_000)
    print(f"a billion integers: the first are {ids.get_object()} and {ids.get_object()}")
    gpus = Semaphore(path, "gpus", 4)
    with gpus.acquire() as permit, Lock(path, "nightly"):
        print(f"one of 4 permits, number {permit.key}, and the lock that all processes share")
    for attempt in ("first", "second"):
        with once(path, "payment-17", request={"amount": 5}) as runner:
            if runner:
                runner.done("receipt 1")
            print(f"the {attempt} request under one idempotency key {'runs' if runner else 'replays'}: {runner.answer}")


if __name__ == "__main__":
    main()
