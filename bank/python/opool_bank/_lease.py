"""What a claim id holds for a time."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Callable

from opool_bank import _async
from opool_bank.errors import BankError

if TYPE_CHECKING:
    from opool_bank._bank import BankCore, LeaseCore


class Lease:
    """An item held for a time. Leaving its `with` block gives it back, unless it was settled inside.

    It is renewed in the background until it is settled, lost, or dropped.

    Attributes:
        new: True if this very call took the item; False if the claim id held it before.
    """

    __slots__ = ("__weakref__", "_bank", "_core", "new")

    def __init__(self, bank: BankCore, core: LeaseCore) -> None:
        self._bank = bank
        self._core = core
        self.new = core.new

    @property
    def key(self) -> Any:
        """The item's key."""
        return self._core.key

    @property
    def payload(self) -> Any:
        """What the item carries."""
        return self._core.payload

    @property
    def token(self) -> int:
        """The fencing token: it grows with each hand-out.

        A resource that remembers the highest refuses late holders.
        """
        return self._core.token

    @property
    def attempts(self) -> int:
        """How often the item was taken and not released, this time included."""
        return self._core.attempts

    @property
    def claim_id(self) -> Any:
        """The claim id that holds it."""
        return self._core.claim_id

    @property
    def ttl(self) -> float | None:
        """The length of the lease in seconds; None if it has no end."""
        return self._core.ttl

    @property
    def remaining(self) -> float | None:
        """Seconds that are left for the holder; None if the lease has no end. Shorter than what the bank grants."""
        return self._core.remaining

    @property
    def lost(self) -> bool:
        """Whether the holder must stop: the time is up, or another one has the item. Looked up anew each time."""
        return self._core.lost

    @property
    def settled(self) -> bool:
        """Whether it was done, released or rejected."""
        return self._core.settled

    def wait_lost(self, timeout: float | None = None) -> bool:
        """Wait until the lease is lost; False if it was settled or `timeout` seconds passed before."""
        return self._core.wait_lost(timeout)

    def done(self, result: Any = None, *, keep: bool | float = True) -> bool:
        """Give the item for good, with a result.

        Args:
            result: what is stored with the item: None, int, str, bytes or JSON.
            keep: False to forget the item (a task that was carried out), or for how many seconds it is kept.

        Returns:
            True. A repeat with the same result answers the same.

        Raises:
            StaleLease: the lease ran out and the item went on.
            AlreadySettled: it was done with another result.
        """
        return bool(self._core.done(result, keep))

    def release(self, *, delay: float = 0.0) -> bool:
        """Give the item back; False if it was not held any more. It can be had again after `delay` seconds."""
        return bool(self._core.release(delay))

    def reject(self, reason: Any = None, *, delay: float = 0.0) -> bool:
        """Give the item back as failed: free again after `delay` seconds, or dead if its attempts are used up."""
        return bool(self._core.reject(reason, delay))

    def extend(self, ttl: float | None = None) -> bool:
        """Make the lease last at least `ttl` seconds from now (its own length if None); never shortens it.

        Raises:
            StaleLease: the lease ran out and the item went on.
        """
        return bool(self._core.extend(ttl))

    async def _settle_async(self, send: Callable[[_async.Sink], Any]) -> bool:
        return bool(await _async.answer(self._bank, send))

    async def done_async(self, result: Any = None, *, keep: bool | float = True) -> bool:
        """As `done`, for event loops."""
        return await self._settle_async(lambda sink: self._core.done(result, keep, sink))

    async def release_async(self, *, delay: float = 0.0) -> bool:
        """As `release`, for event loops."""
        return await self._settle_async(lambda sink: self._core.release(delay, sink))

    async def reject_async(self, reason: Any = None, *, delay: float = 0.0) -> bool:
        """As `reject`, for event loops."""
        return await self._settle_async(lambda sink: self._core.reject(reason, delay, sink))

    async def extend_async(self, ttl: float | None = None) -> bool:
        """As `extend`, for event loops."""
        return await self._settle_async(lambda sink: self._core.extend(ttl, sink))

    def _over(self) -> bool:
        # A forked child only has a copy, and leaves the parent's lease alone.
        return self._core.settled or not self._core.ours

    def __enter__(self) -> Lease:
        """Return the lease itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release it, unless it was settled."""
        if self._over():
            return
        try:
            self.release()
        except BankError:
            if error is None:
                raise

    async def __aenter__(self) -> Lease:
        """Return the lease itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release it, unless it was settled."""
        if self._over():
            return
        try:
            await self.release_async()
        except BankError:
            if error is None:
                raise

    def __repr__(self) -> str:
        """Show what is held, and whether it still is."""
        state = "settled" if self.settled else "lost" if self.lost else "held"
        return f"<Lease {self.key!r}, {state}, token {self.token}>"


class Leases(list[Lease]):
    """Leases that one call took. Leaving its `with` block gives back those that were not settled."""

    def done(self, result: Any = None, *, keep: bool | float = True) -> None:
        """Give all of them for good, with one result."""
        for lease in self:
            lease.done(result, keep=keep)

    def release(self, *, delay: float = 0.0) -> None:
        """Give back those that were not settled."""
        for lease in self:
            if not lease._over():
                lease.release(delay=delay)

    def __enter__(self) -> Leases:
        """Return the list itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release what was not settled."""
        try:
            self.release()
        except BankError:
            if error is None:
                raise

    async def __aenter__(self) -> Leases:
        """Return the list itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release what was not settled."""
        for lease in self:
            await lease.__aexit__(kind, error, trace)


class AsyncLease:
    """What `lease_async` returns: `await` it, or use it in `async with`."""

    __slots__ = ("_lease", "_take")

    def __init__(self, take: Callable[[], Any]) -> None:
        self._take = take
        self._lease: Lease | None = None

    def __await__(self) -> Generator[Any, None, Lease]:
        """Take the item."""
        lease: Lease = yield from self._take().__await__()
        return lease

    async def __aenter__(self) -> Lease:
        """Take the item."""
        self._lease = lease = await self._take()
        return lease  # type: ignore[no-any-return]

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release it, unless it was settled."""
        lease, self._lease = self._lease, None
        if lease is not None:
            await lease.__aexit__(kind, error, trace)


def pairs(items: Any) -> tuple[list[tuple[Any, int]], bool]:
    """Returns the keys and tokens of items, leases or (key, token) pairs, and whether it was a single one."""
    if isinstance(items, tuple) and len(items) == 2 and isinstance(items[1], int):
        return [(items[0], items[1])], True
    if hasattr(items, "token") and hasattr(items, "key"):
        return [(items.key, items.token)], True
    if isinstance(items, Iterable) and not isinstance(items, (str, bytes)):
        found = []
        for item in items:
            pair, single = pairs(item)
            if not single:
                raise TypeError(f"expected items, leases or (key, token) pairs, not {item!r}")
            found += pair
        return found, False
    raise TypeError(f"expected an item, a lease, a (key, token) pair, or several of them, not {items!r}")
