"""The figures of pools in Prometheus, and which pools metrics show: with the real libraries."""

import doctest
import gc
import importlib.metadata
import itertools
import math
import threading

import opentelemetry.sdk.metrics as otel
import opentelemetry.sdk.metrics.export as otel_export
import prometheus_client
import prometheus_client.openmetrics.exposition as openmetrics
import prometheus_client.openmetrics.parser as openmetrics_parser
import prometheus_client.parser as text_parser
import pytest

import opool
from opool.metrics._table import HISTOGRAMS, METRICS
from opool.metrics.otel import HistogramExporter, instrument
from opool.metrics.prometheus import PoolCollector
from opool.testing import Clock
from support import Crew, busy_pool, eager_switching, run_child


@pytest.fixture
def clock():
    return Clock()


# ----------------------------------------------------------------------------------------------------------------------
# Prometheus


def scraped(*pools):
    """What a scrape of a registry with one collector tells: {name of a sample: {labels but the pool's: value}}."""
    registry = prometheus_client.CollectorRegistry()
    registry.register(PoolCollector(*pools))
    text = prometheus_client.generate_latest(registry).decode()
    samples = [sample for family in text_parser.text_string_to_metric_families(text) for sample in family.samples]
    return [(sample.name, dict(sample.labels), sample.value) for sample in samples]


def of_pool(samples, label):
    """What is told of one pool, by the name of the sample and the values of its other labels."""
    key = "db_client_connection_pool_name"
    return {
        (name, *(value for other, value in labels.items() if other != key)): value
        for name, labels, value in samples
        if labels[key] == label
    }


def labels(samples):
    return {labels["db_client_connection_pool_name"] for _, labels, _ in samples}


def test_a_scrape_shows_what_stats_shows(clock):
    pool, lease = busy_pool(clock)
    stats, found = pool.stats(), of_pool(scraped(pool), "busy")
    numbers = {key: value for key, value in found.items() if "_time_" not in key[0]}
    retired = {("opool_retired_objects_total", reason): count for reason, count in stats.retired.items()}
    assert sum(retired.values()) == 1
    assert numbers == {
        **retired,
        ("db_client_connection_count", "idle"): 1,
        ("db_client_connection_count", "used"): 1,
        ("db_client_connection_idle_min",): 0,
        ("db_client_connection_pending_requests",): 0,
        ("db_client_connection_timeouts_total",): 0,
        ("opool_creating",): 0,
        ("opool_checking",): 0,
        ("opool_created_objects_total",): 3,
        ("opool_create_failures_total",): 0,
        ("opool_leases_total",): 4,
        ("opool_refused_requests_total",): 1,
    }
    assert stats.leases == 4
    lease.release()


def test_limits_are_shown_where_there_are_any(clock):
    pool = opool.Pool(factory=object, min_size=1, max_size=7, name="limited", clock=clock)
    found = of_pool(scraped(pool), "limited")
    assert found["db_client_connection_max",] == found["db_client_connection_idle_max",] == 7
    assert found["db_client_connection_idle_min",] == 1


def test_the_buckets_of_a_scrape_add_up_to_those_of_stats(clock):
    pool, _ = busy_pool(clock)
    stats, found = pool.stats(), of_pool(scraped(pool), "busy")
    name = "db_client_connection_use_time_seconds"
    buckets = [(float(key[1]), value) for key, value in found.items() if key[0] == name + "_bucket"]
    assert [bound for bound, _ in buckets] == [*stats.use_time.bounds, math.inf]
    assert [value for _, value in buckets] == list(itertools.accumulate(stats.use_time.counts))
    assert (found[name + "_count",], found[name + "_sum",]) == (stats.use_time.count, stats.use_time.sum) == (3, 2.25)


def test_uses_have_no_histogram_where_they_are_not_timed():
    pool = opool.Pool(["a"], name="untimed")
    with pool.lease():
        pass
    names = {key[0] for key in of_pool(scraped(pool), "untimed")}
    assert "db_client_connection_wait_time_seconds_count" in names
    assert "db_client_connection_use_time_seconds_count" not in names


def test_the_strict_parser_of_openmetrics_accepts_it(clock):
    pool, _ = busy_pool(clock)
    registry = prometheus_client.CollectorRegistry()
    registry.register(PoolCollector(pool))
    text = openmetrics.generate_latest(registry).decode()
    families = {family.name: family.type for family in openmetrics_parser.text_string_to_metric_families(text)}
    assert families["db_client_connection_timeouts"] == "counter"
    assert families["db_client_connection_count"] == "gauge"
    assert families["db_client_connection_wait_time_seconds"] == "histogram"
    assert len(families) == len(METRICS) + len(HISTOGRAMS)


def test_a_registry_takes_one_collector_even_while_there_is_no_pool():
    registry = prometheus_client.CollectorRegistry()
    registry.register(PoolCollector(opool.Pool([])))
    with pytest.raises(ValueError, match="Duplicated"):
        registry.register(PoolCollector())


# ----------------------------------------------------------------------------------------------------------------------
# Which pools, and what they are called


def test_all_pools_that_have_a_name_are_shown_also_those_that_come_later():
    first, unnamed = opool.Pool([], name="early"), opool.Pool([])
    collector = PoolCollector()
    registry = prometheus_client.CollectorRegistry()
    registry.register(collector)
    later = opool.Pool([], name="late")
    text = prometheus_client.generate_latest(registry).decode()
    assert '"early"' in text and '"late"' in text and "unnamed" not in text
    assert (first.name, later.name, unnamed.name) == ("early", "late", None)


