"""Idempotency keys: a request is run once, its repeats get the stored answer."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from opool_bank import _async
from opool_bank._address import Address, is_database, path_of
from opool_bank._bank import BankCore
from opool_bank._lease import Lease
from opool_bank.errors import BankUsageError, InProgress, Interrupted, Mismatch

if TYPE_CHECKING:
    from opool_bank._bank import ManualClock

# The files that `once` has open: a call must not open its file anew.
_open: WeakValueDictionary[tuple[int, str, str], BankCore] = WeakValueDictionary()
_opening = threading.Lock()
os.register_at_fork(after_in_child=lambda: globals().update(_opening=threading.Lock()))
_recent: list[BankCore] = []


def _core(path: str, name: str, clock: ManualClock | None) -> BankCore:
    if clock is not None:
        return BankCore(path, name, "items", 0, False, clock)
    wanted = (os.getpid(), path if is_database(path) else os.path.abspath(path), name)
    core = _open.get(wanted)
    if core is None:
        core = BankCore(path, name, "items", 0, False, None)  # outside of the lock: it waits for the file's
        with _opening:
            core = _open.setdefault(wanted, core)
            _recent.append(core)
            del _recent[:-8]
    return core


class Once:
    """What `once` returns. In its `with` block, `first` says whether to run.

    Attributes:
        first: True: run, then call `done(answer)`. False: `answer` is what was stored.
        answer: the stored answer.
        attempt: 1, or more if earlier runners died (`rerun=True`).
    """

    def __init__(self, core: BankCore, key: Any, fingerprint: str, ttl: float, keep: float | bool, rerun: bool) -> None:
        self._core = core
        self._key = key
        self._fingerprint = fingerprint
        self._ttl = ttl
        self._keep = keep
        self._rerun = rerun
        self._lease: Lease | None = None
        self.first = False
        self.answer: Any = None
        self.attempt = 0

    @property
    def lease(self) -> Lease | None:
        """The lease of the one that runs: its `token`, and `lost`."""
        return self._lease

    def __bool__(self) -> bool:
        """Whether to run."""
        return self.first

    def done(self, answer: Any = None) -> None:
        """Store the answer that repeats get.

        If this runner was taken for dead and another one finished meanwhile, that one's answer stays, and is raised as
        `AlreadySettled` or `StaleLease`: drop this one's.
        """
        if self._lease is None:
            raise BankUsageError("done() is for the one that runs, inside the block")
        self._lease.done(answer, keep=self._keep)
        self.answer = answer

    async def done_async(self, answer: Any = None) -> None:
        """As `done`, for event loops."""
        if self._lease is None:
            raise BankUsageError("done_async() is for the one that runs, inside the block")
        await self._lease.done_async(answer, keep=self._keep)
        self.answer = answer

    def _begin(self, told: tuple[str, Any, Any]) -> Once:
        verdict, value, core = told
        if verdict == "run":
            self.first, self.attempt, self._lease = True, value, Lease(self._core, core)
        elif verdict == "replay":
            self.answer = value
        elif verdict == "mismatch":
            raise Mismatch(f"idempotency key {self._key!r} was used for another request in {self._core.title}")
        elif verdict == "interrupted":
            error = Interrupted(
                f"the runner of idempotency key {self._key!r} died; its effect may have happened "
                f"(attempt {value} would be next, in {self._core.title}). Look for the effect, then pass rerun=True"
            )
            error.key, error.attempt = self._key, value
            raise error
        else:
            busy = InProgress(f"idempotency key {self._key!r} is being run; try again in {value:.1f} s at the latest")
            busy.retry_after = value
            raise busy
        return self

    def __enter__(self) -> Once:
        """Begin.

        Raises:
            InProgress: another runner is at it.
            Mismatch: the key was used for another request.
            Interrupted: the first runner died.
        """
        return self._begin(self._core.once(self._key, self._fingerprint, self._ttl, self._rerun))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Free the key if it was not done: the next one runs."""
        if self._lease is not None:
            self._lease.__exit__(kind, error, trace)

    async def __aenter__(self) -> Once:
        """As `with`, for event loops."""

        def send(sink: _async.Sink) -> Any:
            return self._core.once(self._key, self._fingerprint, self._ttl, self._rerun, sink)

        return self._begin(await _async.answer(self._core, send))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """As `with`, for event loops."""
        if self._lease is not None:
            await self._lease.__aexit__(kind, error, trace)


def once(
    address: Address,
    key: Any,
    *,
    request: Any = None,
    ttl: float = 30.0,
    expires: float | None = 24 * 3600.0,
    rerun: bool = False,
    name: str = "once",
    clock: ManualClock | None = None,
) -> Once:
    """Run a request once per idempotency key.

    The first one runs; one that comes meanwhile gets `InProgress`, one that comes later the stored answer. If the block
    raises, the key is free again. If the process dies, the next one gets `Interrupted`, since the effect may have
    happened.

    Args:
        address: the path of the file.
        key: the idempotency key.
        request: what was asked for (str, bytes or JSON): the same key with another request is a `Mismatch`.
        ttl: seconds after which a runner that is not heard of counts as dead; renewed while the block runs.
        expires: seconds that the answer is kept; None for ever.
        rerun: run again after a runner that died.
        name: the bank in the file.
        clock: a `testing.ManualClock`.

    Example:
        >>> import tempfile, os
        >>> path = os.path.join(tempfile.mkdtemp(), "keys.opool")
        >>> for _ in range(2):
        ...     with once(path, "payment-17", request={"amount": 5}) as first:
        ...         if first:
        ...             first.done("receipt 1")
        ...         print(first.answer)
        receipt 1
        receipt 1
    """
    raw = b"b" + request if isinstance(request, bytes) else json.dumps(request, sort_keys=True).encode()
    fingerprint = hashlib.sha256(raw).hexdigest()
    keep = True if expires is None else expires
    return Once(_core(path_of(address), name, clock), key, fingerprint, ttl, keep, rerun)
