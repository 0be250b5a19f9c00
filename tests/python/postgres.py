"""A PostgreSQL server of the tests' own, and what a pool of connections to it is made of.

It listens on a socket in a folder of its own, so it meets no other server and needs no free port. As root it runs as
another user, because PostgreSQL refuses to run as root.
"""

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

# The sizes are small and nothing is forced to the disk; but what is committed outlives the server's sudden end.
SETTINGS = {
    "fsync": "off",
    "listen_addresses": "",
    "max_connections": 40,
    "max_wal_size": "64MB",
    "password_encryption": "scram-sha-256",
    "shared_buffers": "16MB",
    "unix_socket_permissions": "0777",
}
# A guard stops the server and removes its folder as soon as the tests close its input: also when they are killed.
GUARD = 'cat >/dev/null; "$1" --pgdata "$2/data" --mode immediate --silent stop; cd / && rm -rf "$2"'


def programs():
    """The folder with the server's programs, if there is one."""
    path = Path(__file__).resolve().parents[2] / "scripts" / "find_postgres.py"
    spec = importlib.util.spec_from_file_location("find_postgres", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.find_programs()


class Server:
    """A server that is started, stopped and started again at will; superusers come in without a password."""

    def __init__(self, bin_dir):
        self.bin = bin_dir
        self.folder = Path(tempfile.mkdtemp(prefix="opool-pg-", dir="/tmp"))  # a socket's path has to be short
        self._as_user = {}
        if os.geteuid() == 0:
            names = {entry.pw_name: entry for entry in pwd.getpwall()}
            user = names.get("postgres") or names["nobody"]
            shutil.chown(self.folder, user.pw_uid, user.pw_gid)
            self._as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", GUARD, "guard", str(self.bin / "pg_ctl"), str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            **self._as_user,
        )
        try:
            options = ["--username", "root", "--auth", "trust", "--encoding", "UTF8", "--no-locale", "--no-sync"]
            self._run("initdb", "--pgdata", "data", *options)
            settings = {**SETTINGS, "unix_socket_directories": str(self.folder)}
            with (self.folder / "data" / "postgresql.conf").open("a") as conf:
                conf.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
            rules = "local all secret scram-sha-256\nlocal all all trust\n"  # one user who needs a password
            (self.folder / "data" / "pg_hba.conf").write_text(rules)
            self.start()
        except BaseException:
            self.remove()
            raise

    def _run(self, program, *arguments):
        with (self.folder / "tests.log").open("ab") as log:
            done = subprocess.run(
                [str(self.bin / program), *arguments],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                timeout=120,
                env={**os.environ, "LC_ALL": "C"},
                **self._as_user,
            )
        assert done.returncode == 0, f"{program} failed:\n{self.log()[-3000:]}"

    def log(self):
        """What the server and its programs have said."""
        return "".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("*.log")))

    def start(self):
        self._run("pg_ctl", "--pgdata", "data", "--log", "server.log", "--wait", "--silent", "start")

    def stop(self, mode="fast"):
        self._run("pg_ctl", "--pgdata", "data", "--mode", mode, "--wait", "--silent", "stop")

    @property
    def runs(self):
        return (self.folder / "data" / "postmaster.pid").exists()

    def remove(self):
        """Stops the server, whatever it is doing, and removes all of it."""
        self._guard.stdin.close()
        self._guard.wait(120)

    def dsn(self, user="root", **more):
        return make_conninfo(host=str(self.folder), user=user, dbname="postgres", connect_timeout=60, **more)

    @contextmanager
    def superuser(self):
        with psycopg.connect(self.dsn(application_name="superuser"), autocommit=True) as conn:
            yield conn

    def execute(self, statement):
        with self.superuser() as conn:
            conn.execute(statement)

    def query(self, statement, parameters=None):
        with self.superuser() as conn:
            return conn.execute(statement, parameters).fetchall()

    def backends(self, user):
        """The process numbers of the server's sides of this user's connections."""
        return [pid for (pid,) in self.query("SELECT pid FROM pg_stat_activity WHERE usename = %s", [user])]


def ping(conn):
    """The check: leaves no transaction behind."""
    conn.execute("SELECT 1")
    conn.rollback()


class Connections:
    """Factory and dispose of a pool: counts what it has opened and not closed yet."""

    def __init__(self, dsn):
        self.dsn = dsn
        self._lock = threading.Lock()
        self.open = self.peak = self.opened = self.limit = 0

    def connect(self):
        with self._lock:
            self.open += 1
            self.peak = max(self.peak, self.open)
        try:
            conn = psycopg.connect(self.dsn)
        except BaseException:
            with self._lock:
                self.open -= 1
            raise
        with self._lock:
            self.opened += 1
        return conn

    def close(self, conn):
        conn.close()
        with self._lock:
            self.open -= 1

    def options(self, **more):
        """What `opool.Pool` is to be made with."""
        hooks = {"factory": self.connect, "check": ping, "reset": psycopg.Connection.rollback, "dispose": self.close}
        options = {**hooks, "max_size": 4, "name": "bank", **more}
        self.limit = max(self.limit, options["max_size"])
        return options
