"""The bank on PostgreSQL: connections that break, servers that restart, roles, poolers, TLS."""

import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import warnings
from pathlib import Path

import killing
import pytest
from proxies import Proxy

from conftest import address_of, finish
from opool_bank import (
    Bank,
    BankError,
    BankFileError,
    BankReadOnly,
    BankUnreachable,
    BankUsageError,
    BankWarning,
    NotABank,
    SchemaTooNew,
    SharedObjectMgr,
)

STORES = ("postgres",)


@pytest.fixture
def proxied(postgres, schema):
    """A proxy before the server, and the address through it."""
    folder = tempfile.mkdtemp(prefix="opool-pq-", dir="/tmp")
    proxy = Proxy(postgres, folder)
    yield proxy, address_of(postgres, schema, host=folder)
    proxy.close()
    shutil.rmtree(folder)


# -- lost replies


def put(bank, turn):
    return bank.put([f"put {turn} {n}" for n in range(3)])


def claim(bank, turn):
    item = bank.claim(f"claim {turn}")
    return item.key.startswith("item"), item.state, item.new


def claim_by_key(bank, turn):
    item = bank.claim(f"key {turn}", key=f"made {turn}", create=True, payload=turn)
    return item.key == f"made {turn}", item.payload == turn, item.new


held = []  # a lease that is dropped is given back


def lease(bank, turn):
    held.extend(bank.lease_many(1, None, id=f"lease {turn}"))
    return held[-1].new


def lease_many(bank, turn):
    leases = bank.lease_many(3, None, id=f"many {turn}")
    held.extend(leases)
    return [lease.new for lease in leases]


def settle(call):
    def settled(bank, turn):
        lease = held[-1]
        answer = getattr(bank, call)((lease.key, lease.token), *([60] if call == "extend" else []))
        after = bank.get(lease.key)
        return answer, after.state, after.attempts

    settled.__name__ = call
    return settled


CALLS = [put, claim, claim_by_key, lease, lease_many, *map(settle, ["done", "release", "reject", "extend"])]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
def test_a_call_whose_answer_is_lost_anywhere_answers_as_if_it_was_not(proxied, postgres, schema, call):
    """Cut at each message of the server in turn, and then once more just after the commit."""
    proxy, address = proxied
    with Bank(address) as bank, Bank(address_of(postgres, schema), name="other"):
        bank.put([f"item {n}" for n in range(500)])
        expected = None
        whole = 0
        # How many messages there are varies with what is said to those who wait.
        after = [(1, b"Z")] if call in (claim, lease) else [(1, b"C", b"COMMIT")]
        for turn, cut in enumerate([None, *((count,) for count in range(1, 200)), *after]):
            if whole == 3 and cut not in after:
                continue
            if call.__name__ in ("done", "release", "reject", "extend"):
                held.extend(bank.lease_many(1, None))
            if cut is not None:
                proxy.arm(*cut)
            answer = call(bank, turn)
            expected = answer if cut is None else expected
            assert answer == expected, (cut, proxy.cut)
            if cut is not None:
                whole = 0 if proxy.disarm() else whole + 1
        assert whole == 0, "it was not cut after the commit"
        assert bank.verify() == []
        held.clear()


# -- servers and clients that die


@pytest.mark.torture
def test_nothing_is_lost_or_given_twice_when_clients_are_killed(path):
    seconds = float(os.environ.get("OPOOL_TORTURE", 20))
    kills, told, counts = killing.run(seconds, 10_000, path=path)
    assert kills > 3
    assert told > 50
    assert counts.put > 2_000


