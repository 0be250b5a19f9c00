"""SIGKILL at random: a short run of what `make torture` does for an hour."""

import os

import killing
import pytest


@pytest.mark.torture
def test_nothing_is_lost_or_given_twice_when_clients_are_killed():
    seconds = float(os.environ.get("OPOOL_TORTURE", 20))
    kills, told, counts = killing.run(seconds, 10_000)
    assert kills > 3
    assert counts.put > 2_000
    print(f"{kills} kills, {told} answers")
