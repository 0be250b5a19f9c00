"""Recorded answers of the original Python modules, and `replay`, which asks the same questions again."""
