"""Ids by a lease: who waits for one, what wakes those who wait, and whose the id is meanwhile."""

import asyncio
import copy
import gc
import os
import pickle
import random
import threading
import time
import weakref

import pytest

import opool
from loops import ASYNCIO, ASYNCIOS, collect, every_loop, until
from loops import queue_up as queue_up_task
from opool import ObjectMgr, _deadlock
from support import LIMIT, Crew, eventually, queue_up, run_child, threads

ORDERS = ["fifo", "lowest", "random"]
every_order = pytest.mark.parametrize("order", ORDERS)


def full(n=2, **options):
    """A manager of the ids 1 to n, all of which are given out."""
    mgr = ObjectMgr(n, inclusive=True, **options)
    mgr.get_many(n)
    return mgr


def assert_whole(mgr):
    """Every id is free, and can be had."""
    assert (len(mgr), mgr.waiting, mgr.holders()) == (0, 0, [])
    ids = mgr.get_many(mgr.available)
    assert sorted(ids) == list(mgr.ids)
    mgr.free_many(ids)


# ----------------------------------------------------------------------------------------------------------------------
# A lease


@every_order
def test_a_lease_gives_what_get_object_would_and_takes_it_back(order):
    mgr = ObjectMgr(range(8000, 8100), order=order, seed=7 if order == "random" else None)
    twin = copy.copy(mgr)
    with mgr.lease() as id:
        assert id == twin.get_object()
        assert type(id) is int
        assert id in mgr and list(mgr) == [id] and len(mgr) == 1 and mgr.available == 99
        assert mgr == twin
    twin.free_object(id)
    assert mgr == twin
    assert id not in mgr


def test_a_lease_is_a_lease_of_a_pool():
    mgr = ObjectMgr(range(8000, 8100))
    lease = mgr.lease(timeout=5)
    assert isinstance(lease, opool.Lease)
    assert lease.obj == 8000 and lease.pool is mgr and not lease.released
    assert repr(lease) == "<opool.Lease of 8000, leased>"
    lease.release()
    assert repr(mgr.lease_async()) == f"<opool.AsyncLease of {mgr!r}, not awaited>"
    with pytest.raises(opool.LeaseError, match=r"ObjectMgr range\(8000, 8100\)"):
        lease.release()
    del lease
    abandoned = mgr.lease()
    del abandoned
    assert_whole(mgr)


def test_a_lease_for_tasks_shows_its_manager():
    mgr = ObjectMgr(2)
    assert repr(mgr.lease_async()) == f"<opool.AsyncLease of {mgr!r}, not awaited>"


def test_an_exception_passes_through():
    mgr = ObjectMgr(4)
    with pytest.raises(KeyError):
        with mgr.lease():
            raise KeyError
    assert_whole(mgr)


def test_a_lease_that_is_discarded_excludes_its_id():
    mgr = ObjectMgr(range(8000, 8003))
    mgr.lease().discard()
    assert mgr.excluded == [range(8000, 8001)]
    assert (len(mgr), mgr.available, mgr.get_many(2)) == (0, 2, [8001, 8002])


def test_try_lease_does_not_wait():
    mgr = ObjectMgr(2)
    lease = mgr.try_lease()
    assert lease.obj == 1 and mgr.try_lease() is None
    lease.release()
    assert mgr.try_lease().obj == 1


def test_the_timeout_is_checked_as_a_pools_is():
    mgr = ObjectMgr(4)
    for ask in (mgr.lease, mgr.lease_async):
        with pytest.raises(TypeError, match="timeout must be seconds or None, not str"):
            ask(timeout="5")
        with pytest.raises(ValueError, match="-1"):
            ask(timeout=-1)
    assert_whole(mgr)


def test_a_subclass_has_leases_too():
    class Ports(ObjectMgr):
        def __init__(self, *ports):
            super().__init__(range(*ports), order="lowest")

    ports = Ports(8000, 8010)
    with ports.lease() as port:
        assert port == 8000
    assert ports.lease().pool is ports


