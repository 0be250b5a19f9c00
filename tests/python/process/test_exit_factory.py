"""The interpreter ends cleanly and quickly although nobody closed a pool that works in the background.

Whatever its threads do just then: they sleep, they are inside a hook that never returns, or one that returns while the
interpreter goes down.
"""

import sys
import time

import pytest

from support import run_child

HAS_GIL = getattr(sys, "_is_gil_enabled", lambda: True)()

PRELUDE = """
import atexit, builtins, gc, os, sys, threading, time
import opool
from support import Crew, Thing, eventually, things

class Gone(list):
    __call__ = list.append
"""

BEFORE = "import atexit\natexit.register(lambda: last())\n"
"""The functions of `atexit` run last in, first out: this one, registered before the import of opool, after opool's."""

QUICK = 60.0
"""It takes one second at most; the rest is for a machine that is busy. What waits for a hook waits for ever."""


def child(code, *, first=""):
    start = time.monotonic()
    done = run_child(first + PRELUDE + code)
    assert time.monotonic() - start < QUICK
    return done


@pytest.mark.parametrize("options", ["", ", max_idle=60", ", min_size=3", ", dispose=print", ", leak_after=60"])
def test_threads_that_have_nothing_to_do_are_sent_home(options):
    child(f"""
pool = opool.Pool(factory=Thing{options})
keep = pool.lease()
pool.lease().release()
""")


def test_no_thread_starts_after_the_others_were_sent_home():
    for _ in range(5):
        child(
            """
def last():
    for _ in range(30):
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("opool")]
        time.sleep(0.001)

sys.setswitchinterval(10)                   # the threads that start now do not get far before the end
pools = [opool.Pool(factory=Thing, min_size=1, name=str(i)) for i in range(5)]
""",
            first=BEFORE,
        )


HANGS = {
    "waits for ever": "threading.Event().wait()",
    "comes back and back": "\n    while True: time.sleep(0.001)",
    "never lets go of the interpreter": "\n    while True: pass",
    "returns about when nobody waits for it any more": "time.sleep(0.999)",
    "returns in time": "time.sleep(0.02)",
}


@pytest.mark.parametrize("how", HANGS)
def test_a_hook_in_the_background_that(how):
    child(f"""
inside = []

def hang(*_):
    inside.append(1)
    {HANGS[how]}
    return Thing()

def pool(**hook):
    return opool.Pool(**{{"factory": Thing, "max_size": 1, "timeout": None, **hook}})

makes, checks = pool(factory=hang), pool(check=hang, check_after=0)
resets, disposes = pool(reset=hang), pool(dispose=hang)
threading.Thread(target=makes.lease, daemon=True).start()
checks.lease().release()
threading.Thread(target=checks.lease, daemon=True).start()
dropped = resets.lease()
del dropped                                 # given back without its holder
disposes.lease().discard()
eventually(lambda: len(inside) == 4)
""")


def test_a_reset_that_its_holder_runs_in_a_daemon_thread():
    child("""
inside = threading.Event()

def hang(obj):
    inside.set()
    while True:
        time.sleep(0.001)

pool = opool.Pool([Thing()], reset=hang)
threading.Thread(target=lambda: pool.lease().release(), daemon=True).start()
assert inside.wait(60)
""")


