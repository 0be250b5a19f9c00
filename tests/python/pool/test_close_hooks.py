"""The end of a pool and its background: close waits a moment for its hooks, and no thread outlives it."""

import gc
import logging
import signal
import threading
import time
import weakref

import pytest
from test_close_leases import made

import opool
from opool.testing import Clock, Scripted, check_invariants
from support import LIMIT, Crew, Thing, background, eventually, queue_up, run_child, things


@pytest.mark.parametrize(("takes", "waits", "logged"), [(0.9, 0.9, 0), (1.1, 1.0, 1)])
def test_close_gives_a_dispose_one_second_from_when_everything_is_back(takes, waits, logged, caplog):
    clock = Clock()
    dispose = Scripted(("slow", takes), clock=clock)
    pool = opool.Pool(factory=Thing, dispose=dispose, name="patient", clock=clock)
    lease = pool.lease()
    clock.call_later(5, lease.release)
    pool.close(timeout=None)
    assert clock.time == pytest.approx(5 + waits)
    assert (dispose.calls, dispose.running, len(caplog.records)) == (1, logged, logged)


@pytest.mark.parametrize("timeout", [0, 0.01, None])
def test_the_timeout_is_for_what_is_out_and_not_for_the_background(timeout, caplog):
    clock = Clock()
    dispose = Scripted(("slow", 0.5), clock=clock)
    pool = opool.Pool(factory=Thing, dispose=dispose, clock=clock)
    pool.lease().release()
    pool.close(timeout=timeout)
    assert (dispose.calls, dispose.running, clock.time) == (1, 0, 0.5) and caplog.records == []


@pytest.mark.parametrize("hook", ["factory", "check", "dispose"])
def test_close_gives_up_on_a_hook_that_hangs_and_says_so(hook, hung, caplog):
    name = f"hanging {hook}"
    began = threading.Event()

    def hang(*_):
        began.set()
        hung.wait(60)
        return Thing()

    options = {"factory": Thing, "max_size": 1, "check_after": 0, "check": lambda obj: True}
    options[hook] = hang
    pool = opool.Pool(name=name, timeout=None, **options)
    if hook == "factory":
        crew = queue_up(pool, 1, lambda _: pytest.raises(opool.PoolClosed, pool.lease))[0]
    else:
        pool.lease().release()
        crew = Crew(1, lambda _: pytest.raises(opool.PoolClosed, pool.lease) if hook == "check" else None)
    if hook != "dispose":
        began.wait(LIMIT)
    start = time.monotonic()
    pool.close()
    took = time.monotonic() - start
    crew.join()
    assert began.is_set() and took < 20, "it gets a moment, not the pool's timeout"
    messages = [(record.name, record.levelno, record.getMessage()) for record in caplog.records]
    closed = f"pool '{name}': closed, but a hook still runs in the background"
    assert messages == [("opool", logging.WARNING, closed)]
    hung.set()
    eventually(lambda: not background(name))
    assert pool.size == 0
    check_invariants(pool)


def test_what_a_hanging_factory_makes_after_the_end_is_disposed_of(disposed):
    factory = Scripted("never")
    pool = opool.Pool(factory=factory, dispose=disposed)
    crew = queue_up(pool, 1, lambda _: pytest.raises(opool.PoolClosed, pool.lease))[0]
    eventually(lambda: factory.running)
    pool.close(timeout=0)
    crew.join()
    factory.release()
    eventually(lambda: len(disposed) == 1)
    check_invariants(pool)


def test_an_error_in_dispose_is_logged_and_the_others_are_disposed_of(caplog):
    seen = []

    def dispose(obj):
        seen.append(obj)
        raise LookupError("cannot")

    clock = Clock()
    with opool.Pool(things(3), dispose=dispose, clock=clock):
        pass
    assert len(seen) == 3
    assert [record.getMessage() for record in caplog.records] == ["pool: dispose failed: LookupError('cannot')"] * 3


