"""The simulation of many replicas, where theory or the batcher's rules say what has to come out."""

import random
import statistics
from dataclasses import replace

import pytest

from benchmarks.replicas import BALANCERS, Replica, Times, percentile, prices, random_two, round_robin, simulate

ONE = Times({1: 0.001}, 0.0, 1)
"""A server of one request after the other, a millisecond each."""

BATCHES = Times({1: 0.002, 2: 0.003, 4: 0.004, 8: 0.006}, 0.0001, 2)


def test_a_server_without_batches_waits_as_long_as_the_formula_says() -> None:
    for load in (0.5, 0.8):  # of an M/D/1 queue: Pollaczek and Khinchine
        took, rate = simulate(ONE, 1, 200_000, rate=load / 0.001, seed=1)
        assert statistics.mean(took) == pytest.approx(0.001 * (1 + load / (2 * (1 - load))), rel=0.05)
        assert rate == pytest.approx(load / 0.001, rel=0.02)


def test_each_balancer_is_better_than_chance() -> None:
    def at_random(replicas: object, chance: random.Random, number: int) -> int:
        return chance.randrange(10)

    choices = [*BALANCERS.values(), at_random]
    found = [percentile(simulate(ONE, 10, 50_000, rate=8_000, choose=one, seed=2)[0], 0.99) for one in choices]
    least, two, turns, chance = found
    assert least < two < chance / 2
    assert turns < chance / 2


def test_an_idle_replica_starts_at_once_and_a_busy_one_when_half_a_batch_waits() -> None:
    replica = Replica(BATCHES)
    replica.waiting.append(0.0)
    assert replica.start(0.0) == (0.002, [0.0])
    replica.waiting.extend([0.001] * 3)
    assert replica.start(0.001) is None
    replica.waiting.append(0.001)
    end, taken = replica.start(0.001) or (0.0, [])
    assert taken == [0.001] * 4
    assert end == pytest.approx(0.002 + 0.004 + 4 * 0.0001 / 2)
    replica.waiting.extend([0.001] * 8)
    assert replica.start(0.001) is None


def test_connections_that_never_rest_get_all_that_a_replica_can_do() -> None:
    took, rate = simulate(BATCHES, 1, 20_000, connections=64)
    assert rate == pytest.approx(BATCHES.capacity, rel=0.05)
    assert statistics.mean(took) == pytest.approx(64 / rate, rel=0.05)  # Little's law
    (alone, slow) = simulate(BATCHES, 1, 1_000, connections=1)
    assert percentile(alone, 0.5) == pytest.approx(2.1)
    assert slow == pytest.approx(1 / 0.0021, rel=0.01)


def test_the_same_seed_gives_the_same_latencies() -> None:
    first, again = (simulate(BATCHES, 5, 5_000, rate=3_000, choose=random_two, seed=3) for _ in range(2))
    assert first == again
    assert first != simulate(BATCHES, 5, 5_000, rate=3_000, choose=random_two, seed=4)


def test_taking_turns_gives_each_replica_the_same() -> None:
    replicas = [Replica(ONE) for _ in range(3)]
    assert [round_robin(replicas, random.Random(0), number) for number in range(6)] == [0, 1, 2, 0, 1, 2]


def test_a_proxy_takes_time_from_the_cores_of_its_node() -> None:
    measured = {"process": {"cpu_ms": 1.0, "p50_ms": 2.0}, "ray-fast": {"cpu_ms": 1.5, "p50_ms": 1.9}}
    ((name, dearer, later),) = prices(measured)
    assert name == "ray-fast"
    assert dearer == pytest.approx(0.0005)
    assert later == 0.0
    slower = replace(BATCHES, proxy=dearer)
    assert 1 / slower.capacity == pytest.approx(1 / BATCHES.capacity + dearer / BATCHES.cores)
    _, rate = simulate(BATCHES, 1, 20_000, connections=64, seed=3)
    _, less = simulate(slower, 1, 20_000, connections=64, seed=3)
    assert 1 / less - 1 / rate == pytest.approx(dearer / BATCHES.cores, rel=0.05)