# ----------------------------------------------------------------------------------------------------------------------
# Whose it is


def test_only_its_lease_gives_it_back():
    mgr = ObjectMgr(4)
    with mgr.lease() as id:
        with pytest.raises(ValueError, match="a lease has 1: leave its `with`, or release the lease"):
            mgr.free_object(id)
        with pytest.raises(ValueError, match="a lease has 1: leave its `with`, or release the lease"):
            mgr.free_object(float(id))
        other = mgr.get_object()
        with pytest.raises(ValueError, match="a lease has 1: leave its `with`, or release the lease"):
            mgr.free_many([other, id])
        with pytest.raises(ValueError, match="1 is currently allocated"):
            mgr.exclude([id])
        with pytest.raises(ValueError, match="1 is currently allocated"):
            mgr.resize(1)
        assert mgr.reserve(id) is None
        assert list(mgr) == [id, other]
        mgr.free_object(other)
    assert_whole(mgr)
    mgr.free_object(mgr.get_object())


def test_to_free_the_lease_instead_of_the_id_is_told_apart():
    mgr = ObjectMgr(4)
    lease = mgr.lease()
    with pytest.raises(ValueError, match=r"that is the lease, not its id: leave its `with`, or call its release\(\)"):
        mgr.free_object(lease)
    lease.release()
    assert_whole(mgr)


def test_it_cannot_start_anew_while_it_is_in_use():
    mgr, other = ObjectMgr(4), ObjectMgr(9)
    with mgr.lease():
        with pytest.raises(RuntimeError, match="cannot start anew while it is in use: leased 1, waiting 0"):
            mgr.__init__(5)
        with pytest.raises(RuntimeError, match="in use"):
            mgr.__setstate__((other.dump(), None))
    mgr.__init__(5)
    with mgr.lease() as id:
        assert (id, mgr.ids) == (1, range(1, 5))


def test_a_copy_has_the_ids_that_are_leased_as_given():
    mgr = ObjectMgr(4)
    with mgr.lease() as id:
        copies = [copy.copy(mgr), pickle.loads(pickle.dumps(mgr)), ObjectMgr.load(mgr.dump())]
    for copied in copies:
        assert list(copied) == [id] and copied.waiting == 0 and copied.holders() == []
        assert copied.free_object(id) == id
    assert_whole(mgr)


def test_a_lease_outlives_its_manager():
    mgr = ObjectMgr(4)
    gone = weakref.ref(mgr)
    lease = mgr.lease()
    del mgr
    assert gone() is None
    assert lease.pool is None
    with lease as id:
        assert id == 1


def test_a_manager_in_a_cycle_with_its_waiter_is_collected():
    class Mgr(ObjectMgr):
        pass

    mgr = Mgr(1)
    loop = asyncio.new_event_loop()

    async def wait(manager):
        manager.task = asyncio.current_task()
        async with manager.lease_async(timeout=None):
            pass

    task = loop.create_task(wait(mgr))
    loop.run_until_complete(asyncio.sleep(0))
    assert mgr.waiting == 1
    gone = weakref.ref(mgr)
    task._log_destroy_pending = False
    loop.close()
    del mgr, task, loop
    collect()
    assert gone() is None


def test_holders_are_those_who_lease():
    mgr = ObjectMgr(9)
    assert mgr.holders() == []
    given = mgr.get_object()
    with mgr.lease() as id:
        (holder,) = mgr.holders()
        assert (holder.obj, holder.thread_id, holder.entered) == (id, threading.get_ident(), True)
        assert "test_holders_are_those_who_lease" in holder.stack()
    mgr.free_object(given)


def test_the_list_of_holders_names_the_task():
    mgr = ObjectMgr(9)

    async def main():
        asyncio.current_task().set_name("the keeper")
        async with mgr.lease_async():
            (holder,) = mgr.holders()
            return holder.task

    assert ASYNCIO.run(main) == "the keeper"


