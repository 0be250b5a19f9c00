"""What all tests share: how hard Hypothesis tries."""

import os

from hypothesis import settings

# `ci` gives the same verdict every time; `default` looks elsewhere in each run; `thorough` is for an evening.
settings.register_profile("default", max_examples=100, deadline=None)
settings.register_profile("ci", max_examples=100, deadline=None, derandomize=True, print_blob=True)
settings.register_profile("thorough", max_examples=5_000, deadline=None)
settings.load_profile(os.environ.get("OPOOL_HYPOTHESIS") or ("ci" if os.environ.get("CI") else "default"))
