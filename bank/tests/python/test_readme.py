"""Every block of the README runs, and so do the examples of the docstrings."""

import doctest
import re
from pathlib import Path

import pytest

import opool_bank

README = Path(__file__).resolve().parents[2] / "README.md"


def test_every_block_of_the_readme_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= 5
    names = {}
    for block in blocks:
        exec(compile(block, str(README), "exec"), names)
    out = capsys.readouterr().out
    assert "SAVE-2" in out
    assert "seat 1" in out
    assert "receipt 1" in out
    assert "cuda:0" in out


@pytest.mark.parametrize("name", ["Bank", "SharedObjectMgr", "Semaphore", "Lock", "once"])
def test_the_examples_of_the_docstrings_run(name):
    found = doctest.DocTestFinder(recurse=False).find(getattr(opool_bank, name), name, False, vars(opool_bank).copy())
    assert len(found) == 1
    ran = doctest.DocTestRunner().run(found[0])
    assert (ran.failed, ran.attempted > 1) == (0, True)


def test_the_commands_of_the_readme_are_there():
    from opool_bank.cli import _COMMANDS

    named = re.findall(r"^opool bank (\w+)", README.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(named) <= set(_COMMANDS)
    assert len(named) == 5