# ----------------------------------------------------------------------------------------------------------------------
# Waiting


def free_object(mgr):
    mgr.free_object(1)


def free_equal(mgr):
    mgr.free_object(1.0)


def free_many(mgr):
    mgr.free_many([1])


def free_range(mgr):
    mgr.free_many(range(1, 2))


def resize(mgr):
    mgr.resize(4)


@every_order
@pytest.mark.parametrize("free", [free_object, free_equal, free_many, free_range, resize])
def test_whatever_comes_free_goes_to_who_waits(free, order):
    mgr = full(2, order=order)
    (crew,) = queue_up(mgr, 1, lambda _: mgr.lease(timeout=60).obj)
    free(mgr)
    assert mgr.waiting == 0, "it is handed over at once, not when somebody looks again"
    assert crew.join() == [3 if free is resize else 1]
    if free is not resize:
        assert mgr.get_object() == 1


@every_order
@pytest.mark.parametrize("free", [free_object, free_equal, free_many, free_range, resize])
@every_loop
def test_and_to_a_task_that_waits(loop, free, order):
    mgr = full(2, order=order)

    async def lease():
        async with mgr.lease_async(timeout=60) as id:
            return id

    async def main():
        async with loop.group() as group:
            task = await queue_up_task(loop, group, mgr, lease)
            free(mgr)
            assert mgr.waiting == 0, "it is handed over at once, not when somebody looks again"
        return task.get()

    assert loop.run(main) == (3 if free is resize else 1)


def test_a_lease_that_ends_goes_to_the_first_who_waits():
    mgr, served = ObjectMgr(2), []
    lease = mgr.lease()

    def wait(number):
        with mgr.lease(timeout=60) as id:
            served.append((number, id))

    crews = queue_up(mgr, 5, wait)
    assert mgr.try_lease() is None and mgr.get_object() is None
    lease.release()
    for crew in crews:
        crew.join()
    assert served == [(number, 1) for number in range(5)]
    assert_whole(mgr)


def test_threads_and_tasks_wait_in_one_queue():
    mgr, served = full(1), []

    def by_thread(number):
        with mgr.lease(timeout=60):
            served.append(number)

    async def by_task(number):
        async with mgr.lease_async(timeout=60):
            served.append(number)

    async def main():
        crews = []
        async with ASYNCIO.group() as group:
            for number in range(0, 10, 2):
                await queue_up_task(ASYNCIO, group, mgr, by_task, number)
                crews.append(Crew(1, lambda _, number=number + 1: by_thread(number)))
                await until(ASYNCIO, lambda count=number + 2: mgr.waiting == count)
            mgr.free_object(1)
        await ASYNCIO.in_thread(lambda: [crew.join() for crew in crews])

    ASYNCIO.run(main)
    assert served == list(range(10))
    assert_whole(mgr)


def test_a_wait_in_vain_tells_of_ids():
    mgr = full(2)
    with pytest.raises(opool.PoolTimeout) as caught:
        mgr.lease(timeout=0.05)
    said = "ObjectMgr range(1, 3): no id came free within 0.05 s (size 2, idle 0, leased 2, waiting 1)."
    assert str(caught.value).startswith(said) and "resize the manager" in str(caught.value)
    mgr.free_many([1, 2])
    assert_whole(mgr)
    with pytest.raises(opool.PoolTimeout, match="There are no ids: resize the manager"):
        ObjectMgr(1).lease(timeout=0)


def test_a_wait_in_vain_in_a_task_does_too():
    mgr = full(2)

    async def main():
        with pytest.raises(opool.PoolTimeout, match="no id came free within 0.05 s"):
            await mgr.lease_async(timeout=0.05)

    ASYNCIO.run(main)
    assert mgr.waiting == 0


