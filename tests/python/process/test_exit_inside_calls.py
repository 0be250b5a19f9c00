"""The interpreter ends with status 0 while daemon threads are inside calls of ours that run Python code.

Which calls those are is not written down here. Every public callable is called with an argument whose special methods
record that they were entered, one method at a time; and whole scenarios are profiled for the functions that they enter.
Each place that was found is then visited again in a forked child, where the thread stays in that method or function
while the interpreter goes down. Up to CPython 3.13 such a thread is ended by `pthread_exit`, which must not unwind our
frames.
"""

import pytest

from support import run_child

PRELUDE = """
import asyncio, inspect, itertools, logging, os, signal, sys, threading, time
import opool, opool.testing
from algorithms import palindrome, triplets

logging.getLogger("opool").addHandler(logging.NullHandler())


class Reached(BaseException):
    pass


def reach():  # replaced in the children
    raise Reached


ANSWERS = {
    "__index__": 1, "__int__": 1, "__float__": 1.0, "__len__": 1, "__length_hint__": 1, "__bool__": True,
    "__repr__": "odd", "__str__": "odd", "__hash__": 1, "__eq__": False, "__ne__": True, "__lt__": False,
    "__le__": False, "__gt__": False, "__ge__": False, "__add__": 0, "__radd__": 0, "__sub__": 0, "__rsub__": 0,
    "__neg__": 0, "__mul__": 0, "__rmul__": 0, "__call__": None, "__contains__": False, "__getattr__": None,
}


def odd(trap):
    # An object of which one special method is where the thread stays; the others answer at once.
    def method(name):
        def answer(self, *args):
            if name == trap:
                reach()
            if name == "__iter__":
                return self
            if name == "__next__":
                raise StopIteration
            if name == "__getitem__":
                raise IndexError
            if name == "__getattr__":
                raise AttributeError(*args)
            return ANSWERS[name]
        return answer

    names = [*ANSWERS, "__iter__", "__next__", "__getitem__"]
    return type("Odd", (), {name: method(name) for name in names})()


TRAPS = [*ANSWERS, "__iter__", "__next__", "__getitem__"]


def parameters(function):
    try:
        found = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return
    for parameter in found:
        if parameter.name in ("self", "cls"):
            continue
        yield parameter


def instances():
    pool, ids = opool.Pool(["a", "b"], timeout=0), opool.ObjectMgr(10)
    yield "Pool", pool, opool.Pool
    yield "ObjectMgr", ids, opool.ObjectMgr
    yield "Lease", pool.lease(), opool.Lease
    yield "AsyncLease", pool.lease_async(), opool.AsyncLease
    yield "Clock", opool.testing.Clock(), opool.testing.Clock
    yield "palindrome", palindrome.Solution(), palindrome.Solution
    yield "triplets", triplets.Solution(), triplets.Solution


def calls():
    # Name, and what takes an odd object and does one call with it.
    for kind in (opool.Pool, opool.ObjectMgr, opool.Lease):
        for parameter in parameters(kind):
            if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
                yield f"{kind.__name__}(odd)", lambda odd, kind=kind: kind(odd)
            elif parameter.kind is parameter.KEYWORD_ONLY:
                def construct(odd, kind=kind, name=parameter.name):
                    more = {} if name == "factory" else {"factory": object}
                    return kind(**more, **{name: odd}) if kind is opool.Pool else kind(10, **{name: odd})
                yield f"{kind.__name__}({parameter.name}=odd)", construct
    yield "Pool([odd])", lambda odd: opool.Pool([odd]).lease()
    yield "Pool((..., odd))", lambda odd: repr(opool.Pool(["a", odd]).holders())
    yield "ObjectMgr([odd])", lambda odd: opool.ObjectMgr(10).free_many([odd])
    yield "exclude([odd])", lambda odd: opool.ObjectMgr(10).exclude([odd])
    yield "exclude((1, odd))", lambda odd: opool.ObjectMgr(10).exclude((1, odd))
    yield "triplets([odd] * 9)", lambda odd: triplets.Solution().get_triplets([odd] * 9)
    for kind, _, owner in instances():
        for name in dir(owner):
            if not hasattr(owner, name):        # it only says what to write instead
                continue
            inherited = hasattr(object, name) and getattr(owner, name) == getattr(object, name, None)
            if inherited or name in ("__class__", "__init__", "__new__", "__init_subclass__", "__subclasshook__"):
                continue
            if name.startswith("_") and not name.endswith("__"):
                continue
            for count in (1, 2, 3):
                def method(odd, kind=kind, name=name, count=count):
                    this = next(each for label, each, _ in instances() if label == kind)
                    return getattr(this, name)(*[odd] * count)
                yield f"{kind}.{name}({', '.join(['odd'] * count)})", method
            for parameter in parameters(getattr(owner, name)):
                def named(odd, kind=kind, name=name, parameter=parameter.name):
                    this = next(each for label, each, _ in instances() if label == kind)
                    return getattr(this, name)(**{parameter: odd})
                yield f"{kind}.{name}({parameter.name}=odd)", named


def is_reached(action):
    # Whether it comes to the place. In a thread of its own: some calls change what a thread may do afterwards.
    found = []

    def run():
        try:
            action()
        except Reached:
            found.append(True)
        except BaseException:
            pass

    global reach
    before = reach

    def reach():
        found.append(True)
        raise Reached

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    assert not thread.is_alive(), action
    reach = before
    return bool(found)


NOT_REACHED = 77


def child(action):
    # Goes down while a daemon thread is in the place.
    global reach
    there = threading.Event()

    def reach():
        there.set()
        while True:
            time.sleep(0.0002)

    def run():
        try:
            action()
        except BaseException:
            pass

    threading.Thread(target=run, daemon=True).start()
    if not there.wait(5):
        os._exit(NOT_REACHED)
    signal.alarm(100)
    sys.exit(0)


def visit(places, runs, at_once=8):
    # Each place in children, several at once. Prints what did not end well.
    waiting = [(name, action) for name, action in places for _ in range(runs)]
    running, bad, reached = {}, {}, set()
    while waiting or running:
        while waiting and len(running) < at_once:
            name, action = waiting.pop()
            sys.stdout.flush()
            pid = os.fork()
            if pid == 0:
                os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
                child(action)
            running[pid] = name
        pid, status = os.wait()
        name = running.pop(pid)
        status = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
        if status != NOT_REACHED:
            reached.add(name)
        if status not in (0, NOT_REACHED):
            bad.setdefault(name, []).append(status)
    for name, statuses in bad.items():
        print(f"{name}: {len(statuses)} of {runs} ended with {sorted(set(statuses))}")
    print(len(reached), "places")
"""


