"""`python -m opool_bank`: the same as `opool bank`."""

import sys

from opool_bank.cli import main

if __name__ == "__main__":
    sys.exit(main())
