"""What has to be found out before a fork, and forgotten after it in the child."""

from __future__ import annotations

import os
import sys

from opool import _opool


def _before() -> None:
    """Note which leases of this thread are those of suspended tasks: only the running task goes on in the child."""
    leases = []
    if "asyncio.tasks" in sys.modules or "trio" in sys.modules:
        leases = _opool._leases_here()
    if leases:
        from opool import _task_holders

        leases = _task_holders.held_by_suspended(leases)
    _opool._note_suspended(leases)


def _in_child() -> None:
    hook_tasks = sys.modules.get("opool._hook_tasks")
    if hook_tasks is not None:
        hook_tasks.start_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_child=_in_child)
