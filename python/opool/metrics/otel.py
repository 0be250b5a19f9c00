"""The figures of pools, for OpenTelemetry.

Numbers are observed by instruments (`instrument`). Histograms go past them (`HistogramExporter`): the API has no
histogram that is observed, only one that takes each value when it comes up, and a pool has added its values up long
before anybody looks. To record something for each value of a bucket would be exact in none of them but the count, and
right for one reader only, since every reader runs the callbacks for itself. The specification has `MetricProducer` for
this: a source of aggregated data beside the instruments. The Python SDK lacks it, so the data joins where the SDK hands
over what it collected: in front of the exporter. Nothing is lost or estimated on that way.

Example, with whatever exporter there is::

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
from opool.metrics._table import FIGURES, POOL_NAME, TIMES, Figure, Times

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
    """Lets a meter provider observe all numbers of pools. Call it once for each provider.

    Args:
        pools: which; by default all that have a name, also those that are made later. Pools are not kept alive.
        meter_provider: by default the global one.

    Raises:
        TypeError: if something else than a pool is given.
    """
    only = _registry.entries_of(pools)
    meter = get_meter("opool", __version__, meter_provider)
    for figure in FIGURES:
        create = meter.create_observable_up_down_counter if figure.falls else meter.create_observable_counter
        create(figure.name, [_callback(figure, only)], figure.unit, figure.description)


def _callback(
    figure: Figure, only: Sequence[_registry.Entry] | None
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def observe(_: CallbackOptions) -> Iterable[Observation]:
        return [
            Observation(number, {POOL_NAME: name} if figure.by is None else {POOL_NAME: name, figure.by: value})
            for name, _, stats in _registry.snapshot(only)
            for value, number in figure.read(stats)
        ]

    return observe


class _Seen(NamedTuple):
    """What was exported of a pool, and when."""

    at: int
    histograms: dict[str, Histogram]


class HistogramExporter(sdk.MetricExporter):
    """An exporter that adds the histograms of pools to what it passes on to another one.

    Wrap the exporter that you have: ``PeriodicExportingMetricReader(HistogramExporter(OTLPMetricExporter()))``. It goes
    together with `instrument`: where the provider collects nothing at all, nothing is exported. The histograms are
    cumulative or deltas, as the other exporter prefers. Views do not apply to them.

    Args:
        exporter: which passes everything on. Each is to be wrapped for itself.
        pools: which; by default all that have a name, also those that are made later. Pools are not kept alive.

    Raises:
        TypeError: if something else than a pool is given.
    """

    def __init__(self, exporter: sdk.MetricExporter, *pools: Pool[Any]) -> None:
        # What an exporter prefers is where its reader looks for it; there is no other way to ask.
        temporality = exporter._preferred_temporality
        super().__init__(temporality, exporter._preferred_aggregation)
        self._exporter = exporter
        self._only = _registry.entries_of(pools)
        self._temporality = (temporality or {}).get(HistogramInstrument, sdk.AggregationTemporality.CUMULATIVE)
        self._seen: dict[_registry.Entry, _Seen] = {}

    def export(
        self, metrics_data: sdk.MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> sdk.MetricExportResult:
        """Adds the histograms, and passes everything on. An exporter is never called by two threads at once."""
        if metrics_data.resource_metrics:
            first, *others = metrics_data.resource_metrics
            scope = InstrumentationScope("opool", __version__)
            ours = sdk.ScopeMetrics(scope=scope, metrics=self._metrics(), schema_url="")
            if ours.metrics:
                first = dataclasses.replace(first, scope_metrics=[*first.scope_metrics, ours])
            metrics_data = sdk.MetricsData(resource_metrics=[first, *others])
        return self._exporter.export(metrics_data, timeout_millis, **kwargs)

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Passed on."""
        return self._exporter.force_flush(timeout_millis)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Passed on."""
        self._exporter.shutdown(timeout_millis, **kwargs)

    def _metrics(self) -> list[sdk.Metric]:
        points: dict[Times, list[sdk.HistogramDataPoint]] = {times: [] for times in TIMES}
        seen: dict[_registry.Entry, _Seen] = {}
        for name, entry, stats in _registry.snapshot(self._only):
            now = time.time_ns()
            before = self._seen.get(entry, _Seen(entry.since, {}))
            seen[entry] = _Seen(now, {})
            for times in TIMES:
                histogram = times.read(stats)
                if histogram is None:
                    continue
                seen[entry].histograms[times.name] = histogram
                start = entry.since
                if self._temporality is sdk.AggregationTemporality.DELTA:
                    start = before.at
                    histogram = _difference(histogram, before.histograms.get(times.name))
                    if not histogram.count:
                        continue
                points[times].append(_point(name, histogram, start, now))
        self._seen = seen
        return [
            sdk.Metric(times.name, times.description, "s", sdk.Histogram(found, self._temporality))
            for times, found in points.items()
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
        # Not known. That is how the SDK says so, where it is told to record neither.
        min=math.inf,
        max=-math.inf,
    )
