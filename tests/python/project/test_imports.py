"""What opool imports: private modules only those below them, and nothing of event loops in a program of threads."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import opool
from support import run_child

PACKAGE = Path(opool.__file__).parent
SOURCE = Path(__file__).resolve().parents[3]

LAYERS = [  # as in DESIGN.md: each may import those above it in this list
    {"_default", "_interrupts", "_records", "_weaksets", "_with_blocks"},
    {"_hooks", "_text"},
    {"errors"},
    {"_greenlets", "_opool"},
    {"_log", "_registry", "_stacks", "_stats"},
    {"_event_loops", "_threads"},
    {"_task_holders"},
    {"_holders", "_hook_tasks"},
    {"_closing", "_deadlock", "_forks"},
    {"__init__"},
    {"metrics", "testing", "bank", "__main__"},
    {"metrics._table"},
    {"metrics.otel", "metrics.prometheus"},
]
LEVEL = {module: level for level, layer in enumerate(LAYERS) for module in layer}


def module_name(path):
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


def statements(node):
    """All statements below a node, also inside functions, but for those that only type checkers see."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            for unchecked in child.orelse:
                yield unchecked
                yield from statements(unchecked)
        else:
            yield child
            yield from statements(child)


def imported(source):
    """The modules of the package that a source imports."""
    for node in statements(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "a relative import: this check does not know where it leads"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            package, _, rest = name.partition(".")
            if package != "opool":
                continue
            while rest and rest not in LEVEL:
                rest = rest.rpartition(".")[0]
            yield rest or "__init__"


def test_every_import_leads_to_a_lower_layer():
    found = {module_name(path): set(imported(path.read_text(encoding="utf-8"))) for path in PACKAGE.rglob("*.py")}
    assert found.keys() | {"_opool"} == LEVEL.keys(), (
        "a module that has no place in LAYERS, or a place without a module"
    )
    assert sum(map(len, found.values())) > 20, "this check has lost its subject"
    upwards = [
        f"{module} imports {other}"
        for module, others in sorted(found.items())
        for other in sorted(others)
        if LEVEL[other] >= LEVEL[module]
    ]
    assert not upwards


def test_what_the_extension_imports_is_below_it():
    """The rest of the table of `python_side.rs` is looked up at its first use."""
    table = (SOURCE / "src/bindings/ffi/python_side.rs").read_text(encoding="utf-8")
    (at_import,) = re.findall(r"at_import: \{\n(.*?)\n    \}\n    at_first_use", table, re.DOTALL)
    modules = re.findall(r'c"opool\.([\w.]*)":', at_import)
    assert modules, "the extension imports nothing: this check has lost its subject"
    assert [module for module in modules if LEVEL[module] >= LEVEL["_opool"]] == []


@pytest.mark.parametrize(
    ("source", "modules"),
    [
        ("import opool", ["__init__"]),
        ("import opool._log as log, sys", ["_log"]),
        ("from opool import Pool, _log", ["__init__", "_log"]),
        ("from opool.metrics._table import FIGURES", ["metrics._table"]),
        ("def f():\n if f:\n  from opool._log import logger", ["_log"]),
        ("if TYPE_CHECKING:\n import opool\nelse:\n import opool._log", ["_log"]),
        ("from sys import path", []),
    ],
)
def test_what_a_source_imports_is_read_right(source, modules):
    assert list(imported(source)) == modules


# ----------------------------------------------------------------------------------------------------------------------
# Programs of threads

THREADS_ONLY = """
import atexit, functools, io, os, pickle, sys, threading, traceback, warnings

already = {"inspect"} & sys.modules.keys()  # CPython 3.14: by traceback
assert not already or sys.version_info[:2] == (3, 14)

def check(where):
    loaded = {"asyncio", "ssl", "inspect"} & sys.modules.keys() - already
    assert not loaded, f"{where} has loaded {loaded}"

check("the interpreter")
atexit.register(check, "the end of the program")  # before opool registers anything, so it comes last

import opool
import opool.errors
import opool.metrics
from opool.testing import Clock, Scripted, check_invariants

check("import opool")

def fails(expected, call, *args, **options):
    try:
        call(*args, **options)
    except expected as error:
        traceback.print_exception(type(error), error, error.__traceback__, file=io.StringIO())
        assert str(pickle.loads(pickle.dumps(error))) == str(error)
        return error
    raise AssertionError(f"{call} did not raise {expected}")

# Objects that are given
with opool.Pool(["a", "b"], name="letters", track=True, timing=True) as pool:
    with pool.lease() as obj:
        assert obj in pool
        for holder in pool.holders():
            assert holder.stack() and str(holder) and repr(holder)
    lease = pool.lease(timeout=1)
    lease.release()
    fails(opool.LeaseError, lease.release)
    pool.release(pool.acquire())
    pool.add_obj("c")
    pool.lease().discard()
    pool.try_lease().release()
    with pool.lease(), pool.lease():
        fails(opool.PoolTimeout, pool.lease, timeout=0)
        fails(opool.PoolTimeout, pool.lease, timeout=0.01)
    repr(pool), repr(pool.stats()), pool.stats() == pool.stats(), hash(pool.stats().wait_time)
fails(opool.PoolClosed, pool.lease)
check("a pool of objects")

# Objects that are made
class Maker:
    def make(self):
        return object()
    def __call__(self):
        return object()

makers = (object, Maker().make, Maker(), functools.partial(dict, a=1), lambda: [], functools.partial(Maker().make))
for factory in makers:
    with opool.Pool(
        factory=factory, check=lambda obj: True, reset=lambda obj: None, dispose=lambda obj: None, check_after=0,
        min_size=1, max_size=2, max_idle=60, max_lifetime=60, create_timeout=5, check_timeout=5, leak_after=60,
        max_waiting=8, timeout=30, name="made",
    ) as pool:
        with pool.lease():
            pass
        pool.reload()
        pool.resize(max_size=3)
        with pool.lease() as obj:
            fails(opool.PoolCloseTimeout, pool.close, timeout=0)
check("a pool with every hook")

pool = opool.Pool(factory=object, max_size=1)
with pool.lease():
    fails(opool.PoolDeadlock, pool.lease, timeout=60)
pool = opool.Pool(factory=lambda: 1 / 0, max_size=1)
fails(opool.FactoryError, pool.lease, timeout=5)
pool = opool.Pool(["a"], max_waiting=0)
with pool.lease():
    fails(opool.TooManyWaiters, pool.lease)
fails(TypeError, opool.Pool, no_such_option=1)
check("errors")

# Many threads
pool = opool.Pool(factory=object, max_size=2, reset=lambda obj: None)
def work():
    for _ in range(50):
        with pool.lease():
            pass
workers = [threading.Thread(target=work) for _ in range(6)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
check_invariants(pool)
check("many threads")

# Logged, on a test's clock
clock = Clock()
factory, check_hook = Scripted("ok", "error", clock=clock), Scripted("error", clock=clock)
pool = opool.Pool(factory=factory, check=check_hook, dispose=lambda obj: 1 / 0, leak_after=5, clock=clock, name="logs")
lease = pool.lease()
clock.advance(10)
lease.release()
clock.advance(100)
fails(opool.PoolError, pool.lease, timeout=1)
plain = opool.Pool(factory=dict, reset=lambda obj: 1 / 0, clock=clock)
with plain.lease():
    pass
clock.advance(1)
check("a test's clock and the log")

# Ids
ids = opool.ObjectMgr(range(100, 200), order="lowest")
ids.get_object(), ids.get_many(3), ids.get_range(4), ids.reserve(150)
ids.free_object(100)
with ids.lease():
    assert len(ids.holders()) == 1
assert opool.ObjectMgr.load(ids.dump()) == ids
fails(ValueError, ids.free_object, 199)
for order in ("fifo", "random"):
    with opool.ObjectMgr(3, order=order).lease(timeout=1):
        pass
check("ids")

# What is for tasks, called where there are none
pool = opool.Pool(["a"])
with pool.lease():
    fails(RuntimeError, pool.lease_async().__await__().send, None)
fails(RuntimeError, pool.aclose().send, None)
with pool.lease():  # an event loop of this thread would have to give it back
    fails(opool.PoolCloseTimeout, pool.close, timeout=0.01)
check("what is for tasks")

# A forked child
if hasattr(os, "fork"):
    warnings.simplefilter("ignore", DeprecationWarning)  # beside threads
    pool = opool.Pool(factory=object)
    with pool.lease():
        child = os.fork()
        if child == 0:
            try:
                with pool.lease():
                    pool.stats(), pool.holders()
                check("a forked child")
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
print("all done")
"""


def test_a_program_of_threads_loads_nothing_of_event_loops():
    done = run_child(THREADS_ONLY, check=False)
    assert (done.returncode, done.stdout) == (0, "all done\n"), done.stderr
    assert "Error" not in re.sub(r"ZeroDivisionError|ScriptedError", "", done.stderr), done.stderr


@pytest.mark.parametrize(
    "module",
    [
        "design.opool_demo",
        "design.objectmgr_demo",
        "design.opool_sample",
        "algorithms.palindrome",
        "algorithms.triplets",
    ],
)
def test_the_demos_load_nothing_of_event_loops(module):
    command = [sys.executable, "-X", "importtime", "-m", module]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, encoding="utf-8")
    loaded = set(re.findall(r"^import time:.*\| +(\S+)$", done.stderr, re.MULTILINE))
    assert done.returncode == 0 and "opool._opool" in loaded
    assert not loaded & {"asyncio", "ssl", "inspect"}


