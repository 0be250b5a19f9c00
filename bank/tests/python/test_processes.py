"""Several processes on one file: waking, dying, forking, standing still."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import pytest

from conftest import finish
from opool_bank import Bank, Lock, Semaphore

BOTH = pytest.mark.stores("file", "postgres")

HOLD = """
    import sys
    from opool_bank import Bank
    bank = Bank(sys.argv[1])
    lease = bank.lease(600, renew=False)
    print(lease.key, lease.token, flush=True)
    sys.stdin.readline()
"""


@BOTH
def test_eight_processes_get_each_item_once(path, bank, child):
    bank.put(range(400))
    code = """
        import sys
        from opool_bank import Bank
        bank = Bank(sys.argv[1])
        print(*[bank.claim(f"{sys.argv[2]}-{n}").key for n in range(50)])
    """
    children = [child(code, path, n) for n in range(8)]
    got = [int(key) for process in children for key in finish(process).split()]
    assert sorted(got) == list(range(400))


@BOTH
def test_one_id_from_eight_processes_gets_one_item(path, bank, child):
    bank.put(range(20))
    code = """
        import sys
        from opool_bank import Bank
        bank = Bank(sys.argv[1])
        sys.stdin.readline()
        item = bank.claim("the one")
        print(item.key, int(item.new))
    """
    children = [child(code, path) for _ in range(8)]
    for process in children:
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [finish(process).split() for process in children]
    assert len({key for key, _ in answers}) == 1
    assert sum(int(new) for _, new in answers) == 1


def test_what_a_killed_process_leased_comes_free_at_once(path, bank, child):
    bank.put(["a"])
    holder = child(HOLD, path)
    key, token = holder.stdout.readline().split()
    assert bank.claim("x") is None
    holder.kill()
    holder.wait()
    # Its lease is of ten minutes; the wait must not be.
    item = bank.claim("x", timeout=60)
    assert (item.key, item.token > int(token)) == (key, True)


@BOTH
def test_a_lease_without_end_outlives_its_process(path, bank, child):
    bank.put(["a"])
    code = """
        import sys, os
        from opool_bank import Bank
        lease = Bank(sys.argv[1]).lease(None)
        print(lease.token, flush=True)
        os._exit(0)
    """
    token = int(finish(child(code, path)))
    assert bank.claim("x", timeout=0.2) is None
    assert bank.release(("a", token)) is True


@BOTH
def test_a_living_process_keeps_its_lease_however_often_one_asks(path, bank, child):
    bank.put(["a"])
    holder = child(HOLD, path)
    holder.stdout.readline()
    for _ in range(20):
        assert bank.claim("x") is None
    holder.communicate("\n")


def test_a_lease_is_kept_while_a_forked_child_of_its_holder_comes_and_goes(path, bank, child):
    bank.put(["a"])
    code = """
        import os, sys
        from opool_bank import Bank
        bank = Bank(sys.argv[1])
        lease = bank.lease(600, renew=False)
        if os.fork() == 0:
            os._exit(0)
        os.wait()
        print("held", flush=True)
        sys.stdin.readline()
    """
    holder = child(code, path)
    assert holder.stdout.readline() == "held\n"
    assert bank.claim("x", timeout=0.2) is None
    holder.communicate("\n")


def test_a_forked_child_that_lives_on_does_not_keep_its_dead_parents_lease(path, bank, child):
    bank.put(["a"])
    code = """
        import os, sys, time
        from opool_bank import Bank
        bank = Bank(sys.argv[1])
        lease = bank.lease(600, renew=False)
        child = os.fork()
        if child == 0:
            os.close(1)
            time.sleep(600)
        print(child, flush=True)
        os._exit(0)
    """
    left = int(child(code, path).stdout.readline())
    try:
        assert bank.claim("x", timeout=60).key == "a"
    finally:
        os.kill(left, signal.SIGKILL)


@BOTH
def test_a_forked_child_uses_the_bank_as_a_process_of_its_own(path, bank, child):
    bank.put(["a", "b", "c"])
    code = """
        import os, sys
        from opool_bank import Bank, BankUsageError
        bank = Bank(sys.argv[1])
        with bank.lease(600) as lease:
            child = os.fork()
            if child == 0:
                assert bank.claim("child").key == "b"
                try:
                    lease.release()
                except BankUsageError as error:
                    assert "parent process" in str(error), error
                else:
                    os._exit(2)
                # Leaving the block in the child gives nothing back.
                lease.__exit__(None, None, None)
                del lease
                os._exit(0)
            assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
            assert bank.get("a").state == "leased"
            assert bank.claim("parent").key == "c"
        assert bank.get("a").state == "free"
        print("ok")
    """
    assert finish(child(code, path)) == "ok\n"


def test_a_parent_that_closes_its_bank_leaves_the_log_to_its_forked_child(path, child):
    # Without a lock of its own the child would write into a log that the parent, as the last one, has deleted.
    code = """
        import gc, os, sys
        from opool_bank import Bank
        path = sys.argv[1]
        bank = Bank(path)
        bank.put(["a", "b", "c", "d"])
        bank.claim("parent")
        to_parent, to_child = os.pipe(), os.pipe()
        if os.fork() == 0:
            os.close(to_child[1])  # or it would wait for itself
            assert bank.claim("first of the child").key == "b"
            os.write(to_parent[1], b"x")
            os.read(to_child[0], 1)
            assert bank.claim("second of the child").key == "c"
            os._exit(0)
        os.read(to_parent[0], 1)
        bank.close()
        del bank
        gc.collect()
        assert os.path.exists(path + "-wal"), "the log was deleted while the child has the file open"
        os.write(to_child[1], b"x")
        assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
        bank = Bank(path)
        assert [item.key for item in bank.of("second of the child")] == ["c"]
        assert bank.claim("afterwards").key == "d"
        assert bank.verify() == []
        print("ok")
    """
    assert finish(child(code, path)) == "ok\n"


@BOTH
def test_fork_in_the_middle_of_traffic_freezes_nobody(path, bank, child):
    bank.put(range(3_000))
    code = """
        import os, sys, threading
        from opool_bank import Bank
        bank = Bank(sys.argv[1])
        stop = threading.Event()

        def traffic(n):
            i = 0
            while not stop.is_set():
                bank.claim(f"{n}-{i}")
                i += 1

        threads = [threading.Thread(target=traffic, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for n in range(10):
            child = os.fork()
            if child == 0:
                # An item of its own: the traffic may have taken all others.
                assert bank.claim(f"child {n}", key=f"child {n}", create=True)
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
        stop.set()
        for thread in threads:
            thread.join()
        print("ok")
    """
    assert finish(child(code, path), timeout=100) == "ok\n"
    assert all(bank.of(f"child {n}") for n in range(10))


@BOTH
def test_waiting_processes_are_woken_by_another_process(path, bank, child):
    code = """
        import sys
        from opool_bank import Bank
        bank = Bank(sys.argv[1])
        print("ready", flush=True)
        print(bank.claim(sys.argv[2], timeout=60).key)
    """
    children = [child(code, path, n) for n in range(4)]
    for process in children:
        process.stdout.readline()
    bank.put(range(4))
    assert sorted(int(finish(process)) for process in children) == [0, 1, 2, 3]


@BOTH
def test_a_wait_for_a_key_ends_when_another_process_gives_it(path, bank, child):
    bank.put(["a"])
    lease = bank.lease(600)
    code = """
        import sys
        from opool_bank import Bank, BankTimeout
        bank = Bank(sys.argv[1])
        try:
            print("ready", flush=True)
            bank.lease(key="a", timeout=None)
        except BankTimeout as error:
            print("never comes free" in str(error))
    """
    waiter = child(code, path)
    waiter.stdout.readline()
    assert waiter.poll() is None
    lease.done()
    assert finish(waiter) == "True\n"


@BOTH
def test_a_holder_that_was_stopped_past_its_lease_cannot_finish(path, bank, child):
    bank.put(["a"])
    code = """
        import sys
        from opool_bank import Bank, StaleLease
        lease = Bank(sys.argv[1]).lease(0.3)
        print("held", flush=True)
        sys.stdin.readline()
        try:
            lease.done("first")
        except StaleLease:
            print("stale", lease.lost)
    """
    holder = child(code, path)
    holder.stdout.readline()
    os.kill(holder.pid, signal.SIGSTOP)
    second = bank.lease(60, timeout=60)
    os.kill(holder.pid, signal.SIGCONT)
    out, _ = holder.communicate("\n", timeout=60)
    assert out == "stale True\n"
    assert bank.get("a").token == second.token
    assert second.done("second")


def test_a_python_sqlite_that_opens_and_closes_the_file_does_no_harm(path, bank, child):
    """Closing any descriptor of a file drops the POSIX locks of the process; ours are of another kind."""
    bank.put(range(200))
    code = """
        import sys
        from opool_bank import Bank
        bank = Bank(sys.argv[1])
        for n in range(40):
            bank.claim(f"{sys.argv[2]}-{n}")
        bank.close()
        print("ok")
    """
    for n in range(3):
        with sqlite3.connect(path) as other:
            other.execute("SELECT count(*) FROM item").fetchone()
        other.close()
        # The last connection of another process to close would delete the log if it believed to be alone.
        assert finish(child(code, path, n)) == "ok\n"
        bank.claim(f"here {n}")
    assert bank.verify() == []
    code = """
        import sys
        from opool_bank import Bank
        print(Bank(sys.argv[1]).of("here 2")[0].key)
    """
    finish(child(code, path))


def test_a_write_lock_of_another_copy_of_sqlite_is_respected_after_a_close(path, bank, child):
    bank.put(["a", "b"])
    writer = sqlite3.connect(path, isolation_level=None, timeout=0)
    code = """
        import sqlite3, sys
        other = sqlite3.connect(sys.argv[1], isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        print("locked", flush=True)
        sys.stdin.readline()
        other.execute("COMMIT")
    """
    holder = child(code, path)
    assert holder.stdout.readline() == "locked\n"
    writer.execute("SELECT 1 FROM item").fetchone()
    writer.close()
    got = []
    thread = threading.Thread(target=lambda: got.append(bank.claim("x")))
    thread.start()
    thread.join(0.3)
    assert got == []
    holder.communicate("\n")
    thread.join(60)
    assert got[0].key == "a"


def test_a_commit_of_another_program_wakes_those_who_wait(path, bank):
    bank.put(["a"], delay=3600)
    got = []
    thread = threading.Thread(target=lambda: got.append(bank.claim("x", timeout=60)))
    thread.start()
    while bank.stats()["waiting"] == 0:
        pass
    other = sqlite3.connect(path)
    with other:
        other.execute("UPDATE item SET ready_at = 0")
    other.close()
    thread.join(60)
    assert got[0].key == "a"


def test_a_side_file_that_is_removed_is_made_anew_and_living_holders_keep_their_leases(path, bank, child):
    bank.put(["a", "b"])
    holder = child(HOLD, path)
    assert holder.stdout.readline().startswith("a")
    mine = bank.lease(600)
    os.unlink(path + "-side")
    # Neither the lease of the other process nor our own is taken for a dead one's.
    assert bank.claim("x", timeout=0.2) is None
    assert os.path.exists(path + "-side")
    assert mine.release() is True
    holder.communicate("\n")


def test_a_process_that_is_stopped_in_the_lock_is_named(path, bank, child, monkeypatch):
    from opool_bank import BankBusy, _async

    bank.put(["a"])
    code = """
        import os, signal, sys, threading
        from opool_bank import Bank
        bank = Bank(sys.argv[1])

        def codes():
            for n in range(200_000):
                yield n

        print("ready", flush=True)
        while True:
            bank.put(codes(), atomic=True, on_conflict="keep")
    """
    holder = child(code, path)
    holder.stdout.readline()
    # Stopped again and again until it is stopped inside.
    import asyncio

    monkeypatch.setattr(_async, "BUSY_LIMIT", 0.5)
    for _ in range(200):
        os.kill(holder.pid, signal.SIGSTOP)
        try:
            asyncio.run(bank.claim_async("x"))
        except BankBusy as error:
            # Without a pid this machine was too slow, and nobody was inside.
            if error.pid is not None:
                assert error.pid == holder.pid
                assert str(holder.pid) in str(error)
                # How long this call waited, not how long calls wait as a rule.
                assert 0.5 <= float(re.search(r"lock for ([\d.]+) s", str(error))[1]) < 25
                break
        os.kill(holder.pid, signal.SIGCONT)
        time.sleep(0.01)
    else:
        pytest.fail("it was never caught inside")
    os.kill(holder.pid, signal.SIGKILL)
    assert bank.claim("x").key is not None


def test_permits_of_a_killed_process_come_back_at_once(path, child):
    code = """
        import sys
        from opool_bank import Semaphore
        permit = Semaphore(sys.argv[1], "gpus", 2).acquire()
        print(permit.key, flush=True)
        sys.stdin.readline()
    """
    holders = [child(code, path) for _ in range(2)]
    assert sorted(holder.stdout.readline() for holder in holders) == ["0\n", "1\n"]
    gpus = Semaphore(path, "gpus", 2)
    assert gpus.counts() == {"permits": 2, "held": 2}
    holders[0].kill()
    with gpus.acquire(timeout=60) as permit:
        assert permit.key in (0, 1)
    assert gpus.verify() == []


@BOTH
def test_a_lock_excludes_processes(path, child, tmp_path):
    shared = tmp_path / "counter"
    shared.write_text("0")
    code = """
        import sys
        from opool_bank import Lock
        lock = Lock(sys.argv[1], "counter")
        for _ in range(25):
            with lock:
                n = int(open(sys.argv[2]).read())
                open(sys.argv[2], "w").write(str(n + 1))
        print("ok")
    """
    for process in [child(code, path, shared) for _ in range(4)]:
        finish(process)
    assert shared.read_text() == "100"
    assert Lock(path, "counter").verify() == []


def test_fairness_no_process_is_starved_by_a_loader(path, bank, child):
    code = """
        import sys
        from opool_bank import Bank
        bank = Bank(sys.argv[1])
        print("ready", flush=True)
        n = 0
        while True:
            bank.put(range(n, n + 1_000))
            n += 1_000
    """
    loader = child(code, path)
    loader.stdout.readline()
    begun = time.monotonic()
    for n in range(20):
        bank.claim(f"u{n}", timeout=60)
    # Behind the turnstile each claim waits for one chunk at most, not for the loader to end.
    assert time.monotonic() - begun < 60
    loader.kill()
    loader.wait()


def test_a_bank_is_closed_at_exit_and_leaves_no_log(path):
    code = "import sys; from opool_bank import Bank; bank = Bank(sys.argv[1]); bank.put([1]); bank.close(); del bank"
    subprocess.run([sys.executable, "-c", code, path], check=True, timeout=60)
    assert not os.path.exists(path + "-wal")
    with Bank(path) as bank:
        assert bank.counts().free == 1


@BOTH
def test_ctrl_c_ends_a_wait(path, bank, child):
    code = """
        import sys
        from opool_bank import Bank
        bank = Bank(sys.argv[1])
        try:
            print("ready", flush=True)
            bank.claim("x", timeout=600)
        except KeyboardInterrupt:
            print("interrupted")
    """
    waiter = child(code, path)
    waiter.stdout.readline()
    deadline = time.monotonic() + 60
    while waiter.poll() is None and time.monotonic() < deadline:
        waiter.send_signal(signal.SIGINT)
        try:
            waiter.wait(0.2)
        except subprocess.TimeoutExpired:
            continue
    out, _ = waiter.communicate(timeout=10)
    assert "interrupted" in out
    bank.put(["a"])
    assert bank.claim("y").key == "a"


@BOTH
def test_a_closed_bank_says_so_in_a_forked_child_too(path, child):
    # In a process of its own: from 3.12 on, forking one with threads is a warning, and pytest has warnings as errors.
    code = """
        import os, sys
        from opool_bank import Bank, BankClosed
        bank = Bank(sys.argv[1])
        bank.close()
        if os.fork() == 0:
            try:
                bank.claim("x")
            except BankClosed:
                os._exit(0)
            os._exit(1)
        print(os.waitstatus_to_exitcode(os.wait()[1]))
    """
    assert finish(child(code, path)) == "0\n"
