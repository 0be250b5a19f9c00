"""Clients that are killed at random under load, and what must hold after it. Also `python killing.py SECONDS KILLS`."""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time

CLIENT = """
import ctypes, random, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: none outlives the run
from opool_bank import Bank, StaleLease, AlreadySettled
path, number, begin, seed = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
choose = random.Random(seed)
bank = Bank(path)
n = begin
while True:
    # Twice under one id: the second may be a repeat of a call that a killed client made.
    id = f"{number}-{n}"
    first = bank.claim(id)
    again = bank.claim(id)
    assert first is None or again is not None and first.key == again.key, (first, again)
    print("C", n, "-" if first is None else first.key, flush=True)
    with bank.lease(60, timeout=60) as lease:
        print("L", lease.token, lease.key, flush=True)
        if choose.random() < 0.3:
            lease.done(id)
            print("D", lease.key, lease.token, id, flush=True)
    bank.put([f"{id}-{k}" for k in range(3)])
    print("P", n, flush=True)
    n += 1
"""


class Client:
    """One client after another under one number; each goes on where the one before was killed."""

    def __init__(self, path, number, seed):
        self.path, self.number = path, number
        self.choose = random.Random(f"{seed} {number}")
        self.next = 0
        self.claims, self.done, self.tokens = {}, {}, []
        self.output = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed when the run is over
        self.process = None
        self.start()

    def start(self):
        self.output.seek(0)
        self.output.truncate()
        arguments = [self.path, str(self.number), str(self.next), str(self.choose.random())]
        self.process = subprocess.Popen([sys.executable, "-c", CLIENT, *arguments], stdout=self.output)

    def kill(self):
        assert self.process.poll() is None, f"client {self.number} ended by itself"
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.output.seek(0)
        lines = self.output.read().split("\n")
        for line in lines[:-1]:  # the last one may be half written
            kind, *rest = line.split(" ")
            if kind == "C":
                id = f"{self.number}-{rest[0]}"
                assert self.claims.setdefault(id, rest[1]) in (rest[1], "-"), (id, rest[1], self.claims[id])
                self.claims[id] = rest[1]
            elif kind == "L":
                self.tokens.append((int(rest[0]), rest[1]))
            elif kind == "D":
                self.done[rest[0]] = (int(rest[1]), rest[2])
            else:
                self.next = int(rest[0]) + 1


def check(path, clients):
    """The invariants, against what the clients were told."""
    from opool_bank import Bank

    with Bank(path) as bank:
        assert bank.verify() == []
        counts = bank.counts()
        assert counts.put == counts.free + counts.leased + counts.given + counts.dead
        given = {}
        tokens = {}
        for item in bank.items("given"):
            given[item.key] = item
            assert item.token not in tokens
            tokens[item.token] = item.key
        owner = {}
        for client in clients:
            for id, key in client.claims.items():
                if key == "-":
                    continue
                assert owner.setdefault(key, id) == id, f"{key} was given to {owner[key]} and to {id}"
                assert given[key].claim_id == id, f"{id} was told {key}, which is {given[key]}"
            for key, (token, result) in client.done.items():
                assert owner.setdefault(key, result) == result
                assert (given[key].token, given[key].result) == (token, result), f"{key}: {given[key]}"
        all_tokens = [token for client in clients for token, _ in client.tokens]
        assert len(all_tokens) == len(set(all_tokens)), "a token was handed out twice"
        return counts


def run(seconds, kills, processes=4, seed=0, progress=None, path=None):
    """Kills clients at random until the time or the number of kills is reached; returns the kills and the counts.

    `path` is the address of a bank that is not there yet; a file if it is not given.
    """
    folder = tempfile.TemporaryDirectory()
    path = path or os.path.join(folder.name, "killed.opool")
    from opool_bank import Bank

    with Bank(path) as bank:
        bank.put([f"item-{n}" for n in range(2_000)])
    choose = random.Random(seed)
    clients = [Client(path, number, seed) for number in range(processes)]
    done = 0
    begin = time.monotonic()
    try:
        while done < kills and time.monotonic() - begin < seconds:
            time.sleep(choose.random() * 0.5)
            client = choose.choice(clients)
            client.kill()
            done += 1
            if done % 50 == 0:
                counts = check(path, [])
                if progress:
                    progress(done, counts)
            client.start()
    finally:
        for client in clients:
            if client.process.poll() is None:
                client.kill()
        for client in clients:
            client.output.close()
    counts = check(path, clients)
    told = sum(len(client.claims) for client in clients)
    folder.cleanup()
    return done, told, counts


if __name__ == "__main__":
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 3_600
    wanted = int(sys.argv[2]) if len(sys.argv) > 2 else 10_000
    killed, told, counts = run(
        seconds,
        wanted,
        processes=8,
        seed=time.time(),
        progress=lambda done, counts: print(f"{done} kills, {counts}", flush=True),
    )
    print(f"{killed} kills; {told} answered claims, each item one owner, each id one item, nothing lost: {counts}")
