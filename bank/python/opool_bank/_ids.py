"""Integers, shared by processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opool_bank import _async
from opool_bank._address import Address, path_of
from opool_bank._bank import BankCore
from opool_bank._lease import AsyncLease, Lease
from opool_bank.errors import BankTimeout, BankUsageError, RangeMismatch, SizeMismatch

if TYPE_CHECKING:
    from opool_bank._bank import ManualClock


class SharedObjectMgr:
    """Hands out the integers 1 to n - 1, each to one holder among all processes: the calls of an `ObjectMgr` on a file.

    Freed integers come first, in the order in which they were freed, then those that were never given, ascending. A
    row is stored only for an integer that was ever given.

    Args:
        address: the path of the file.
        n: one more than the highest integer; None to open what is there.
        name: several may be in one file.
        order: `"freed"`, or `"fresh"`: first those that were never given.
        clock: a `testing.ManualClock`.

    Raises:
        RangeMismatch: it was made with another `n`.

    Example:
        >>> import tempfile, os
        >>> ids = SharedObjectMgr(os.path.join(tempfile.mkdtemp(), "ids.opool"), 1_000_000_000)
        >>> ids.get_object(), ids.get_object(), ids.free_object(1), ids.get_object()
        (1, 2, 1, 1)
    """

    def __init__(
        self,
        address: Address,
        n: int | None = None,
        *,
        name: str = "ids",
        order: str = "freed",
        clock: ManualClock | None = None,
    ) -> None:
        if n is not None and (isinstance(n, bool) or not isinstance(n, int)):
            raise TypeError(f"n must be an int, not {type(n).__name__} {n!r}")
        if n is not None and not 2 <= n < 1 << 63:
            raise BankUsageError(f"n must be at least 2 (the integers are 1 to n - 1) and fit into 63 bits, not {n}")
        if order not in ("freed", "fresh"):
            raise BankUsageError(f'order must be "freed" or "fresh", not {order!r}')
        self._fresh = order == "fresh"
        try:
            self._core = BankCore(path_of(address), name, "ids", n or 0, False, clock)
        except SizeMismatch as error:
            raise RangeMismatch(str(error)) from None

    def get_object(self) -> int | None:
        """Return an integer that nobody holds, or None.

        It is held until it is freed, whatever becomes of the process.
        """
        return self._core.get_id(self._fresh)  # type: ignore[no-any-return]

    async def get_object_async(self) -> int | None:
        """As `get_object`, for event loops."""
        found: int | None = await _async.answer(self._core, lambda sink: self._core.get_id(self._fresh, None, sink))
        return found

    def free_object(self, id: int, *, force: bool = False) -> int:
        """Free an integer that this process got, and return it.

        Args:
            id: the integer.
            force: free it whoever holds it: for tools, when the holder is known to be gone.

        Raises:
            ValueError: this process does not hold it.
        """
        self._check(id)
        return self._freed(id, self._core.free_id(id, force))

    async def free_object_async(self, id: int, *, force: bool = False) -> int:
        """As `free_object`, for event loops."""
        self._check(id)
        return self._freed(id, await _async.answer(self._core, lambda sink: self._core.free_id(id, force, sink)))

    def _check(self, id: Any) -> None:
        if isinstance(id, bool) or not isinstance(id, int):
            raise BankUsageError(f"ids are ints, not {type(id).__name__} {id!r}")

    def _freed(self, id: int, answer: bool | None) -> int:
        if not answer:
            found = self._core.get(id)
            state = found[0].state if found else "never given"
            raise BankUsageError(
                f"{id} is not held by this process (it is {state} in {self._core.title}); "
                "force=True frees it all the same"
            )
        return id

    def lease(self, ttl: float | None = 30.0, *, timeout: float | None = 30.0) -> Lease:
        """Hold an integer (`lease.key`) for a time; it comes free at once if this process dies.

        Raises:
            BankTimeout: none came free in time.
        """
        waits = timeout is None or timeout > 0
        taken = self._core.take(None, 1, False, ttl, True, None, False, None, True, waits, timeout)
        return self._held(taken, timeout)

    def lease_async(self, ttl: float | None = 30.0, *, timeout: float | None = 30.0) -> AsyncLease:
        """As `lease`, for event loops."""

        async def take() -> Lease:
            def send(sink: _async.Sink) -> Any:
                return self._core.take(None, 1, False, ttl, True, None, False, None, True, True, None, sink)

            def look(sink: _async.Sink) -> Any:
                return self._core.take(None, 1, False, ttl, True, None, False, None, True, False, None, sink)

            return self._held(await _async.take(self._core, send, look, timeout), timeout)

        return AsyncLease(take)

    def _held(self, taken: list[Any], timeout: float | None) -> Lease:
        if not taken:
            raise BankTimeout(
                f"bank {self._core.title}: none of its {self._core.top - 1} integers came free in {timeout} s"
            )
        return Lease(self._core, taken[0])

    @property
    def held(self) -> list[int]:
        """The integers that this process got and did not free."""
        return self._core.held_ids()

    def counts(self) -> dict[str, int]:
        """Return how many integers are held, freed, and were never given."""
        counts = self._core.counts()
        return {"held": counts["leased"], "freed": counts["free"], "fresh": counts["top"] - counts["mark"]}

    def verify(self) -> list[str]:
        """Check the invariants; returns what is wrong."""
        return self._core.verify()  # type: ignore[no-any-return]

    def close(self) -> None:
        """Refuse further calls. What is held stays held."""
        self._core.close()

    def __repr__(self) -> str:
        """Show where it is."""
        return f"<SharedObjectMgr {self._core.title}>"
