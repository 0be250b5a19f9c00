"""Figures of banks for Prometheus, beside those of the pools (`opool.metrics`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opool_bank import Bank

__all__ = ["BankCollector"]


class BankCollector:
    """A collector for `prometheus_client`: the items of each bank by state, and how many calls of this process wait.

    Args:
        banks: the banks to show. A bank that is closed shows nothing any more.

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

        labels = ["bank", "file"]
        items = GaugeMetricFamily("opool_bank_items", "Items by state.", labels=[*labels, "state"])
        waiting = GaugeMetricFamily("opool_bank_waiting", "Calls of this process that wait.", labels=labels)
        put = CounterMetricFamily("opool_bank_put", "Items that were ever put.", labels=labels)
        handed = CounterMetricFamily("opool_bank_hand_outs", "Claims and leases: the last token.", labels=labels)
        for bank in self._banks:
            if bank.closed:
                continue
            stats, of = bank.stats(), [bank.name, bank.path]
            for state in ("free", "leased", "given", "dead"):
                items.add_metric([*of, state], stats[state])
            waiting.add_metric(of, stats["waiting"])
            put.add_metric(of, stats["put"])
            handed.add_metric(of, stats["token"])
        yield from (items, waiting, put, handed)
