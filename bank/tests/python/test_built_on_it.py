"""Ids, permits and idempotency keys: what is built on the bank."""

import os
import threading

import pytest

from conftest import finish
from opool_bank import (
    AlreadySettled,
    BankTimeout,
    InProgress,
    Interrupted,
    KindMismatch,
    Lock,
    Mismatch,
    PermitsMismatch,
    RangeMismatch,
    Semaphore,
    SharedObjectMgr,
    StaleLease,
    once,
)

STORES = ("file", "postgres")


def test_ids_answer_as_an_object_manager_does(path):
    ids = SharedObjectMgr(path, 4)
    assert [ids.get_object() for _ in range(4)] == [1, 2, 3, None]
    assert ids.free_object(3) == 3
    assert ids.free_object(1) == 1
    assert [ids.get_object(), ids.get_object(), ids.get_object()] == [3, 1, None]
    for wrong in (0, 4, 99, -1, "1", True, None):
        with pytest.raises(ValueError):
            ids.free_object(wrong)
    ids.free_object(2)
    with pytest.raises(ValueError, match="2 is not held by this process"):
        ids.free_object(2)
    assert ids.verify() == []


def test_ids_go_fresh_first_on_request(path):
    ids = SharedObjectMgr(path, 4, order="fresh")
    assert ids.get_object() == 1
    ids.free_object(1)
    assert [ids.get_object() for _ in range(4)] == [2, 3, 1, None]


def test_a_billion_ids_are_no_rows(store, path):
    ids = SharedObjectMgr(path, 1_000_000_000)
    for _ in range(50):
        ids.free_object(ids.get_object())
    assert ids.counts() == {"held": 0, "freed": 1, "fresh": 999_999_998}
    assert store != "file" or os.path.getsize(path) < 1_000_000


def test_ids_of_another_range_are_refused_and_none_opens_what_is_there(path):
    SharedObjectMgr(path, 10)
    with pytest.raises(RangeMismatch, match="has the size 10, not 11"):
        SharedObjectMgr(path, 11)
    assert SharedObjectMgr(path).get_object() == 1
    with pytest.raises(KindMismatch, match="holds ids"):
        Semaphore(path, "ids", 10)


def test_only_the_process_that_got_an_id_frees_it(path, child):
    ids = SharedObjectMgr(path, 10)
    assert ids.get_object() == 1
    code = """
        import sys
        from opool_bank import SharedObjectMgr
        ids = SharedObjectMgr(sys.argv[1], 10)
        try:
            ids.free_object(1)
        except ValueError:
            print("refused", ids.get_object())
        print(ids.free_object(1, force=True))
    """
    assert finish(child(code, path)).split() == ["refused", "2", "1"]
    # The id went on: the token that this process has frees nobody else's.
    assert ids.get_object() == 1
    assert ids.held == [1]


def test_id_leases_come_back(path):
    ids = SharedObjectMgr(path, 2)
    with ids.lease() as lease:
        assert lease.key == 1
        assert ids.get_object() is None
        with pytest.raises(BankTimeout):
            ids.lease(timeout=0.01)
    assert ids.get_object() == 1


def test_permits_are_handed_out_and_come_back(path):
    gpus = Semaphore(path, "gpus", 2)
    with gpus.acquire() as first, gpus.acquire() as second:
        assert {first.key, second.key} == {0, 1}
        assert second.token > first.token
        with pytest.raises(BankTimeout, match="2 of 2 are held"):
            gpus.acquire(timeout=0.01)
    assert gpus.counts() == {"permits": 2, "held": 0}


def test_another_number_of_permits_is_refused_and_resize_changes_it(path):
    gpus = Semaphore(path, "gpus", 2)
    with pytest.raises(PermitsMismatch, match="has the size 2, not 3") as caught:
        Semaphore(path, "gpus", 3)
    assert caught.value.size == 2
    held = [gpus.acquire(), gpus.acquire()]
    gpus.resize(1)
    high = next(lease for lease in held if lease.key == 1)
    low = next(lease for lease in held if lease.key == 0)
    high.release()
    with pytest.raises(BankTimeout):
        gpus.acquire(timeout=0.01)
    low.release()
    with gpus.acquire() as only:
        assert only.key == 0
    gpus.resize(3)
    token = high.token
    for lease in [gpus.acquire() for _ in range(3)]:
        assert lease.token > token
        lease.release()
    assert gpus.verify() == []


