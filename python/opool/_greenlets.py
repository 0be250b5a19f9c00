"""gevent, whose greenlets wait in their hubs, and eventlet, which is refused. Neither is ever loaded here."""

from __future__ import annotations

import os
import sys
import threading
import weakref

from opool.errors import PoolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

LONG = 3600.0
"""For how many seconds a greenlet sleeps that has no deadline. Its timer keeps the hub running meanwhile."""

SLACK = 0.0005
"""How much later a timer is set: one that rings early, by the resolution of a clock, would be a wake-up for nothing."""


class _Life:
    """Dies with the thread that has it among its locals."""


_locals: Any = None
"""The locals of threads, also where `threading.local` is patched: those are of greenlets. Made with the first hub."""


class Hub:
    """A hub of gevent, with those methods of asyncio's event loops that the pool calls. Made in the hub's thread."""

    def __init__(self, hub: Any) -> None:
        global _locals
        self.hub = hub
        if _locals is None:
            _locals = _original("_thread", "_local")()
        life = getattr(_locals, "life", None)
        if life is None:
            life = _locals.life = _Life()
        self._life = weakref.ref(life)

    def is_running(self) -> bool:
        """Return whether its greenlets will go on: not if the hub was destroyed, or its thread has ended."""
        return self._life() is not None and not self.hub.dead and getattr(self.hub, "loop", None) is not None

    def call_soon(self, function: Callable[[], object]) -> None:
        self.hub.loop.run_callback(function)

    def call_soon_threadsafe(self, function: Callable[[], object]) -> None:
        self.hub.loop.run_callback_threadsafe(function)


def _is_patched(module: str) -> bool:
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched(module))


def _original(module: str, name: str) -> Any:
    if _is_patched(module):
        return sys.modules["gevent.monkey"].get_original(module, name)
    return getattr(sys.modules[module], name)


def _is_main_thread() -> bool:
    # By the system's number, for `threading` may be patched. Where that tells nothing, only an existing hub counts.
    return sys.platform == "linux" and threading.get_native_id() == os.getpid()


def _existing_hub() -> Any:
    get = getattr(sys.modules.get("gevent._hub_local"), "get_hub_if_exists", None)
    return None if get is None else get()


def is_used() -> bool:
    """Return whether this thread runs greenlets of gevent: it has a hub, or will get one when something waits."""
    if _existing_hub() is not None:
        return True
    return _is_main_thread() and (_is_patched("_thread") or _is_patched("socket"))


def get_current_function() -> Callable[[], object]:
    """Return `greenlet.getcurrent`. Only where gevent is loaded."""
    found: Callable[[], object] = sys.modules["greenlet"].getcurrent
    return found


def hub_to_wait_in() -> Hub | None:
    """Return the hub of this thread, for a greenlet that is about to wait; None in a plain thread.

    Raises:
        PoolError: if the caller must not wait, being the hub itself or a green thread of eventlet.
    """
    _refuse_eventlet()
    if not is_used():
        return None
    hub = sys.modules["gevent.hub"].get_hub()
    if sys.modules["greenlet"].getcurrent() is hub:
        raise PoolError(
            "nothing is free, and the hub of gevent cannot wait, as all greenlets would: "
            "call this in a greenlet (gevent.spawn), or use try_lease"
        )
    found: Hub | None = getattr(hub, "_opool_hub", None)
    if found is None:
        found = hub._opool_hub = Hub(hub)
    return found


def _refuse_eventlet() -> None:
    eventlet = sys.modules.get("eventlet.patcher")
    if eventlet is None:
        return
    local = getattr(sys.modules.get("eventlet.hubs"), "_threadlocal", None)
    patched = eventlet.is_monkey_patched("thread") or eventlet.is_monkey_patched("socket")
    if getattr(local, "hub", None) is not None or (patched and _is_main_thread()):
        raise PoolError(
            "opool does not support eventlet: to wait for an object would stop all green threads. "
            "Use gevent, asyncio (lease_async) or plain threads"
        )


def sleep(future: Any, seconds: float | None, keeps_hub: bool) -> None:
    """Let other greenlets run until `future` is done or `seconds` have passed.

    `keeps_hub` says whether the hub goes on for this sleep alone. A `gevent.Timeout`, or what else is thrown into the
    greenlet, comes out.
    """
    module = sys.modules["gevent.hub"]
    hub = module.get_hub()
    waiter = module.Waiter(hub)
    timer = hub.loop.timer(LONG if seconds is None else seconds + SLACK, ref=keeps_hub)
    future.add_done_callback(waiter.switch)
    try:
        timer.start(waiter.switch, None, update=True)
        waiter.get()
    finally:
        future.forget()
        timer.close()


def spawn(function: Callable[[], object]) -> bool:
    """Run `function` in a greenlet of this thread's hub; False if this thread runs no greenlets.

    What is created there can be used in the other greenlets of the thread: a socket of gevent belongs to the hub of
    the thread that created it.
    """
    _refuse_eventlet()
    if not is_used():
        return False
    sys.modules["gevent"].spawn_raw(function)
    return True


def start_new_thread() -> Callable[..., int]:
    """Return the function that starts a thread of the operating system, also where `_thread` is patched."""
    found: Callable[..., int] = _original("_thread", "start_new_thread")
    return found


def pause(seconds: float) -> None:
    """Sleep, and let the greenlets of this thread run meanwhile."""
    sys.modules["gevent"].sleep(seconds)
