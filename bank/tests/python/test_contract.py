"""The contract of a bank: what each call does, and what the same call answers again."""

import threading

import pytest

from opool_bank import (
    AlreadySettled,
    Bank,
    BankClosed,
    BankTimeout,
    ClaimMismatch,
    KeyConflict,
    StaleLease,
    UnknownKey,
)

STORES = ("file", "postgres")


def keys(items):
    return [item.key for item in items]


def test_an_id_gets_the_same_item_for_ever_also_after_all_are_gone(bank):
    bank.put(["a", "b"])
    assert bank.claim("alice").key == "a"
    assert bank.claim("bob").key == "b"
    assert bank.claim("carol") is None
    assert bank.claim("alice").key == "a"
    assert bank.claim("alice").new is False


def test_a_repeat_takes_nothing_out_so_the_last_free_item_goes_to_the_other(bank):
    bank.put(["a", "b"])
    bank.claim("alice")
    for _ in range(20):
        assert bank.claim("alice").key == "a"
    assert bank.claim("bob").key == "b"


def test_loading_again_adds_nothing_and_frees_nothing(bank):
    assert bank.put(["a", "b"]) == 2
    bank.claim("alice")
    assert bank.put(["a", "b", "c"]) == 1
    assert bank.claim("bob").key == "b"
    assert bank.claim("carol").key == "c"


def test_a_key_with_another_payload_is_refused_and_its_chunk_unchanged(bank):
    bank.put([("a", 1)])
    with pytest.raises(KeyConflict) as caught:
        bank.put([("b", 2), ("a", 3)])
    assert caught.value.keys == ["a"]
    assert bank.get("b") is None
    assert bank.put([("b", 2), ("a", 3)], on_conflict="keep") == 1
    assert bank.get("a").payload == 1


def test_a_million_is_not_needed_to_see_that_chunks_are_streamed(bank):
    seen = []

    def codes():
        for n in range(2_500):
            seen.append((n, bank.counts().put))
            yield n

    assert bank.put(codes()) == 2_500
    assert seen[999][1] == 0
    assert seen[1_000][1] == 1_000
    assert bank.counts().free == 2_500


def test_an_atomic_put_is_all_or_none(bank):
    def breaks():
        yield from range(3_000)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        bank.put(breaks(), atomic=True)
    assert bank.counts().put == 0
    bank.put([("x", 1)])
    with pytest.raises(KeyConflict):
        bank.put([("y", 1), ("x", 2)], atomic=True)
    assert bank.counts().put == 1
    assert bank.put([("y", 1), ("x", 1)], atomic=True) == 1


def test_an_atomic_put_whose_iterator_uses_the_bank_does_not_lock_itself_out(bank):
    bank.put(["first"])
    assert bank.put((bank.claim("alice").key + str(n) for n in range(3)), atomic=True) == 3


@pytest.mark.parametrize(
    "value",
    ["", "a\0b", "é€🙂", b"", b"\xff\x00", 0, -1, 2**63 - 1, -(2**63), "x" * 4_000],
)
def test_keys_and_payloads_round_trip(bank, value):
    bank.put([(value, value)])
    item = bank.claim(value)
    assert (item.key, item.payload) == (value, value)
    assert type(item.key) is type(value)
    assert bank.of(value)[0].key == value


@pytest.mark.parametrize("value", [[1, "a", None], {"a": {"b": 1.5}}, True, 2**70, "x" * 1_000_000, b"\0" * 1_000_000])
def test_payloads_and_results_round_trip(bank, value):
    bank.put([("k", value)])
    with bank.lease() as lease:
        assert lease.payload == value
        lease.done(value)
    assert bank.get("k").result == value


def test_one_and_its_text_and_its_bytes_are_three_keys(bank):
    assert bank.put([1, "1", b"1"]) == 3


def test_order_is_priority_then_age_then_order_of_putting(still, clock):
    still.put(["late"], priority=5)
    still.put(["delayed"], delay=10)
    still.put(["b", "a"])
    assert keys([still.claim(), still.claim(), still.claim()]) == ["b", "a", "late"]
    assert still.claim() is None
    clock.advance(10)
    assert still.claim().key == "delayed"


def test_delayed_items_of_a_higher_priority_do_not_hide_ready_ones(still):
    still.put(range(500), delay=60)
    still.put(["ready"], priority=9)
    assert still.claim().key == "ready"


def test_claim_by_key(bank):
    bank.put(["a", "b"])
    assert bank.claim("x", key="b").key == "b"
    assert bank.claim("y", key="b") is None
    with pytest.raises(UnknownKey, match="no item has the key"):
        bank.claim("z", key="nothing")
    made = bank.claim("z", key="new", create=True, payload={"n": 1})
    assert (made.key, made.payload) == ("new", {"n": 1})
    with pytest.raises(ClaimMismatch):
        bank.claim("x", key="a")


