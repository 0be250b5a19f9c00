"""Real use: a pool of psycopg connections to a real server, which is restarted, refuses, hangs and comes back.

The server keeps the books: nobody ever reads anything but what is true, and what was committed is there. It also counts
the connections; and it is told how many a user may have, so it would refuse one too many itself.
"""

import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

import opool
from opool.testing import check_invariants
from support import LIMIT, Crew, eventually, run_child, threads

psycopg = pytest.importorskip("psycopg", reason="psycopg is not installed here", exc_type=ImportError)

from postgres import Connections  # noqa: E402

ACCOUNTS, START = 8, 1_000
LONGEST_PAUSE = 5.0  # of the pool, after failures
ALLOWED = (psycopg.OperationalError, opool.FactoryError, opool.PoolTimeout)


@pytest.fixture
def bank(server):
    """Accounts, and a journal of who moved something; the user `teller` may have four connections, and `secret` too."""
    server.execute(
        f"""
        CREATE ROLE teller LOGIN CONNECTION LIMIT 4;
        CREATE ROLE secret LOGIN CONNECTION LIMIT 4 PASSWORD 'old';
        CREATE TABLE accounts (id int PRIMARY KEY, balance int NOT NULL);
        INSERT INTO accounts SELECT id, {START} FROM generate_series(1, {ACCOUNTS}) id;
        CREATE TABLE journal (worker int, number int, PRIMARY KEY (worker, number));
        GRANT ALL ON accounts, journal TO teller, secret;
        """
    )
    yield server
    eventually(lambda: not server.backends("teller") and not server.backends("secret"))
    server.execute("DROP TABLE accounts, journal; DROP ROLE teller; DROP ROLE secret")


def watched(connections):
    """All that are opened are closed, and there are never more at a time than the pool may have."""
    yield connections
    eventually(lambda: connections.open == 0)
    assert connections.peak <= connections.limit


@pytest.fixture
def connections(bank):
    yield from watched(Connections(bank.dsn("teller")))


@pytest.fixture
def with_password(bank):
    yield from watched(Connections(bank.dsn("secret", password="old")))


def fresh(conn):
    """What is leased is whole: in no transaction, and not broken."""
    return conn.info.transaction_status == psycopg.pq.TransactionStatus.IDLE and not conn.closed


class Tellers:
    """Threads that move money until they are told to stop, and look at everything that the server answers."""

    def __init__(self, pool, n):
        self.pool = pool
        self.stopped = threading.Event()
        self.confirmed = [set() for _ in range(n)]
        self.uncertain = [set() for _ in range(n)]
        self.errors = Counter()
        self.causes = Counter()
        self.latest = [0.0] * n
        self._in_use = set()
        self._crew = Crew(n, self._work)

    def _work(self, worker):
        chance, number = random.Random(worker), 0
        while not self.stopped.is_set():
            number += 1
            try:
                with self.pool.lease() as conn:
                    self._transfer(conn, worker, number, sorted(chance.sample(range(1, ACCOUNTS + 1), 2)))
            except ALLOWED as error:
                self.errors[type(error).__name__] += 1
                self.causes[type(error.__cause__).__name__] += 1
                time.sleep(0.002)  # or they would ask for nothing else
            else:
                self.latest[worker] = time.monotonic()

    def _transfer(self, conn, worker, number, pair):
        assert fresh(conn)
        assert conn not in self._in_use, "somebody else has it"
        self._in_use.add(conn)
        try:
            (before,) = conn.execute("SELECT max(number) FROM journal WHERE worker = %s", [worker]).fetchone()
            assert (before or 0) in self.confirmed[worker] | self.uncertain[worker] | {0}
            conn.execute("UPDATE accounts SET balance = balance - 7 WHERE id = %s", [pair[0]])
            conn.execute("UPDATE accounts SET balance = balance + 7 WHERE id = %s", [pair[1]])
            conn.execute("INSERT INTO journal VALUES (%s, %s)", [worker, number])
            answer = conn.execute("SELECT %s::text, pg_backend_pid()", [f"{worker}:{number}"]).fetchone()
            assert answer == (f"{worker}:{number}", conn.info.backend_pid)
            self.uncertain[worker].add(number)  # a connection that breaks in the commit does not say whether it was
            conn.commit()
            self.confirmed[worker].add(number)
            self.uncertain[worker].discard(number)
        finally:
            self._in_use.discard(conn)

    def all_at_work(self, since=None):
        """Waits until each of them has succeeded, from now on."""
        since = time.monotonic() if since is None else since
        eventually(lambda: min(self.latest) > since or not self._crew.running)

    def stop(self):
        self.stopped.set()
        self._crew.join()

    def check_books(self, server):
        assert server.query("SELECT sum(balance) FROM accounts") == [(ACCOUNTS * START,)]
        found = set(server.query("SELECT worker, number FROM journal"))
        confirmed = {(worker, number) for worker, numbers in enumerate(self.confirmed) for number in numbers}
        uncertain = {(worker, number) for worker, numbers in enumerate(self.uncertain) for number in numbers}
        assert confirmed
        assert confirmed <= found <= confirmed | uncertain


