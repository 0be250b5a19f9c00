"""The palindrome test: whether a text reads the same backwards. Letters and digits count, case does not."""

from __future__ import annotations

from opool._opool import is_palindrome


class Solution:
    """The palindrome test under its original name.

    Example:
        >>> Solution().is_palindrom("A man, a plan, a canal: Panama")
        True
    """

    # The built-in function itself: another Python frame would take longer than the test of a short text.
    is_palindrom = staticmethod(is_palindrome)


def main() -> None:
    """Print what the original module printed."""
    no, yes = (Solution().is_palindrom(text) for text in ("Hello World", "A Toyota’s a Toyota"))  # noqa: RUF001
    print(f"""
        Should not be a palindrome: {no} Palindrome
        Should be a palindrome: {yes} Palindrome

        *more tests and edge cases in tests
        Run:
            python -m algorithms.palindrome_tests -v
        """)


if __name__ == "__main__":
    main()
