"""The command line."""

import json
import subprocess
import sys

import pytest

from opool_bank import Bank
from opool_bank._progress import progress
from opool_bank.cli import main


@pytest.fixture
def run(capsys):
    def run(*arguments):
        code = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.mark.stores("file", "postgres")
def test_put_claim_counts_items_verify(path, run):
    assert run("put", path, "a", "b", "a") == (0, "2 new, 1 were there\n", "")
    assert run("claim", path, "alice") == (0, "a\n", "")
    assert run("claim", path, "alice") == (0, "a\n", "")
    assert run("claim", path, "--key", "b") == (0, "b\n", "")
    assert run("claim", path, "carol") == (1, "nothing is free\n", "")
    code, out, _ = run("counts", path)
    assert (code, out.split()) == (0, ["free", "0", "leased", "0", "given", "2", "dead", "0", "put", "2"])
    code, out, _ = run("items", path, "--state", "given", "--limit", 1)
    assert out.split() == ["a", "given", "token", "1", "'alice'"]
    code, out, _ = run("verify", path)
    assert (code, "all is well" in out) == (0, True)
    address = path if "://" in path else f"sqlite:///{path}"
    assert run("claim", address, "alice") == (0, "a\n", "")


@pytest.mark.stores("file", "postgres")
def test_json_everywhere(path, run):
    assert json.loads(run("put", path, "a", "--json")[1]) == {"new": 1, "there": 0}
    assert json.loads(run("claim", path, "alice", "--json")[1])["key"] == "a"
    assert json.loads(run("claim", path, "bob", "--json")[1]) == {"key": None}
    assert json.loads(run("counts", path, "--json")[1])["given"] == 1
    assert json.loads(run("items", path, "--json")[1])["claim_id"] == "alice"
    assert json.loads(run("verify", path, "--json")[1]) == {"ok": True, "faults": []}


@pytest.mark.stores("file", "postgres")
def test_codes_from_standard_input(path):
    command = [sys.executable, "-m", "opool_bank", "put", path, "-"]
    done = subprocess.run(command, input="a\nb\n\nc\n", capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "3 new, 0 were there\n", "")


@pytest.mark.stores("file", "postgres")
def test_export_and_import_keep_who_was_given_what(path, run, tmp_path):
    with Bank(path) as bank:
        bank.put([("a", {"n": 1}), (b"\xff", b"\0"), 3, "free", "dead"], max_attempts=1)
        bank.claim("alice")
        bank.claim(17)
        bank.lease(id="done").done({"answer": 42})
        bank.lease(key="dead").reject("broken")
    lines = tmp_path / "lines"
    assert run("export", path, "-o", lines) == (0, "5 items\n", "")
    copy = str(tmp_path / "copy.opool")
    assert run("import", copy, lines)[:2] == (0, "5 new, 3 given as before, 1 dead\n")
    assert run("import", copy, lines)[:2] == (0, "0 new, 3 given as before, 1 dead\n")
    with Bank(copy) as bank:
        assert bank.claim("alice").payload == {"n": 1}
        assert bank.claim(17).key == b"\xff"
        assert bank.get(3).result == {"answer": 42}
        assert bank.get("dead").state == "dead"
        assert bank.claim("new").key == "free"
        assert bank.verify() == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["counts", "nothing.opool"], "there is no such file"),
        (["claim", "PATH", "x", "--key", "nothing"], "no item has the key"),
        (["put", "PATH", "a", "--priority", "12"], "priority must be"),
        (["put", "redis://x", "a"], "not supported by this version"),
        (["import", "PATH", "/nothing"], "No such file"),
        (["counts", sys.executable], "is not a bank"),
        (["claim", "nothing.opool", "alice"], "there is no such file"),
        (["put", "/nothing/x.opool", "a"], 'bank "default": /nothing/x.opool: its folder cannot be found'),
        (["put", "PATH", "\udcff"], "expected UTF-8, not '\\udcff'"),
    ],
)
def test_errors_are_one_line_and_an_exit_code(path, run, arguments, message):
    Bank(path).close()
    code, out, err = run(*[path if argument == "PATH" else argument for argument in arguments])
    assert (code, out) == (2, "")
    assert err.startswith("opool bank: ")
    assert message in err
    assert len(err.strip().split("\n")) == 1


def test_a_line_that_is_not_ours_is_named(path, run, tmp_path):
    lines = tmp_path / "lines"
    lines.write_text('{"key": "a", "state": "free"}\nnonsense\n')
    code, _, err = run("import", path, lines)
    assert (code, "line 2 is not what export writes" in err) == (2, True)
    lines.write_text('{"key": "a"}\n')
    code, _, err = run("import", path, lines)
    assert (code, "it has no 'state'" in err) == (2, True)


def test_a_terminal_is_not_waited_for(path, run, monkeypatch):
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    code, _, err = run("put", path)
    assert (code, "no CODE was given" in err) == (2, True)


def test_unknown_commands_end_with_the_usage(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["frobnicate"])
    assert caught.value.code == 2
    assert "usage: opool bank" in capsys.readouterr().err


def test_a_file_with_faults_ends_with_one(path, run):
    import sqlite3

    with Bank(path) as bank:
        bank.put(["a"])
    del bank
    with sqlite3.connect(path) as db:
        db.execute("UPDATE bank SET free = 7")
    db.close()
    code, out, _ = run("verify", path)
    assert (code, out) == (1, "the counter of free items says 7, and there are 1\n")


def test_a_reader_that_goes_away_is_no_error(path):
    with Bank(path) as bank:
        bank.put(range(50_000))
    command = f"{sys.executable} -m opool_bank items {path} | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
    assert (done.stdout.split()[0], done.stderr) == ("0", "")


def test_progress_shows_only_what_takes_longer_than_a_second(capsys, monkeypatch):
    import opool_bank._progress as module

    now = iter(range(1000))
    monkeypatch.setattr(module.time, "monotonic", lambda: next(now))
    monkeypatch.setattr(module, "_Rich", lambda what, total: module._Plain(what, total))
    assert list(progress(range(5), "put", 5, show=True)) == [0, 1, 2, 3, 4]
    assert "put [" in capsys.readouterr().err
    monkeypatch.setattr(module.time, "monotonic", lambda: 0.5)
    assert list(progress(range(5), "put", 5, show=True)) == [0, 1, 2, 3, 4]
    assert list(progress(range(5), "put", 5)) == [0, 1, 2, 3, 4]
    assert capsys.readouterr().err == ""
