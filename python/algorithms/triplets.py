"""The triplet search: all triplets of a list that sum to zero."""

from __future__ import annotations

from typing import Any

from opool._opool import zero_triplets


class Solution:
    """The triplet search under its original name.

    Attributes:
        solution: The result of the latest search, a new list for each; there is none before the first.

    Example:
        >>> Solution().get_triplets([3, 0, -1, 1, -2])
        [[-2, -1, 3], [-1, 0, 1]]
    """

    solution: list[list[Any]]

    def get_triplets(self, s: list[Any]) -> list[list[Any]]:
        """Find the triplets of `s` that sum to zero.

        Two pointers walk inwards to the right of each value of the sorted list, so a value that occurs twice leads to
        its triplets twice.

        Args:
            s: Numbers, or anything with `+`, `==` and `<`. It is sorted in place.

        Returns:
            Lists `[a, b, c]` of the objects of `s`, by ascending `a`; the same list as `solution`.

        Raises:
            AttributeError: `s` is not a list: it has no `sort`.
            Exception: Adding or comparing the values raised. The triplets found before are in `solution`.

        Example:
            >>> Solution().get_triplets([0, 0, 0, 0])
            [[0, 0, 0], [0, 0, 0]]
        """
        s.sort()
        found: list[list[Any]] = []
        self.solution = found
        zero_triplets(s, found)
        return found

    def next_value(self, left: int, right: int, val: Any, s: list[Any]) -> tuple[int, int]:
        """Take one step of the search: record the triplet, if it is one, and move the pointers.

        Args:
            left: The index of the left pointer in `s`.
            right: The index of the right pointer.
            val: The value to the left of both.
            s: The sorted values.

        Returns:
            The new indexes (left, right): a sum below zero moves the left pointer, a sum of zero both, any other sum
            the right one.

        Raises:
            AttributeError: There is a triplet to record, but no `solution` yet.

        Example:
            >>> Solution().next_value(1, 2, -1, [-1, 0, 2])
            (1, 1)
        """
        if val + s[left] + s[right] == 0:
            self.solution.append([val, s[left], s[right]])
            return left + 1, right - 1
        below = val + s[left] + s[right] < 0
        return (left + 1, right) if below else (left, right - 1)


def main() -> None:
    """Print what the original module printed."""
    expected = [[-4, 0, 4], [-4, 1, 3], [-2, -1, 3], [-1, 0, 1]]
    output = Solution().get_triplets([-4, -2, -1, 0, 1, 3, 4])
    print(f"""
        Should be equals: {expected == output}

        Expected:
        {expected}
        Output:
        {output}

        *more tests and edge cases in tests
        Run:
            python -m algorithms.triplets_tests -v
        """)


if __name__ == "__main__":
    main()
