"""The figures of pools, for Prometheus.

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
from opool.metrics._table import FIGURES, POOL_NAME, TIMES

try:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
    from prometheus_client.registry import Collector
except ImportError as error:
    message = "opool.metrics.prometheus needs prometheus-client: pip install 'opool[prometheus]'"
    raise ImportError(message, name=error.name) from error

__all__ = ["PoolCollector"]


class PoolCollector(Collector):
    """Collects the figures of pools, when it is asked for them.

    ``prometheus_client.REGISTRY.register(PoolCollector())`` is all it takes for the pools that have a name. A registry
    takes one collector of this kind: two would speak of the same metrics.

    Args:
        pools: which; by default all that have a name, also those that are made later. Pools are not kept alive.

    Raises:
        TypeError: if something else than a pool is given.
    """

    def __init__(self, *pools: Pool[Any]) -> None:
        self._only = _registry.entries_of(pools)

    def describe(self) -> Iterable[Metric]:
        """All metrics, without values: a registry asks for their names even if there is no pool yet."""
        return _metrics([])

    def collect(self) -> Iterable[Metric]:
        """All metrics. Those of one pool are of one moment."""
        return _metrics([(label, stats) for label, _, stats in _registry.snapshot(self._only)])


def _metrics(pools: list[tuple[str, PoolStats]]) -> Iterator[Metric]:
    for figure in FIGURES:
        kind = GaugeMetricFamily if figure.falls else CounterMetricFamily
        labels = [POOL_NAME] if figure.by is None else [POOL_NAME, figure.by]
        metric = kind(_translate(figure.name), figure.description, labels=[_translate(label) for label in labels])
        for name, stats in pools:
            for value, number in figure.read(stats):
                metric.add_metric([name, value][: len(labels)], number)
        yield metric
    for times in TIMES:
        family = HistogramMetricFamily(
            _translate(times.name), times.description, labels=[_translate(POOL_NAME)], unit="seconds"
        )
        for name, stats in pools:
            histogram = times.read(stats)
            if histogram is not None:
                family.add_metric([name], _buckets(histogram), histogram.sum)
        yield family


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    """Here a bucket counts all that took no longer than its bound."""
    bounds = [*map(repr, histogram.bounds), "+Inf"]
    return list(zip(bounds, map(float, itertools.accumulate(histogram.counts))))


def _translate(name: str) -> str:
    return name.replace(".", "_")