def test_claim_turns_the_lease_of_its_id_into_given(still, clock):
    still.put(["a"])
    lease = still.lease(2, id="a")
    given = still.claim("a")
    assert (given.key, given.token, given.state) == ("a", lease.token, "given")
    clock.advance(10)
    assert still.claim("b") is None


def test_claim_of_a_lease_that_ran_out_gets_a_new_token(still, clock):
    still.put(["a"])
    lease = still.lease(2, id="a", renew=False)
    clock.advance(3)
    given = still.claim("a")
    assert given.key == "a"
    assert given.token > lease.token
    with pytest.raises(StaleLease):
        lease.done()


def test_lease_on_a_given_item_is_refused(bank):
    bank.put(["a"])
    bank.claim("alice")
    with pytest.raises(ClaimMismatch, match="for good"):
        bank.lease(id="alice")


def test_a_repeated_lease_gets_the_same_item_and_token(still, clock):
    still.put(["a", "b"])
    first = still.lease(10, id="x", renew=False)
    clock.advance(4)
    again = still.lease(10, id="x", renew=False)
    assert (again.key, again.token, again.new) == (first.key, first.token, False)
    # The answer says what remains, so that a lost reply makes no lease longer than the bank's.
    assert again.remaining < 6


def test_lease_many_repeats_what_is_held_and_never_tops_up(still, clock):
    still.put(range(6))
    first = still.lease_many(3, 10, id="x", renew=False)
    assert keys(first) == [0, 1, 2]
    first[1].release()
    assert keys(still.lease_many(3, 10, id="x", renew=False)) == [0, 2]
    with pytest.raises(ClaimMismatch):
        still.lease_many(2, 10, id="x")
    clock.advance(11)
    assert len(still.lease_many(3, 10, id="x", renew=False)) == 3
    for lease in first:
        lease._core.abandon()


def test_release_gives_back_and_an_old_token_is_answered_false(bank):
    bank.put(["a"])
    first = bank.lease()
    assert first.release() is True
    assert bank.release((first.key, first.token)) is True
    second = bank.lease()
    assert second.token > first.token
    # The answer that this very call had.
    assert bank.release((first.key, first.token)) is True
    assert bank.reject((first.key, first.token)) is False
    assert bank.get("a").state == "leased"
    second.release()


def test_done_repeated_answers_the_same_and_another_result_is_refused(bank):
    bank.put(["a"])
    lease = bank.lease()
    assert lease.done("r") is True
    assert bank.done((lease.key, lease.token), "r") is True
    with pytest.raises(AlreadySettled) as caught:
        bank.done((lease.key, lease.token), "other")
    assert caught.value.result == "r"
    assert bank.release((lease.key, lease.token)) is False
    assert bank.get("a").state == "given"
    with pytest.raises(StaleLease):
        bank.extend((lease.key, lease.token), 5)


def test_done_of_what_was_claimed_is_refused(bank):
    bank.put(["a"])
    item = bank.claim("alice")
    with pytest.raises(AlreadySettled):
        bank.done(item, "r")


def test_items_that_are_not_kept_are_invisible_and_repeats_are_answered_until_they_are_put_again(still, clock):
    still.put(["task"])
    lease = still.lease()
    assert lease.done("r", keep=False)
    assert still.get("task") is None
    assert list(still.items()) == []
    assert still.done(("task", lease.token), "r", keep=False) is True
    assert still.put(["task"]) == 1
    assert still.done(("task", lease.token), "r", keep=False) is True
    with pytest.raises(AlreadySettled):
        still.done(("task", lease.token), "other", keep=False)
    again = still.lease()
    assert again.token > lease.token
    assert still.done(("task", lease.token), "r", keep=False) is True
    again.done(keep=False)
    clock.advance(601)
    still.put(["other"])
    assert still.counts().put == 3
    with pytest.raises(StaleLease):
        still.done(("task", lease.token), "r", keep=False)


def test_what_is_kept_for_a_time_is_gone_after_it(still, clock):
    still.put(["a"])
    still.lease(id="x").done("r", keep=5)
    assert still.claim(key="a", create=True) is None
    clock.advance(6)
    assert still.get("a") is None
    assert still.claim(key="a", create=True).token > 1


def test_a_late_finish_counts_as_long_as_nobody_took_the_item(still, clock):
    still.put(["a"])
    lease = still.lease(2, renew=False)
    clock.advance(60)
    assert lease.lost
    assert lease.done("r") is True


