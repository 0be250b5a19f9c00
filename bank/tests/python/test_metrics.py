"""Figures for Prometheus."""

import pytest

from opool_bank import Bank
from opool_bank.metrics import BankCollector

prometheus_client = pytest.importorskip("prometheus_client")


def test_the_items_of_each_bank_by_state(path):
    bank, other = Bank(path), Bank(path, name="other")
    registry = prometheus_client.CollectorRegistry()
    registry.register(BankCollector(bank, other))
    bank.put(range(5))
    bank.claim("x")
    with bank.lease():

        def value(name, **labels):
            return registry.get_sample_value(name, {"bank": "default", "file": path, **labels})

        assert value("opool_bank_items", state="free") == 3
        assert value("opool_bank_items", state="leased") == 1
        assert value("opool_bank_items", state="given") == 1
        assert value("opool_bank_put_total") == 5
        assert value("opool_bank_hand_outs_total") == 2
        assert value("opool_bank_waiting") == 0
    other.close()
    assert registry.get_sample_value("opool_bank_put_total", {"bank": "other", "file": path}) is None