@pytest.mark.parametrize("loop", ASYNCIOS, ids=repr)
@pytest.mark.parametrize("steps", range(6))
def test_a_cancelled_task_passes_its_id_on(loop, steps):
    """Cancelled so many steps of the event loop after the id came free: before, during and after the hand-over."""
    mgr = full(1)

    async def lease():
        async with mgr.lease_async(timeout=60) as id:
            await asyncio.sleep(0)
            return id

    async def main():
        async with loop.group() as group:
            first = await queue_up_task(loop, group, mgr, lease)
            second = await queue_up_task(loop, group, mgr, lease)
            mgr.free_object(1)
            for _ in range(steps):
                await asyncio.sleep(0)
            first.cancel()
        return second.get()

    assert loop.run(main) == 1
    assert_whole(mgr)


def test_an_id_that_comes_to_a_closed_event_loop_goes_back():
    mgr = full(1)
    loop = asyncio.new_event_loop()

    async def lease():
        async with mgr.lease_async(timeout=None) as id:
            return id

    task = loop.create_task(lease())
    loop.run_until_complete(asyncio.sleep(0))
    task._log_destroy_pending = False
    loop.close()
    mgr.free_object(1)
    assert_whole(mgr)
    del task
    collect()


@pytest.mark.parametrize("ask", [ObjectMgr.try_lease, ObjectMgr.get_object])
def test_nobody_gets_an_id_before_those_who_wait_while_they_are_being_served(ask):
    """The event loop's own code runs while the first is woken; the second was not, and two ids came free together."""

    class Loop(asyncio.SelectorEventLoop):
        stolen = None

        def call_soon(self, callback, *args, **kwargs):
            if self.stolen is not None:
                self.stolen.append(ask(mgr))
            return super().call_soon(callback, *args, **kwargs)

    mgr, loop = full(2), Loop()

    async def main():
        tasks = [asyncio.ensure_future(enter(mgr)) for _ in range(2)]
        await asyncio.sleep(0)
        loop.stolen = []
        mgr.free_many([1, 2])
        stolen, loop.stolen = loop.stolen, None
        assert stolen and set(stolen) == {None}
        return await asyncio.gather(*tasks)

    try:
        assert sorted(loop.run_until_complete(main())) == [1, 2]
    finally:
        loop.close()
    assert_whole(mgr)


async def enter(mgr):
    async with mgr.lease_async(timeout=60) as id:
        return id


def test_who_gives_up_leaves_the_quick_way_open():
    mgr = full(1)
    with pytest.raises(opool.PoolTimeout):
        mgr.lease(timeout=0)
    mgr.free_object(1)
    with mgr.lease() as id:
        assert id == 1
    assert_whole(mgr)


def test_to_hold_and_to_wait_is_probably_a_deadlock_unless_others_have_ids(caplog):
    mgr = ObjectMgr(2)
    with mgr.lease():
        crew = Crew(1, lambda _: (eventually(lambda: caplog.records), mgr.resize(3)))
        mgr.lease(timeout=None).release()
        crew.join()
    mgr.resize(2)
    (record,) = [record for record in caplog.records if record.name == "opool"]
    said = record.getMessage()
    assert said.startswith("ObjectMgr range(1, 2): probably a deadlock") and "or resize the manager" in said
    caplog.clear()
    mgr.resize(3)
    mgr.get_object()
    with mgr.lease(), pytest.raises(opool.PoolTimeout):
        mgr.lease(timeout=1.2)
    assert caplog.records == []


def test_the_same_for_tasks(caplog, monkeypatch):
    monkeypatch.setattr(_deadlock, "CHECK_INTERVAL", 0.05)
    mgr = ObjectMgr(2)

    async def hold_and_ask(timeout):
        async with mgr.lease_async(), mgr.lease_async(timeout=timeout):
            pass

    async def until_the_log_tells():
        task = asyncio.ensure_future(hold_and_ask(None))
        await until(ASYNCIO, lambda: caplog.records)
        mgr.resize(3)
        await task

    ASYNCIO.run(until_the_log_tells)
    assert "probably a deadlock" in caplog.text
    caplog.clear()
    mgr.get_object()
    with pytest.raises(opool.PoolTimeout):
        ASYNCIO.run(hold_and_ask, 0.5)
    assert caplog.records == []


