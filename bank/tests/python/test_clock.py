"""Steps of the wall clock, by a library that is loaded before the C library and moves what it says; and other boots."""

import shutil
import sqlite3
import subprocess
import time

import pytest

from conftest import finish
from opool_bank import Bank

SHIM = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int clock_gettime(clockid_t clock, struct timespec *time) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int answer = real(clock, time);
    if (clock == CLOCK_REALTIME && getenv("STEP_FILE")) {
        FILE *file = fopen(getenv("STEP_FILE"), "r");
        long step = 0;
        if (file && fscanf(file, "%ld", &step) == 1) time->tv_sec += step;
        if (file) fclose(file);
    }
    return answer;
}
"""

HOLDER = """
import sys, time
from opool_bank import Bank
path, step_file = sys.argv[1:]

def step(seconds):
    before = time.time()
    with open(step_file, "w") as file:
        file.write(str(seconds))
    assert abs(time.time() - before) > 3_000, "the clock did not step"

bank = Bank(path)
held = bank.lease(600, renew=False)
bank.put(["later"], delay=600)
for seconds in (3_600, -3_600):
    step(seconds)
    # Neither does the lease end, nor is the delay over; neither is the lease longer than it was.
    assert bank.claim() is None
    assert not held.lost
    assert 550 < held.remaining <= 600
    assert 550 < bank.get("a").remaining <= 600
    assert held.extend(600)
    assert 550 < bank.get("a").remaining <= 600
    # Nor for who opens the file now.
    bank.close()
    del bank
    bank = Bank(path)
    assert bank.claim() is None
    assert 550 < bank.get("a").remaining <= 600
    assert bank.lease(600, id=held.claim_id, renew=False).token == held.token
assert held.release()
assert bank.claim("x").key == "a"
print("ok")
"""


@pytest.fixture
def shim(tmp_path):
    """The library; the path of the file that says by how many seconds the wall clock is off."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    source, library = tmp_path / "step.c", tmp_path / "step.so"
    source.write_text(SHIM)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    (tmp_path / "step").write_text("0")
    return library, tmp_path / "step"


def test_steps_of_the_wall_clock_change_no_lease(path, child, shim):
    library, step_file = shim
    with Bank(path) as bank:
        bank.put(["a"])
    environment = {"LD_PRELOAD": str(library), "STEP_FILE": str(step_file)}
    assert finish(child(HOLDER, path, step_file, env=environment)) == "ok\n"


def another_boot(path, last):
    """What a file looks like that an earlier boot of the machine wrote, whose store time went up to `last`."""
    with sqlite3.connect(path) as db:
        db.execute("UPDATE meta SET boot = 'another', base = 0")
        db.execute("UPDATE bank SET now = ?", (last,))
    db.close()


@pytest.mark.parametrize("hours", [-10, 10])
def test_time_in_a_file_never_runs_back_over_a_boot(path, hours):
    with Bank(path) as bank:
        bank.put(["a"])
    del bank
    # The wall clock is this many hours ahead of what the boot before wrote last, or behind it.
    last = (int(time.time()) - hours * 3_600) * 1_000_000
    another_boot(path, last)
    with Bank(path) as bank:
        bank.put(["b"])
        assert bank.verify() == []
    del bank
    with sqlite3.connect(path) as db:
        (now,) = db.execute("SELECT now FROM bank").fetchone()
    db.close()
    assert now >= max(last, (int(time.time()) - 60) * 1_000_000)
