"""The pages of docs/ cover what users can see, and all links to the repository lead to something there.

That their blocks run is tested in test_pages.py; that links between them lead somewhere, by `make docs`.
"""

import re

import opool
from opool import errors, testing
from pages import PAGES, ROOT, blocks

DOCS = ROOT / "docs"

LONGEST_LINE = 88
"""Of code: more does not fit beside the navigation."""


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def described(name: str) -> set[str]:
    """The objects of an API page."""
    return set(re.findall(r"^::: ([\w.]+)$", text(f"docs/api/{name}.md"), re.MULTILINE))


def repository() -> str:
    (url,) = re.findall(r'^Repository = "(.*)"$', text("pyproject.toml"), re.MULTILINE)
    return url


def test_every_error_has_a_section_that_a_message_can_link_to() -> None:
    sections = re.findall(r"^## (\w+)$", text("docs/errors.md"), re.MULTILINE)
    assert set(sections) == set(errors.__all__)
    for name in errors.__all__:
        assert f"(#{name.lower()})" in text("docs/errors.md"), f"the table does not link to {name}"


def test_the_messages_that_the_page_of_errors_explains_are_those_of_the_source() -> None:
    tables = re.findall(r"^\|[^|\n]* says \|.*\n\|---\|---\|\n((?:\|.*\n)+)", text("docs/errors.md"), re.MULTILINE)
    quoted = [
        quote for table in tables for row in table.splitlines() for quote in re.findall("`(.*?)`", row.split("|")[1])
    ]
    assert len(tables) == 3
    assert len(quoted) >= 15
    sources = [*ROOT.glob("src/bindings/**/*.rs"), *ROOT.glob("python/opool/**/*.py")]
    messages = " ".join(path.read_text(encoding="utf-8") for path in sources)
    assert [quote for quote in quoted if quote not in messages] == []


def test_the_api_pages_describe_every_public_name() -> None:
    assert described("pool") | described("ids") | described("errors") == {
        f"opool.{name}" for name in opool.__all__ if not name.startswith("__")
    }
    assert described("testing") == {f"opool.testing.{name}" for name in testing.__all__}


def test_every_page_is_in_the_navigation() -> None:
    pages = {path.relative_to(DOCS).as_posix() for path in DOCS.glob("**/*.md")}
    assert pages
    assert {page for page in pages if page not in text("mkdocs.yml")} == set()


def test_every_link_to_the_repository_leads_to_a_file_of_it() -> None:
    names = ["README.md", "mkdocs.yml", "Cargo.toml", "pyproject.toml", *(f"{p.relative_to(ROOT)}" for p in PAGES)]
    links = {(name, link) for name in names for link in re.findall(r"https://github\.com/[^\s)\"']+", text(name))}
    assert {name for name, _ in links} >= {"README.md", "mkdocs.yml", "Cargo.toml", "pyproject.toml"}
    for name, link in links:
        assert link == repository() or link.startswith((f"{repository()}/", f"{repository()}#")), f"{name}: {link}"
        path = re.sub(rf"^{re.escape(repository())}/(?:blob|tree|raw)/main/", "", link).split("#")[0]
        if path != link.split("#")[0]:
            assert (ROOT / path).exists(), f"{name}: no such file: {path}"


def test_code_fits_on_a_page() -> None:
    for path in PAGES:
        if path.parent == ROOT:
            continue
        for block in blocks(path.read_text(encoding="utf-8")):
            for number, line in enumerate(block.text.splitlines(), block.line + 1):
                assert block.language == "text" or len(line) <= LONGEST_LINE, f"{path.name}, line {number}: {line}"


def test_both_manifests_describe_the_package_in_the_same_words() -> None:
    found = [
        re.findall(r'^description = "(.*)"$', text(name), re.MULTILINE) for name in ("Cargo.toml", "pyproject.toml")
    ]
    assert len(found[0]) == 1
    assert found[0] == found[1]


def test_the_changelog_has_a_section_for_this_version() -> None:
    sections = re.findall(r"^## ([^ \n]+)", text("CHANGELOG.md"), re.MULTILINE)
    assert sections[:2] == ["Unreleased", opool.__version__]
