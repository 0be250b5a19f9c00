"""The metrics of pools, for OpenTelemetry.

Numbers are observed by instruments (`instrument`). Histograms are not (`HistogramExporter`): the API has no histogram
that is observed, only one that records single values, and a pool has aggregated its values long before it is read.
Recording some value for each count of a bucket would be exact in the count only, and for one reader only, since every
reader runs the callbacks. The specification has `MetricProducer` for this: a source of aggregated data beside the
instruments. The Python SDK lacks it, so the data is added where the SDK hands over what it collected: in front of the
exporter. Nothing is lost or estimated that way.

Example, with any exporter::

    reader = PeriodicExportingMetricReader(HistogramExporter(OTLPMetricExporter()))
    provider = MeterProvider([reader])
    instrument(meter_provider=provider)
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from opool import Histogram, Pool, __version__, _registry
from opool.metrics._table import HISTOGRAMS, METRICS, POOL_NAME, HistogramMetric, Metric

try:
    from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation, get_meter
    from opentelemetry.sdk.metrics import Histogram as HistogramInstrument
    from opentelemetry.sdk.metrics import export as sdk
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
except ImportError as error:
    message = "opool.metrics.otel needs opentelemetry-sdk: pip install 'opool[otel]'"
    raise ImportError(message, name=error.name) from error

__all__ = ["HistogramExporter", "instrument"]


def instrument(*pools: Pool[Any], meter_provider: MeterProvider | None = None) -> None:
    """Create the instruments by which a meter provider observes all numbers of pools. Call it once for each provider.

    Args:
        pools: the pools to show; by default all that have a name, also those that are constructed later. They are not
            kept alive.
        meter_provider: the provider; by default the global one.

    Raises:
        TypeError: if one of them is not a pool.

    Example:
        >>> from opentelemetry.sdk.metrics import MeterProvider
        >>> instrument(meter_provider=MeterProvider())
    """
    only = _registry.entries_of(pools)
    meter = get_meter("opool", __version__, meter_provider)
    for metric in METRICS:
        create = meter.create_observable_up_down_counter if metric.up_down else meter.create_observable_counter
        create(metric.name, [_callback(metric, only)], metric.unit, metric.description)


def _callback(
    metric: Metric, only: Sequence[_registry.Entry] | None
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def observe(_: CallbackOptions) -> Iterable[Observation]:
        return [
            Observation(number, {POOL_NAME: name} if metric.by is None else {POOL_NAME: name, metric.by: value})
            for name, _, stats in _registry.snapshot(only)
            for value, number in metric.read(stats)
        ]

    return observe


class _Seen(NamedTuple):
    """The latest export of a pool."""

    at: int
    histograms: dict[str, Histogram]


class HistogramExporter(sdk.MetricExporter):
    """An exporter that adds the histograms of pools, and hands everything to another exporter.

    Wrap the exporter that you have: ``PeriodicExportingMetricReader(HistogramExporter(OTLPMetricExporter()))``. Use it
    together with `instrument`: if the provider collects nothing at all, nothing is exported. The histograms are
    cumulative or deltas, as the wrapped exporter prefers. Views do not apply to them.

    Args:
        exporter: the exporter to wrap. Each needs a wrapper of its own.
        pools: the pools to show; by default all that have a name, also those that are constructed later. They are not
            kept alive.

    Raises:
        TypeError: if one of them is not a pool.

    Example:
        >>> from opentelemetry.sdk.metrics.export import ConsoleMetricExporter
        >>> exporter = HistogramExporter(ConsoleMetricExporter())
    """

    def __init__(self, exporter: sdk.MetricExporter, *pools: Pool[Any]) -> None:
        # Readers read these attributes of an exporter; there is no other way to ask.
        temporality = exporter._preferred_temporality
        super().__init__(temporality, exporter._preferred_aggregation)
        self._exporter = exporter
        self._only = _registry.entries_of(pools)
        self._temporality = (temporality or {}).get(HistogramInstrument, sdk.AggregationTemporality.CUMULATIVE)
        self._seen: dict[_registry.Entry, _Seen] = {}

    def export(
        self, metrics_data: sdk.MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> sdk.MetricExportResult:
        """Add the histograms and export everything. The SDK never calls an exporter in two threads at once."""
        if metrics_data.resource_metrics:
            first, *others = metrics_data.resource_metrics
            scope = InstrumentationScope("opool", __version__)
            ours = sdk.ScopeMetrics(scope=scope, metrics=self._metrics(), schema_url="")
            if ours.metrics:
                first = dataclasses.replace(first, scope_metrics=[*first.scope_metrics, ours])
            metrics_data = sdk.MetricsData(resource_metrics=[first, *others])
        return self._exporter.export(metrics_data, timeout_millis, **kwargs)

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Flush the wrapped exporter."""
        return self._exporter.force_flush(timeout_millis)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Shut the wrapped exporter down."""
        self._exporter.shutdown(timeout_millis, **kwargs)

    def _metrics(self) -> list[sdk.Metric]:
        points: dict[HistogramMetric, list[sdk.HistogramDataPoint]] = {metric: [] for metric in HISTOGRAMS}
        seen: dict[_registry.Entry, _Seen] = {}
        for name, entry, stats in _registry.snapshot(self._only):
            now = time.time_ns()
            before = self._seen.get(entry, _Seen(entry.since, {}))
            seen[entry] = _Seen(now, {})
            for metric in HISTOGRAMS:
                histogram = metric.read(stats)
                if histogram is None:
                    continue
                seen[entry].histograms[metric.name] = histogram
                start = entry.since
                if self._temporality is sdk.AggregationTemporality.DELTA:
                    start = before.at
                    histogram = _difference(histogram, before.histograms.get(metric.name))
                    if not histogram.count:
                        continue
                points[metric].append(_point(name, histogram, start, now))
        self._seen = seen
        return [
            sdk.Metric(metric.name, metric.description, "s", sdk.Histogram(found, self._temporality))
            for metric, found in points.items()
            if found
        ]


def _difference(after: Histogram, before: Histogram | None) -> Histogram:
    if before is None:
        return after
    counts = tuple(now - then for now, then in zip(after.counts, before.counts))
    return Histogram(after.bounds, counts, after.sum - before.sum)


def _point(name: str, histogram: Histogram, start: int, now: int) -> sdk.HistogramDataPoint:
    return sdk.HistogramDataPoint(
        attributes={POOL_NAME: name},
        start_time_unix_nano=start,
        time_unix_nano=now,
        count=histogram.count,
        sum=histogram.sum,
        bucket_counts=histogram.counts,
        explicit_bounds=histogram.bounds,
        # Unknown: the SDK exports the same where it records neither.
        min=math.inf,
        max=-math.inf,
    )