class Sampler:
    """Looks all the time how many connections a user has; while the server is away, it has none."""

    def __init__(self, server, user):
        self.server, self.user = server, user
        self.peak = self.looks = 0
        self._stop = threading.Event()
        self._crew = Crew(1, self._look)

    def _look(self, _):
        while not self._stop.is_set():
            try:
                with self.server.superuser() as conn:
                    while not self._stop.wait(0.002):
                        query = "SELECT count(*) FROM pg_stat_activity WHERE usename = %s"
                        (count,) = conn.execute(query, [self.user]).fetchone()
                        self.looks, self.peak = self.looks + 1, max(self.peak, count)
            except psycopg.OperationalError:
                self._stop.wait(0.01)

    def stop(self):
        self._stop.set()
        self._crew.join()
        assert self.looks
        return self.peak


def test_eight_threads_move_money_over_four_connections_and_none_is_lost(bank, connections):
    sampler = Sampler(bank, "teller")
    with opool.Pool(**connections.options(min_size=2)) as pool:
        tellers = Tellers(pool, 8)
        tellers.all_at_work()
        eventually(lambda: sum(map(len, tellers.confirmed)) > 400)
        tellers.stop()
        check_invariants(pool)
        assert pool.leased == 0
    assert not tellers.errors
    tellers.check_books(bank)
    assert sampler.stop() <= 4


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_restart_under_load_gives_only_errors_that_say_so_and_the_pool_recovers(bank, connections, mode):
    sampler = Sampler(bank, "teller")
    refused = bank.log().count("too many connections")  # by other tests
    with opool.Pool(**connections.options(min_size=1)) as pool:
        tellers = Tellers(pool, 8)
        for _ in range(2):
            tellers.all_at_work()
            failures = pool.stats().create_failures
            bank.stop(mode)
            eventually(lambda before=failures: pool.stats().create_failures >= before + 3)
            bank.start()
            back = time.monotonic()
            tellers.all_at_work(back)
            assert min(tellers.latest) - back < LONGEST_PAUSE + 60
        tellers.stop()
        check_invariants(pool)
    assert tellers.errors["FactoryError"], tellers.errors
    assert tellers.causes["OperationalError"]
    assert sum(pool.stats().retired.values()) > 4
    tellers.check_books(bank)
    assert sampler.stop() <= 4
    assert bank.log().count("too many connections") == refused


def test_a_broken_transaction_is_rolled_back_before_the_next_user_comes(bank, connections):
    with opool.Pool(**connections.options(max_size=1)) as pool:
        with pytest.raises(psycopg.errors.UndefinedTable):
            with pool.lease() as conn:
                pid = conn.info.backend_pid
                conn.execute("INSERT INTO journal VALUES (1, 1)")
                conn.execute("SELECT * FROM nowhere")
        with pool.lease() as conn:
            assert fresh(conn)
            assert conn.info.backend_pid == pid
            assert conn.execute("SELECT * FROM journal").fetchall() == []


def test_what_was_not_committed_is_gone_also_when_the_lease_is_only_dropped(bank, connections):
    with opool.Pool(**connections.options(max_size=1)) as pool:
        lease = pool.lease()
        lease.obj.execute("INSERT INTO journal VALUES (1, 1)")
        del lease
        with pool.lease() as conn:
            assert fresh(conn)
            assert conn.execute("SELECT * FROM journal").fetchall() == []