def test_what_a_log_an_object_and_an_answer_do_too_late():
    child("""
import contextlib, logging
inside = []

def slow(what, sleep=time.sleep, get_ident=threading.get_ident, main=threading.get_ident()):
    inside.append(what)
    while get_ident() != main:              # without a GIL an object may die where it was made
        sleep(0.001)

class Dies:
    def __del__(self, slow=slow):
        slow("the object")

class Undecided:
    def __bool__(self):
        slow("the answer")

def wait_for(pool):
    def wait():
        with contextlib.suppress(opool.FactoryError):       # which may come before its record is written
            pool.lease()
    threading.Thread(target=wait, daemon=True).start()

logging.getLogger("opool").setLevel(logging.DEBUG)
logging.getLogger("opool").addFilter(lambda record: slow("the log"))
fails = opool.Pool(factory=lambda: 1 / 0)
wait_for(fails)
disposes = opool.Pool(factory=Dies, dispose=lambda obj: None)
disposes.lease().discard()
checks = opool.Pool(factory=Thing, max_size=1, check=lambda obj: Undecided(), check_after=0)
checks.lease().release()
wait_for(checks)
eventually(lambda: len(inside) == 3)
""")


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("body", ["pass", "time.sleep(0)", "time.sleep(0.001)"])
def test_daemon_threads_that_use_the_pool_while_the_interpreter_goes_down(body, fails):
    for _ in range(3):
        child(f"""
import logging, random
logging.getLogger("opool").addHandler(logging.NullHandler())

def sometimes(obj=None):
    if {fails} and random.random() < 0.2:
        raise OSError("now and then")
    return Thing() if obj is None else True

pool = opool.Pool(factory=sometimes, max_size=3, check=sometimes, check_after=0, reset=sometimes, dispose=sometimes,
    max_idle=0.001, max_lifetime=0.01, timing=True, track=True)
rounds = [0] * 6

def worker(i):
    while True:
        try:
            with pool.lease(timeout=random.choice((0, 1e-4, 1))) as obj:
                {body}
                if random.random() < 0.1:
                    pool.reload()
        except opool.PoolError:
            pass
        lease = pool.try_lease()
        if lease is not None:
            lease.discard()
        rounds[i] += 1

crew = Crew(6, worker)
eventually(lambda: all(rounds))
""")


def test_a_pool_is_closed_there():
    done = child("""
pool = opool.Pool(factory=Thing, min_size=2, max_size=3, dispose=lambda obj: os.write(1, b"gone\\n"))
eventually(lambda: pool.idle == 2)
pool.lease().release()
atexit.register(pool.close)
""")
    assert done.stdout == "gone\n" * 2


def test_a_pool_that_has_no_thread_yet_is_closed_there():
    done = child("""
pool = opool.Pool(things(3), dispose=lambda obj: os.write(1, b"gone\\n"))
atexit.register(pool.close)
""")
    assert done.stdout == "gone\n" * 3


def test_a_pool_is_closed_after_the_background_threads_were_sent_home():
    done = child(
        """
pool = opool.Pool(things(300), dispose=lambda obj: os.write(1, b"gone\\n"), min_size=0, factory=Thing, max_size=500)
lease = pool.lease()

def last():
    lease.release()
    pool.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("opool")]
""",
        first=BEFORE,
    )
    assert done.stdout == "gone\n" * 300


def test_a_hook_that_hangs_does_not_hold_up_that_close_for_long():
    done = child(
        """
import logging
logging.getLogger("opool").addHandler(logging.StreamHandler(sys.stdout))
inside = threading.Event()
pool = opool.Pool(factory=Thing, dispose=lambda obj: (inside.set(), threading.Event().wait()))
pool.lease().discard()
assert inside.wait(60)

def last():
    pool.close()
""",
        first=BEFORE,
    )
    assert done.stdout == "pool: closed, but a hook still runs in the background\n"


@pytest.mark.parametrize("when", ["before", "after"])
def test_objects_are_made_checked_reset_and_disposed_of(when):
    done = child(
        """
said = []
say = lambda what: lambda obj: said.append(what)
pool = opool.Pool(factory=Thing, max_size=1, check=say("check"), check_after=0, reset=say("reset"),
    dispose=say("dispose"))

def last():
    pool.lease(timeout=60).release()
    pool.lease(timeout=60).discard()
    lease = pool.lease(timeout=60)
    del lease                               # not given back by its holder: that is reset in the background
    with pool.lease(timeout=60):
        assert said.count("reset") == 2
    pool.close()
    print(sorted(set(said)), said.count("dispose"))
"""
        + ("atexit.register(last)" if when == "before" else ""),
        first=BEFORE if when == "after" else "",
    )
    assert done.stdout == "['check', 'dispose', 'reset'] 2\n"