# ----------------------------------------------------------------------------------------------------------------------
# Everything together


@every_order
@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_no_id_is_lost_or_held_twice_and_nobody_waits_while_one_is_free(order, seed):
    chance = random.Random(seed)
    mgr = ObjectMgr(chance.randrange(1, 8), order=order, seed=seed if order == "random" else None)
    bare, leases, waiting = [], [], []

    async def wait():
        leases.append(await mgr.lease_async(timeout=None))

    async def main():
        for _ in range(300):
            what = chance.randrange(12)
            if what < 2:
                id = mgr.get_object()
                bare.extend([] if id is None else [id])
            elif what < 3:
                ids = mgr.get_many(chance.randrange(3))
                bare.extend(ids or [])
            elif what < 5:
                lease = mgr.try_lease()
                leases.extend([] if lease is None else [lease])
            elif what < 7 and leases:
                leases.pop(chance.randrange(len(leases))).release()
            elif what < 8 and bare:
                mgr.free_object(bare.pop(chance.randrange(len(bare))))
            elif what < 9:
                freed = [bare.pop() for _ in range(chance.randrange(len(bare) + 1))]
                mgr.free_many(freed)
            elif what < 10 and len(waiting) < 8:
                waiting.append(asyncio.ensure_future(wait()))
            elif what < 11 and waiting:
                waiting.pop(chance.randrange(len(waiting))).cancel()
            elif chance.random() < 0.3:
                mgr.resize(max([*mgr, 0]) + chance.randrange(1, 4))
            if chance.random() < 0.6:
                for _ in range(3):
                    await asyncio.sleep(0)
                waiting[:] = [task for task in waiting if not task.done()]
                assert mgr.waiting == len(waiting)
            assert mgr.available == 0 or mgr.waiting == 0
            held = bare + [lease.obj for lease in leases]
            assert len(held) == len(set(held)) and set(held) <= set(mgr)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    ASYNCIO.run(main)
    for lease in leases:
        lease.release()
    mgr.free_many(bare)
    assert_whole(mgr)


def test_threads_that_lease_get_and_free_never_hold_one_id_twice():
    mgr = ObjectMgr(range(100, 104))
    holders = {id: [] for id in mgr.ids}

    def work(number):
        chance, held = random.Random(number), 0
        for _ in range(1_500):
            if chance.random() < 0.5:
                with mgr.lease(timeout=LIMIT) as id:
                    holders[id].append(number)
                    if chance.random() < 0.1:
                        time.sleep(0)
                    assert holders[id] == [number]
                    holders[id].remove(number)
                    held += 1
            else:
                id = mgr.get_object()
                if id is not None:
                    holders[id].append(number)
                    if chance.random() < 0.1:
                        time.sleep(0)
                    assert holders[id] == [number]
                    holders[id].remove(number)
                    held += 1
                    if chance.random() < 0.5:
                        mgr.free_object(id)
                    else:
                        mgr.free_many([id])
        return held

    assert min(threads(8, work)) > 100
    assert_whole(mgr)


