"""Reads the fenced blocks of a Markdown page and runs them: the README and everything in docs/.

A page is a program. Its `python` blocks run from top to bottom in one namespace, in a folder of their own. A block with
`title="app.py"` is a file that the blocks after it use. A `sh` or `console` block is commands. A `text` block is the
output of the block before it, with `...` for what differs from run to run. What cannot run says why in its fence:
`not_run="needs a GPU"`.

As a program, this module runs one page: `python pages.py docs/guide/threads.md`, in the current folder.
"""

import contextlib
import doctest
import importlib.util
import io
import os
import re
import shlex
import subprocess
import sys
import sysconfig
import textwrap
from pathlib import Path
from typing import NamedTuple, Optional

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]

LANGUAGES = {"python", "sh", "console", "text"}

# Commands of a reader's shell that change only where he is, or that need what a test must not use: the network.
NOT_RUN = {"cd", "git", "pip", "source", "."}


class Block(NamedTuple):
    """A fenced block: its language and options, the heading above it, the line of its opening fence, and its text."""

    language: str
    options: dict[str, str]
    section: str
    line: int
    text: str

    @property
    def why_not_run(self) -> Optional[str]:
        return self.options.get("not_run")


def blocks(markdown: str) -> list[Block]:
    """All fenced blocks of a page; a fence that is never closed is an error."""
    found: list[Block] = []
    section, start, info = "", 0, ""
    fence: Optional[str] = None
    body: list[str] = []
    for number, line in enumerate(markdown.splitlines(), 1):
        mark = re.match(r"(```+|~~~+)(.*)", line.strip())
        if fence is None and mark:
            (fence, info), start, body = mark.groups(), number, []
        elif fence is not None and line.strip() == fence:
            language, _, options = info.strip().partition(" ")
            pairs = dict(re.findall(r'([a-z_]+)="([^"]*)"', options))
            found.append(Block(language, pairs, section, start, textwrap.dedent("\n".join(body) + "\n")))
            fence = None
        elif fence is not None:
            body.append(line)
        elif line.startswith("#"):
            section = line.lstrip("# ")
    assert fence is None, f"the block at line {start} is never closed"
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


def run_command(words: list[str]) -> str:
    """Runs a command if that is cheap, and returns its output; otherwise looks whether it could run."""
    program, arguments = words[0], words[1:]
    if program == "make":
        named = [word for word in arguments if "=" not in word]
        assert set(named) <= make_targets(), f"no such target: {named}"
        if not named:
            subprocess.run(["make", *arguments], cwd=ROOT, check=True, stdout=subprocess.DEVNULL, timeout=60)
    elif re.fullmatch(r"(\S*/)?python3?", program):
        assert arguments, "an interactive session cannot be checked"
        if arguments[0] == "-m":
            if arguments[1] in ("pip", "venv"):
                return ""
            assert importlib.util.find_spec(arguments[1]), f"no such module: {arguments[1]}"
        done = subprocess.run(
            [sys.executable, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, f"{words} failed:\n{done.stdout}"
        return done.stdout
    else:
        assert program in NOT_RUN, f"nobody knows how to check this command: {words}"
    return ""


def libraries(page: list[Block]) -> set[str]:
    """What the blocks that run import, apart from the standard library and this project."""
    ours = {"opool", "design", "algorithms"} | {Path(block.options.get("title", "")).stem for block in page}
    names = {
        name
        for block in page
        if block.language == "python" and not block.why_not_run
        for name in re.findall(r"^\s*(?:import|from) (\w+)", block.text.replace(">>> ", ""), re.MULTILINE)
    }
    return {name for name in names - ours if not _is_standard(name)}


def _is_standard(name: str) -> bool:
    """Whether a module is the standard library's. (`sys.stdlib_module_names` came with Python 3.10.)"""
    path = Path(sysconfig.get_paths()["stdlib"], name)
    return name in sys.builtin_module_names or path.is_dir() or path.with_suffix(".py").exists()


def _run_doctest(block: Block, names: dict[str, object], path: Path) -> None:
    test = doctest.DocTestParser().get_doctest(block.text, names, block.section, str(path), block.line)
    said: list[str] = []
    result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=said.append, clear_globs=False)
    assert result.attempted > 0
    assert result.failed == 0, "".join(said)
    names.update(test.globs)


def _assert_printed(block: Block, printed: str, path: Path) -> None:
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    if not doctest.OutputChecker().check_output(block.text, printed, flags):
        raise AssertionError(f"{path}, line {block.line}: expected\n{block.text}\nbut it printed\n{printed}")


def run_page(path: Path) -> int:
    """Runs a page in the current folder; returns how many blocks were run or checked."""
    names: dict[str, object] = {"__name__": "__main__"}
    printed, count = "", 0
    for block in blocks(path.read_text(encoding="utf-8")):
        where = f"{path}, line {block.line}"
        assert block.language in LANGUAGES, f"{where}: no check for blocks of {block.language!r}"
        if block.why_not_run:
            continue
        count += 1
        if block.language == "text":
            assert printed, f"{where}: the block before it printed nothing"
            _assert_printed(block, printed, path)
            printed = ""
            continue
        printed = ""
        if block.language in ("sh", "console"):
            printed = "".join(run_command(words) for words in commands(block))
        elif "title" in block.options:
            Path(block.options["title"]).write_text(block.text, encoding="utf-8")
        elif block.text.lstrip().startswith(">>>"):
            _run_doctest(block, names, path)
        else:
            # As many empty lines as stand above it: a traceback then names the line of the page.
            code = compile("\n" * block.line + block.text, str(path), "exec", dont_inherit=True)
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(code, names)
            printed = out.getvalue()
    return count


if __name__ == "__main__":
    sys.path.insert(0, os.getcwd())  # for the files of the page
    assert run_page(Path(sys.argv[1])) > 0, "nothing was run"
