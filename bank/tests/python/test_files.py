"""Files that are not what they should be, and places that cannot be written."""

import os
import resource
import shutil
import sqlite3

import pytest

from conftest import finish
from opool_bank import Bank, BankError, BankFileError, BankMoved, BankReadOnly, BankUsageError, NotABank, SchemaTooNew


@pytest.mark.parametrize("content", [b"hello", b"SQLite format 2\0" + b"x" * 100, b"\0" * 4_096, b"x" * 100_000])
def test_a_file_that_is_something_else_is_refused_and_unchanged(path, content):
    with open(path, "wb") as file:
        file.write(content)
    with pytest.raises(NotABank, match="is not a bank"):
        Bank(path)
    with open(path, "rb") as file:
        assert file.read() == content
    assert os.listdir(os.path.dirname(path)) == ["test.opool"]


def test_the_database_of_another_program_is_refused_and_unchanged(path):
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE theirs(x)")
    db.close()
    with open(path, "rb") as file:
        before = file.read()
    with pytest.raises(NotABank, match="another program"):
        Bank(path)
    with open(path, "rb") as file:
        assert file.read() == before


def test_a_file_of_a_later_version_is_refused(path):
    Bank(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(SchemaTooNew, match=r"schema 99; this one knows up to 1"):
        Bank(path, name="x")


def test_a_folder_and_a_missing_folder_and_a_pipe_are_refused(tmp_path):
    with pytest.raises(NotABank, match="it is a folder"):
        Bank(tmp_path)
    with pytest.raises(BankFileError, match="folder cannot be found"):
        Bank(tmp_path / "no" / "x.opool")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NotABank, match="no ordinary file"):
        Bank(tmp_path / "pipe")


@pytest.mark.parametrize("size", [50, 512, 4_096, 10_000])
def test_a_truncated_file_is_an_error_and_no_crash(path, size):
    with Bank(path) as bank:
        bank.put(range(2_000))
    del bank
    os.truncate(path, size)
    with pytest.raises(BankError), Bank(path) as bank:
        assert bank.verify() != []
        raise BankError("said so")


def test_a_forged_file_is_an_error_and_no_crash(path, child):
    with Bank(path) as bank:
        bank.put(range(2_000))
    del bank
    with open(path, "r+b") as file:
        for place in range(8_192, os.path.getsize(path), 4_096):
            file.seek(place)
            file.write(os.urandom(64))
    code = """
        import sys
        from opool_bank import Bank, BankError
        try:
            with Bank(sys.argv[1]) as bank:
                print(bool(bank.verify()))
        except BankError as error:
            print(True)
    """
    assert finish(child(code, path)) == "True\n"


def test_something_else_in_the_place_of_the_side_file_is_refused(path):
    with open(path + "-side", "w") as file:
        file.write("x" * 5_000)
    with pytest.raises(NotABank, match="side file"):
        Bank(path)


def test_a_side_file_that_is_too_short_is_made_whole(path):
    with open(path + "-side", "w"):
        pass
    with Bank(path) as bank:
        assert bank.put(["a"]) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    os.chmod(tmp_path, 0o500)
    with pytest.raises(BankReadOnly):
        Bank(tmp_path / "x.opool")


def test_a_file_that_is_moved_or_deleted_while_it_is_open_is_noticed(path):
    bank = Bank(path)
    bank.put(["a", "b"])
    os.rename(path, path + ".moved")
    with pytest.raises(BankMoved, match="moved, deleted or replaced"):
        bank.claim("x")
    with Bank(path) as other:
        assert other.counts().put == 0
    with pytest.raises(BankMoved):
        bank.claim("x")


def test_a_full_disk_is_an_error_at_once_and_nothing_is_lost(path, child):
    """A limit on the size of files stands for a disk without space."""
    code = """
        import resource, signal, sys
        from opool_bank import Bank, BankError
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        bank = Bank(sys.argv[1])
        bank.put(range(100))
        given = [bank.claim(n).key for n in range(50)]
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))
        try:
            bank.put((f"{n:0200}" for n in range(100_000)))
        except BankError as error:
            print(type(error).__name__)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert [bank.claim(n).key for n in range(50)] == given
        assert bank.claim("more") is not None
        assert bank.verify() == [], bank.verify()
    """
    assert finish(child(code, path)).strip() in ("BankFull", "BankFileError")
    with Bank(path) as bank:
        assert bank.verify() == []
        assert bank.counts().given == 51


