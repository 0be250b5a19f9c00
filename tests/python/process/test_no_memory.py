"""Without memory: a `MemoryError`, whatever is called, and never a panic of the extension."""

import re
import sys
from pathlib import Path

import pytest

from support import run_child

pytest.importorskip("_testcapi")
SOURCE = Path(__file__).resolve().parents[3] / "src" / "bindings"

PROGRAM = """
import collections, os, sys, warnings
import _testcapi
import opool
from opool.testing import Clock

warnings.simplefilter("ignore")
sys.unraisablehook = lambda _: None
STEPS = 60          # how many allocations fail, one after another

pool = opool.Pool(["a", "b"], name="db", track=True)
taken, entered = pool.lease(), pool.lease()
entered.__enter__()
ids = opool.ObjectMgr(range(2**62, 2**62 + 10), order="lowest")
ids.get_many(3)
ids.exclude([2**62 + 8])
dump = ids.dump()
things = {
    "Pool": pool, "Lease": taken, "ObjectMgr": ids, "AsyncLease": pool.lease_async(),
    "a pool with a factory": opool.Pool(factory=object, timeout=0), "a pool with a clock": opool.Pool(clock=Clock()),
}
# What waits, or is the interpreter's own.
LEFT_OUT = {"__class__", "__init__", "__init_subclass__", "__new__", "__subclasshook__", "aclose", "acquire", "close",
            "lease", "lease_async", "__aenter__", "__aexit__", "__exit__"}
cases = {}
for name, thing in things.items():
    for attribute in sorted(set(dir(type(thing))) - LEFT_OUT):
        cases[name, attribute] = lambda thing=thing, attribute=attribute: getattr(thing, attribute)
        for arguments in ((), (5,), ("x",), (None,), (range(3),), (1, 2)):
            cases[name, attribute, arguments] = lambda thing=thing, attribute=attribute, arguments=arguments: (
                getattr(thing, attribute)(*arguments)
            )
    cases[name, "repr"] = lambda thing=thing: repr(thing)
for options in (
    dict(min_size=-1), dict(bad=1), dict(factory=5), dict(timeout="x"), dict(name=5), dict(order="z"), dict(jitter=5),
    dict(track=5), dict(clock=5), dict(max_idle=1), dict(check=len, check_after=None), dict(factory=object, max_size=0),
    dict(factory=object, min_size=3, max_size=2), dict(objects=5), dict(objects=len), dict(name="n", timing=True),
):
    cases["Pool", str(options)] = lambda options=options: opool.Pool(**options)
for arguments in ((-1,), ("x",), (range(3),), (range(0, 9, 2),), (2**70,)):
    cases["ObjectMgr", arguments] = lambda arguments=arguments: opool.ObjectMgr(*arguments)
for data in (b"x", dump, None):
    cases["load", data] = lambda data=data: opool.ObjectMgr.load(data)
cases["timeout"] = lambda: opool.Pool([]).lease(timeout=0)

# The arguments are PyO3's to parse, and it fails there as it likes.
NOT_OURS = ("positional argument", "unexpected keyword", "argument '", "is not an instance of", "cannot be")

def outcome(function, step):
    for _ in range(3):      # this function has none to spare itself
        try:
            _testcapi.set_nomemory(step, step + 1)
            try:
                function()
            finally:
                _testcapi.remove_mem_hooks()
            return None
        except BaseException as error:
            return type(error).__name__

found = collections.Counter()
for case, function in cases.items():
    try:
        function()
    except TypeError as error:
        if any(words in str(error) for words in NOT_OURS) and "Pool()" not in str(error):
            continue
    except BaseException:
        pass
    for step in range(STEPS):
        outcome_of_step = outcome(function, step)
        found[outcome_of_step] += 1
        assert outcome_of_step != "PanicException", case
assert found["MemoryError"] > 1000, found
os._exit(0)         # whatever these objects have come to
"""


@pytest.mark.skipif(sys.version_info[:2] not in ((3, 11), (3, 12)), reason="CPython itself fails there, or counts anew")
def test_whatever_is_called_raises_a_memory_error():
    child = run_child(PROGRAM, check=False)
    assert (child.returncode, "panicked" in child.stderr) == (0, False), child.stderr[-3000:]


