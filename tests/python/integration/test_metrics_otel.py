"""The figures of pools in OpenTelemetry: with the real SDK."""

import gc
import io
import json
import math

import opentelemetry.sdk.metrics as otel
import opentelemetry.sdk.metrics.export as otel_export
import pytest
from opentelemetry.sdk.metrics.export import AggregationTemporality
from opentelemetry.semconv._incubating.attributes import db_attributes
from opentelemetry.semconv._incubating.metrics import db_metrics

import opool
from opool.metrics._table import HISTOGRAMS, POOL_NAME, STATE
from opool.metrics.otel import HistogramExporter, instrument
from opool.testing import Clock
from support import busy_pool

DELTA, CUMULATIVE = AggregationTemporality.DELTA, AggregationTemporality.CUMULATIVE


@pytest.fixture
def clock():
    return Clock()


class Keeping(otel_export.MetricExporter):
    """An exporter that keeps what it gets."""

    def __init__(self, **preferences):
        super().__init__(**preferences)
        self.exported = []
        self.calls = []

    def export(self, metrics_data, timeout_millis=10_000, **kwargs):
        self.exported.append(points(metrics_data))
        self.calls.append(("export", timeout_millis))
        return otel_export.MetricExportResult.FAILURE

    def force_flush(self, timeout_millis=10_000):
        self.calls.append(("force_flush", timeout_millis))
        return False

    def shutdown(self, timeout_millis=30_000, **kwargs):
        self.calls.append(("shutdown", timeout_millis))


def points(metrics_data):
    """{name of a metric: (its data, {values of the attributes: data point})}; each name comes once."""
    found = {}
    for resource in metrics_data.resource_metrics if metrics_data else ():
        for scope in resource.scope_metrics:
            if scope.scope.name != "opool":  # the SDK tells of itself as well
                continue
            assert scope.scope.version == opool.__version__
            for metric in scope.metrics:
                assert metric.name not in found
                found[metric.name] = (
                    metric.data,
                    {tuple(point.attributes.values()): point for point in metric.data.data_points},
                )
    return found


@pytest.fixture
def observed():
    """Makes a reader of chosen pools; reading gives what `points` does."""
    providers = []

    def make(*pools):
        reader = otel_export.InMemoryMetricReader()
        providers.append(otel.MeterProvider([reader], shutdown_on_exit=False))
        instrument(*pools, meter_provider=providers[-1])
        return lambda: points(reader.get_metrics_data())

    yield make
    for provider in providers:
        provider.shutdown()


@pytest.fixture
def exporting():
    """Makes a reader with an exporter of histograms of chosen pools; `collect` lets it export."""
    providers = []

    def make(exporter, *pools):
        wrapped = HistogramExporter(exporter, *pools)
        reader = otel_export.PeriodicExportingMetricReader(wrapped, export_interval_millis=math.inf)
        providers.append(otel.MeterProvider([reader], shutdown_on_exit=False))
        instrument(*pools, meter_provider=providers[-1])
        return reader

    yield make
    for provider in providers:
        provider.shutdown()


def test_the_names_units_and_kinds_are_those_of_the_conventions(exporting):
    """The conventions' own package makes the same instruments, and what comes out of them is compared."""
    reader = otel_export.InMemoryMetricReader()
    provider = otel.MeterProvider([reader], shutdown_on_exit=False)
    meter = provider.get_meter("conventions")
    for name in dir(db_metrics):
        if name.startswith("create_db_client_connection_"):
            made = getattr(db_metrics, name)(meter)
            (made.record if isinstance(made, otel.Histogram) else made.add)(1)
    theirs = reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics
    provider.shutdown()

    def kinds(metrics):
        return {
            (metric.name, metric.unit, type(metric.data).__name__, getattr(metric.data, "is_monotonic", None))
            for metric in metrics
            if metric.name.startswith("db.client.connection.")
        }

    seen = []

    class Seeing(Keeping):
        def export(self, metrics_data, timeout_millis=10_000, **kwargs):
            for scope in metrics_data.resource_metrics[0].scope_metrics:
                seen.extend(scope.metrics)
            return super().export(metrics_data, timeout_millis, **kwargs)

    clock = Clock()
    pool = opool.Pool(factory=object, timing=True, clock=clock)
    pool.lease().release()
    exporting(Seeing(), pool).collect()
    assert kinds(seen) == kinds(theirs)
    assert len(kinds(seen)) == 9
    assert (POOL_NAME, STATE) == (
        db_attributes.DB_CLIENT_CONNECTION_POOL_NAME,
        db_attributes.DB_CLIENT_CONNECTION_STATE,
    )
    states = {point.attributes[STATE] for point in points_of(seen, "db.client.connection.count")}
    assert states == {value.value for value in db_attributes.DbClientConnectionStateValues}


def points_of(metrics, name):
    (metric,) = [metric for metric in metrics if metric.name == name]
    return metric.data.data_points