def test_what_is_done_in_del_while_ids_go_round_harms_nobody():
    mgr = ObjectMgr(3)

    class Careless:
        def __init__(self):
            self.lease, self.cycle = mgr.try_lease(), self

    for _ in range(100):
        Careless()
        if mgr.available == 0:
            gc.collect()
            assert mgr.available == 2
    gc.collect()
    assert_whole(mgr)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_has_the_ids_that_other_threads_had_leased():
    run_child(
        """
        import os, threading, warnings
        from opool import ObjectMgr

        warnings.simplefilter("ignore", DeprecationWarning)  # a fork beside threads is what this is about
        mgr, held, over = ObjectMgr(4), threading.Event(), threading.Event()

        def hold():
            with mgr.lease():
                held.set()
                over.wait()

        thread = threading.Thread(target=hold)
        thread.start()
        held.wait()
        mine = mgr.lease()
        pid = os.fork()
        if pid == 0:
            mine.release()
            assert sorted(lease.obj for lease in [mgr.lease(), mgr.lease(), mgr.lease(timeout=60)]) == [1, 2, 3]
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        mine.release()
        over.set()
        thread.join()
        assert len(mgr) == 0 and mgr.available == 3
        """
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_has_them_at_once_whatever_it_asks_first():
    run_child(
        """
        import os, threading, warnings
        from opool import ObjectMgr

        warnings.simplefilter("ignore", DeprecationWarning)  # a fork beside threads is what this is about
        mgr, held, over = ObjectMgr(3), threading.Event(), threading.Event()

        def hold():
            with mgr.lease():
                held.set()
                over.wait()

        thread = threading.Thread(target=hold, daemon=True)
        thread.start()
        held.wait()
        pid = os.fork()
        if pid == 0:
            assert (len(mgr), mgr.available) == (0, 2)
            assert mgr.get_many(2) == [2, 1]
            mgr.free_many([1, 2])
            lease = mgr.try_lease()
            assert lease is not None
            lease.release()
            mgr.__init__(9)
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        over.set()
        thread.join()
        assert len(mgr) == 0 and mgr.available == 2
        """
    )


def test_a_wait_ends_with_ctrl_c():
    run_child(
        """
        import os, signal
        from opool import ObjectMgr
        from support import Crew, eventually

        mgr = ObjectMgr(1)
        Crew(1, lambda _: (eventually(lambda: mgr.waiting == 1), os.kill(os.getpid(), signal.SIGINT)))
        try:
            mgr.lease(timeout=None)
        except KeyboardInterrupt:
            assert mgr.waiting == 0
        else:
            raise SystemExit("no Ctrl-C")
        """
    )


@pytest.mark.parametrize("kind", ["thread", "task"])
def test_who_waits_is_served_a_moment_later_when_there_was_no_memory(kind):
    testcapi = pytest.importorskip("_testcapi")
    mgr = ObjectMgr(range(2**40, 2**40 + 1))
    id = mgr.get_object()

    def free(free_object=mgr.free_object):
        testcapi.set_nomemory(0, 1)
        try:
            freed = free_object(id)
        finally:
            testcapi.remove_mem_hooks()
        assert (freed, mgr.available, mgr.waiting) == (id, 1, 1)

    if kind == "thread":
        (crew,) = queue_up(mgr, 1, lambda _: mgr.lease(timeout=60).obj)
        free()
        assert crew.join() == [id]
    else:

        async def main():
            async with ASYNCIO.group() as group:
                task = await queue_up_task(ASYNCIO, group, mgr, enter, mgr)
                free()
            return task.get()

        assert ASYNCIO.run(main) == id
    assert_whole(mgr)


def test_to_resize_without_memory_is_no_panic():
    testcapi = pytest.importorskip("_testcapi")
    mgr, end = ObjectMgr(range(2**40, 2**40 + 1)), 2**40 + 5
    for place in range(20):
        testcapi.set_nomemory(place, place + 1)
        try:
            mgr.resize(end)
        except MemoryError:
            pass
        finally:
            testcapi.remove_mem_hooks()
    mgr.resize(end)
    assert_whole(mgr)


def test_a_lease_without_memory_loses_nothing():
    testcapi = pytest.importorskip("_testcapi")
    mgr = ObjectMgr(range(2**40, 2**40 + 2))
    for place in range(1, 40):
        testcapi.set_nomemory(place)
        try:
            with mgr.lease(timeout=0):
                pass
        except MemoryError:
            pass
        finally:
            testcapi.remove_mem_hooks()
        assert len(mgr) == 0, place
    eventually(lambda: mgr.waiting == 0)
    assert_whole(mgr)