def test_a_permit_that_ran_out_after_the_number_shrank_is_not_given_again(path, clock):
    gpus = Semaphore(path, "gpus", 2, ttl=5, clock=clock)
    held = [gpus._core.take(None, 1, False, 5.0, False, None, False, None, False, False, None)[0] for _ in range(2)]
    gpus.resize(1)
    clock.advance(6)
    assert gpus.acquire(timeout=0).key == 0
    assert len(held) == 2
    assert gpus.verify() == []


def test_a_lock_is_one_permit(path):
    lock = Lock(path, "nightly")
    order = []

    def work(n):
        with lock:
            order.append((n, "in"))
            order.append((n, "out"))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(order[n][0] == order[n + 1][0] for n in range(0, 12, 2))


def test_once_runs_the_first_and_replays_its_answer(path):
    with once(path, "k", request={"amount": 1}) as first:
        assert first.first
        assert first.attempt == 1
        first.done({"receipt": 7})
    with once(path, "k", request={"amount": 1}) as again:
        assert not again
        assert again.answer == {"receipt": 7}


def test_once_tells_the_others_to_come_again(path):
    with once(path, "k", ttl=20) as first:
        with pytest.raises(InProgress) as caught, once(path, "k"):
            pass
        assert 0 < caught.value.retry_after <= 20
        first.done("x")


def test_once_refuses_another_request_under_the_same_key(path):
    with once(path, "k", request="a") as first, pytest.raises(Mismatch), once(path, "k", request="b"):
        pass
    with once(path, "k", request="a") as first:
        first.done(1)
    with pytest.raises(Mismatch), once(path, "k", request="b"):
        pass


def test_two_keys_with_the_same_request_are_two(path):
    for key in ("k1", "k2"):
        with once(path, key, request="same") as first:
            assert first
            first.done(key)
    with once(path, "k2", request="same") as again:
        assert again.answer == "k2"


def test_a_block_that_fails_frees_its_key(path):
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), once(path, "k") as first:
            assert first.attempt == 1
            raise ZeroDivisionError


def test_a_runner_that_died_is_told_to_the_next(store, path, child):
    code = """
        import os, sys
        from opool_bank import once
        runs = once(sys.argv[1], "k", ttl=float(sys.argv[2]))
        runs.__enter__()
        os._exit(0)
    """
    # On a file a runner that died is known to be dead at once; elsewhere when its lease is over.
    finish(child(code, path, 600 if store == "file" else 0.2))
    while store != "file":
        try:
            once(path, "k").__enter__()
        except InProgress:
            continue
        except Interrupted:
            break
    for _ in range(2):
        with pytest.raises(Interrupted, match="its effect may have happened") as caught, once(path, "k"):
            pass
        assert (caught.value.key, caught.value.attempt) == ("k", 2)
    with once(path, "k", rerun=True) as again:
        assert again.attempt == 2
        again.done("second")
    with once(path, "k") as replay:
        assert replay.answer == "second"


def test_a_runner_that_was_taken_for_dead_cannot_overwrite_the_answer(path, clock):
    first = once(path, "k", ttl=5, clock=clock)
    first.__enter__()
    clock.advance(6)
    with once(path, "k", rerun=True, clock=clock) as second:
        second.done("second")
    with pytest.raises((StaleLease, AlreadySettled)):
        first.done("first")
    first.__exit__(None, None, None)
    with once(path, "k", clock=clock) as replay:
        assert replay.answer == "second"


def test_an_answer_expires(path, clock):
    with once(path, "k", expires=5, clock=clock) as first:
        first.done("old")
    clock.advance(6)
    with once(path, "k", request="new", clock=clock) as again:
        assert again.first
        again.done("new")