def test_the_instruments_observe_what_stats_shows(clock, observed):
    pool, lease = busy_pool(clock)
    read = observed(pool)
    for _ in range(2):  # what is observed is not added up
        stats, found = pool.stats(), read()
        values = {name: {key[1:]: point.value for key, point in found[name][1].items()} for name in found}
        assert values == {
            "db.client.connection.count": {("idle",): stats.idle, ("used",): stats.leased},
            "db.client.connection.idle.min": {(): 0},
            "db.client.connection.pending_requests": {(): 0},
            "db.client.connection.timeouts": {(): 0},
            "opool.creating": {(): 0},
            "opool.checking": {(): 0},
            "opool.created_objects": {(): 3},
            "opool.create_failures": {(): 0},
            "opool.retired_objects": {(reason,): count for reason, count in stats.retired.items()},
            "opool.leases": {(): stats.leases},
            "opool.refused_requests": {(): 1},
        }
        assert {key[0] for _, found_points in found.values() for key in found_points} == {"busy"}
        pool.lease().release()
    lease.release()


def test_a_pool_that_is_gone_is_observed_no_more(observed):
    pool, other = opool.Pool([], name="gone"), opool.Pool([], name="stays")
    read = observed(pool, other)
    assert set(read()["opool.leases"][1]) == {("gone",), ("stays",)}
    del pool
    gc.collect()
    assert set(read()["opool.leases"][1]) == {("stays",)}
    assert other.name == "stays"


def test_the_exporter_adds_the_histograms_exactly(clock, exporting):
    pool, lease = busy_pool(clock)
    keeping = Keeping()
    exporting(keeping, pool).collect()
    (exported,) = keeping.exported
    assert {"db.client.connection.count", *(times.name for times in HISTOGRAMS)} <= set(exported)
    stats = pool.stats()
    for name, shown in (("wait_time", stats.wait_time), ("use_time", stats.use_time)):
        data, found = exported[f"db.client.connection.{name}"]
        point = found["busy",]
        assert data.aggregation_temporality is CUMULATIVE
        assert (tuple(point.explicit_bounds), tuple(point.bucket_counts)) == (shown.bounds, shown.counts)
        assert (point.count, point.sum) == (shown.count, shown.sum)
        assert 0 < point.start_time_unix_nano < point.time_unix_nano
    lease.release()


def test_deltas_follow_each_other_and_add_up(clock, exporting):
    pool = opool.Pool(["a"], name="delta", timing=True, clock=clock)
    keeping = Keeping(preferred_temporality={otel.Histogram: DELTA})
    reader = exporting(keeping, pool)
    for seconds in (1.0, None, 2.0, 3.0):
        if seconds is not None:
            for _ in range(2):
                with pool.lease():
                    clock.advance(seconds)
        reader.collect()
    name = "db.client.connection.use_time"
    found = [exported.get(name) for exported in keeping.exported]
    assert found[1] is None, "nothing was new"
    deltas = [data_and_points[1]["delta",] for data_and_points in found if data_and_points]
    assert {data_and_points[0].aggregation_temporality for data_and_points in found if data_and_points} == {DELTA}
    assert [(delta.count, delta.sum) for delta in deltas] == [(2, 2.0), (2, 4.0), (2, 6.0)]
    total = [sum(counts) for counts in zip(*(delta.bucket_counts for delta in deltas))]
    assert tuple(total) == pool.stats().use_time.counts
    assert all(delta.start_time_unix_nano < delta.time_unix_nano for delta in deltas)
    assert deltas[1].time_unix_nano == deltas[2].start_time_unix_nano


def test_the_deltas_of_a_new_pool_under_an_old_label_begin_anew(clock, exporting):
    keeping = Keeping(preferred_temporality={otel.Histogram: DELTA})
    reader = exporting(keeping)
    name = "db.client.connection.use_time"
    for uses in (3, 1):
        pool = opool.Pool(["a"], name="again", timing=True, clock=clock)
        for _ in range(uses):
            pool.lease().release()
        reader.collect()
        assert keeping.exported[-1][name][1]["again",].count == uses
        del pool
        gc.collect()


def test_everything_else_passes_through_the_exporter(exporting):
    pool = opool.Pool([], name="through")
    keeping = Keeping(preferred_temporality={otel.ObservableCounter: DELTA})
    reader = exporting(keeping, pool)
    reader.collect()
    (exported,) = keeping.exported
    assert exported["opool.leases"][0].aggregation_temporality is DELTA
    assert exported["db.client.connection.wait_time"][0].aggregation_temporality is CUMULATIVE
    wrapped = HistogramExporter(keeping)
    nothing = otel_export.MetricsData(resource_metrics=[])
    assert wrapped.export(nothing, 7) is otel_export.MetricExportResult.FAILURE
    assert wrapped.force_flush(8) is False
    wrapped.shutdown(9)
    assert keeping.calls[-3:] == [("export", 7), ("force_flush", 8), ("shutdown", 9)]
    assert keeping.exported[-1] == {}


def test_the_exporter_of_the_sdk_writes_it_as_json(clock, exporting):
    pool, lease = busy_pool(clock)
    out = io.StringIO()
    exporting(otel_export.ConsoleMetricExporter(out=out), pool).collect()
    scopes = json.loads(out.getvalue())["resource_metrics"][0]["scope_metrics"]
    found = {metric["name"]: metric for scope in scopes for metric in scope["metrics"]}
    (point,) = found["db.client.connection.use_time"]["data"]["data_points"]
    assert (point["count"], point["sum"], found["db.client.connection.use_time"]["unit"]) == (3, 2.25, "s")
    assert point["attributes"] == {POOL_NAME: "busy"}
    lease.release()
