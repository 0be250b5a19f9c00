"""The metrics of pools, for Prometheus.

Example:
    >>> import opool
    >>> from opool.metrics.prometheus import PoolCollector
    >>> from prometheus_client import CollectorRegistry, generate_latest
    >>> pool = opool.Pool(["a", "b"], name="letters")
    >>> registry = CollectorRegistry()
    >>> registry.register(PoolCollector(pool))
    >>> print(generate_latest(registry).decode().splitlines()[2])
    db_client_connection_count{db_client_connection_pool_name="letters",db_client_connection_state="idle"} 2.0
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from opool import Histogram, Pool, PoolStats, _registry
from opool.metrics._table import HISTOGRAMS, METRICS, POOL_NAME

try:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
    from prometheus_client.registry import Collector
except ImportError as error:
    message = "opool.metrics.prometheus needs prometheus-client: pip install 'opool[prometheus]'"
    raise ImportError(message, name=error.name) from error

__all__ = ["PoolCollector"]


class PoolCollector(Collector):
    """Collects the metrics of pools when a registry asks for them.

    ``prometheus_client.REGISTRY.register(PoolCollector())`` shows all pools that have a name. A registry takes one
    collector of this kind: two would have the same metrics.

    Args:
        pools: the pools to show; by default all that have a name, also those that are constructed later. They are not
            kept alive.

    Raises:
        TypeError: if one of them is not a pool.

    Example:
        >>> from prometheus_client import CollectorRegistry
        >>> registry = CollectorRegistry()
        >>> registry.register(PoolCollector())
    """

    def __init__(self, *pools: Pool[Any]) -> None:
        self._only = _registry.entries_of(pools)

    def describe(self) -> Iterable[Metric]:
        """Return all metrics without values: a registry asks for the names even if there is no pool yet."""
        return _metrics([])

    def collect(self) -> Iterable[Metric]:
        """Return all metrics with their values. Those of one pool are read at the same moment."""
        return _metrics([(label, stats) for label, _, stats in _registry.snapshot(self._only)])


def _metrics(pools: list[tuple[str, PoolStats]]) -> Iterator[Metric]:
    for metric in METRICS:
        kind = GaugeMetricFamily if metric.up_down else CounterMetricFamily
        labels = [POOL_NAME] if metric.by is None else [POOL_NAME, metric.by]
        family = kind(_translate(metric.name), metric.description, labels=[_translate(label) for label in labels])
        for name, stats in pools:
            for value, number in metric.read(stats):
                family.add_metric([name, value][: len(labels)], number)
        yield family
    for times in HISTOGRAMS:
        histograms = HistogramMetricFamily(
            _translate(times.name), times.description, labels=[_translate(POOL_NAME)], unit="seconds"
        )
        for name, stats in pools:
            histogram = times.read(stats)
            if histogram is not None:
                histograms.add_metric([name], _buckets(histogram), histogram.sum)
        yield histograms


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    """Convert the counts: a bucket of Prometheus counts all durations up to its bound."""
    bounds = [*map(repr, histogram.bounds), "+Inf"]
    return list(zip(bounds, map(float, itertools.accumulate(histogram.counts))))


def _translate(name: str) -> str:
    return name.replace(".", "_")
