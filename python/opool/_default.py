"""What signatures show for an argument whose default is a setting of the pool."""

from __future__ import annotations

__all__ = ["DEFAULT"]


class _Default(str):
    """Shown as `<default>`. A str only because `inspect` shows no other objects in signatures of the extension."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<default>"

    def __reduce__(self) -> str:
        """There is one."""
        return "DEFAULT"


DEFAULT = _Default("<default>")
"""The pool's own `timeout`."""
