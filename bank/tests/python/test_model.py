"""The model holds, each known hole is seen in it, and the real store answers as it does."""

import pytest
from model import Rules, check, walk

from opool_bank import AlreadySettled, Bank, ClaimMismatch, StaleLease
from opool_bank.testing import ManualClock

STORES = ("file", "postgres")

LEASE, OTHER = ("lease", "a"), ("lease", "b")
DONE, RELEASE = ("done",), ("release",)

# name: scripts of the clients, rows, the rules that hold, the rules that do not and what goes wrong then
CASES = {
    "done repeated on an item that is not kept": (
        [[LEASE, DONE], [OTHER]],
        1,
        Rules(keep=False, ticks=3),
        Rules(keep=False, tombs=False, ticks=3),
        "false stale",
    ),
    "lease, then claim of the same id; another claims": (
        [[LEASE, ("claim", "a")], [("claim", "b")]],
        1,
        Rules(ticks=3),
        Rules(claim="as it is", faults=0),
        "given twice",
    ),
    "release repeated after the item was leased again": (
        [[LEASE, RELEASE], [OTHER]],
        1,
        Rules(ticks=3),
        Rules(old_release="stale", remembers=False, ticks=3),
        "false stale",
    ),
    "extend and done, the token alone decides": (
        [[LEASE, ("extend", 2), DONE], [("claim", "b")]],
        1,
        Rules(ticks=3),
        Rules(finish="token", ticks=3),
        "revived",
    ),
    "done repeated, the row must be leased": (
        [[LEASE, DONE], [OTHER]],
        1,
        Rules(ticks=3),
        Rules(finish="token and leased", ticks=3),
        "false stale",
    ),
    "a lease counted from the try that was answered": (
        [[LEASE], [OTHER]],
        1,
        Rules(ticks=4),
        Rules(counted="retry", ticks=4),
        "held twice",
    ),
    "a late copy of a short extend": (
        [[LEASE, ("extend", 1), ("extend", 3)], [OTHER]],
        1,
        Rules(ticks=4),
        Rules(shortens=True, ticks=4),
        "held twice",
    ),
    "tokens that begin again after a delete": (
        [[LEASE, DONE], [OTHER, DONE, ("lease", "c")], [("put", 0)]],
        1,
        Rules(keep=False, faults=0, ticks=3),
        Rules(keep=False, tombs=False, token="row", faults=0, ticks=3),
        "wrong finish",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_rules_hold_in_every_interleaving(name):
    scripts, rows, good, _, _ = CASES[name]
    worlds, faults = check(scripts, rows, good)
    assert faults == set()
    assert worlds > 100


@pytest.mark.parametrize("name", CASES)
def test_without_its_rule_the_hole_is_found(name):
    scripts, rows, _, bad, fault = CASES[name]
    assert fault in check(scripts, rows, bad)[1]


def test_two_items_and_three_clients_with_a_fault():
    worlds, faults = check([[LEASE, DONE], [OTHER, RELEASE], [("claim", "c")]], 2, Rules(ticks=1))
    assert faults == set()
    assert worlds > 10_000


def answer_of(bank, kept, call, token, keep):
    """The real store's answer to a call of the model."""
    kind, *arguments = call
    try:
        if kind == "lease":
            taken = bank._core.take(arguments[0], 1, False, 2.0, False, None, False, None, False, False, None)
            kept.extend(taken)  # dropping a lease would give it back
            return ("got", taken[0].key, taken[0].token) if taken else ("none",)
        if kind == "claim":
            item = bank.claim(arguments[0])
            return ("none",) if item is None else ("got", item.key, item.token)
        if kind == "put":
            bank.put([arguments[0]])
            return ("ok",)
        if kind == "done":
            return ("true",) if bank.done(token, "r", keep=keep) else ("false",)
        if kind == "release":
            return ("true",) if bank.release(token) else ("false",)
        return ("true",) if bank.extend(token, arguments[0]) else ("false",)
    except ClaimMismatch:
        return ("mismatch",)
    except (StaleLease, AlreadySettled):
        return ("stale",)


REPLAYED = {name: case[:3] for name, case in CASES.items()}
REPLAYED["two items, three clients"] = (
    [[LEASE, DONE], [OTHER, RELEASE], [("claim", "c")]],
    2,
    Rules(ticks=6, faults=2),
)


class Tokens(dict):
    """The store's tokens by the model's: those of a store may skip numbers, but they grow as the model's do."""

    def real(self, token):
        return None if token is None else (token[0], self.get(token[1], -1))

    def agree(self, got, expected):
        if got[:2] != expected[:2] or got[0] != "got":
            return got == expected
        if expected[2] not in self and got[2] > max(self.values(), default=0):
            self[expected[2]] = got[2]
        return self.get(expected[2]) == got[2]


@pytest.mark.parametrize("name", REPLAYED)
def test_the_real_store_answers_as_the_model_does(name, path):
    scripts, rows, rules = REPLAYED[name]
    kept = []
    calls = 0
    clock = ManualClock()
    for seed in range(40):
        bank = Bank(path, name=f"run {seed}", clock=clock)
        tokens = Tokens()
        bank.put(range(rows))
        trace = []
        for what in walk(scripts, rows, rules, seed):
            trace.append(what)
            if what[0] == "tick":
                clock.advance(1)
            if what[0] != "carry out":
                continue
            _, _, call, token, expected, *_ = what
            expected = expected[:3] if expected[0] == "got" else expected
            if call[0] == "release" and expected == ("stale",):
                expected = ("false",)
            calls += 1
            got = answer_of(bank, kept, call, tokens.real(token), rules.keep)
            assert tokens.agree(got, expected), (got, expected, trace)
        assert bank.verify() == []
    assert calls > 100
