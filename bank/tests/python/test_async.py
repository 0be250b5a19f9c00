"""The twins of the blocking calls, for event loops."""

import asyncio
import gc
import threading

import pytest

from opool_bank import Bank, BankClosed, BankTimeout, KeyConflict, Semaphore, SharedObjectMgr, once

try:
    import uvloop
except ImportError:
    uvloop = None

STORES = ("file", "postgres")


@pytest.fixture(
    params=["asyncio", pytest.param("uvloop", marks=pytest.mark.skipif(uvloop is None, reason="no uvloop"))]
)
def run(request):
    """Runs a coroutine in a new loop."""

    def run(coroutine):
        if request.param == "asyncio":
            return asyncio.run(coroutine)
        loop = uvloop.new_event_loop()
        try:
            return loop.run_until_complete(coroutine)
        finally:
            loop.close()

    return run


def test_an_atomic_put_stores_all_or_nothing(bank, run):
    async def main():
        assert await bank.put_async(range(2_500), atomic=True) == 2_500
        assert await bank.put_async(range(2_600), atomic=True) == 100
        with pytest.raises(KeyConflict):
            await bank.put_async([*range(5_000, 7_000), (1, "another payload")], atomic=True)
        with pytest.raises(TypeError):
            await bank.put_async([*range(5_000, 7_000), 1.5], atomic=True)
        return await bank.counts_async()

    assert run(main()).put == 2_600


def test_the_loop_runs_on_during_an_atomic_put(bank, run):
    async def main():
        ticks, seen = 0, []

        async def tick():
            nonlocal ticks
            while True:
                await asyncio.sleep(0)
                ticks += 1

        def items():
            for number in range(10_000):
                if number % 1_000 == 0:
                    seen.append(ticks)
                yield number

        ticking = asyncio.ensure_future(tick())
        await bank.put_async(items(), atomic=True)
        ticking.cancel()
        return seen

    # Each chunk is written in another thread.
    seen = run(main())
    assert len(seen) == 10
    assert all(before < after for before, after in zip(seen, seen[1:]))


def test_every_call_has_a_twin(bank, run):
    async def main():
        assert await bank.put_async([("a", 1), "b", "c", "d"], priority=1) == 4
        item = await bank.claim_async("alice")
        assert (item.key, item.payload) == ("a", 1)
        async with bank.lease_async(30) as lease:
            assert lease.key == "b"
            assert await lease.extend_async(60)
        lease = await bank.lease_async(30, key="b")
        assert await lease.done_async("r")
        many = await bank.lease_many_async(5)
        assert [lease.key for lease in many] == ["c", "d"]
        assert await bank.extend_async(many, 5) == [True, True]
        assert await bank.reject_async(many[0]) is True
        assert await bank.release_async(many[1]) is True
        async with await bank.lease_many_async(5) as many:
            assert len(many) == 2
        assert await bank.done_async(await bank.lease_async()) is True
        assert (await bank.get_async("b")).result == "r"
        assert [item.key for item in await bank.of_async("alice")] == ["a"]
        assert (await bank.counts_async()).given == 3
        assert [item.key async for item in bank.items_async()] == ["a", "b", "c", "d"]

    run(main())


def test_a_thousand_claims_at_once_are_few_commits_and_few_wakeups(bank, run):
    bank.put(range(1_000))

    async def main():
        items = await asyncio.gather(*(bank.claim_async(f"u{n}") for n in range(1_000)))
        assert len({item.key for item in items}) == 1_000

    run(main())


def test_waiting_gets_what_is_released_in_the_same_loop(bank, run):
    bank.put(["a"])

    async def main():
        first = await bank.lease_async(30)
        waits = asyncio.ensure_future(bank.claim_async("x", timeout=60))
        await asyncio.sleep(0)
        await first.release_async()
        assert (await waits).key == "a"

    run(main())


def test_waiting_ends_in_time_and_leaves_nothing(bank, run):
    async def main():
        assert await bank.claim_async("x", timeout=0.02) is None
        with pytest.raises(BankTimeout):
            async with bank.lease_async(30, timeout=0.02):
                pass
        await bank.put_async(["a"])
        assert (await bank.claim_async("y")).key == "a"

    run(main())


def test_a_cancelled_wait_takes_nothing(bank, run):
    async def main():
        waits = asyncio.ensure_future(bank.claim_async("x", timeout=60))
        while bank.stats()["waiting"] == 0:
            await asyncio.sleep(0.001)
        waits.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waits
        await bank.put_async(["a"])
        assert (await bank.claim_async("y")).key == "a"

    run(main())


def test_leases_that_were_cancelled_at_any_moment_come_back(bank, run):
    bank.put(range(4))

    async def main():
        for turn in range(100):
            tasks = [asyncio.ensure_future(bank.lease_async(60, timeout=60).__aenter__()) for _ in range(4)]
            for _ in range(turn % 10):
                await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            del task, tasks
        gc.collect()
        for _ in range(4):
            assert await bank.claim_async(timeout=60) is not None

    run(main())


def test_threads_and_tasks_wait_in_one_line(bank, run):
    got = []
    thread = threading.Thread(target=lambda: got.append(bank.claim("thread", timeout=60)))

    async def main():
        thread.start()
        while bank.stats()["waiting"] < 1:
            await asyncio.sleep(0.001)
        task = asyncio.ensure_future(bank.claim_async("task", timeout=60))
        while bank.stats()["waiting"] < 2:
            await asyncio.sleep(0.001)
        await bank.put_async(["first"])
        await bank.put_async(["second"])
        assert (await task).key == "second"

    run(main())
    thread.join(60)
    assert got[0].key == "first"


def test_close_ends_those_who_wait(path, run):
    async def main():
        bank = Bank(path)
        waits = asyncio.ensure_future(bank.claim_async("x", timeout=None))
        while bank.stats()["waiting"] == 0:
            await asyncio.sleep(0.001)
        await bank.aclose()
        with pytest.raises(BankClosed):
            await waits

    run(main())


def test_two_loops_one_after_the_other_and_two_at_once(bank):
    bank.put(range(40))
    got = []

    async def main():
        got.extend(await asyncio.gather(*(bank.claim_async() for _ in range(10))))

    asyncio.run(main())
    asyncio.run(main())
    threads = [threading.Thread(target=lambda: asyncio.run(main())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({item.key for item in got}) == 40


def test_ids_permits_and_once_have_twins(path, run):
    async def main():
        ids = SharedObjectMgr(path, 10)
        assert await ids.get_object_async() == 1
        assert await ids.free_object_async(1) == 1
        with pytest.raises(ValueError, match="not held by this process"):
            await ids.free_object_async(1)
        async with ids.lease_async(30) as lease:
            assert lease.key == 1
        gpus = Semaphore(path, "gpus", 1)
        async with gpus.acquire_async() as permit:
            assert permit.key == 0
            with pytest.raises(BankTimeout):
                await gpus.acquire_async(timeout=0.01)
        for _ in range(2):
            async with once(path, "key", request=1) as first:
                if first:
                    await first.done_async("answer")
            assert first.answer == "answer"

    run(main())
