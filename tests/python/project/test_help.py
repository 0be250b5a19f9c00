"""`help()` and `inspect` show what users may use, and none of the machinery."""

import copy
import inspect
import pickle
import pydoc

import pytest

import opool
from opool._default import DEFAULT

CLASSES = [opool.Pool, opool.ObjectMgr, opool.Lease, opool.AsyncLease]


def shown(thing):
    return pydoc.plain(pydoc.render_doc(thing))


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_help_shows_no_machinery(cls):
    text = shown(cls)
    hidden = ["Ellipsis", "Initialize self", "__vectorcalloffset__", "See generators", " object at 0x", "<opool._opool"]
    assert [word for word in hidden if word in text] == []


def test_help_of_a_pool_names_coroutine_functions_and_the_one_process():
    text = shown(opool.Pool)
    assert "coroutine function" in text
    assert "one process" in text


@pytest.mark.parametrize(
    ("method", "signature"),
    [
        (opool.Pool.lease, "(self, /, timeout=<default>)"),
        (opool.Pool.lease_async, "(self, /, timeout=<default>)"),
        (opool.Pool.acquire, "(self, /, timeout=<default>)"),
        (opool.Pool.close, "(self, /, timeout=<default>, *, force=False)"),
        (opool.Pool.aclose, "(self, /, timeout=<default>, *, force=False)"),
        (opool.ObjectMgr, "(n, *, inclusive=False, order='fifo', seed=None)"),
        (opool.AsyncLease.__aenter__, "(self, /)"),
        (opool.AsyncLease.__aexit__, "(self, type, value, traceback, /)"),
        (opool.Lease.__enter__, "(self, /)"),
        (opool.Lease.__exit__, "(self, type, value, traceback, /)"),
    ],
    ids=lambda it: getattr(it, "__name__", None),
)
def test_a_signature_is_the_one_that_is_meant(method, signature):
    assert str(inspect.signature(method)) == signature


@pytest.mark.parametrize("name", ["__enter__", "__exit__", "__aenter__", "__aexit__", "__init__"])
def test_the_methods_that_python_calls_have_a_docstring_of_their_own(name):
    for cls in CLASSES:
        method = cls.__dict__.get(name)
        assert method is None or (method.__doc__ and "See help(type(self))" not in method.__doc__), cls


def test_the_default_that_signatures_show_is_the_pools_own_timeout():
    pool = opool.Pool([], timeout=0)
    for method in (pool.lease, pool.acquire):
        with pytest.raises(opool.PoolTimeout, match="no object is free"):
            method(timeout=DEFAULT)
    pool.close(timeout=DEFAULT)
    with pytest.raises(TypeError, match="timeout must be seconds or None"):
        opool.Pool(timeout=DEFAULT)


def test_there_is_one_default():
    assert copy.deepcopy(DEFAULT) is DEFAULT
    assert pickle.loads(pickle.dumps(DEFAULT)) is DEFAULT


def test_a_pool_is_set_up_by_init_however_it_is_called():
    class Named(opool.Pool):
        def __init__(self, objects):
            super().__init__(objects, name="of a subclass")

    assert Named(["a"]).name == "of a subclass"
    with pytest.raises(RuntimeError, match="set up already"):
        Named(["a"]).__init__(["b"])
    with pytest.raises(TypeError):
        opool.Pool.__init__(object(), ["a"])
    mgr = opool.ObjectMgr(3)
    assert mgr.__init__(5) is None
    assert mgr.ids == range(1, 5)
