"""The original import path of the integer manager.

Example:
    >>> from design.objectmgr import ObjectMgr
    >>> mgr = ObjectMgr(3)
    >>> mgr.get_object(), mgr.get_object(), mgr.get_object()
    (1, 2, None)
    >>> mgr.free_object(2)
    2
    >>> mgr.get_object()
    2
"""

from opool._opool import ObjectMgr

__all__ = ["ObjectMgr"]
