"""Semaphores and locks that processes share."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any

from opool_bank import _async
from opool_bank._address import Address, path_of
from opool_bank._bank import BankCore
from opool_bank._lease import AsyncLease, Lease
from opool_bank.errors import BankTimeout, BankUsageError, PermitsMismatch, SizeMismatch

if TYPE_CHECKING:
    from opool_bank._bank import ManualClock

_DEFAULT: Any = ...  # the semaphore's own timeout


class Semaphore:
    """A number of permits, shared by all processes that open the file. Whose holder dies comes free at once.

    A permit is a lease: `key` is its number (0 to permits - 1: which GPU, which slot), `token` grows with each
    hand-out, and `lost` says that the holder must stop.

    Args:
        address: the path of the file.
        name: the semaphore's name in the file.
        permits: how many there are. The number lives in the file; `resize` changes it.
        ttl: seconds after which a permit comes free that is not renewed (a stopped process, another machine).
        timeout: seconds that `acquire` waits if it is not told otherwise; None for ever.
        clock: a `testing.ManualClock`.

    Raises:
        PermitsMismatch: the semaphore has another number of permits.

    Example:
        >>> import tempfile, os
        >>> gpus = Semaphore(os.path.join(tempfile.mkdtemp(), "gpus.opool"), "gpus", 4)
        >>> with gpus.acquire() as permit:
        ...     permit.key
        0
    """

    def __init__(
        self,
        address: Address,
        name: str,
        permits: int,
        *,
        ttl: float = 30.0,
        timeout: float | None = 30.0,
        clock: ManualClock | None = None,
    ) -> None:
        _check(permits)
        self._ttl = ttl
        self._timeout = timeout
        try:
            self._core = BankCore(path_of(address), name, "permits", permits, False, clock)
        except SizeMismatch as error:
            mismatch = PermitsMismatch(str(error))
            mismatch.size = error.size
            raise mismatch from None

    @property
    def name(self) -> str:
        """The semaphore's name."""
        return self._core.name

    def acquire(self, *, timeout: float | None = _DEFAULT, id: Any = None) -> Lease:
        """Take a permit; `with` gives it back.

        Raises:
            BankTimeout: none came free in time.
        """
        limit = self._timeout if timeout is _DEFAULT else timeout
        waits = limit is None or limit > 0
        taken = self._core.take(id, 1, False, self._ttl, True, None, False, None, True, waits, limit)
        return self._held(taken, limit)

    def acquire_async(self, *, timeout: float | None = _DEFAULT, id: Any = None) -> AsyncLease:
        """As `acquire`, for event loops: `async with semaphore.acquire_async() as permit: ...`."""
        limit = self._timeout if timeout is _DEFAULT else timeout

        async def take() -> Lease:
            def send(sink: _async.Sink) -> Any:
                return self._core.take(id, 1, False, self._ttl, True, None, False, None, True, True, None, sink)

            def look(sink: _async.Sink) -> Any:
                return self._core.take(id, 1, False, self._ttl, True, None, False, None, True, False, None, sink)

            return self._held(await _async.take(self._core, send, look, limit), limit)

        return AsyncLease(take)

    def _held(self, taken: list[Any], timeout: float | None) -> Lease:
        if not taken:
            counts = self._core.counts()
            raise BankTimeout(
                f"semaphore {self._core.title}: no permit came free within {timeout} s ({counts['leased']} of "
                f"{counts['top']} are held)"
            )
        return Lease(self._core, taken[0])

    def resize(self, permits: int) -> None:
        """Change the number of permits. Those above it that are held go when they come back."""
        _check(permits)
        self._core.resize(permits)

    def counts(self) -> dict[str, int]:
        """Return how many permits there are, and how many are held."""
        counts = self._core.counts()
        return {"permits": counts["top"], "held": counts["leased"]}

    def verify(self) -> list[str]:
        """Check the invariants; returns what is wrong."""
        return self._core.verify()  # type: ignore[no-any-return]

    def close(self) -> None:
        """Refuse further calls."""
        self._core.close()

    def __repr__(self) -> str:
        """Show where it is."""
        return f"<{type(self).__name__} {self._core.title}>"


class Lock(Semaphore):
    """One permit: `with Lock("locks.opool", "nightly") as held: ...`, shared by all processes that open the file.

    `held.token` grows with each holder; a resource that remembers the highest refuses a holder that was stopped for
    too long.

    Example:
        >>> import tempfile, os
        >>> with Lock(os.path.join(tempfile.mkdtemp(), "locks.opool"), "nightly") as held:
        ...     held.lost
        False
    """

    def __init__(
        self,
        address: Address,
        name: str,
        *,
        ttl: float = 30.0,
        timeout: float | None = 30.0,
        clock: ManualClock | None = None,
    ) -> None:
        super().__init__(address, name, 1, ttl=ttl, timeout=timeout, clock=clock)
        self._holding: list[Lease] = []

    def __enter__(self) -> Lease:
        """Acquire it."""
        lease = self.acquire()
        self._holding.append(lease)
        return lease

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release it."""
        self._holding.pop().__exit__(kind, error, trace)

    async def __aenter__(self) -> Lease:
        """Acquire it."""
        lease = await self.acquire_async()
        self._holding.append(lease)
        return lease

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release it."""
        await self._holding.pop().__aexit__(kind, error, trace)


def _check(permits: Any) -> None:
    if isinstance(permits, bool) or not isinstance(permits, int):
        raise TypeError(f"permits must be an int, not {type(permits).__name__} {permits!r}")
    if not 1 <= permits <= 1_000_000:
        raise BankUsageError(f"permits must be from 1 to 1,000,000, not {permits}")
