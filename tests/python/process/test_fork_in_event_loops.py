"""Fork in the thread of a running event loop: of its tasks, only the one that forks goes on in the child."""

import os

import pytest

from forks import PRELUDE
from support import run_child

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")

SERVICE = (
    PRELUDE
    + """
import asyncio, concurrent.futures.thread, multiprocessing
from concurrent.futures import ProcessPoolExecutor

def plain():
    return opool.Pool(["c1", "c2"], timeout=LIMIT, name="db")

def factory():
    pool = opool.Pool(factory=object, max_size=2, timeout=LIMIT, name="db")
    with pool.lease(), pool.lease():  # no task has to wait for an object to be created
        return pool

def ids():
    return opool.ObjectMgr(range(2))

async def async_factory_hook():
    return object()

def async_factory():
    return opool.Pool(factory=async_factory_hook, max_size=2, timeout=LIMIT)

async def holder(over):
    async with pool.lease_async():
        await over.wait()

async def holder_of_a_lease(over):
    lease = await pool.lease_async()
    await over.wait()
    lease.release()

async def blocking_holder(over):
    with pool.lease():
        await over.wait()

async def waiter():
    async with pool.lease_async(timeout=None):
        pass

def out():
    return pool.leased if isinstance(pool, opool.Pool) else len(pool)

def two_of_them(_=None):
    # What is leased in the child, both at once, and by a thread as well.
    with pool.lease(timeout=LIMIT), pool.lease(timeout=LIMIT):
        pass
    Crew(2, lambda _: [pool.lease(timeout=LIMIT).release() for _ in range(10)]).join()
    async def in_a_new_loop():
        async def lease():
            async with pool.lease_async(timeout=LIMIT):
                await asyncio.sleep(0)
        await asyncio.gather(*(lease() for _ in range(5)))
    asyncio.run(in_a_new_loop())
    return "well"

async def service(hold, fork):
    over = asyncio.Event()
    holders = [asyncio.ensure_future(hold(over)) for _ in range(2)]
    while out() < 2:
        await asyncio.sleep(0.001)
    waiters = [asyncio.ensure_future(waiter()) for _ in range(3)]
    for _ in range(3):
        await asyncio.sleep(0)
    assert await fork() in ("well", 0)
    over.set()
    await asyncio.gather(*holders, *waiters)
    assert out() == 0

async def os_fork():
    return forked(two_of_them)

async def process_pool():
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as executor:
        return await asyncio.get_running_loop().run_in_executor(executor, two_of_them)

async def process():
    process = multiprocessing.get_context("fork").Process(target=two_of_them)
    process.start()
    while process.is_alive():
        await asyncio.sleep(0.01)
    return process.exitcode

"""
)


@pytest.mark.parametrize("fork", ["os_fork", "process_pool", "process"])
@pytest.mark.parametrize("hold", ["holder", "holder_of_a_lease", "blocking_holder"])
@pytest.mark.parametrize("kind", ["plain", "factory", "ids"])
def test_what_other_tasks_hold_and_wait_for_is_free_in_the_child(kind, hold, fork):
    run_child(f"{SERVICE}\npool = {kind}()\nasyncio.run(service({hold}, {fork}))\n")


def test_what_threads_hold_while_tasks_wait_is_free_in_the_child():
    run_child(
        SERVICE
        + """
pool = plain()

async def main():
    over = threading.Event()
    def hold():
        with pool.lease():
            over.wait(LIMIT)
    threads = [asyncio.get_running_loop().run_in_executor(None, hold) for _ in range(2)]
    while out() < 2:
        await asyncio.sleep(0.001)
    tasks = [asyncio.ensure_future(waiter()) for _ in range(2)]
    await asyncio.sleep(0)
    assert await process_pool() == "well" and await os_fork() == 0
    over.set()
    await asyncio.gather(*tasks, *threads)

asyncio.run(main())
"""
    )


def test_coroutine_hooks_run_in_a_new_loop_of_the_child():
    run_child(
        SERVICE
        + """
pool = async_factory()

def in_the_child():
    async def both():
        async with pool.lease_async(timeout=LIMIT), pool.lease_async(timeout=LIMIT):
            pass
    asyncio.run(both())

async def os_fork_and_no_thread():
    return forked(in_the_child)

asyncio.run(service(holder, os_fork_and_no_thread))
"""
    )


@pytest.mark.parametrize("kind", ["plain", "factory"])
def test_the_forking_task_keeps_what_it_holds(kind):
    run_child(
        SERVICE
        + f"""
pool = {kind}()
"""
        + """
async def main():
    over = asyncio.Event()
    other = asyncio.ensure_future(holder(over))
    await asyncio.sleep(0)
    async with pool.lease_async() as mine:
        def check():
            with pool.lease(timeout=LIMIT) as obj:
                assert obj is not mine
                assert sorted(map(id, (holder.obj for holder in pool.holders()))) == sorted(map(id, (obj, mine)))
        assert forked(check) == 0
    over.set()
    await other

asyncio.run(main())
"""
    )
