"""A pool on a clock whose hooks follow scripts, for tests of what happens to objects in the course of time."""

import opool
from opool.testing import Clock, Scripted, check_invariants
from support import drain


class Line:
    """Such a pool, and all that it disposed of. A hook may be a tuple: a script."""

    def __init__(self, *script, **options):
        self.clock = Clock()
        self.factory = Scripted(*script, clock=self.clock)
        self.gone = []
        for name, hook in options.items():
            options[name] = Scripted(*hook, clock=self.clock) if isinstance(hook, tuple) else hook
        options.setdefault("dispose", self.gone.append)
        self.pool = opool.Pool(factory=self.factory, clock=self.clock, **options)

    @property
    def retired(self):
        """How many went, by reason."""
        check_invariants(self.pool)
        return {reason: count for reason, count in self.pool.stats().retired.items() if count}

    def idle(self):
        """The numbers of what is idle."""
        return sorted(obj.number for obj in drain(self.pool))


def of(line, n):
    """Makes `n` objects; all are idle afterwards."""
    leases = [line.pool.lease() for _ in range(n)]
    for lease in leases:
        lease.release()
    return line
