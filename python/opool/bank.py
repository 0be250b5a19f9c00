"""The bank: items handed to processes and users exactly once. The package `opool-bank`, under the name of this one."""

try:
    from opool_bank import *  # noqa: F403
    from opool_bank import __all__ as __all__
except ModuleNotFoundError as error:
    if error.name != "opool_bank":
        raise
    raise ModuleNotFoundError(
        "opool.bank is not installed; this brings it: pip install 'opool[bank]'", name="opool_bank"
    ) from None