def test_a_finish_with_an_old_token_changes_nothing(still, clock):
    still.put(["a"])
    first = still.lease(2, renew=False)
    clock.advance(3)
    second = still.lease(2, renew=False)
    for finish in (first.done, first.extend):
        with pytest.raises(StaleLease) as caught:
            finish()
        assert (caught.value.key, caught.value.token) == ("a", first.token)
    assert first.lost
    assert first.release() is False
    assert first.reject() is False
    assert still.get("a").token == second.token
    assert second.done() is True


def test_extend_never_shortens(still, clock):
    still.put(["a"])
    lease = still.lease(10, renew=False)
    lease.extend(100)
    lease.extend(1)
    clock.advance(50)
    assert not lease.lost
    assert still.claim("x") is None
    assert lease.release()


def test_extend_of_what_was_released_is_stale(bank):
    bank.put(["a"])
    lease = bank.lease()
    lease.release()
    with pytest.raises(StaleLease):
        bank.extend((lease.key, lease.token), 5)


def test_reject_counts_attempts_and_buries(bank):
    bank.put(["a"], max_attempts=2)
    assert bank.lease().reject("first") is True
    lease = bank.lease()
    assert lease.attempts == 2
    assert lease.reject("second") is True
    assert (bank.get("a").state, bank.get("a").result) == ("dead", "second")
    assert bank.reject((lease.key, lease.token)) is True
    assert bank.release((lease.key, lease.token)) is False


def test_a_release_takes_its_attempt_back(bank):
    bank.put(["a"], max_attempts=1)
    for _ in range(3):
        assert bank.lease(timeout=0).release()


def test_what_ran_out_with_its_attempts_used_up_is_buried_by_the_next_claim(still, clock):
    still.put(["poison"], max_attempts=2)
    still.put(["good"], priority=1)
    held = [still.lease(2, renew=False)]
    clock.advance(3)
    held.append(still.lease(2, renew=False))
    clock.advance(3)
    assert [lease.key for lease in held] == ["poison", "poison"]
    assert still.claim().key == "good"
    assert still.get("poison").state == "dead"


def test_settles_of_many_are_one_call_and_one_refusal_does_not_stop_the_others(bank):
    bank.put(range(3))
    leases = bank.lease_many(3)
    leases[1].release()
    other = bank.lease()
    assert other.key == 1
    with pytest.raises(StaleLease):
        bank.done(leases)
    assert [bank.get(n).state for n in range(3)] == ["given", "leased", "given"]
    assert bank.release([other, (0, 99)]) == [True, False]


def test_leaving_the_block_releases_also_after_an_exception(bank):
    bank.put(["a"])
    with pytest.raises(ZeroDivisionError), bank.lease():
        raise ZeroDivisionError
    assert bank.get("a").state == "free"
    with bank.lease() as lease:
        lease.done()
    assert bank.get("a").state == "given"


def test_a_dropped_lease_is_given_back(bank):
    bank.put(["a"])
    bank.lease()
    assert bank.claim(timeout=60).key == "a"


def test_a_waiting_lease_gets_what_another_thread_releases(bank):
    bank.put(["a"])
    lease = bank.lease()
    got = []
    thread = threading.Thread(target=lambda: got.append(bank.lease(timeout=60)))
    thread.start()
    lease.release()
    thread.join(60)
    assert got[0].key == "a"


def test_waiting_ends_with_a_message_that_says_what_is_there(bank):
    bank.put(["a"])
    with (
        bank.lease(),
        pytest.raises(BankTimeout, match=r"no item came free within 0.01 s \(0 free or delayed, 1 leased"),
    ):
        bank.lease(timeout=0.01)
    assert bank.claim(timeout=0.01).key == "a"
    assert bank.claim(timeout=0.01) is None


def test_waiting_for_an_item_by_its_key_says_what_became_of_it(bank):
    bank.put(["held", "given"])
    with bank.lease(key="held"), pytest.raises(BankTimeout, match="item 'held' is leased after 0.01 s"):
        bank.lease(key="held", timeout=0.01)
    bank.claim(key="given")
    # At once: it never comes free.
    with pytest.raises(BankTimeout, match="item 'given' is given, and never comes free"):
        bank.lease(key="given", timeout=None)


@pytest.mark.parametrize("end", ["done", "claim", "bury"])
def test_a_wait_for_an_item_by_its_key_ends_when_it_is_given_or_dead(bank, end):
    bank.put(["a"], max_attempts=1)
    lease = bank.lease(600, id="holder")
    ended = []

    def wait():
        with pytest.raises(BankTimeout, match="never comes free"):
            bank.lease(key="a", timeout=None)
        ended.append(True)

    thread = threading.Thread(target=wait)
    thread.start()
    while bank.stats()["waiting"] == 0:
        pass
    if end == "done":
        lease.done()
    elif end == "claim":
        bank.claim("holder")
    else:
        lease.reject()
    thread.join(60)
    assert ended == [True]


