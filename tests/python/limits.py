"""A limit for each test, which fails that test alone, and an end for a run that is frozen for good.

The limit is a signal to the main thread: whatever that waits for, or computes, is interrupted. What the handler raises
is no `Exception`, so that no test, no hook and no Hypothesis takes it for an ordinary error, and it comes again until
the test gives up. Code that keeps the GIL, or waits where no signal interrupts it, ends with its process only: a test
that could do that belongs into a child (`support.run_child`). Should one freeze here all the same, the watchdog of
`faulthandler` prints all stacks and ends the run, much later.

Tests in this process leave SIGALRM alone; `progress.alarm` uses another signal.
"""

import faulthandler
import os
import signal

import pytest

WATCHDOG = 3
"""The run ends when one phase of a test has taken this many times the limit."""

AT_EXIT = 120.0
"""How many seconds the interpreter may take to end after the last report, if threads of a failed test are left."""


def pytest_addoption(parser):
    text = "how many seconds one test may take before it is interrupted and fails (0: no limit)"
    parser.addoption("--limit", type=float, default=300.0, metavar="SECONDS", help=text)


def pytest_configure(config):
    if config.getoption("--limit") > 0:
        config.pluginmanager.register(Limits(config.getoption("--limit")))


class OverTheLimit(BaseException):
    """A test took longer than a test may."""


class Limits:
    """The plugin, where there is a limit."""

    def __init__(self, seconds):
        self._seconds = seconds
        self._again = min(5.0, seconds)
        self._stderr = os.dup(2)  # while a test runs, pytest captures what is written there

    def _interrupt(self, *_):
        faulthandler.dump_traceback(self._stderr)
        raise OverTheLimit(f"this test took longer than {self._seconds:g} s; standard error has the stacks")

    def _watched(self):
        faulthandler.dump_traceback_later(WATCHDOG * self._seconds, exit=True, file=self._stderr)
        try:
            return (yield)
        finally:
            faulthandler.cancel_dump_traceback_later()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self):
        return (yield from self._watched())

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self):
        # Around the call alone: raised in pytest's own code between the phases, it would end the run.
        before = signal.signal(signal.SIGALRM, self._interrupt)
        signal.setitimer(signal.ITIMER_REAL, self._seconds, self._again)
        try:
            return (yield from self._watched())
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self):
        return (yield from self._watched())

    def pytest_unconfigure(self):
        faulthandler.dump_traceback_later(AT_EXIT, exit=True, file=self._stderr)