def visited(code):
    """How many places were visited, all of which must have ended well."""
    done = run_child("import warnings; warnings.simplefilter('ignore')\n" + PRELUDE + code, 500, check=False)
    lines = done.stdout.splitlines()
    assert (done.returncode, lines[:-1]) == (0, []), done.stderr[-3000:]
    return int(lines[-1].split()[0])


def test_while_a_special_method_of_an_argument_runs():
    assert (
        visited("""
places = []
for name, call in calls():
    for trap in TRAPS:
        action = lambda call=call, trap=trap: call(odd(trap))
        if is_reached(action):
            places.append((f"{name} in {trap}", action))
visit(places, 2)
""")
        > 60
    )


SCENARIOS = {
    "a timeout": "pool = opool.Pool(['a'], timeout=0); keep = pool.lease(); pool.lease()",
    "a timeout of ids": "ids = opool.ObjectMgr(2); ids.get_object(); ids.lease(timeout=0)",
    "a deadlock": (
        "pool = opool.Pool(factory=object, max_size=1, timeout=3)\\nkeep = pool.lease(); keep.__enter__(); pool.lease()"
    ),
    "a failing factory": "opool.Pool(factory=lambda: 1 / 0, timeout=3).lease()",
    "a close with something out": "pool = opool.Pool(['a']); keep = pool.lease(); pool.close(timeout=0)",
    "a failing reset": "pool = opool.Pool(['a'], reset=lambda obj: 1 / 0); pool.lease().release()",
    "a factory, and close": "pool = opool.Pool(factory=object, dispose=id); pool.lease().release(); pool.close()",
    "statistics": "pool = opool.Pool(['a']); keep = pool.lease(); pool.stats(); pool.holders(); repr(pool)",
    "leases in tasks": (
        "async def main():\\n"
        "    pool = opool.Pool(['a'])\\n"
        "    async def use():\\n"
        "        async with pool.lease_async(): await asyncio.sleep(0)\\n"
        "    await asyncio.gather(*(use() for _ in range(3)))\\n"
        "asyncio.run(main())"
    ),
    "a thread gives back to a task": (
        "async def main():\\n"
        "    pool = opool.Pool(['a'], timeout=5); lease = pool.lease()\\n"
        "    threading.Timer(0.05, lease.release).start()\\n"
        "    async with pool.lease_async(): pass\\n"
        "asyncio.run(main())"
    ),
    "a pool with coroutine hooks": (
        "async def make(): return object()\\n"
        "async def main():\\n"
        "    async with opool.Pool(factory=make) as pool:\\n"
        "        async with pool.lease_async(): pass\\n"
        "asyncio.run(main())"
    ),
}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_while_a_function_that_we_call_runs(scenario):
    assert (
        visited(f"""
CODE = compile("{SCENARIOS[scenario]}", "scenario", "exec")


def entered(frame):
    # What names a function of the Python half that the scenario enters, and how often it has been entered.
    return frame.f_code.co_filename.rpartition("/")[2], frame.f_code.co_name


def watched(place, count):
    def action():
        seen = itertools.count(1)

        def profile(frame, event, _):
            if event == "call" and entered(frame) == place and next(seen) == count:
                sys.setprofile(None)
                threading.setprofile(None)
                reach()

        threading.setprofile(profile)
        sys.setprofile(profile)
        try:
            exec(CODE, {{"opool": opool, "asyncio": asyncio, "threading": threading}})
        finally:
            sys.setprofile(None)
            threading.setprofile(None)

    return action


found = {{}}


def note(frame, event, _):
    code = frame.f_code
    ours = os.sep + "opool" + os.sep in code.co_filename
    if event == "call" and (ours or code.co_name == "call_soon_threadsafe"):
        found[entered(frame)] = None


def run():
    sys.setprofile(note)
    threading.setprofile(note)
    try:
        exec(CODE, {{"opool": opool, "asyncio": asyncio, "threading": threading}})
    except BaseException:
        pass
    sys.setprofile(None)
    threading.setprofile(None)


thread = threading.Thread(target=run)
thread.start()
thread.join()
places = [(" ".join(place), watched(place, 1)) for place in found]
visit(places, 2)
""")
        >= 1
    )