def test_waiting_ends_when_a_delay_is_over(bank):
    bank.put(["a"], delay=0.2)
    assert bank.claim() is None
    assert bank.claim(timeout=60).key == "a"


def test_renewals_keep_a_lease_that_is_longer_than_its_ttl(bank):
    bank.put(["a"])
    with bank.lease(0.5) as lease:
        # Another lease of the item would have to wait for longer than the ttl; in vain, since it is renewed.
        assert bank.claim(timeout=2) is None
        assert not lease.lost
    assert bank.claim().key == "a"


def test_lost_is_told_without_renewal(bank):
    bank.put(["a"])
    lease = bank.lease(0.05, renew=False)
    assert lease.wait_lost(60) is True
    assert lease.lost
    lease._core.abandon()


def test_wait_lost_ends_when_the_lease_is_settled(bank):
    bank.put(["a"])
    lease = bank.lease(60)
    thread = threading.Timer(0.05, lease.release)
    thread.start()
    assert lease.wait_lost(60) is False
    thread.join()


def test_the_last_item_of_64_askers_goes_to_one(bank):
    bank.put(["last"])
    start = threading.Barrier(64)
    got = []

    def ask(n):
        start.wait()
        got.append(bank.claim(f"user {n}"))

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(item is not None for item in got) == 1
    assert len(got) == 64


def test_one_id_from_32_threads_gets_one_item_and_one_new(bank):
    bank.put(range(40))
    start = threading.Barrier(32)
    got = []

    def ask():
        start.wait()
        got.append(bank.claim("the one"))

    threads = [threading.Thread(target=ask) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({item.key for item in got}) == 1
    assert sum(item.new for item in got) == 1
    assert bank.counts().given == 1


def test_two_waits_of_one_id_get_the_same_item(bank):
    got = []
    threads = [threading.Thread(target=lambda: got.append(bank.claim("x", timeout=60))) for _ in range(2)]
    for thread in threads:
        thread.start()
    bank.put(["a", "b"])
    for thread in threads:
        thread.join(60)
    assert keys(got) == ["a", "a"]


def test_counts_and_items_and_pages(bank):
    bank.put(range(1_200))
    bank.claim("x")
    lease = bank.lease()
    assert bank.counts() == (1_198, 1, 1, 0, 1_200)
    assert keys(bank.items()) == list(range(1_200))
    assert keys(bank.items("given")) == [0]
    assert keys(bank.items("leased")) == [1]
    assert len(list(bank.items("free"))) == 1_198
    with pytest.raises(ValueError, match="state must be"):
        next(bank.items("lost"))
    lease.release()


def test_two_banks_in_one_file_do_not_see_each_other(path, bank):
    with Bank(path, name="other") as other:
        bank.put(["a"])
        assert other.claim("x") is None
        other.put(["a"])
        assert other.claim("x").key == "a"
        assert bank.claim("y").key == "a"


def test_a_closed_bank_says_so(path):
    bank = Bank(path)
    bank.close()
    with pytest.raises(BankClosed, match="it is closed"):
        bank.claim("x")
    assert "closed" in repr(bank)


def test_a_bank_that_is_closed_while_a_claim_waits_ends_it(path):
    with Bank(path) as bank:
        got = []

        def wait():
            with pytest.raises(BankClosed):
                bank.claim("x", timeout=60)
            got.append("closed")

        thread = threading.Thread(target=wait)
        thread.start()
        while not bank._core.waiting():
            pass
        bank.close()
        thread.join(60)
        assert got == ["closed"]


def test_tokens_grow_over_all_items_and_are_never_used_twice(still, clock):
    still.put(range(3))
    seen = []
    for _ in range(5):
        for lease in still.lease_many(3, 1, renew=False):
            seen.append(lease.token)
            if lease.key == 0:
                lease.done(keep=False)
        clock.advance(2)
        still.put([0])
    assert seen == sorted(set(seen))


def test_a_bank_that_was_set_back_is_refused_until_it_is_told(store, path, child, request):
    from conftest import finish

    with Bank(path) as bank:
        bank.put(range(10))
        for n in range(5):
            bank.claim(n)
        code = """
            import sys, sqlite3
            db = sqlite3.connect(sys.argv[1])
            db.execute("UPDATE bank SET token = 2")
            db.commit()
            db.close()
        """
        if store == "postgres":
            schema = request.getfixturevalue("schema")
            request.getfixturevalue("postgres").execute(f"SELECT setval('{schema}.token', 2)")
        else:
            finish(child(code, path))
        from opool_bank import BankRewound

        with pytest.raises(BankRewound, match="restored from a copy"):
            bank.claim("x")
        bank.accept_rewind()
        assert bank.claim("x").token == 6
