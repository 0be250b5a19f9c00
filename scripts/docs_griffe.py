"""Tells the reader of docstrings about habits of ours: mkdocs.yml names this file.

The docstrings are written for `help()` first. The Google style knows "Examples:" and takes our "Example:" for an
admonition, in which `>>>` lines are no code; "Type:" repeats what the signature says; and Markdown takes the stars of
2**63 for bold print.
"""

from __future__ import annotations

import re
from typing import Any

import griffe


def for_the_site(docstring: str) -> str:
    """Returns a docstring as the site is to read it."""
    text = re.sub(r"^Example:$", "Examples:", docstring, flags=re.MULTILINE)
    text = re.sub(r"^Type:\n(?: .*\n?)+", "", text, flags=re.MULTILINE)
    lines = [line if line.lstrip().startswith((">>>", "...")) else _mark_powers(line) for line in text.splitlines()]
    return "\n".join(lines)


def _mark_powers(line: str) -> str:
    return re.sub(r"(?<![`\w(])-?\d+\*\*\d+(?![`\w)])", r"`\g<0>`", line)


class Habits(griffe.Extension):  # type: ignore[misc] # griffe is in the environment of the site only
    """Changes docstrings before they are parsed."""

    def on_object(self, *, obj: Any, **_: Any) -> None:
        """Called for every module, class, function and attribute."""
        if obj.docstring is not None:
            obj.docstring.value = for_the_site(obj.docstring.value)
