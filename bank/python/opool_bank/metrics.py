"""Figures of banks for Prometheus and OpenTelemetry, beside those of the pools (`opool.metrics`).

A bank counts in any case, so metrics cost something only when they are read: one read of each bank's file.

=======================  =====================================================================================
`opool.bank.items`       items, by `opool.bank.state`: free, leased, given, dead
`opool.bank.waiting`     calls of this process that wait for an item of the bank's file
`opool.bank.put`         items that were ever put (a counter)
`opool.bank.hand_outs`   claims and leases so far: the last token (a counter)
=======================  =====================================================================================

Each has the attributes `opool.bank.name` and `opool.bank.file`. For Prometheus the names are the same with ``_`` for
the dots, and the labels are `bank`, `file` and `state`. A bank that is closed shows nothing any more, nor does one
whose file cannot be read at that moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from opool_bank._bank import __version__
from opool_bank.errors import BankError

if TYPE_CHECKING:
    from opool_bank import Bank

__all__ = ["BankCollector", "instrument"]

_STATES = ("free", "leased", "given", "dead")


class _Metric(NamedTuple):
    name: str
    unit: str
    description: str
    up_down: bool
    """Whether it can decrease. Otherwise it is a counter."""
    fields: tuple[str, ...]
    """What it reads of the statistics; several are shown by state."""


_METRICS = (
    _Metric("opool.bank.items", "{item}", "Items by state.", True, _STATES),
    _Metric("opool.bank.waiting", "{call}", "Calls of this process that wait.", True, ("waiting",)),
    _Metric("opool.bank.put", "{item}", "Items that were ever put.", False, ("put",)),
    _Metric("opool.bank.hand_outs", "{claim}", "Claims and leases: the last token.", False, ("token",)),
)


def _read(banks: Iterable[Bank]) -> Iterator[tuple[Bank, dict[str, int]]]:
    """Yield the statistics of the banks that can be read."""
    for bank in banks:
        if bank.closed:
            continue
        try:
            yield bank, bank.stats()
        except BankError:
            # One file that is gone must not hide the others.
            continue


class BankCollector:
    """A collector for `prometheus_client`: the items of each bank by state, and how many calls of this process wait.

    Args:
        banks: the banks to show.

    Example:
        >>> from prometheus_client import CollectorRegistry, generate_latest  # doctest: +SKIP
        >>> registry = CollectorRegistry()  # doctest: +SKIP
        >>> registry.register(BankCollector(bank))  # doctest: +SKIP
    """

    def __init__(self, *banks: Bank) -> None:
        self._banks = banks

    def describe(self) -> list[Any]:
        """Return nothing: a registry must not read the files when a collector is registered."""
        return []

    def collect(self) -> Iterator[Any]:
        """Yield the metrics."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        read = list(_read(self._banks))
        for metric in _METRICS:
            make = GaugeMetricFamily if metric.up_down else CounterMetricFamily
            by_state = len(metric.fields) > 1
            labels = ["bank", "file", "state"] if by_state else ["bank", "file"]
            family = make(metric.name.replace(".", "_"), metric.description, labels=labels)
            for bank, stats in read:
                for field in metric.fields:
                    family.add_metric([bank.name, bank.path, *([field] if by_state else [])], stats[field])
            yield family


def instrument(*banks: Bank, meter_provider: Any = None) -> None:
    """Create the OpenTelemetry instruments by which a meter provider observes banks. Call it once for each provider.

    Needs `opentelemetry-api`, which comes with ``pip install 'opool[otel]'``.

    Args:
        banks: the banks to show.
        meter_provider: the provider; by default the global one.

    Example:
        >>> from opentelemetry.sdk.metrics import MeterProvider  # doctest: +SKIP
        >>> instrument(bank, meter_provider=MeterProvider())  # doctest: +SKIP
    """
    from opentelemetry.metrics import get_meter

    meter = get_meter("opool_bank", __version__, meter_provider)
    for metric in _METRICS:
        create = meter.create_observable_up_down_counter if metric.up_down else meter.create_observable_counter
        create(metric.name, [_callback(metric, banks)], metric.unit, metric.description)


def _callback(metric: _Metric, banks: tuple[Bank, ...]) -> Callable[[Any], Iterable[Any]]:
    from opentelemetry.metrics import Observation

    def observe(_: Any) -> Iterable[Any]:
        for bank, stats in _read(banks):
            for field in metric.fields:
                of = {"opool.bank.name": bank.name, "opool.bank.file": bank.path}
                yield Observation(stats[field], {**of, "opool.bank.state": field} if len(metric.fields) > 1 else of)

    return observe
