"""Self-checks of the triplet search: `python -m algorithms.triplets_tests -v`."""

from __future__ import annotations

import unittest
from fractions import Fraction
from typing import Any

from algorithms.triplets import Solution


class TripletsTests(unittest.TestCase):
    """`Solution.get_triplets`."""

    def assert_triplets(self, values: list[Any], expected: list[list[Any]]) -> None:
        self.assertEqual(Solution().get_triplets(values), expected)

    def test_triplets_come_in_ascending_order(self) -> None:
        self.assert_triplets([4, -4, -2, -1, 0, 1, 3], [[-4, 0, 4], [-4, 1, 3], [-2, -1, 3], [-1, 0, 1]])

    def test_there_may_be_none(self) -> None:
        for values in ([], [0], [0, 0], [1, 2, 3], [-1, -2, -6]):
            with self.subTest(values=values):
                self.assert_triplets(values, [])

    def test_a_value_that_occurs_twice_leads_to_its_triplets_twice(self) -> None:
        self.assert_triplets([-1, -1, 0, 1], [[-1, 0, 1], [-1, 0, 1]])

    def test_numbers_of_all_kinds_take_part(self) -> None:
        self.assert_triplets([1.5, -0.5, -1], [[-1, -0.5, 1.5]])
        self.assert_triplets([10**30, -(10**30), 0], [[-(10**30), 0, 10**30]])
        self.assert_triplets(
            [Fraction(1, 3), Fraction(1, 3), Fraction(-2, 3)], [[Fraction(-2, 3)] + [Fraction(1, 3)] * 2]
        )

    def test_the_list_is_sorted_in_place_and_the_triplets_are_its_objects(self) -> None:
        values = [0.5, 0.25, -0.75]
        triplet = Solution().get_triplets(values)[0]
        self.assertEqual(values, [-0.75, 0.25, 0.5])
        self.assertTrue(all(one is other for one, other in zip(triplet, values)))

    def test_each_search_begins_a_new_solution(self) -> None:
        search = Solution()
        first = search.get_triplets([-1, 0, 1])
        self.assertIs(first, search.solution)
        search.get_triplets([])
        self.assertEqual((first, search.solution), ([[-1, 0, 1]], []))

    def test_one_step_moves_the_pointers(self) -> None:
        search = Solution()
        search.solution = []
        self.assertEqual(search.next_value(1, 3, -2, [-2, 0, 1, 2]), (2, 2))
        self.assertEqual(search.next_value(1, 3, -3, [-3, 0, 1, 2]), (2, 3))
        self.assertEqual(search.next_value(1, 3, 0, [0, 0, 1, 2]), (1, 2))
        self.assertEqual(search.solution, [[-2, 0, 2]])

    def test_only_lists_are_searched(self) -> None:
        wrong: Any
        for wrong in (None, (1, -1, 0), {1, 2, 3}):
            with self.subTest(wrong=wrong), self.assertRaises(AttributeError):
                Solution().get_triplets(wrong)


if __name__ == "__main__":
    unittest.main()
