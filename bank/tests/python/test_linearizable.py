"""Histories of small concurrent runs have an order that explains all answers (the search of Wing and Gong).

In it each call has its effect at a moment between its begin and its end.
"""

import random
import threading
import time

import pytest

from opool_bank import Bank, StaleLease

STORES = ("file", "postgres")


class Spec:
    """What one call does to a bank, without time."""

    @staticmethod
    def start(rows):
        return tuple(("F", None, 0, n) for n in range(rows)), rows

    @staticmethod
    def apply(state, call):
        """The state after the call and its answer; None if the answer cannot be told (a token)."""
        rows, clock = state
        kind, *arguments = call
        if kind == "counts":
            return state, tuple(sum(row[0] == letter for row in rows) for letter in "FLG")
        if kind in ("claim", "lease"):
            mine = [place for place, row in enumerate(rows) if row[1] == arguments[0]]
            free = sorted((row[3], place) for place, row in enumerate(rows) if row[0] == "F")
            if mine:
                place = mine[0]
                if kind == "claim" and rows[place][0] == "L":
                    rows = (*rows[:place], ("G", *rows[place][1:]), *rows[place + 1 :])
                return (rows, clock), place
            if not free:
                return state, None
            place = free[0][1]
            taken = ("G" if kind == "claim" else "L", arguments[0], 0, 0)
            return (((*rows[:place], taken, *rows[place + 1 :])), clock), place
        id, place = arguments
        row = rows[place]
        if row[0] != "L" or row[1] != id:
            return state, "no"
        new = ("G", id, 0, 0) if kind == "done" else ("F", None, 0, clock)
        return (((*rows[:place], new, *rows[place + 1 :])), clock + 1), "yes"


def explained(history, rows):
    """Whether some legal order of the calls gives all their answers."""
    begun = [(call, answer, start, end) for call, answer, start, end in history]
    seen = set()

    def search(left, state):
        if not left:
            return True
        if (left, state) in seen:
            return False
        seen.add((left, state))
        first_end = min(begun[n][3] for n in left)
        for n in left:
            call, answer, start, _ = begun[n]
            if start > first_end:
                continue
            after, expected = Spec.apply(state, call)
            if expected == answer and search(left - {n}, after):
                return True
        return False

    return search(frozenset(range(len(begun))), Spec.start(rows))


def history_of(bank, seed, threads=3, calls=5, rows=2):
    """What some threads did to a new bank, and when."""
    bank.put(range(rows))
    start = threading.Barrier(threads)
    history = []

    def work(number):
        choose = random.Random(f"{seed} {number}")
        held = None
        start.wait()
        for turn in range(calls):
            kind = choose.choice(["claim", "lease", "lease", "counts", "settle"])
            # The ids of a thread are its own, or shared with the others.
            id = choose.choice([f"{number} {turn}", "shared"]) if kind == "claim" else f"{number} {turn}"
            begin = time.perf_counter_ns()
            if kind == "counts":
                counts = bank.counts()
                call, answer = ("counts",), (counts.free, counts.leased, counts.given)
            elif kind == "claim":
                item = bank.claim(id)
                call, answer = ("claim", id), None if item is None else item.key
            elif kind == "lease" or held is None:
                leases = bank.lease_many(1, None, id=id)
                call, answer = ("lease", id), leases[0].key if leases else None
                if leases:
                    kept.append(leases)
                    held = (id, leases[0])
            else:
                id, lease = held
                held = None
                if choose.random() < 0.5:
                    call = ("release", id, lease.key)
                    answer = "yes" if lease.release() else "no"
                else:
                    call = ("done", id, lease.key)
                    try:
                        answer = "yes" if lease.done() else "no"
                    except StaleLease:
                        answer = "no"
            history.append((call, answer, begin, time.perf_counter_ns()))

    kept = []
    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return history, kept


def test_concurrent_histories_are_linearizable(path):
    for seed in range(60):
        with Bank(path, name=f"run {seed}") as bank:
            history, kept = history_of(bank, seed)
            assert len(history) == 15
            assert explained(history, 2), history
            for leases in kept:
                leases.release()


@pytest.mark.parametrize(
    "history",
    [
        [(("claim", "a"), 0, 0, 1), (("claim", "b"), 0, 2, 3)],  # one item given twice
        [(("claim", "a"), 0, 0, 1), (("claim", "a"), 1, 2, 3)],  # one id, two items
        [(("claim", "a"), None, 0, 1)],  # sold out while two are free
        [(("lease", "a"), 0, 0, 1), (("release", "a", 0), "yes", 2, 3), (("counts",), (1, 1, 0), 4, 5)],  # a stale read
    ],
)
def test_the_search_finds_what_cannot_be(history):
    assert not explained(history, 2)
