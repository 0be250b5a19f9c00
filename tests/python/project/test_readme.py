"""Every block of the README does what it shows: Python is executed, commands exist."""

import doctest
import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple, Optional

import pytest

ROOT = Path(__file__).resolve().parents[3]
README = ROOT / "README.md"

# Commands of a reader's shell that change only where he is, or that need what a test must not use: the network.
NOT_RUN = {"cd", "git", "pip", "source", "."}
LANGUAGES = {"python", "sh", "console"}


class Block(NamedTuple):
    """A fenced block: its language, the heading above it, the line of its opening fence, and its text."""

    language: str
    section: str
    line: int
    text: str


def blocks(markdown: str) -> list[Block]:
    """All fenced blocks of a page; a fence that is never closed is an error."""
    found: list[Block] = []
    section, start = "", 0
    language: Optional[str] = None
    body: list[str] = []
    for number, line in enumerate(markdown.splitlines(), 1):
        fence = re.match(r"(```+|~~~+)\s*(\S*)", line.strip())
        if fence and language is None:
            language, start, body = fence.group(2), number, []
        elif fence and not fence.group(2):
            assert language is not None
            found.append(Block(language, section, start, "\n".join(body) + "\n"))
            language = None
        elif language is not None:
            body.append(line)
        elif line.startswith("#"):
            section = line.lstrip("# ")
    assert language is None, f"the block at line {start} is never closed"
    return found


def commands(block: Block) -> list[list[str]]:
    """The commands of a block, without comments, prompts, and what a `console` block shows as output."""
    lines = block.text.replace("\\\n", " ").splitlines()
    if block.language == "console":
        lines = [line[2:] for line in lines if line.startswith("$ ")]
        assert lines, f"the console block at line {block.line} has no line with a prompt"
    parts = [part for line in lines for part in re.split(r"\s&&\s", line)]
    return [words for words in (shlex.split(part, comments=True) for part in parts) if words]


def make_targets() -> set[str]:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert {"dev", "test", "ci"} <= targets
    return targets


def check_command(words: list[str]) -> None:
    """Runs a command if that is cheap; otherwise looks whether it could run."""
    program, arguments = words[0], words[1:]
    if program == "make":
        named = [word for word in arguments if "=" not in word]
        assert set(named) <= make_targets(), f"no such target: {named}"
        if not named:
            subprocess.run(["make", *arguments], cwd=ROOT, check=True, stdout=subprocess.DEVNULL, timeout=200)
    elif re.fullmatch(r"(\S*/)?python3?", program):
        assert arguments, "an interactive session cannot be checked"
        if arguments[0] == "-m":
            if arguments[1] in ("pip", "venv"):
                return
            assert importlib.util.find_spec(arguments[1]), f"no such module: {arguments[1]}"
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=200,
        )
        assert done.returncode == 0, f"{words} failed:\n{done.stdout}"
    else:
        assert program in NOT_RUN, f"nobody knows how to check this command: {words}"


BLOCKS = blocks(README.read_text(encoding="utf-8"))
PYTHON = [block for block in BLOCKS if block.language == "python"]
COMMANDS = [
    pytest.param(words, id=f"line {block.line}: {' '.join(words)}")
    for block in BLOCKS
    if block.language in ("sh", "console")
    for words in commands(block)
]


def test_the_readme_has_python_to_run_and_commands_to_check() -> None:
    assert PYTHON
    assert COMMANDS


def test_every_block_is_of_a_language_that_is_checked() -> None:
    assert {f"{block.language!r} at line {block.line}" for block in BLOCKS if block.language not in LANGUAGES} == set()


def test_the_readme_fits_on_a_few_screens() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 180


def test_the_figures_are_the_published_ones() -> None:
    check = [sys.executable, "scripts/figures.py", "--check"]
    done = subprocess.run(check, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stderr


def test_the_python_of_the_page_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__main__"}
    for block in PYTHON:
        if block.text.lstrip().startswith(">>>"):
            test = doctest.DocTestParser().get_doctest(block.text, names, block.section, str(README), block.line)
            said: list[str] = []
            result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=said.append, clear_globs=False)
            assert result.attempted > 0
            assert result.failed == 0, "".join(said)
            names.update(test.globs)
        else:
            # As many empty lines as stand above it: a traceback then names the line of the page.
            exec(compile("\n" * block.line + block.text, str(README), "exec"), names)


@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_of_the_readme_can_be_run(words: list[str]) -> None:
    check_command(words)


def test_the_reader_finds_each_block_with_its_section_and_line() -> None:
    page = "# A\n```python\nx = 1\n```\n## B\ntext\n~~~sh\nmake dev && cd x # go\n~~~\n```\nplain\n```\n"
    assert blocks(page) == [
        Block("python", "A", 2, "x = 1\n"),
        Block("sh", "B", 7, "make dev && cd x # go\n"),
        Block("", "B", 10, "plain\n"),
    ]
    assert commands(blocks(page)[1]) == [["make", "dev"], ["cd", "x"]]
    assert commands(Block("console", "", 1, "$ make\nprints this\n")) == [["make"]]
    with pytest.raises(AssertionError, match="never closed"):
        blocks("```python\nx = 1\n")


@pytest.mark.parametrize("words", [["make", "no-such-target"], ["rm", "-r"], ["python", "-m", "no_such_module"]])
def test_a_command_that_cannot_be_right_is_noticed(words: list[str]) -> None:
    with pytest.raises(AssertionError):
        check_command(words)
