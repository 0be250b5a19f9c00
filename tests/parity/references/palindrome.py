"""The palindrome test in plain Python."""

from __future__ import annotations


def is_palindrome(text: str) -> bool:
    """Keep letters and digits, lower them, compare. (The bar goes last: while it is there, it can end a word.)"""
    counted = "".join([c for c in text if c.isalnum() or c == "|"]).lower().replace("|", "")
    return counted == counted[::-1]