class Load:
    """Threads that claim, lease, finish and put until they are told to stop, and remember what they were answered."""

    def __init__(self, bank, threads):
        self.bank = bank
        self.stopped = threading.Event()
        self.claims, self.done, self.tokens, self.errors = {}, {}, [], []
        self.threads = [threading.Thread(target=self.work, args=(number,)) for number in range(threads)]
        for thread in self.threads:
            thread.start()

    def work(self, number):
        turn = 0
        while not self.stopped.is_set():
            id = f"{number} {turn}"
            turn += 1
            try:
                item = self.bank.claim(id)
                if item is not None:
                    self.claims[id] = item.key
                    again = self.bank.claim(id)
                    assert again.key == item.key
                for lease in self.bank.lease_many(2, 60):
                    self.tokens.append(lease.token)
                    lease.done(id)
                    self.done[lease.key] = (lease.token, id)
                self.bank.put([f"{id} {n}" for n in range(4)])
            except BankError as error:
                self.errors.append(error)

    def stop(self):
        self.stopped.set()
        for thread in self.threads:
            thread.join(120)
            assert not thread.is_alive()

    def check(self):
        assert self.errors == []
        given = {item.key: item for item in self.bank.items("given")}
        assert len(self.claims) > 20
        assert len(set(self.claims.values())) == len(self.claims)
        for id, key in self.claims.items():
            assert given[key].claim_id == id
        for key, (token, result) in self.done.items():
            assert (given[key].token, given[key].result) == (token, result)
        assert len(set(self.tokens)) == len(self.tokens)
        counts = self.bank.counts()
        assert counts.put == counts.free + counts.leased + counts.given + counts.dead
        assert self.bank.verify() == []


@pytest.mark.parametrize("mode", ["immediate", "fast"])
def test_a_restart_of_the_server_under_load_loses_and_doubles_nothing(path, postgres, mode):
    with Bank(path) as bank:
        bank.put(range(2_000))
        load = Load(bank, 6)
        for _ in range(3):
            before = len(load.claims)
            while len(load.claims) < before + 20 and not load.errors:
                time.sleep(0.01)
            postgres.stop(mode)
            postgres.start()
        before = len(load.claims)
        while len(load.claims) < before + 20 and not load.errors:
            time.sleep(0.01)
        load.stop()
        load.check()


def test_connections_that_are_ended_under_load_are_made_anew(path, postgres):
    with Bank(path) as bank:
        bank.put(range(2_000))
        load = Load(bank, 6)
        for _ in range(20):
            before = len(load.claims)
            postgres.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'opool-bank'"
            )
            while len(load.claims) < before + 5 and not load.errors:
                time.sleep(0.005)
        load.stop()
        load.check()


