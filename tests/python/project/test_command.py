"""The command `opool`, and the bank under the name of this package."""

import subprocess
import sys

import pytest

from opool.__main__ import commands, main


def opool(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "opool", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_help_says_which_commands_are_installed_and_what_brings_the_others(capsys):
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    for name in commands():
        assert f"  {name} " in out
    assert ("pip install 'opool[bank]'" in out) == ("bank" not in commands())
    assert main([]) == 2


def test_the_version_is_the_packages(capsys):
    import opool as package

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"opool {package.__version__}\n"


def test_an_unknown_command_is_named(capsys):
    assert main(["frobnicate"]) == 2
    assert "there is no command 'frobnicate'" in capsys.readouterr().err


def test_a_command_that_is_not_installed_says_what_brings_it(capsys, monkeypatch):
    monkeypatch.setattr("opool.__main__.commands", dict)
    assert main(["bank", "counts"]) == 2
    assert "this brings it: pip install 'opool[bank]'" in capsys.readouterr().err


def test_a_command_gets_its_arguments_and_its_name(tmp_path):
    pytest.importorskip("opool_bank")
    path = str(tmp_path / "x.opool")
    assert opool("bank", "put", path, "a", "b").stdout == "2 new, 0 were there\n"
    assert opool("bank", "claim", path, "alice").stdout == "a\n"
    failed = opool("bank", "counts", str(tmp_path / "nothing"))
    assert (failed.returncode, failed.stderr.startswith("opool bank: ")) == (2, True)


def test_opool_bank_is_the_bank(tmp_path):
    bank = pytest.importorskip("opool_bank")
    import opool.bank

    assert opool.bank.Bank is bank.Bank
    assert set(bank.__all__) <= set(dir(opool.bank))


def test_without_the_bank_the_message_says_what_brings_it():
    code = "import sys; sys.modules['opool_bank'] = None; import opool.bank"
    done = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, timeout=60)
    assert "opool.bank is not installed; this brings it: pip install 'opool[bank]'" in done.stderr