def test_a_connection_that_the_server_has_ended_is_replaced_by_the_check(bank, connections):
    with opool.Pool(**connections.options(check_after=0)) as pool:
        with pool.lease() as conn:
            first = conn.info.backend_pid
        bank.execute(f"SELECT pg_terminate_backend({first}, 10000)")
        with pool.lease() as conn:
            assert conn.execute("SELECT pg_backend_pid()").fetchone() != (first,)
        assert pool.stats().retired["unfit"] == 1


def test_a_connection_that_breaks_in_somebodys_hands_does_not_come_back(bank, connections):
    with opool.Pool(**connections.options(max_size=1)) as pool:
        with pytest.raises(psycopg.OperationalError):
            with pool.lease() as conn:
                bank.execute(f"SELECT pg_terminate_backend({conn.info.backend_pid}, 10000)")
                conn.execute("SELECT 1")
        with pool.lease() as conn:
            assert fresh(conn)
        assert pool.stats().retired["not_reset"] == 1


def test_a_connection_that_hangs_in_its_check_is_given_up_and_holds_nobody_up(bank, connections):
    with opool.Pool(**connections.options(check_after=0, check_timeout=0.2)) as pool:
        with pool.lease() as conn:
            pid = conn.info.backend_pid
        os.kill(pid, signal.SIGSTOP)
        try:
            with pool.lease(timeout=LIMIT) as conn:
                assert conn.info.backend_pid != pid
                assert conn.execute("SELECT 1").fetchone() == (1,)
            assert pool.stats().retired["unfit"] == 1
        finally:
            os.kill(pid, signal.SIGCONT)
        eventually(lambda: pid not in bank.backends("teller"))


def test_a_server_that_is_down_at_the_start_is_said_at_once_and_found_when_it_is_there(bank, connections):
    bank.stop()
    try:
        with opool.Pool(**connections.options(min_size=2)) as pool:
            with pytest.raises(opool.FactoryError) as caught:
                pool.lease(timeout=None)
            assert isinstance(caught.value.__cause__, psycopg.OperationalError)
            bank.start()
            eventually(lambda: pool.size == 2)
            with pool.lease() as conn:
                assert conn.execute("SELECT 1").fetchone() == (1,)
    finally:
        if not bank.runs:
            bank.start()


def test_a_wrong_password_is_the_cause_that_people_see(bank, with_password):
    with_password.dsn = bank.dsn("secret", password="wrong")
    with opool.Pool(**with_password.options()) as pool:
        with pytest.raises(opool.FactoryError, match="with OperationalError") as caught:
            pool.lease()
        assert isinstance(caught.value.__cause__, psycopg.OperationalError)
        assert "password authentication failed" in str(caught.value.__cause__)


def test_where_the_server_grants_fewer_than_max_size_they_have_to_do(bank, connections):
    bank.execute("ALTER ROLE teller CONNECTION LIMIT 2")
    with opool.Pool(**connections.options()) as pool:
        tellers = Tellers(pool, 6)
        tellers.all_at_work()
        eventually(lambda: pool.stats().create_failures > 0)
        tellers.all_at_work()
        tellers.stop()
        assert pool.size == 2
    assert not tellers.errors
    tellers.check_books(bank)


def test_lifetimes_replace_all_connections_without_an_outage(bank, connections):
    with opool.Pool(**connections.options(max_lifetime=0.3)) as pool:
        tellers = Tellers(pool, 6)
        tellers.all_at_work()
        first = set(bank.backends("teller"))
        eventually(lambda: pool.stats().retired["lifetime"] >= 8)
        tellers.stop()
        eventually(lambda: not first & set(bank.backends("teller")))
    assert not tellers.errors
    tellers.check_books(bank)


def test_a_reload_after_a_change_of_password_replaces_all_connections_under_load(bank, with_password):
    with opool.Pool(**with_password.options()) as pool:
        tellers = Tellers(pool, 6)
        tellers.all_at_work()
        eventually(lambda: pool.size == 4)
        first = set(bank.backends("secret"))
        bank.execute("ALTER ROLE secret PASSWORD 'new'")
        pool.reload()
        eventually(lambda: pool.stats().create_failures > 0)
        tellers.all_at_work()
        assert len(first & set(bank.backends("secret"))) >= 3, "while nothing better can be had, they stay"
        with_password.dsn = bank.dsn("secret", password="new")
        eventually(lambda: not first & set(bank.backends("secret")))
        tellers.all_at_work()
        tellers.stop()
        assert pool.stats().retired["reloaded"] == 4
    assert not tellers.errors
    tellers.check_books(bank)


