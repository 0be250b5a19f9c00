"""A short self-check of the pools: `python -m design.opool_tests -v`."""

from __future__ import annotations

import threading
import unittest

import opool
from design import opool_sample
from design.opool import Pool, Resource


class PoolTest(unittest.TestCase):
    """`design.opool`."""

    def test_leases_come_in_order_and_go_back_to_the_end(self) -> None:
        pool = Pool([1, 2])
        seen = []
        for _ in range(3):
            with pool.lease() as obj:
                seen.append(obj)
        self.assertEqual(seen, [1, 2, 1])
        self.assertEqual(pool.pool.qsize(), 2)

    def test_lease_takes_the_object_at_the_call(self) -> None:
        pool = Pool(["only"])
        resource = pool.lease()
        self.assertIsInstance(resource, Resource)
        self.assertEqual(resource.obj, "only")
        self.assertTrue(pool.pool.empty())
        with resource as obj:
            self.assertEqual(obj, "only")
        self.assertFalse(pool.pool.empty())

    def test_an_exception_passes_and_the_object_comes_back(self) -> None:
        pool = Pool(["only"])
        with self.assertRaises(KeyError), pool.lease():
            raise KeyError("in the body")
        self.assertEqual(pool.pool.qsize(), 1)

    def test_add_obj_wakes_a_waiting_thread(self) -> None:
        pool: Pool[str] = Pool([])
        got = []
        thread = threading.Thread(target=lambda: got.append(pool.lease().obj))
        thread.start()
        pool.add_obj("late")
        thread.join(10)
        self.assertEqual(got, ["late"])

    def test_a_lease_is_released_once(self) -> None:
        resource = Pool(["only"]).lease()
        resource.release()
        with self.assertRaises(opool.LeaseError):
            resource.release()

    def test_many_threads_never_share_an_object(self) -> None:
        pool = Pool([threading.Lock() for _ in range(2)])
        shared = []

        def work() -> None:
            for _ in range(500):
                with pool.lease() as lock:
                    if not lock.acquire(blocking=False):
                        shared.append(lock)
                    lock.release()

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual((shared, pool.idle, pool.leased), ([], 2, 0))


class SamplePoolTest(unittest.TestCase):
    """`design.opool_sample`."""

    def test_the_newest_comes_first_and_none_is_made_later(self) -> None:
        pool = opool_sample.Pool(2, object)
        second, first = pool.acquire(), pool.acquire()
        with self.assertRaisesRegex(IndexError, "pop from empty list"):
            pool.acquire()
        pool.release(first)
        pool.release(second)
        self.assertIs(pool.acquire(), second)
        self.assertIs(pool.acquire(), first)


if __name__ == "__main__":
    unittest.main()