@pytest.mark.parametrize("hook", ["factory", "check", "dispose"])
def test_a_hook_may_close_its_pool(hook, disposed, caplog):
    began, over = threading.Event(), threading.Event()

    def close(*_):
        if not began.is_set():
            began.set()
            pool.close(timeout=0)
            over.set()
        return Thing()

    options = {"factory": Thing, "check_after": 0, "check": lambda obj: True, "dispose": disposed}
    options[hook] = close
    pool = opool.Pool(max_size=1, **options)
    try:
        lease = pool.lease()
        if hook == "dispose":
            lease.discard()
        else:
            lease.release()
            pool.lease()
    except opool.PoolClosed:
        pass
    assert over.wait(LIMIT)
    eventually(lambda: pool.closed and pool.size == 0)
    eventually(lambda: hook == "dispose" or len(disposed) == 1)
    assert [record.getMessage() for record in caplog.records] == [
        "pool: closed, but a hook still runs in the background"  # the one that closes it
    ]
    check_invariants(pool)


def test_a_reset_that_closes_its_pool_finds_its_own_object_out(disposed):
    errors = []

    def reset(obj):
        with pytest.raises(opool.PoolCloseTimeout) as caught:
            pool.close(timeout=0)
        errors.append(caught.value)

    pool = made(disposed, reset=reset)
    pool.lease().release()
    assert [holder.thread_id for holder in errors[0].holders] == [threading.get_ident()]
    eventually(lambda: len(disposed) == 1)


def test_no_background_thread_survives_close():
    pool = opool.Pool(factory=Thing, min_size=3, dispose=lambda obj: None, max_idle=60, name="survivors")
    eventually(lambda: pool.idle == 3)
    assert background("survivors")
    pool.close()
    eventually(lambda: not background("survivors"))


def test_no_background_thread_survives_a_pool_that_nobody_closed():
    pools = [opool.Pool(factory=Thing, min_size=3, max_idle=60, name="orphans")]
    eventually(lambda: pools[0].idle == 3)
    assert background("orphans")
    lives = weakref.ref(pools.pop())
    gc.collect()
    assert lives() is None
    eventually(lambda: not background("orphans"))


def test_a_pool_in_a_cycle_with_its_hooks_is_collected_with_its_threads():
    class Service:
        def __init__(self):
            self.pool = opool.Pool(factory=self.make, dispose=self.end, min_size=1, max_idle=60, name="cycle")

        def make(self):
            return Thing(self)

        def end(self, obj):
            pass

    services = [Service()]
    eventually(lambda: services[0].pool.idle == 1)
    lives = weakref.ref(services.pop())
    gc.collect()
    eventually(lambda: gc.collect() >= 0 and lives() is None)
    eventually(lambda: not background("cycle"))


def test_ctrl_c_ends_the_waiting_and_leaves_the_pool_closed():
    run_child("""
import os, signal, opool
from support import *
gone = []
signal.signal(signal.SIGINT, signal.default_int_handler)    # whoever started us may have had it ignored
pool = opool.Pool(factory=Thing, dispose=gone.append)
lease = pool.lease()

def interrupt(_):
    eventually(lambda: pool.closed)
    os.kill(os.getpid(), signal.SIGINT)

crew = Crew(1, interrupt)
try:
    pool.close(timeout=None)
except KeyboardInterrupt:
    pass
else:
    raise AssertionError("it was not interrupted")
crew.join()
assert pool.closed and gone == []
lease.release()
pool.close(timeout=None)
assert len(gone) == 1
""")


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs pthread_kill")
def test_a_signal_handler_may_close_the_pool_for_which_its_thread_waits():
    run_child("""
import signal, threading, opool
from support import *
pool = opool.Pool([Thing()], timeout=None)
holder = Crew(1, lambda _: pool.lease()).join()[0]
signal.signal(signal.SIGUSR1, lambda *_: pool.close(force=True))

def kick(_):
    eventually(lambda: pool.waiting == 1)
    signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)

crew = Crew(1, kick)
try:
    pool.lease()
except opool.PoolClosed:
    pass
else:
    raise AssertionError("it got something")
crew.join()
""")
