"""The original Python modules: their recorded answers, `replay`, which asks again, and the same in plain Python."""
