"""The compiled half of `opool_bank`: parses, waits, converts. `Bank` and its kin are the public side."""

from asyncio import Future
from os import PathLike
from typing import Any, final

__all__ = ["AtomicPut", "BankCore", "Completions", "Item", "LeaseCore", "ManualClock", "__version__"]

__version__: str

_Sink = tuple[Completions, Future[Any]]

@final
class Item:
    """An item as it was when it was read or given."""

    @property
    def new(self) -> bool: ...
    @property
    def key(self) -> Any: ...
    @property
    def payload(self) -> Any: ...
    @property
    def state(self) -> str: ...
    @property
    def token(self) -> int: ...
    @property
    def attempts(self) -> int: ...
    @property
    def max_attempts(self) -> int | None: ...
    @property
    def priority(self) -> int: ...
    @property
    def claim_id(self) -> Any: ...
    @property
    def result(self) -> Any: ...
    @property
    def remaining(self) -> float | None: ...
    @property
    def done(self) -> bool: ...
    @property
    def _row(self) -> int: ...

@final
class ManualClock:
    """A clock for tests: it stands still until it is moved."""

    def __new__(cls) -> ManualClock: ...
    def advance(self, seconds: float) -> None:
        """Move the clock forward."""

    def now(self) -> float:
        """The time it shows, in seconds."""

@final
class Completions:
    """The queue of one event loop."""

    def __new__(cls) -> Completions: ...
    def fileno(self) -> int:
        """The descriptor that is readable while there are answers."""

    def drain(self) -> None:
        """Complete the futures whose answers have come. Called by the event loop."""

    def forget(self, number: int) -> None:
        """Forget a request that was taken back."""

@final
class AtomicPut:
    def add(self, items: list[Any]) -> None:
        """Collect items; takes no lock that others wait for."""

    def commit(self) -> int:
        """Store all, or nothing; how many were new."""

@final
class LeaseCore:
    @property
    def new(self) -> bool: ...
    @property
    def key(self) -> Any: ...
    @property
    def payload(self) -> Any: ...
    @property
    def claim_id(self) -> Any: ...
    @property
    def token(self) -> int: ...
    @property
    def attempts(self) -> int: ...
    @property
    def ttl(self) -> float | None: ...
    @property
    def lost(self) -> bool: ...
    @property
    def settled(self) -> bool: ...
    @property
    def ours(self) -> bool: ...
    @property
    def remaining(self) -> float | None: ...
    def keep_renewed(self) -> None: ...
    def wait_lost(self, timeout: float | None = None) -> bool: ...
    def done(self, result: Any, keep: bool | float, sink: _Sink | None = None) -> Any: ...
    def release(self, delay: float, sink: _Sink | None = None) -> Any: ...
    def reject(self, reason: Any, delay: float, sink: _Sink | None = None) -> Any: ...
    def extend(self, seconds: float | None, sink: _Sink | None = None) -> Any: ...
    def abandon(self) -> None:
        """Give it back without waiting for that."""

@final
class BankCore:
    def __new__(
        cls, path: str | PathLike[str], name: str, kind: str, top: int, fast: bool, clock: ManualClock | None = None
    ) -> BankCore: ...
    @property
    def name(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def closed(self) -> bool: ...
    @property
    def top(self) -> int: ...
    def close(self) -> None: ...
    def accept_rewind(self) -> None: ...
    def tx_questions(
        self,
    ) -> tuple[list[tuple[str, list[Any]]], bytes, list[tuple[str, list[Any]]]] | None:
        """For a caller's transaction: two questions, the answer to the second, what wakes who waits. None on a file."""
    def tx_put(
        self, items: list[Any], keep: bool, priority: int, delay: float, max_attempts: int | None
    ) -> list[tuple[str, list[Any]]]:
        """The statements that store a chunk: the second answers how many were new, the third the keys in conflict."""
    def tx_conflict(self, rows: list[tuple[bytes, bytes | None]]) -> Exception:
        """The error for keys in conflict, as the third statement answered them."""
    def cancel(self, ticket: int) -> int:
        """Take a request back: 0 it was too late, 1 it was not begun, 2 it waited for an item."""

    def waiting(self) -> int:
        """How many calls of this process wait for an item of this file."""

    def busy_error(self, waited: float) -> BaseException:
        """The error that says that another process has had the lock for too long: for `waited` seconds."""

    def put(
        self,
        items: list[Any],
        keep: bool,
        priority: int,
        delay: float,
        max_attempts: int | None,
        sink: _Sink | None = None,
    ) -> Any:
        """Store one chunk; how many were new."""

    def atomic_put(self, keep: bool, priority: int, delay: float, max_attempts: int | None) -> AtomicPut:
        """Begin a put that stores all or nothing."""

    def take(
        self,
        id: Any,
        n: int,
        given: bool,
        ttl: float | None,
        bound: bool,
        key: Any,
        create: bool,
        payload: Any,
        renew: bool,
        wait: bool,
        timeout: float | None,
        sink: _Sink | None = None,
    ) -> Any:
        """Claim (`given`) or lease. A list of items or leases; (ticket, number) with a sink."""

    def settle(
        self,
        items: list[tuple[Any, int]],
        call: str,
        value: Any,
        seconds: float | None,
        keep: bool | float,
        force: bool = False,
        sink: _Sink | None = None,
    ) -> Any:
        """A finishing call for each (key, token): a list of bools, and of exceptions where a call was refused."""

    def get(self, key: Any, sink: _Sink | None = None) -> Any: ...
    def of(self, id: Any, sink: _Sink | None = None) -> Any: ...
    def page(self, state: str | None, after: int, limit: int, sink: _Sink | None = None) -> Any: ...
    def counts(self, sink: _Sink | None = None) -> Any: ...
    def verify(self, sink: _Sink | None = None) -> Any: ...
    def resize(self, top: int, sink: _Sink | None = None) -> Any: ...
    def get_id(self, fresh_first: bool, id: int | None = None, sink: _Sink | None = None) -> Any:
        """A free id for this process, or None."""

    def free_id(self, id: int, force: bool, sink: _Sink | None = None) -> Any:
        """Free an id. None if this process does not hold it, or if there is no such id."""

    def held_ids(self) -> list[int]:
        """The ids that this process holds."""

    def once(self, key: Any, fingerprint: Any, ttl: float, rerun: bool, sink: _Sink | None = None) -> Any:
        """An idempotency key: (verdict, value, lease or None)."""