def test_chosen_pools_alone_are_shown_and_those_without_a_name_get_one():
    other, named, first, second = (opool.Pool([], name=name) for name in ("other", "chosen", None, None))
    found = labels(scraped(named, first, second))
    assert {"chosen", "other"} & found == {"chosen"}
    assert len(found) == 3
    assert all(label.startswith("unnamed") for label in found - {"chosen"})
    assert labels(scraped(second)) <= found
    assert other.name == "other"


def test_something_else_than_a_pool_is_refused():
    for metrics in (
        PoolCollector,
        instrument,
        lambda pool: HistogramExporter(otel_export.ConsoleMetricExporter(), pool),
    ):
        with pytest.raises(TypeError, match=r"opool\.Pool objects, not 'db'"):
            metrics("db")


def test_pools_of_one_name_are_told_apart_and_keep_their_labels():
    one, two, three = (opool.Pool(range(size), name="twin") for size in (1, 2, 3))

    def sizes():
        found = scraped()
        return {
            label: of_pool(found, label)["db_client_connection_count", "idle"]
            for label in labels(found)
            if label.startswith("twin")
        }

    assert sizes() == {"twin": 1, "twin-2": 2, "twin-3": 3}
    del two
    gc.collect()
    assert sizes() == {"twin": 1, "twin-3": 3}
    four = opool.Pool(range(4), name="twin")
    assert sizes() == {"twin": 1, "twin-2": 4, "twin-3": 3}
    five = opool.Pool(range(5), name="twin-2")
    assert sizes() == {"twin": 1, "twin-2": 4, "twin-2-2": 5, "twin-3": 3}
    assert [pool.size for pool in (one, three, four, five)] == [1, 3, 4, 5]


def test_a_closed_pool_is_shown_until_another_takes_over_its_name():
    def created():
        found = of_pool(scraped(), "phoenix")
        return found.get(("opool_created_objects_total",))

    old = opool.Pool(range(3), name="phoenix")
    old.close()
    assert created() == 3
    new = opool.Pool(range(5), name="phoenix")
    assert created() == 5
    assert "phoenix-2" not in labels(scraped())
    del new
    gc.collect()
    assert created() is None, "a counter would have gone back to what it was before"
    assert old.closed


def test_metrics_keep_no_pool_alive():
    named, unnamed = opool.Pool([], name="mortal"), opool.Pool([])
    registry = prometheus_client.CollectorRegistry()
    registry.register(PoolCollector(named, unnamed))
    provider = otel.MeterProvider([otel_export.InMemoryMetricReader()], shutdown_on_exit=False)
    instrument(named, unnamed, meter_provider=provider)
    assert len(labels(scraped(named, unnamed))) == 2
    del named, unnamed
    gc.collect()
    assert "pool_name" not in prometheus_client.generate_latest(registry).decode()
    assert "mortal" not in labels(scraped())
    provider.shutdown()


def test_a_pool_without_a_hash_has_metrics_too():
    class Equal(opool.Pool):
        def __eq__(self, other):
            return True

        __hash__ = None

    pool = Equal([1], name="equal")
    assert of_pool(scraped(pool), "equal")["db_client_connection_count", "idle"] == 1


def test_scrapes_and_new_and_dying_pools_do_not_disturb_each_other():
    done = threading.Event()
    crowd = [opool.Pool([1], name="many") for _ in range(30)]

    def live(_):
        while not done.is_set():
            pools = [opool.Pool([1], name="many") for _ in range(3)]
            assert len(pools) == 3

    def look(_):
        for _ in range(8):
            found = [(name, *sorted(labels.items())) for name, labels, _ in scraped()]
            assert len(found) == len(set(found)), "two samples of one metric have the same labels"

    with eager_switching(1e-5):
        living = Crew(2, live)
        try:
            Crew(2, look).join()
        finally:
            done.set()
        living.join()
    crowd.clear()
    gc.collect()
    assert not [label for label in labels(scraped()) if label.startswith("many")]


def test_the_example_is_true():
    result = doctest.testmod(opool.metrics.prometheus)
    assert result.attempted > 5 and not result.failed


# ----------------------------------------------------------------------------------------------------------------------
# Extras


def test_nothing_but_the_metrics_themselves_needs_the_libraries():
    run_child(
        """
        import sys

        import opool
        import opool.metrics

        opool.Pool(["a"], name="named").stats()
        foreign = {name.split(".")[0] for name in sys.modules} & {"prometheus_client", "opentelemetry"}
        assert not foreign, foreign
        """
    )


@pytest.mark.parametrize(
    ("module", "library", "extra"),
    [("prometheus", "prometheus_client", "opool[prometheus]"), ("otel", "opentelemetry", "opool[otel]")],
)
def test_a_library_that_is_missing_is_named_with_the_extra_that_brings_it(module, library, extra):
    run_child(
        f"""
        import sys

        sys.modules[{library!r}] = None
        try:
            import opool.metrics.{module}
        except ImportError as error:
            assert {extra!r} in str(error), error
            assert error.name.split(".")[0] == {library!r}, error.name
        else:
            raise AssertionError("imported nevertheless")
        """
    )


def test_the_package_asks_for_the_libraries_in_its_extras_only():
    wanted = importlib.metadata.requires("opool") or []
    extras = [("opentelemetry-sdk", "otel"), ("opool-bank", "bank"), ("prometheus-client", "prometheus")]
    assert len(wanted) == len(extras)
    for requirement, (library, extra) in zip(sorted(wanted), extras):
        assert requirement.startswith(library)
        assert f"extra == '{extra}'" in requirement.replace('"', "'")


def test_a_pool_with_a_name_can_be_made_while_the_interpreter_goes_down():
    made = run_child(
        """
        import sys
        import opool

        class Late:
            def __del__(self, pool=opool.Pool):
                print(pool(["a"], name="late").size)

        sys.modules["kept to the end"] = Late()
        """
    )
    assert made.stdout == "1\n"
