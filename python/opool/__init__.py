"""Hands out anything scarce exactly once."""
