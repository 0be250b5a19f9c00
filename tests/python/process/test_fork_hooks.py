"""Fork while the hooks of a pool run, in the background or in the forking thread: the child starts anew even then."""

import os

import pytest

from forks import child_with_hooks as child

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.mark.parametrize("hook", ["factory", "check", "reset", "dispose"])
def test_a_fork_while_a_background_thread_is_inside_the(hook):
    child(f"""
inside, go_on = threading.Event(), threading.Event()
hook = {hook!r}
plain = HOOKS[hook]

def slow(*args):
    if os.getpid() == parent and armed:
        inside.set()
        go_on.wait(60)
    return plain(*args)

parent, armed = os.getpid(), hook == "factory"
pool = opool.Pool(max_size=2, **{{**HOOKS, hook: slow}})
if hook == "factory":
    crew = Crew(1, lambda i: pool.lease(timeout=None).release())
else:
    lease = pool.lease()
    if hook != "reset":
        lease.release()
    armed = True
    if hook == "check":
        crew = Crew(1, lambda i: pool.lease(timeout=None).release())
    elif hook == "reset":
        crew = Crew(1, lambda i: None)
        del lease                           # given back without its holder: that is reset in the background
    else:
        crew = Crew(1, lambda i: pool.lease().discard())
assert inside.wait(60)

def body():
    size, idle, leased, waiting = state(pool)
    assert (size, idle, waiting) == (0, 0, 0), state(pool)
    stats = pool.stats()
    assert (stats.creating, stats.checking) == (0, 0), stats
    works(pool)
    pool.close()
    assert pool.size == 0

for _ in range(3):
    assert forked(body) == 0
assert exits(0, body) == 0
go_on.set()
crew.join()
check_invariants(pool)
pool.close()
""")


@pytest.mark.parametrize("hook", ["factory", "check", "reset", "dispose", "reset in the background"])
def test_a_fork_from_inside_the(hook):
    child(f"""
hook, _, behind = {hook!r}.partition(" ")
plain, children, armed = HOOKS[hook], [], hook == "factory"

def use_and_exit():
    status = 1
    try:
        works(pool)
        pool.close()
        # The hook that forked has returned, and its thread has ended or is this one's starter.
        eventually(lambda: not [thread for thread in threading.enumerate() if thread.name == "opool"])
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)

def forks(*args):
    global armed
    if not armed:
        return plain(*args)
    armed = False
    child = os.fork()
    if child:
        children.append(child)
        return plain(*args)
    faulthandler.register(signal.SIGALRM, chain=True)
    signal.alarm(LIMIT)
    threading.Thread(target=use_and_exit).start()
    return Socket() if hook == "factory" else None

pool = opool.Pool(max_size=2, **{{**HOOKS, hook: forks}})
lease = pool.lease(timeout=None)
if hook == "check":
    lease.release()
armed = not children
if hook == "check":
    Crew(1, lambda i: pool.lease(timeout=None).release()).join()
elif hook == "dispose":
    lease.discard()
elif behind:
    del lease                               # given back without its holder: that is reset in the background
else:
    lease.release()
eventually(lambda: children)
assert os.waitpid(children[0], 0)[1] == 0
check_invariants(pool)
pool.close()
""")


def test_a_reset_that_forks_keeps_the_object_of_a_lease_that_came_from_another_thread():
    child("""
children, objects = [], things(2)

def forks(obj):
    children.append(os.fork())
    if not children[0]:
        signal.alarm(LIMIT)

pool = opool.Pool(objects, reset=forks)
lease = pool.lease()

def worker(_):
    with lease:
        pass
    if children[0]:
        return
    bad = (pool.size, pool.idle, pool.leased) != (2, 2, 0) or sorted(map(id, drain(pool))) != sorted(map(id, objects))
    if bad:
        complain(f"doubled or lost: {pool}")
    os._exit(bad)

Crew(1, worker).join()
assert os.waitpid(children[0], 0)[1] == 0
assert_whole(pool, objects)
""")


def test_a_signal_handler_that_forks_within_a_wait_and_the_child_goes_on_waiting():
    child("""
import faulthandler
pool, children, stay = opool.Pool(max_size=1, **HOOKS), [], threading.Event()
held = Crew(1, lambda i: pool.lease()).join()[0]
holder = threading.Thread(target=lambda: (held.__enter__(), stay.wait(60), held.__exit__(None, None, None)))
holder.start()
eventually(lambda: pool.holders() and pool.holders()[0].entered)

def handler(*_):
    children.append(os.fork())
    if not children[0]:
        faulthandler.register(signal.SIGALRM, chain=True)
        signal.alarm(LIMIT)

signal.signal(signal.SIGUSR1, handler)

def kick(_):
    eventually(lambda: pool.waiting == 1)
    signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)
    eventually(lambda: children)
    stay.set()

crew = Crew(1, kick)
lease = pool.lease(timeout=None)            # in the child: of an object that it makes itself
if not children[0]:
    assert lease.obj.process == os.getpid()
    os._exit(0)
assert os.waitpid(children[0], 0)[1] == 0
crew.join()
holder.join()
lease.release()
pool.close()
""")