def test_import_opool_loads_little():
    # Without site, whose files may load anything.
    code = f"import sys; before = set(sys.modules); sys.path.insert(0, {os.fspath(PACKAGE.parent)!r}); import opool; "
    code += "print(*sorted(set(sys.modules) - before))"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    loaded = set(done.stdout.split())
    assert {"opool", "opool._opool", "threading"} <= loaded
    dear = {"asyncio", "ssl", "inspect", "dataclasses", "logging", "typing", "traceback", "re", "enum", "contextlib"}
    assert not loaded & dear


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_while_a_worker_thread_loads_logging_leaves_no_lock_behind():
    done = run_child(
        """
        import os, signal, sys, threading, warnings
        from importlib.machinery import PathFinder, SourceFileLoader
        import opool

        warnings.simplefilter("ignore", DeprecationWarning)  # from 3.12 on: fork beside threads
        assert "logging" not in sys.modules
        loading, forking, main = threading.Event(), threading.Event(), threading.main_thread().ident

        class Slow(SourceFileLoader):  # the worker thread stops while it loads logging
            def exec_module(self, module):
                loading.set()
                assert forking.wait(60)
                super().exec_module(module)

        class Finder:
            def find_spec(self, name, path=None, target=None):
                if name == "logging":
                    spec = PathFinder.find_spec(name)
                    spec.loader = Slow(name, spec.origin)
                    return spec

        sys.meta_path.insert(0, Finder())
        pool = opool.Pool(factory=lambda: 1 / 0, min_size=1)
        assert loading.wait(60)

        def names(frame):
            while frame is not None:
                yield frame.f_code.co_name
                frame = frame.f_back

        forked = threading.Event()

        def watch():
            while not forked.is_set() and "_finish_imports" not in names(sys._current_frames()[main]):
                forked.wait(0.001)
            forking.set()

        watcher = threading.Thread(target=watch)
        watcher.start()
        child = os.fork()
        if child == 0:
            signal.alarm(200)
            import logging
            os._exit(0)
        forked.set()
        status = os.waitpid(child, 0)[1]
        watcher.join()
        pool.close()
        print("status", status)
        """,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "status 0\n"), done.stderr
