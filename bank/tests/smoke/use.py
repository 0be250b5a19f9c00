"""What `inside.py` does with opool-bank: puts, claims, leases, from several processes; the command line."""

from __future__ import annotations

from inside import python

EXTRAS = {"opool_bank.pytest_plugin": "pytest"}
PROMISED = [*EXTRAS, "opool_bank", "opool_bank._bank", "opool_bank.cli", "storagebox", "storagebox.settings"]

PROGRAM = """
import sys, threading
from opool_bank import Bank, Lock, SharedObjectMgr
bank = Bank("smoke.opool")
bank.put(range(200))
got = []
def claim(n):
    got.extend(bank.claim(f"{n}-{k}").key for k in range(10))
threads = [threading.Thread(target=claim, args=(n,)) for n in range(16)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert len(set(got)) == 160, len(set(got))
with bank.lease(5) as lease:
    lease.done("x")
with Lock("smoke.opool", "lock"):
    assert SharedObjectMgr("smoke.opool", 10**9).get_object() == 1
assert bank.verify() == []
print(bank.counts().given)
"""


def run() -> str:
    """Runs it all; returns the counts."""
    given = python("-c", PROGRAM).strip()
    counts = python("-m", "opool_bank", "counts", "smoke.opool", "--json")
    assert f'"given": {given}' in counts, counts
    assert "all is well" in python("-m", "opool_bank", "verify", "smoke.opool")
    return f"{given} items given"