def test_a_server_that_stays_away_is_told_and_comes_back(path, postgres):
    with Bank(path) as bank:
        bank.put(["a"])
        told = []

        def ask(call):
            with pytest.raises(BankUnreachable, match="cannot be reached"):
                call()
            told.append(call)

        postgres.stop("fast")
        try:
            threads = [threading.Thread(target=ask, args=(call,)) for call in (lambda: bank.claim("x"), bank.counts)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(120)
            assert len(told) == 2
        finally:
            postgres.start()
        assert bank.claim("x").key == "a"


def test_a_wait_outlasts_a_restart(path, postgres):
    with Bank(path) as bank:
        got = []
        thread = threading.Thread(target=lambda: got.append(bank.claim("x", timeout=120)))
        thread.start()
        while bank.stats()["waiting"] == 0:
            pass
        postgres.stop("fast")
        postgres.start()
        bank.put(["a"])
        thread.join(120)
        assert got[0].key == "a"


# -- rows that other transactions have


def test_an_open_transaction_on_one_item_holds_up_no_renewal_of_the_others(path, postgres, schema):
    """Renewals are one statement for all leases of the process; a row that it cannot have goes alone."""
    psycopg = pytest.importorskip("psycopg")
    with Bank(path) as bank:
        bank.put(range(3))
        leases = bank.lease_many(3, 1.5)
        with psycopg.connect(postgres.dsn()) as other:
            other.execute(f"SELECT FROM {schema}.item ORDER BY id LIMIT 1 FOR UPDATE")
            assert leases[0].wait_lost(60)
            assert not leases[1].lost
            assert not leases[2].lost
            assert bank.release(leases[1])
            assert bank.claim("x").key == leases[1].key
            other.rollback()
        assert bank.release([leases[0], leases[2]]) == [True, True]


@pytest.mark.parametrize("call", ["done", "release", "reject"])
def test_a_finishing_call_on_a_row_that_another_transaction_has_waits_for_its_end(path, postgres, schema, call):
    psycopg = pytest.importorskip("psycopg")
    with Bank(path) as bank:
        bank.put(["a"])
        lease = bank.lease(None)
        got = []
        with psycopg.connect(postgres.dsn()) as other:
            other.execute(f"SELECT FROM {schema}.item FOR UPDATE")
            thread = threading.Thread(target=lambda: got.append(getattr(lease, call)()))
            thread.start()
            thread.join(0.5)
            assert got == []
            other.rollback()
        thread.join(60)
        assert got == [True]


def test_an_id_that_another_process_is_claiming_gets_what_that_one_gets(path, postgres, schema):
    """The other one has inserted the id's row and not committed: ours waits at it, with an older snapshot."""
    psycopg = pytest.importorskip("psycopg")
    with Bank(path) as bank:
        bank.put(range(40))
        for n in range(10):
            id, got = f"id {n}", []
            key = {"id": b"t" + id.encode()}
            with psycopg.connect(postgres.dsn()) as other:
                other.execute(f"INSERT INTO {schema}.claim SELECT id, %(id)s, 1, 1, '{{}}' FROM {schema}.bank", key)
                thread = threading.Thread(target=lambda id=id, got=got: got.append(bank.claim(id)))
                thread.start()
                # Until it waits for the other one's row.
                waiting = (
                    "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'opool-bank'"
                )
                while not postgres.query(waiting):
                    pass
                other.execute(
                    f"WITH i AS (UPDATE {schema}.item SET state = 2, ready_at = 0, claim = %(id)s, "
                    f"token = nextval('{schema}.token') WHERE id = (SELECT max(id) FROM {schema}.item WHERE state = 0) "
                    "RETURNING id, bank), "
                    f"t AS (INSERT INTO {schema}.tally SELECT bank, -1, 0, 1, 0, 0 FROM i) "
                    f"UPDATE {schema}.claim c SET items = ARRAY[i.id] FROM i WHERE c.id = %(id)s",
                    key,
                )
                other.commit()
            thread.join(60)
            assert (got[0].key, got[0].new) == (39 - n, False)
        assert bank.counts().given == 10
        assert bank.verify() == []


def test_who_waits_is_told_by_the_commit_of_another_process(proxied, postgres, schema):
    proxy, address = proxied
    with Bank(address) as bank, Bank(address_of(postgres, schema)) as other:
        got = []
        thread = threading.Thread(target=lambda: got.append(bank.claim("x", timeout=60)))
        thread.start()
        while bank.stats()["waiting"] == 0:
            pass
        proxy.arm(1_000_000)
        other.put(["a"])
        thread.join(60)
        assert got[0].key == "a"
        while not any(kind == b"A" for kind, _ in proxy.seen):
            bank.counts()
        proxy.disarm()


def test_a_row_that_is_locked_and_free_makes_nobody_believe_that_all_are_gone(path, postgres, schema):
    psycopg = pytest.importorskip("psycopg")
    with Bank(path) as bank:
        bank.put(["a"])
        got = []
        with psycopg.connect(postgres.dsn()) as other:
            other.execute(f"SELECT FROM {schema}.item FOR UPDATE")
            thread = threading.Thread(target=lambda: got.append(bank.claim("x")))
            thread.start()
            thread.join(0.5)
            assert got == []
            other.rollback()
        thread.join(60)
        assert got[0].key == "a"


def test_a_put_of_a_key_that_is_being_put_waits_for_its_end_and_nobody_else_waits(path, postgres, schema):
    psycopg = pytest.importorskip("psycopg")
    with Bank(path) as bank:
        bank.put(["there"])
        got = []
        with psycopg.connect(postgres.dsn()) as other:
            other.execute(
                f"INSERT INTO {schema}.item(id, bank, ready_at, made, priority, payload_kind, key) "
                f"SELECT nextval('{schema}.item_id'), bank, ready_at, 1, 0, 0, 'tmine' FROM {schema}.item LIMIT 1"
            )
            thread = threading.Thread(target=lambda: got.append(bank.put(["mine", "new"])))
            thread.start()
            assert bank.claim("x").key == "there"
            assert got == []
            other.rollback()
        thread.join(60)
        assert got == [2]


# -- who may do what


def test_a_role_without_rights_to_make_tables_uses_a_schema_that_is_there(path, postgres, schema):
    postgres.execute("CREATE ROLE plain LOGIN")
    try:
        mine = address_of(postgres, schema, user="plain")
        with pytest.raises(BankReadOnly, match="may not make it.*Open the bank once as a role that may create schemas"):
            Bank(mine)
        with Bank(path) as bank:
            bank.put(["a", "b"])
        postgres.execute(
            f"GRANT USAGE ON SCHEMA {schema} TO plain; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA "
            f"{schema} TO plain; GRANT SELECT, USAGE, UPDATE ON ALL SEQUENCES IN SCHEMA {schema} TO plain"
        )
        with Bank(mine) as bank:
            assert bank.claim("x").key == "a"
            with bank.lease() as lease:
                assert lease.key == "b"
            bank.put(["c"], atomic=True)
            assert SharedObjectMgr(mine, 10).get_object() == 1
            assert bank.verify() == []
    finally:
        postgres.execute("DROP OWNED BY plain; DROP ROLE plain")


def test_a_role_that_may_only_read_is_told(path, postgres, schema):
    with Bank(path) as bank:
        bank.put(["a"])
    postgres.execute(
        f"CREATE ROLE reader LOGIN; GRANT USAGE ON SCHEMA {schema} TO reader; "
        f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO reader; "
        f"GRANT SELECT ON ALL SEQUENCES IN SCHEMA {schema} TO reader"
    )
    try:
        with Bank(address_of(postgres, schema, user="reader")) as bank:
            assert bank.get("a").state == "free"
            with pytest.raises(BankReadOnly, match="permission denied"):
                bank.claim("x")
        del bank
        postgres.execute(
            f"GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO reader; "
            f"GRANT ALL ON ALL SEQUENCES IN SCHEMA {schema} TO reader; "
            "ALTER ROLE reader SET default_transaction_read_only = on"
        )
        with Bank(address_of(postgres, schema, user="reader")) as bank, pytest.raises(BankReadOnly, match="read only"):
            bank.claim("x")
    finally:
        postgres.execute("DROP OWNED BY reader; DROP ROLE reader")


def test_a_statement_timeout_of_the_role_is_told_and_nothing_was_done(path, postgres, schema):
    psycopg = pytest.importorskip("psycopg")
    with Bank(path) as bank:
        bank.put(["a"])
    del bank  # it would go on with the connections that it has
    postgres.execute("ALTER ROLE root SET statement_timeout = '100ms'")
    try:
        with Bank(path) as bank, psycopg.connect(postgres.dsn(options="-c statement_timeout=0")) as other:
            other.execute(f"LOCK TABLE {schema}.item")
            with pytest.raises(BankFileError, match=r"statement timeout \(SQLSTATE 57014\)\); nothing was done"):
                bank.claim("x")
            other.rollback()
            assert bank.claim("y").key == "a"
    finally:
        postgres.execute("ALTER ROLE root RESET statement_timeout")


def test_a_wrong_role_database_or_address_is_told(postgres, schema):
    with pytest.raises(BankUnreachable, match='role "nobody_here" does not exist'):
        Bank(address_of(postgres, schema, user="nobody_here"))
    with pytest.raises(BankUnreachable, match='database "nowhere" does not exist'):
        Bank(address_of(postgres, schema).replace("/postgres?", "/nowhere?"))
    with pytest.raises(BankUnreachable, match="cannot be reached"):
        Bank("postgresql://root@127.0.0.1:1/postgres")
    with pytest.raises(BankUsageError, match="sslmode must be") as caught:
        Bank("postgresql://root:secret@127.0.0.1/postgres?sslmode=never")
    assert "secret" not in str(caught.value)


def test_a_password_is_in_no_message(postgres, schema):
    postgres.execute("CREATE ROLE secret LOGIN PASSWORD 'opensesame'")
    try:
        address = address_of(postgres, schema, user="secret", password="wrongsesame")
        with pytest.raises(BankUnreachable, match="password authentication failed") as caught:
            Bank(address)
        assert "sesame" not in str(caught.value)
        with pytest.raises(BankReadOnly) as caught:
            Bank(address_of(postgres, schema, user="secret", password="opensesame"))
        assert "sesame" not in str(caught.value)
    finally:
        postgres.execute("DROP ROLE secret")


def test_a_schema_of_another_program_or_a_later_version_is_refused(path, postgres, schema):
    postgres.execute(f"CREATE SCHEMA {schema}; CREATE TABLE {schema}.meta(theirs int)")
    with pytest.raises(NotABank, match="belongs to another program"):
        Bank(path)
    postgres.execute(f"DROP TABLE {schema}.meta")
    Bank(path).close()
    postgres.execute(f"UPDATE {schema}.meta SET version = 99")
    with pytest.raises(SchemaTooNew, match="schema 99"):
        Bank(path)


def test_eight_processes_make_the_schema_at_once(path, child):
    code = """
        import sys
        from opool_bank import Bank
        sys.stdin.readline()
        print(Bank(sys.argv[1]).put(["a"]))
    """
    children = [child(code, path) for _ in range(8)]
    for process in children:
        process.stdin.write("go\n")
        process.stdin.flush()
    assert sorted(int(finish(process)) for process in children) == [0] * 7 + [1]


@pytest.mark.parametrize("durability", ["full", "fast"])
def test_synchronous_commit_is_on_where_the_server_has_it_off_unless_it_may_be(proxied, postgres, durability):
    proxy, address = proxied
    postgres.execute("ALTER ROLE root SET synchronous_commit = off")
    try:
        with Bank(address, durability=durability) as bank:
            bank.put(["a"])
            assert bank.claim("x").key == "a"
    finally:
        postgres.execute("ALTER ROLE root RESET synchronous_commit")
    assert (b"synchronous_commit = on" in proxy.sent) == (durability == "full")


def test_a_standby_is_refused_with_the_reason(path, postgres):
    with Bank(path) as bank:
        bank.put(["a"])
    del bank
    hba = postgres.folder / "data" / "pg_hba.conf"
    before = hba.read_text()
    hba.write_text("local replication all trust\n" + before)
    postgres.execute("SELECT pg_reload_conf()")
    folder = Path(tempfile.mkdtemp(prefix="opool-pb-", dir=str(postgres.folder)))
    data = folder / "data"
    user = postgres._as_user.get("user")
    if user is not None:
        os.chown(folder, user, -1)
    postgres._run(
        "pg_basebackup",
        "--pgdata",
        str(data),
        "--host",
        str(postgres.folder),
        "--user",
        "root",
        "-R",
        "-X",
        "stream",
        "--checkpoint",
        "fast",
    )
    with (data / "postgresql.conf").open("a") as conf:
        conf.write(f"unix_socket_directories = '{folder}'\n")
    postgres._run("pg_ctl", "--pgdata", str(data), "--log", str(folder / "s.log"), "--wait", "--silent", "start")
    try:
        with pytest.raises(BankReadOnly, match="standby"):
            Bank(path.replace(path.split("host=")[1].split("&")[0], str(folder).replace("/", "%2F")))
    finally:
        postgres._run("pg_ctl", "--pgdata", str(data), "--mode", "immediate", "--wait", "--silent", "stop")
        shutil.rmtree(folder)
        hba.write_text(before)
        postgres.execute("SELECT pg_reload_conf()")


# -- poolers


@pytest.fixture
def pooler(postgres):
    """PgBouncer in transaction mode before the server; the folder of its socket."""
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if program is None:
        pytest.skip("PgBouncer IS MISSING: the way behind a pooler is not tested (apt-get install pgbouncer)")
    folder = Path(tempfile.mkdtemp(prefix="opool-pp-", dir="/tmp"))
    (folder / "users").write_text('"root" ""\n')
    (folder / "ini").write_text(
        f"[databases]\npostgres = host={postgres.folder} dbname=postgres\n[pgbouncer]\nlisten_addr =\n"
        f"unix_socket_dir = {folder}\nlisten_port = 5432\nauth_type = any\nauth_file = {folder}/users\n"
        f"pool_mode = transaction\nmax_client_conn = 100\ndefault_pool_size = 5\n"
    )
    (folder / "ini").write_text((folder / "ini").read_text().replace("dbname=postgres", "dbname=postgres user=root"))
    if postgres._as_user:
        shutil.chown(folder, postgres._as_user["user"])
    process = subprocess.Popen(
        [program, "-q", str(folder / "ini")], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **postgres._as_user
    )
    limit = time.monotonic() + 60
    while not (folder / ".s.PGSQL.5432").exists():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < limit
    yield folder
    process.terminate()
    process.wait(60)
    process.stderr.close()
    shutil.rmtree(folder)


def test_behind_a_pooler_it_works_by_polling_and_says_so_once(postgres, pooler, schema):
    address = address_of(postgres, schema, host=pooler)
    with pytest.warns(BankWarning, match="behind a connection pooler") as caught:
        bank = Bank(address)
    assert len(caught) == 1
    assert caught[0].filename == __file__ or "opool_bank" in caught[0].filename
    with bank, warnings.catch_warnings():
        warnings.simplefilter("error")
        with Bank(address, name="other") as other:
            other.put(["x"])
        load = Load(bank, 6)
        bank.put(range(500))
        while len(load.claims) < 200 and not load.errors:
            time.sleep(0.01)
        load.stop()
        load.check()
        bank.put([("long", 1)], atomic=True)
    # Another process's put is found by looking.
    with Bank(address) as waits, Bank(address_of(postgres, schema)) as other:
        while waits.claim() is not None:
            pass
        got = []
        thread = threading.Thread(target=lambda: got.append(waits.claim("waits", timeout=60)))
        thread.start()
        while waits.stats()["waiting"] == 0:
            pass
        other.put(["late"])
        thread.join(60)
        assert got[0].key == "late"
        assert waits.verify() == []


# -- TLS


@pytest.fixture(scope="module")
def certificates(postgres):
    """An authority, a certificate for `localhost`, another authority; the server has the certificate and listens."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl IS MISSING: TLS is not tested")
    folder = postgres.folder / "tls"
    folder.mkdir()

    def run(*arguments):
        subprocess.run([openssl, *map(str, arguments)], check=True, capture_output=True, cwd=folder)

    new = ["req", "-newkey", "rsa:2048", "-nodes"]
    for name in ("ca", "other"):
        run(*new, "-x509", "-days", 2, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem")
    run(*new, "-subj", "/CN=localhost", "-keyout", "server.key", "-out", "server.csr")
    (folder / "ext").write_text("subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n")
    signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "ext", "-days", 2]
    run("x509", "-req", "-in", "server.csr", *signed, "-out", "server.pem")
    if postgres._as_user:
        shutil.chown(folder / "server.key", postgres._as_user["user"])
    (folder / "server.key").chmod(0o600)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    before = (postgres.folder / "data" / "pg_hba.conf").read_text()
    settings = {
        "listen_addresses": "'localhost'",
        "port": port,
        "ssl": "on",
        "ssl_cert_file": f"'{folder}/server.pem'",
        "ssl_key_file": f"'{folder}/server.key'",
    }
    conf = postgres.folder / "data" / "postgresql.conf"
    kept = conf.read_text()
    postgres.execute("CREATE ROLE over LOGIN SUPERUSER PASSWORD 'tls'")
    postgres.stop()
    conf.write_text(kept + "".join(f"{name} = {value}\n" for name, value in settings.items()))
    (postgres.folder / "data" / "pg_hba.conf").write_text("hostssl all all all scram-sha-256\n" + before)
    postgres.start()
    yield folder, port
    postgres.stop()
    conf.write_text(kept)
    (postgres.folder / "data" / "pg_hba.conf").write_text(before)
    postgres.start()
    postgres.execute("DROP OWNED BY over; DROP ROLE over")


@pytest.mark.parametrize(
    ("query", "host", "fails"),
    [
        ("sslmode=require&channel_binding=require", "localhost", None),
        ("sslmode=prefer", "127.0.0.1", None),
        ("sslmode=disable", "localhost", "pg_hba.conf"),
        ("sslmode=verify-full&sslrootcert={ca}", "localhost", None),
        ("sslmode=verify-full&sslrootcert={ca}", "127.0.0.1", "not valid for name"),
        ("sslmode=verify-ca&sslrootcert={ca}&channel_binding=require", "127.0.0.1", None),
        ("sslmode=require&sslrootcert={other}", "localhost", "UnknownIssuer"),
        ("sslmode=verify-full&sslrootcert={other}", "localhost", "UnknownIssuer"),
        ("sslmode=verify-full&sslrootcert=system", "localhost", "UnknownIssuer"),
        ("sslmode=verify-full&sslrootcert=/nothing/here.pem", "localhost", "cannot be read"),
    ],
)
def test_tls_is_as_the_address_asks(certificates, query, host, fails):
    folder, port = certificates
    query = query.format(ca=folder / "ca.pem", other=folder / "other.pem")
    address = f"postgresql://over:tls@{host}:{port}/postgres?{query}&schema=overtls"
    if fails is None:
        with Bank(address) as bank:
            bank.put(["a"])
            assert bank.get("a").state == "free"
    else:
        with pytest.raises(BankFileError, match=fails) as caught:
            Bank(address)
        assert ":tls@" not in str(caught.value)
