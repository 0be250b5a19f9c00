"""The README is short, shows the published figures, and its links work where the page is shown elsewhere.

That its blocks run is tested with those of all pages, in test_pages.py.
"""

import re
import subprocess
import sys

from pages import ROOT, blocks

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readme_has_python_to_run_and_commands_to_check() -> None:
    assert {"python", "sh"} <= {block.language for block in blocks(TEXT)}


def test_the_readme_fits_on_a_few_screens() -> None:
    assert len(TEXT.splitlines()) <= 180


def test_the_figures_are_the_published_ones() -> None:
    check = [sys.executable, "scripts/figures.py", "--check"]
    done = subprocess.run(check, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stderr


def test_the_links_of_the_readme_work_on_a_package_index_too() -> None:
    targets = re.findall(r"\]\(([^)\s]+)\)", TEXT)
    assert targets
    assert [target for target in targets if not target.startswith("https://")] == []