def test_a_factory_that_fails_says_so_at_once():
    done = child(
        """
import logging
logging.getLogger("opool").addHandler(logging.NullHandler())
pool = opool.Pool(factory=lambda: 1 / 0)

def last():
    try:
        pool.lease()
    except opool.FactoryError as error:
        print(repr(error.__cause__))
""",
        first=BEFORE,
    )
    assert done.stdout == "ZeroDivisionError('division by zero')\n"


def test_leases_taken_there_and_never_given_back():
    child(
        """
pool = opool.Pool(factory=Thing, max_size=3, reset=lambda obj: None, dispose=lambda obj: None, check=lambda obj: None)

def last():
    builtins.never_given_back = pool.lease()
    globals()["nor"] = pool.lease()
    builtins.bare = pool.acquire()
""",
        first=BEFORE,
    )


@pytest.mark.parametrize("place", ["last = Last()", "builtins.last = Last()", "last = [Last()]; last.append(last)"])
@pytest.mark.parametrize("warm", [False, True])
def test_a_pool_used_in_a_del_at_the_very_end_says_no_or_works_and_never_hangs(place, warm):
    done = child(f"""
class Last:
    def __init__(self):
        self.pool = opool.Pool(factory=Thing, max_size=2, check=bool, reset=repr, dispose=repr, max_idle=60)
        if {warm}:
            self.pool.lease().release()
        self.out = os.dup(1)

    def __del__(self, write=os.write):
        for use in (self.pool.lease, self.pool.acquire, self.pool.reload, self.pool.close, self.pool.lease):
            try:
                use()
            except Exception:
                pass
        write(self.out, b"over")

{place}
""")
    # Without a GIL the interpreter may leave a cycle to itself in the end.
    assert done.stdout == "over" or ("append" in place and not HAS_GIL)


HELD = [
    "keep = pool.lease()",
    "keep = pool.lease(); keep.__enter__()",
    "keep = pool.acquire()",
    "builtins.keep = pool.lease()",
    "keep = [pool.lease()]; keep.append(keep)",
    "local = threading.local(); local.keep = pool.lease()",
    "def body():\n    with pool.lease(): yield\nkeep = body(); next(keep)",
    "keep = pool.lease().release",
    "pool.close(force=True) if pool.lease() else None",
    "pool.self = pool",
    "Thing.pool = pool",
]


@pytest.mark.parametrize("held", HELD)
def test_the_interpreter_ends_cleanly_with(held):
    child(f"""
class Pool(opool.Pool):
    pass

pool = Pool(factory=Thing, max_size=2, check=bool, reset=repr, dispose=repr, max_idle=60, track=True)
{held}
""")


@pytest.mark.parametrize(
    "load",
    ["import logging", "pool.acquire(); fails()", "import opool"],
    ids=["loaded by the program", "loaded for the first record", "loaded before"],
)
def test_logging_shuts_down_when_no_worker_could_write_a_record_any_more(load):
    told = run_child(
        ("import logging\n" if load == "import opool" else "")
        + f"""
import sys, threading
import opool
assert ("logging" in sys.modules) == {load == "import opool"}

def fails():
    try:
        opool.Pool(factory=lambda: 1 / 0).lease()
    except opool.FactoryError:
        pass

def workers():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("opool")]

pool = opool.Pool(factory=object, max_idle=1000)
{load}
pool.lease().release()
import logging
assert workers()                        # it waits for the end of the idle time

class Closing(logging.Handler):
    def close(self):
        print("shut down", workers())
        super().close()
handler = Closing()
"""
    ).stdout
    assert told.splitlines() == ["shut down []"]
