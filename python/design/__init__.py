"""The original import paths of the pools and the manager, over `opool`."""
