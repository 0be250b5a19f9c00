"""The original import paths of the two algorithms, over `opool`."""
