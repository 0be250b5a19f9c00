"""For tests of code that uses a bank: a clock that stands still until it is moved."""

from opool_bank._bank import ManualClock

__all__ = ["ManualClock"]
