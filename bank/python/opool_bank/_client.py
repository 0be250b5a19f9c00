"""The bank."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

from opool_bank import _async, _tx
from opool_bank._address import Address, path_of
from opool_bank._bank import BankCore, Item
from opool_bank._counts import Counts, counts_of
from opool_bank._lease import AsyncLease, Lease, Leases, pairs
from opool_bank.errors import BankTimeout, BankUsageError

if TYPE_CHECKING:
    from opool_bank._bank import ManualClock

_CHUNK = 1_000
_PAGE = 500
_DEFAULT: Any = ...  # the bank's own timeout


class Bank:
    """Items that are handed to processes and users, each exactly once, from one file or PostgreSQL database.

    The file is made at its first use. Any number of processes may have it open; a forked child opens it anew by
    itself. All calls may come from any thread. Each blocking call has a twin for event loops that ends in `_async`.

    Args:
        address: the path of the file (`"vouchers.opool"`), `"sqlite:///" + path`, or
            `"postgresql://user@host/database"`; there, `?schema=` says in which schema the tables are (`opool`).
        name: several banks may be in one file, under different names.
        durability: `"full"`: what was answered survives a power cut. `"fast"`: it survives a killed process, but
            after a power cut the last commits may be gone, and what they gave can be given again. On PostgreSQL it
            is about the server, and `"fast"` leaves `synchronous_commit` as it is there.
        timeout: seconds that `lease` waits for an item if it is not told otherwise; None for ever.
        clock: a `testing.ManualClock`.

    Raises:
        NotABank: the file is something else.
        BankReadOnly: the file or its folder cannot be written; the role may not, or the server is a standby.
        BankUnreachable: the server does not answer, or lets nobody in.

    Example:
        >>> import tempfile, os
        >>> bank = Bank(os.path.join(tempfile.mkdtemp(), "vouchers.opool"))
        >>> bank.put(["SAVE-1", "SAVE-2"])
        2
        >>> bank.claim("alice").key, bank.claim("alice").key, bank.claim("bob").key
        ('SAVE-1', 'SAVE-1', 'SAVE-2')
        >>> bank.claim("carol") is None
        True
    """

    def __init__(
        self,
        address: Address,
        *,
        name: str = "default",
        durability: str = "full",
        timeout: float | None = 30.0,
        clock: ManualClock | None = None,
    ) -> None:
        checked: Any = name
        if not isinstance(checked, str) or not 1 <= len(checked) <= 200:
            raise BankUsageError(f"name must be a str of 1 to 200 characters, not {name!r}")
        if durability not in ("full", "fast"):
            raise BankUsageError(f'durability must be "full" or "fast", not {durability!r}')
        if timeout is not None and not timeout >= 0:
            raise BankUsageError(f"timeout must be 0 or more seconds, or None, not {timeout!r}")
        self._timeout = timeout
        self._core = BankCore(path_of(address), name, "items", 0, durability == "fast", clock)

    @property
    def name(self) -> str:
        """The bank's name in its file."""
        return self._core.name

    @property
    def path(self) -> str:
        """The file, or the address of the database without its password."""
        return self._core.path

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._core.closed

    # -- putting

    def put(
        self,
        items: Iterable[Any],
        *,
        atomic: bool = False,
        on_conflict: str = "error",
        priority: int = 0,
        delay: float = 0.0,
        max_attempts: int | None = None,
        tx: Any = None,
    ) -> int:
        """Store items that are not there yet.

        Each chunk of 1,000 is stored as a whole or not at all; an interrupted `put` is repeated as it was, and adds
        what is missing. An item that was given stays given.

        Args:
            items: keys (str, bytes or int); or tuples (key, payload), perhaps with a priority, a delay and a number of
                attempts of their own; or a mapping from keys to payloads. Any iterable; it is streamed. A payload is
                None, int, str, bytes or JSON.
            atomic: all or none. The iterable is read first, and then copied in one transaction.
            on_conflict: `"error"`, or `"keep"` to leave keys alone that are there with another payload.
            priority: 0 (first) to 9.
            delay: seconds until they can be had.
            max_attempts: how often an item is handed out before it is dead.
            tx: an open transaction of your own in the bank's PostgreSQL database: the items are there with its
                commit, or not at all. A connection of psycopg 3, a SQLAlchemy connection or session, or Django's
                `connection`.

        Returns:
            How many were new.

        Raises:
            KeyConflict: keys are there with another payload; nothing of their chunk was stored.
        """
        keep = _keep(on_conflict)
        found = _iterate(items)
        if tx is not None:
            return _tx.put(self._core, tx, found, atomic, keep, priority, delay, max_attempts)
        if atomic:
            whole = self._core.atomic_put(keep, priority, delay, max_attempts)
            while chunk := list(itertools.islice(found, _CHUNK)):
                whole.add(chunk)
            return whole.commit()
        new = 0
        while chunk := list(itertools.islice(found, _CHUNK)):
            new += self._core.put(chunk, keep, priority, delay, max_attempts)
        return new

    async def put_async(
        self,
        items: Iterable[Any],
        *,
        atomic: bool = False,
        on_conflict: str = "error",
        priority: int = 0,
        delay: float = 0.0,
        max_attempts: int | None = None,
        tx: Any = None,
    ) -> int:
        """As `put`, for event loops. With `atomic=True` it writes in the loop's threads (`run_in_executor`).

        The iterable is read in the loop's thread. A cancelled put may have been carried out; the same call tells, since
        it adds what is missing. `tx` may be a connection of asyncpg, too.
        """
        keep = _keep(on_conflict)
        found = _iterate(items)
        if tx is not None:
            return await _tx.put_async(self._core, tx, found, atomic, keep, priority, delay, max_attempts)
        if atomic:
            in_thread = partial(asyncio.get_running_loop().run_in_executor, None)
            whole = await in_thread(self._core.atomic_put, keep, priority, delay, max_attempts)
            while chunk := list(itertools.islice(found, _CHUNK)):
                await in_thread(whole.add, chunk)
            return await in_thread(whole.commit)
        new = 0
        while chunk := list(itertools.islice(found, _CHUNK)):
            send = partial(self._core.put, chunk, keep, priority, delay, max_attempts)
            new += await _async.answer(self._core, send)
        return new

    # -- taking

    def claim(
        self,
        id: Any = None,
        *,
        key: Any = None,
        create: bool = False,
        payload: Any = None,
        timeout: float | None = 0.0,
    ) -> Item | None:
        """Give the next free item for good.

        Args:
            id: the claim id (str, bytes or int), for example of a user or a request. The same id gets the same item,
                for ever, so a call whose answer was lost can be repeated. An id that leases an item is given that
                one. Without an id each call is given another item.
            key: this very item.
            create: put the item of that key first if it is not there, with `payload`.
            payload: what an item carries that is made so.
            timeout: seconds to wait for an item to come free; None for ever.

        Returns:
            The item, or None if none was free.

        Raises:
            ClaimMismatch: the id was used for something else.
            UnknownKey: no item has that key.
        """
        _check_create(key, create, payload)
        taken = self._take(id, 1, True, None, key, create, payload, False, timeout)
        return taken[0] if taken else None

    async def claim_async(
        self,
        id: Any = None,
        *,
        key: Any = None,
        create: bool = False,
        payload: Any = None,
        timeout: float | None = 0.0,
    ) -> Item | None:
        """As `claim`, for event loops. A cancelled claim may have been carried out; its id tells."""
        _check_create(key, create, payload)
        taken = await self._take_async(id, 1, True, None, key, create, payload, False, timeout)
        return taken[0] if taken else None

    def lease(
        self,
        ttl: float | None = 30.0,
        *,
        timeout: float | None = _DEFAULT,
        id: Any = None,
        key: Any = None,
        create: bool = False,
        payload: Any = None,
        renew: bool = True,
    ) -> Lease:
        """Hold the next free item for a time.

        If this process dies, the item comes free at once on the same machine, elsewhere when `ttl` is over.

        Args:
            ttl: seconds that the lease lasts without being renewed; None for a lease without end, which outlives the
                process.
            timeout: seconds to wait for an item to come free; None for ever; the bank's `timeout` if not said.
            id: the claim id; the same id gets the same item while its lease lasts.
            key: this very item.
            create: put the item of that key first if it is not there, with `payload`.
            payload: what an item carries that is made so.
            renew: renew it in the background until it is settled, lost or dropped.

        Raises:
            BankTimeout: no item came free in time.
            ClaimMismatch: the id was used for something else.
            UnknownKey: no item has that key.
        """
        _check_create(key, create, payload)
        limit = self._limit(timeout)
        taken = self._take(id, 1, False, ttl, key, create, payload, renew, limit)
        if not taken:
            raise self._time_up(limit, key)
        return Lease(self._core, taken[0])

    def lease_async(
        self,
        ttl: float | None = 30.0,
        *,
        timeout: float | None = _DEFAULT,
        id: Any = None,
        key: Any = None,
        create: bool = False,
        payload: Any = None,
        renew: bool = True,
    ) -> AsyncLease:
        """As `lease`, for event loops: `async with bank.lease_async(ttl=30) as item: ...`, or `await` it."""
        _check_create(key, create, payload)
        limit = self._limit(timeout)

        async def take() -> Lease:
            taken = await self._take_async(id, 1, False, ttl, key, create, payload, renew, limit)
            if not taken:
                raise self._time_up(limit, key)
            return Lease(self._core, taken[0])

        return AsyncLease(take)

    def lease_many(
        self, n: int, ttl: float | None = 30.0, *, timeout: float | None = 0.0, id: Any = None, renew: bool = True
    ) -> Leases:
        """Hold up to `n` items under one claim id.

        The same id gets those again that it still holds, and no others; if none is left, it is a fresh call. Waits
        only until the first is free.
        """
        _check_number(n)
        return Leases(
            Lease(self._core, core) for core in self._take(id, n, False, ttl, None, False, None, renew, timeout)
        )

    async def lease_many_async(
        self, n: int, ttl: float | None = 30.0, *, timeout: float | None = 0.0, id: Any = None, renew: bool = True
    ) -> Leases:
        """As `lease_many`, for event loops."""
        _check_number(n)
        taken = await self._take_async(id, n, False, ttl, None, False, None, renew, timeout)
        return Leases(Lease(self._core, core) for core in taken)

    def _limit(self, timeout: Any) -> float | None:
        return self._timeout if timeout is ... else timeout

    def _take(
        self,
        id: Any,
        n: int,
        given: bool,
        ttl: float | None,
        key: Any,
        create: bool,
        payload: Any,
        renew: bool,
        timeout: float | None,
    ) -> list[Any]:
        waits = timeout is None or timeout > 0
        taken: list[Any] = self._core.take(id, n, given, ttl, True, key, create, payload, renew, waits, timeout)
        return taken

    async def _take_async(
        self,
        id: Any,
        n: int,
        given: bool,
        ttl: float | None,
        key: Any,
        create: bool,
        payload: Any,
        renew: bool,
        timeout: float | None,
    ) -> list[Any]:
        waits = timeout is None or timeout > 0

        def send(sink: _async.Sink) -> Any:
            return self._core.take(id, n, given, ttl, True, key, create, payload, renew, waits, None, sink)

        def look(sink: _async.Sink) -> Any:
            return self._core.take(id, n, given, ttl, True, key, create, payload, renew, False, None, sink)

        if not waits:
            return await _async.answer(self._core, send)  # type: ignore[no-any-return]
        return await _async.take(self._core, send, look, timeout)  # type: ignore[no-any-return]

    def _time_up(self, timeout: float | None, key: Any) -> BankTimeout:
        counts = self.counts()
        there = f"{counts.free} free or delayed, {counts.leased} leased, {counts.given} given, {counts.dead} dead"
        if key is None:
            what = f"no item came free within {timeout} s ({there})"
        else:
            item = self.get(key)
            what = f"item {key!r} is {'not there' if item is None else item.state} after {timeout} s ({there})"
            if item is not None and item.state in ("given", "dead"):
                return BankTimeout(
                    f"bank {self.name!r} ({self.path}): item {key!r} is {item.state}, and never comes free"
                )
        return BankTimeout(
            f"bank {self.name!r} ({self.path}): {what}. Wait longer, put more items, or look for a lease that is kept "
            "too long (`opool bank items`)"
        )

    # -- finishing

    def done(self, items: Any, result: Any = None, *, keep: bool | float = True) -> Any:
        """Give leased items for good, with a result.

        Args:
            items: a lease, an item, a pair (key, token), or several of them: then one transaction for all.
            result: None, int, str, bytes or JSON.
            keep: False to forget the items, or for how many seconds they are kept.

        Returns:
            True; a list for several.

        Raises:
            StaleLease: a token does not hold its item any more. The others of the call were carried out.
            AlreadySettled: it was done with another result.
        """
        return self._settle(items, "done", result, None, keep)

    def release(self, items: Any, *, delay: float = 0.0) -> Any:
        """Give leased items back; False for what was not held any more. `items` as for `done`."""
        return self._settle(items, "release", None, delay, True)

    def reject(self, items: Any, reason: Any = None, *, delay: float = 0.0) -> Any:
        """Give leased items back as failed: free again after `delay` seconds, or dead if their attempts are used up."""
        return self._settle(items, "reject", reason, delay, True)

    def extend(self, items: Any, ttl: float) -> Any:
        """Make leases last at least `ttl` seconds from now; never shortens one."""
        return self._settle(items, "extend", None, ttl, True)

    def _settle(self, items: Any, call: str, value: Any, seconds: float | None, keep: bool | float) -> Any:
        found, single = pairs(items)
        return _answers(self._core.settle(found, call, value, seconds, keep), single)

    async def _settle_async(self, items: Any, call: str, value: Any, seconds: float | None, keep: bool | float) -> Any:
        found, single = pairs(items)
        core = self._core

        def send(sink: _async.Sink) -> Any:
            return core.settle(found, call, value, seconds, keep, False, sink)

        return _answers(await _async.answer(core, send), single)

    async def done_async(self, items: Any, result: Any = None, *, keep: bool | float = True) -> Any:
        """As `done`, for event loops."""
        return await self._settle_async(items, "done", result, None, keep)

    async def release_async(self, items: Any, *, delay: float = 0.0) -> Any:
        """As `release`, for event loops."""
        return await self._settle_async(items, "release", None, delay, True)

    async def reject_async(self, items: Any, reason: Any = None, *, delay: float = 0.0) -> Any:
        """As `reject`, for event loops."""
        return await self._settle_async(items, "reject", reason, delay, True)

    async def extend_async(self, items: Any, ttl: float) -> Any:
        """As `extend`, for event loops."""
        return await self._settle_async(items, "extend", None, ttl, True)

    # -- reading

    def get(self, key: Any) -> Item | None:
        """Return the item of a key as it stands, or None."""
        found = self._core.get(key)
        return found[0] if found else None

    async def get_async(self, key: Any) -> Item | None:
        """As `get`, for event loops."""
        found = await _async.answer(self._core, lambda sink: self._core.get(key, sink))
        return found[0] if found else None

    def of(self, id: Any) -> list[Item]:
        """Return what a claim id holds or was given."""
        return self._core.of(id)  # type: ignore[no-any-return]

    async def of_async(self, id: Any) -> list[Item]:
        """As `of`, for event loops."""
        return await _async.answer(self._core, lambda sink: self._core.of(id, sink))  # type: ignore[no-any-return]

    def counts(self) -> Counts:
        """Return how many items are in which state."""
        return counts_of(self._core.counts())

    async def counts_async(self) -> Counts:
        """As `counts`, for event loops."""
        return counts_of(await _async.answer(self._core, self._core.counts))

    def items(self, state: str | None = None) -> Iterator[Item]:
        """Iterate over the items in the order in which they were put, or those in one state.

        Reads in pages; what changes meanwhile may or may not show.
        """
        after = 0
        while page := self._core.page(state, after, _PAGE):
            yield from page
            after = page[-1]._row

    async def items_async(self, state: str | None = None) -> AsyncIterator[Item]:
        """As `items`, for event loops."""
        after = 0
        while True:
            page = await _async.answer(self._core, partial(self._core.page, state, after, _PAGE))
            if not page:
                return
            for item in page:
                yield item
            after = page[-1]._row

    def stats(self) -> dict[str, int]:
        """Return the counts, the last token, and how many calls of this process wait, by name."""
        counts = {name: value for name, value in self._core.counts().items() if name not in ("top", "mark")}
        return {**counts, "waiting": self._core.waiting()}

    def verify(self) -> list[str]:
        """Check the invariants of the bank and the file; returns what is wrong, nothing if all is well."""
        return self._core.verify()  # type: ignore[no-any-return]

    # -- the rest

    def accept_rewind(self) -> None:
        """Go on after `BankRewound`: the file was restored from a copy, and that is known."""
        self._core.accept_rewind()

    def close(self) -> None:
        """Refuse further calls, and end those that wait.

        The file is closed with the last bank on it in this process.
        """
        self._core.close()
        _async.close(self._core)

    async def aclose(self) -> None:
        """As `close`."""
        self.close()

    def __enter__(self) -> Bank:
        """Return the bank itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def __repr__(self) -> str:
        """Show where it is."""
        return f"<Bank {self.name!r} in {self.path!r}{', closed' if self.closed else ''}>"


def _keep(on_conflict: str) -> bool:
    if on_conflict not in ("error", "keep"):
        raise BankUsageError(f'on_conflict must be "error" or "keep", not {on_conflict!r}')
    return on_conflict == "keep"


def _iterate(items: Iterable[Any]) -> Iterator[Any]:
    if isinstance(items, (str, bytes)):
        raise TypeError(
            f"items must be an iterable of keys, not {type(items).__name__}: write [{items!r}] for one item"
        )
    return iter(items.items() if isinstance(items, Mapping) else items)


def _check_create(key: Any, create: bool, payload: Any) -> None:
    if key is None and create:
        raise BankUsageError("create=True needs a key=")
    if payload is not None and not create:
        raise BankUsageError("payload= is for create=True")


def _check_number(n: int) -> None:
    checked: Any = n
    if not isinstance(checked, int) or not 1 <= checked <= _CHUNK:
        raise BankUsageError(f"n must be an int from 1 to {_CHUNK}, not {n!r}")


def _answers(answers: list[Any], single: bool) -> Any:
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return answers[0] if single else answers
