"""Self-checks of the palindrome test: `python -m algorithms.palindrome_tests -v`."""

from __future__ import annotations

import unittest
from typing import Any

from algorithms.palindrome import Solution


class PalindromeTests(unittest.TestCase):
    """`Solution.is_palindrom`."""

    def assert_verdicts(self, expected: bool, *texts: str) -> None:
        for text in texts:
            with self.subTest(text=text):
                self.assertIs(Solution().is_palindrom(text), expected)

    def test_text_that_reads_the_same_backwards_is_a_palindrome(self) -> None:
        self.assert_verdicts(True, "aba", "abba", "12321", "Was it a car or a cat I saw?", "ab" * 5000 + "a")

    def test_other_text_is_not(self) -> None:
        self.assert_verdicts(False, "ab", "Hello World", "1231", "ab" * 5000)

    def test_text_without_letters_and_digits_is(self) -> None:
        self.assert_verdicts(True, "", " ", "_|_", "?!", "\ud800")

    def test_case_and_what_is_between_do_not_count(self) -> None:
        self.assert_verdicts(True, "Aa", "a_b|a", "1 2_3|2,1", "ÜNü", "日本日")

    def test_lower_case_depends_on_context_where_str_lower_does(self) -> None:
        self.assert_verdicts(True, "ΑΣΑ", "ςΑΣ", "İi")
        self.assert_verdicts(False, "ΣΑΣ", "İ")

    def test_only_text_is_tested(self) -> None:
        wrong: Any
        for wrong in (None, 1, b"aba", ["a"]):
            with self.subTest(wrong=wrong), self.assertRaises(TypeError):
                Solution().is_palindrom(wrong)


if __name__ == "__main__":
    unittest.main()