def test_idle_connections_are_closed_down_to_min_size(bank, connections):
    with opool.Pool(**connections.options(min_size=1, max_idle=0.2)) as pool:
        leases = [pool.lease() for _ in range(4)]
        assert len(bank.backends("teller")) == 4
        for lease in leases:
            lease.release()
        eventually(lambda: len(bank.backends("teller")) == 1)
        assert (pool.size, pool.stats().retired["idle"]) == (1, 3)


def test_close_leaves_no_connection_and_names_who_keeps_one(bank, connections):
    pool = opool.Pool(**connections.options(min_size=3))
    lease = pool.lease()
    eventually(lambda: pool.size == 3)
    with pytest.raises(opool.PoolCloseTimeout) as caught:
        pool.close(timeout=0.05)
    assert [holder.obj for holder in caught.value.holders] == [lease.obj]
    eventually(lambda: bank.backends("teller") == [lease.obj.info.backend_pid])
    assert lease.obj.execute("SELECT 1").fetchone() == (1,)
    lease.release()
    pool.close()
    eventually(lambda: bank.backends("teller") == [])
    with pytest.raises(opool.PoolClosed):
        pool.lease()


def test_close_by_force_ends_a_query_under_its_holders_hands(bank, connections):
    pool = opool.Pool(**connections.options(max_size=1))

    def sleep(_):
        with pytest.raises(psycopg.OperationalError):
            with pool.lease() as conn:
                conn.execute("SELECT 1")
                holding.set()
                assert closed.wait(LIMIT)
                conn.execute("SELECT 2")

    holding, closed = threading.Event(), threading.Event()
    crew = Crew(1, sleep)
    assert holding.wait(LIMIT)
    pool.close(force=True)
    closed.set()
    crew.join()
    eventually(lambda: bank.backends("teller") == [])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_after_a_fork_the_child_connects_anew_and_the_parents_connections_go_on(bank):
    run_child(f"""
import os, signal, sys, traceback, warnings
import opool, psycopg
from postgres import Connections
from support import LIMIT, Crew, eventually

warnings.simplefilter("ignore", DeprecationWarning)     # from 3.12 on: fork beside threads, which is what we test
connections = Connections({bank.dsn("teller")!r})
pool = opool.Pool(**connections.options(max_size=2))

def pid_of(conn):
    (pid,) = conn.execute("SELECT pg_backend_pid()").fetchone()
    assert pid == conn.info.backend_pid
    return pid

with pool.lease() as one, pool.lease() as two:
    mine = {{pid_of(one), pid_of(two)}}

with pool.lease() as kept:
    kept.execute("INSERT INTO journal VALUES (1, 1)")
    child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.alarm(LIMIT)
            with pool.lease() as conn:
                assert pid_of(conn) not in mine, "it talks through its parent's socket"
                conn.execute("INSERT INTO journal VALUES (2, 2)")
                conn.commit()
            pool.close(force=True)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    kept.commit()

assert {{pid_of(conn.obj) for conn in [pool.lease(), pool.lease()]}} == mine
assert connections.opened == 2
pool.close()
assert connections.open == 0
""")
    assert sorted(bank.query("SELECT * FROM journal")) == [(1, 1), (2, 2)]


def test_as_many_threads_as_come_at_once_do_not_storm_the_server(bank, connections):
    bank.execute("ALTER ROLE teller CONNECTION LIMIT 10")
    with opool.Pool(**connections.options(max_size=10)) as pool:

        def ask(i):
            with pool.lease() as conn:
                return conn.execute("SELECT %s::int", [i]).fetchone()

        assert threads(50, ask) == [(i,) for i in range(50)]
        assert connections.opened <= 10
        check_invariants(pool)


def test_the_example_runs(bank):
    example = Path(__file__).resolve().parents[3] / "examples" / "postgres.py"
    command = [sys.executable, "-W", "error", str(example), bank.dsn()]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=LIMIT)
    bank.execute("DROP TABLE visits")
    assert done.returncode == 0, done.stdout
    assert re.fullmatch(r"90 committed, 90 found\n102 leases of [1-4] connections\n", done.stdout)
