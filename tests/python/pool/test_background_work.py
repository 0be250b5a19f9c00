"""What the background does at the edges: a pool that ends, a fork inside a wait."""

import pytest

import support


def test_a_closed_pool_starts_no_threads_while_something_is_out():
    support.run_child(
        """
        import opool
        from opool import _threads

        started = []
        real = _threads.start

        def start(worker, pool):
            started.append(pool)
            return real(worker, pool)

        _threads.start = start  # before the extension looks it up, which it does once
        pool = opool.Pool(factory=object, max_lifetime=3600)
        lease = pool.lease()
        try:
            pool.close(timeout=0.2)
        except opool.PoolCloseTimeout:
            pass
        else:
            raise AssertionError("closed")
        assert 1 <= len(started) <= 3, started
        lease.release()
        """
    )


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="needs fork")
def test_a_child_that_a_signal_handler_forks_inside_a_wait_makes_an_object_of_its_own():
    support.run_child(
        """
        import os, signal, threading, warnings
        import opool

        warnings.simplefilter("ignore", DeprecationWarning)  # a fork beside threads is what this is about
        parent, gate = os.getpid(), threading.Event()

        def factory():
            if os.getpid() == parent:
                gate.wait(60)
            return object()

        def handler(*_):
            global child
            child = os.fork()
            if child:
                gate.set()

        pool = opool.Pool(factory=factory, max_size=1)
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        try:
            with pool.lease(timeout=60):
                ended = 0
        except opool.PoolTimeout:
            ended = 1
        if os.getpid() != parent:
            os._exit(ended)
        _, status = os.waitpid(child, 0)
        assert (ended, status) == (0, 0)
        """,
    )