def test_a_copy_of_the_file_and_its_log_is_a_bank(path, tmp_path):
    bank = Bank(path)
    bank.put(range(10))
    bank.claim("x")
    for suffix in ("", "-wal"):
        shutil.copy(path + suffix, str(tmp_path / "copy.opool") + suffix)
    with Bank(tmp_path / "copy.opool") as copy:
        assert copy.of("x")[0].key == 0
        assert copy.verify() == []


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("valkey://host/0", "not supported by this version"),
        ("redis://host", "not supported by this version"),
        ("dynamodb://table", "not supported by this version"),
        ("http://x", "neither a path nor"),
        ("", "needs the path"),
        ("a\0b", "needs the path"),
    ],
)
def test_addresses_that_cannot_be_are_refused(address, message):
    with pytest.raises(BankUsageError, match=message):
        Bank(address)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda bank: bank.put("abc"), TypeError, "iterable of keys, not str"),
        (lambda bank: bank.put([1.5]), TypeError, "a key must be a str, bytes or int, not float 1.5"),
        (lambda bank: bank.put([True]), TypeError, "not bool True"),
        (lambda bank: bank.put([None]), TypeError, "not NoneType"),
        (lambda bank: bank.put([2**63]), ValueError, "64 bits"),
        (lambda bank: bank.put(["x" * 5_000]), ValueError, "at most 4096"),
        (lambda bank: bank.put(["\ud800"]), UnicodeEncodeError, "surrogates"),
        (lambda bank: bank.put([("a", object())]), TypeError, "a payload must be None, int, str, bytes or JSON"),
        (lambda bank: bank.put([("a", b"x" * (17 << 20))]), ValueError, "at most 16777216"),
        (lambda bank: bank.put([()]), ValueError, "not a tuple of 0"),
        (lambda bank: bank.put(["a"], priority=10), ValueError, "from 0 .first. to 9, not 10"),
        (lambda bank: bank.put(["a"], delay=-1), ValueError, "not -1"),
        (lambda bank: bank.put(["a"], delay=float("nan")), ValueError, "NaN"),
        (lambda bank: bank.put(["a"], max_attempts=0), ValueError, "1 or more"),
        (lambda bank: bank.put(["a"], on_conflict="replace"), BankUsageError, "not 'replace'"),
        (lambda bank: bank.claim(1.5), TypeError, "a claim id must be"),
        (lambda bank: bank.claim("x", create=True), BankUsageError, "needs a key"),
        (lambda bank: bank.claim("x", payload=1), BankUsageError, "is for create"),
        (lambda bank: bank.lease(0), ValueError, "at least 0.01"),
        (lambda bank: bank.lease(-5), ValueError, "at least 0.01"),
        (lambda bank: bank.lease(timeout=-1), ValueError, "timeout must be a number of seconds"),
        (lambda bank: bank.lease_many(0), BankUsageError, "from 1 to 1000, not 0"),
        (lambda bank: bank.done("abc"), TypeError, "expected an item"),
        (lambda bank: bank.release([[("a", 1)]]), TypeError, "expected items"),
        (lambda bank: Bank(bank.path, name=""), BankUsageError, "name must be"),
        (lambda bank: Bank(bank.path, durability="none"), BankUsageError, "durability must be"),
        (lambda bank: Bank(bank.path, timeout=-1), BankUsageError, "timeout must be"),
        (lambda bank: Bank(bank.path, durability="fast"), BankUsageError, "another durability"),
        (lambda bank: Bank(17), TypeError, "PathLike"),
    ],
)
def test_bad_arguments_are_refused_and_change_nothing(bank, call, error, message):
    bank.put(["there"], delay=1000)
    with pytest.raises(error, match=message):
        call(bank)
    assert bank.counts() == (1, 0, 0, 0, 1)


def test_sqlite_is_compiled_to_sync_the_data_and_not_the_times():
    from opool_bank import _bank

    # A build that did not see the flags of .cargo/config.toml calls `fsync`: twice the writes for each commit.
    with open(_bank.__file__, "rb") as file:
        assert b"\0fdatasync\0" in file.read()


def test_errors_are_what_somebody_expects_who_never_heard_of_them():
    assert issubclass(BankUsageError, ValueError)
    assert issubclass(BankFileError, OSError)


def test_the_address_may_be_a_path_or_an_sqlite_url(tmp_path):
    with Bank(tmp_path / "a.opool") as first, Bank(f"sqlite:///{tmp_path}/a.opool") as second:
        first.put(["a"])
        assert second.claim("x").key == "a"


def test_the_limits_of_this_process_are_as_before():
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
