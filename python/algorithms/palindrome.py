"""Does a text read the same backwards? Letters and digits count, case does not."""

from __future__ import annotations

from opool._opool import is_palindrome


class Solution:
    """The palindrome test under its original name.

    Example:
        >>> Solution().is_palindrom("A man, a plan, a canal: Panama")
        True
    """

    # The built-in function itself: one Python frame more would take longer than the test of a short text.
    is_palindrom = staticmethod(is_palindrome)


if __name__ == "__main__":
    for text in ("Hello World", "A Toyota's a Toyota", "Ein Esel lese nie", "1 2_3|2,1"):
        verdict = "a palindrome" if Solution().is_palindrom(text) else "not a palindrome"
        print(f"{text!r} is {verdict}")
    print("\nMore checks: python -m algorithms.palindrome_tests -v")