FIRST_CALLS = """
import asyncio, os, sys
import _testcapi
import opool

STEPS = 80
sys.unraisablehook = lambda _: None
empty, full = opool.Pool([]), opool.Pool(["a"])
lease = full.lease()
ids = opool.ObjectMgr(3)

loop = asyncio.new_event_loop()

def await_lease():
    asyncio._set_running_loop(loop)
    waiting = opool.Pool([]).lease_async(timeout=1)
    waiting.__await__().send(None)

async def wait():
    async with full.lease_async(timeout=None):
        pass

waiting = loop.create_task(wait())
loop.call_soon(loop.stop)
loop.run_forever()

calls = {
    "lease": lambda: empty.lease(timeout=0),
    "a short wait": lambda: empty.lease(timeout=0.001),
    "acquire": lambda: empty.acquire(timeout=0),
    "close": lambda: empty.close(),
    "close with a lease out": lambda: full.close(0),
    "to a task of another loop": lease.release,
    "lease_async": await_lease,
    "an id": lambda: ids.lease(timeout=0),
    "iterate": lambda: list(ids),
    "a factory": lambda: opool.Pool(factory=object).lease(timeout=1),
    "a broken factory": lambda: opool.Pool(factory=len, timeout=1).lease(),
    "holders": full.holders,
    "stats": full.stats,
}
for name, call in calls.items():
    for step in range(STEPS):
        if os.fork() == 0:              # each time it is the first call
            code = 0
            try:
                _testcapi.set_nomemory(step, step + 1)
                try:
                    call()
                finally:
                    _testcapi.remove_mem_hooks()
            except BaseException as error:
                code = 1 if type(error).__name__ == "PanicException" else 0
            os._exit(code)
        assert os.waitstatus_to_exitcode(os.wait()[1]) == 0, (name, step)
"""


@pytest.mark.skipif(sys.version_info[:2] not in ((3, 11), (3, 12)), reason="CPython itself fails there, or counts anew")
def test_whatever_is_called_first_raises_a_memory_error():
    child = run_child(FIRST_CALLS, check=False)
    assert (child.returncode, "panicked" in child.stderr) == (0, False), child.stderr[-3000:]


PANICS = {
    "the text of an exception is to be a Message": r"new_err\((?!(ffi::values::)?Message::of\(|\(\)|\.\.\.)",
    "a value is to be made by ffi/values.rs": (
        r"\b(PyString::(new|intern)|PyDict::new|PyList::(new|empty)|PyTuple::new|PyBytes::new\w*|PyFloat::new|PyInt::new)\("
        r"|\.into_pyobject\("
    ),
    "a name is to be one of ffi/names.rs": r"\bintern!\(",
    "a name is to be a C string": r"\.(getattr|setattr|call_method\w*|getattr_opt)\(\"",
    "PyO3 converts this without a way to fail": (
        r"fn (?!__len__)\w+(<[^>]*>)?\([^{;]*\) -> (PyResult<)?(Option<)?"
        r"(usize|u64|i64|f64|String|&'?\w* ?str|Vec<|\((?!\)))"
    ),
}
"""What panics without memory, if Python can call it."""


def test_nothing_that_python_can_call_uses_what_panics_without_memory():
    wrong = []
    files = [path for path in sorted(SOURCE.rglob("*.rs")) if path.name != "values.rs"]
    assert len(files) > 50
    for path in files:
        text = path.read_text(encoding="utf-8")
        for why, pattern in PANICS.items():
            if why.startswith("PyO3 converts") and path.parent.name != "classes":
                continue
            for match in re.finditer(pattern, text):
                line = text.count("\n", 0, match.start()) + 1
                if not text.splitlines()[line - 1].lstrip().startswith("//"):
                    wrong.append(f"{path.relative_to(SOURCE)}:{line}: {why}: {match.group()[:60]!r}")
    assert not wrong, "\n".join(wrong)


def test_the_types_of_the_extension_are_made_when_it_is_imported():
    # PyO3 makes a type at its first use, and panics if there is no memory for it.
    source = "".join(path.read_text(encoding="utf-8") for path in SOURCE.rglob("*.rs"))
    types = re.findall(r"#\[pyclass[^\n]*\]\s*(?:///[^\n]*\s*)*(?:pub(?:\(crate\))? )?struct (\w+)", source)
    made = re.findall(r"(?:add_class|get_type)::<(?:\w+::)*(\w+)>", source)
    assert len(types) == source.count("#[pyclass")
    assert set(types) <= set(made)
