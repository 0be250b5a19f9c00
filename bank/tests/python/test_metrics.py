"""Figures for Prometheus and OpenTelemetry."""

import pytest

from opool_bank import Bank, BankFileError
from opool_bank.metrics import BankCollector, instrument


@pytest.fixture
def banks(path):
    """One bank with something in each of its states, and one that is empty."""
    bank, other = Bank(path), Bank(path, name="other")
    bank.put(range(5))
    bank.claim("x")
    with bank.lease():
        yield bank, other
    bank.close()
    other.close()


EXPECTED = {"free": 3, "leased": 1, "given": 1, "dead": 0}


def test_the_items_of_each_bank_by_state_for_prometheus(banks, path):
    prometheus_client = pytest.importorskip("prometheus_client")
    registry = prometheus_client.CollectorRegistry()
    registry.register(BankCollector(*banks))

    def value(name, bank="default", **labels):
        return registry.get_sample_value(name, {"bank": bank, "file": path, **labels})

    assert {state: value("opool_bank_items", state=state) for state in EXPECTED} == EXPECTED
    assert value("opool_bank_put_total") == 5
    assert value("opool_bank_hand_outs_total") == 2
    assert value("opool_bank_waiting") == 0
    assert value("opool_bank_put_total", "other") == 0
    banks[1].close()
    assert value("opool_bank_put_total", "other") is None
    assert value("opool_bank_put_total") == 5


def test_the_same_for_opentelemetry(banks, path):
    pytest.importorskip("opentelemetry.sdk.metrics")
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    instrument(*banks, meter_provider=provider)

    def read(bank="default"):
        found = {}
        data = reader.get_metrics_data()
        for metric in data.resource_metrics[0].scope_metrics[0].metrics if data else []:
            for point in metric.data.data_points:
                attributes = dict(point.attributes)
                if attributes["opool.bank.name"] == bank:
                    assert attributes["opool.bank.file"] == path
                    found[metric.name, attributes.get("opool.bank.state")] = point.value
        return found

    others = {("opool.bank.put", None): 5, ("opool.bank.hand_outs", None): 2, ("opool.bank.waiting", None): 0}
    assert read() == {**{("opool.bank.items", state): count for state, count in EXPECTED.items()}, **others}
    assert read("other")["opool.bank.put", None] == 0
    banks[1].close()
    assert read("other") == {}
    provider.shutdown()


def test_a_bank_whose_file_cannot_be_read_hides_no_other(banks, monkeypatch):
    prometheus_client = pytest.importorskip("prometheus_client")

    def fail():
        raise BankFileError("the disk is gone")

    monkeypatch.setattr(banks[1], "stats", fail)
    registry = prometheus_client.CollectorRegistry()
    registry.register(BankCollector(banks[1], banks[0]))
    assert registry.get_sample_value("opool_bank_put_total", {"bank": "default", "file": banks[0].path}) == 5
