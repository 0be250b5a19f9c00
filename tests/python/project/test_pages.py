"""Every block of the README and of docs/ does what it shows: Python is executed, commands exist, output is compared."""

import re
from pathlib import Path

import pytest

from pages import LANGUAGES, PAGES, ROOT, Block, blocks, commands, libraries, run_command, run_page
from redis_stand_in import redis_server
from support import run_child

# The few blocks that cannot run here, by page and heading. Their fences say why.
NOT_RUN = {
    ("docs/recipes/databases.md", "Django"),
}

# Packages whose import name is not the name under which they are installed.
DISTRIBUTIONS = {"opentelemetry": "opentelemetry-sdk", "prometheus_client": "prometheus-client"}


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def page(path: Path) -> list[Block]:
    return blocks(path.read_text(encoding="utf-8"))


def run_in_child(path: Path, folder: Path, **options):
    """Runs a page in `folder`, in an interpreter of its own: a page may start threads and event loops, and freeze."""
    code = f"""
        import os, runpy, sys, pages
        os.chdir({str(folder)!r})
        sys.argv = ["pages.py", {str(path)!r}]
        runpy.run_path(pages.__file__, run_name="__main__")
    """
    return run_child(code, **options)


@pytest.fixture
def database(server):
    """A database called "app", where clients look for it by themselves."""
    server.execute("DROP DATABASE IF EXISTS app WITH (FORCE)")
    server.execute("CREATE DATABASE app")
    yield {"PGHOST": str(server.folder), "PGUSER": "root"}
    server.execute("DROP DATABASE app WITH (FORCE)")


@pytest.fixture
def redis_url(tmp_path_factory):
    with redis_server(tmp_path_factory.mktemp("redis") / "socket") as url:
        yield {"REDIS_URL": url}


@pytest.mark.parametrize("path", [path for path in PAGES if page(path)], ids=name)
def test_the_blocks_of_a_page_do_what_they_show(path: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    imported = libraries(page(path))
    for library in sorted(imported):
        pytest.importorskip(library, reason=f"{library} is not installed here", exc_type=ImportError)
    env = {}
    if imported & {"psycopg", "asyncpg"}:
        env.update(request.getfixturevalue("database"))
    if "redis" in imported:
        env.update(request.getfixturevalue("redis_url"))
    run_in_child(path, tmp_path, env=env)


def test_only_the_pages_of_the_api_have_no_blocks() -> None:
    without = {name(path) for path in PAGES if not page(path)}
    assert {path for path in without if not path.startswith("docs/api/")} == {"docs/comparison.md"}


def test_the_blocks_that_cannot_run_are_the_known_few_and_say_why() -> None:
    marked = [(name(path), block) for path in PAGES for block in page(path) if "not_run" in block.options]
    assert all(block.why_not_run for _, block in marked)
    assert {(where, block.section) for where, block in marked} == NOT_RUN
    assert len(marked) == len(NOT_RUN)


def test_every_block_is_of_a_language_that_is_checked() -> None:
    for path in PAGES:
        for block in page(path):
            assert block.language in LANGUAGES, f"{name(path)}, line {block.line}: {block.language!r}"


def test_what_the_pages_import_is_among_the_tools() -> None:
    lock = (ROOT / "requirements" / "tools.lock").read_text(encoding="utf-8")
    locked = set(re.findall(r"^([a-z0-9.-]+)==", lock, re.MULTILINE))
    imported = set().union(*(libraries(page(path)) for path in PAGES))
    assert {"psycopg", "httpx"} <= imported
    assert {DISTRIBUTIONS.get(library, library) for library in imported} - {"pytest", "opool_bank"} <= locked


def test_the_reader_finds_each_block_with_its_section_and_line() -> None:
    text = (
        "# A\n```python\nx = 1\n```\n## B\ntext\n~~~sh\nmake dev && cd x # go\n~~~\n```\nplain\n```\n"
        '- item\n\n    ```python title="a.py" not_run="no a"\n    if x:\n        y\n    ```\n'
    )
    found = blocks(text)
    assert found == [
        Block("python", {}, "A", 2, "x = 1\n"),
        Block("sh", {}, "B", 7, "make dev && cd x # go\n"),
        Block("", {}, "B", 10, "plain\n"),
        Block("python", {"title": "a.py", "not_run": "no a"}, "B", 15, "if x:\n    y\n"),
    ]
    assert [block.why_not_run for block in found] == [None, None, None, "no a"]
    assert commands(found[1]) == [["make", "dev"], ["cd", "x"]]
    assert commands(Block("console", {}, "", 1, "$ make\nprints this\n")) == [["make"]]
    with pytest.raises(AssertionError, match="never closed"):
        blocks("```python\nx = 1\n")


@pytest.mark.parametrize("words", [["make", "no-such-target"], ["rm", "-r"], ["python", "-m", "no_such_module"]])
def test_a_command_that_cannot_be_right_is_noticed(words: list[str]) -> None:
    with pytest.raises(AssertionError):
        run_command(words)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("```python\nassert 1 == 2\n```\n", "line 2"),
        ("```python\n>>> 1 + 1\n3\n```\n", "Expected"),
        ("```python\nprint('one')\n```\n```text\ntwo\n```\n", "line 4: expected\ntwo"),
        ("```python\nx = 1\n```\n```text\ntwo\n```\n", "printed nothing"),
        ("```ruby\nputs 1\n```\n", "no check"),
        ("```sh\npython -c 'raise SystemExit(3)'\n```\n", "failed"),
        ('```python title="a.py"\nx = 1\n```\n```python\nimport a\nassert a.x == 2\n```\n', "line 6"),
    ],
)
def test_a_page_that_shows_what_is_not_so_is_noticed(text: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text(text, encoding="utf-8")
    done = run_in_child(path, tmp_path, check=False)
    assert done.returncode == 1
    assert problem in done.stderr


def test_a_page_runs_from_top_to_bottom_and_tells_how_much_it_ran(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "page.md"
    path.write_text(
        "```python\nx = 1\nprint('one', id(x))\n```\n```text\none ...\n```\n"
        '```python title="a.py"\nprint(2)\n```\n```console\n$ python a.py\n2\n```\n```text\n2\n```\n'
        '```python not_run="no such module"\nimport no_such_module\n```\n',
        encoding="utf-8",
    )
    assert run_page(path) == 5
    assert libraries(page(path)) == set()
