"""Prometheus metrics, in its naming: base units, `_total` for counters."""

import os
from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import cache

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

METRICS = "PROMETHEUS_MULTIPROC_DIR"
"""Names the folder in which several processes count."""

MODEL = ("model", "version")
_PICTURES, _SECONDS = "convoscope_batch_pictures", "convoscope_inference_duration_seconds"

REQUESTS = Counter("convoscope_http_requests_total", "Requests answered.", ["method", "route", "status"])
DURATION = Histogram(
    "convoscope_http_request_duration_seconds",
    "Seconds from the request's headers to its answer, ready to be sent.",
    ["method", "route", "status"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
IN_FLIGHT = Gauge("convoscope_http_requests_in_flight", "Requests being worked on.", multiprocess_mode="livesum")
QUEUE = Gauge(
    "convoscope_queue_pictures", "Pictures that wait for the network.", ["model"], multiprocess_mode="livesum"
)
KEYS = Counter(
    "convoscope_key_requests_total",
    "Requests that needed a key or kept to a rate, by the key's name and whether they were admitted.",
    ["key", "outcome"],
)
DROPPED_LINES = Counter("convoscope_dropped_log_lines_total", "Lines that found no room, or a full disk.", ["log"])
BATCH_SIZE = Histogram(
    _PICTURES,
    "Pictures in one inference.",
    ["model"],
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
)
INFERENCE = Histogram(
    _SECONDS,
    "Seconds from the engine's being handed a batch to its answer; one may wait for another.",
    ["model"],
    buckets=(0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1),
)


_SHARES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)

PREDICTIONS = Counter("convoscope_predictions_total", "Pictures by their most probable label.", [*MODEL, "label"])
OOD = Counter("convoscope_predictions_ood_total", "Pictures unlike what the network was trained on (is_ood).", MODEL)
CONFIDENCE = Histogram(
    "convoscope_prediction_confidence", "Probability of a picture's most probable label.", MODEL, buckets=_SHARES
)
OOD_SCORE = Histogram(
    "convoscope_prediction_ood_score", "ood_score; of held-out pictures it is uniform.", MODEL, buckets=_SHARES
)
REFERENCE_OOD_SHARE = Gauge(
    "convoscope_reference_ood_ratio", "Share of held-out pictures with is_ood.", MODEL, multiprocess_mode="max"
)
REFERENCE_CONFIDENCE = Gauge(
    "convoscope_reference_confidence_ratio",
    "Mean confidence that a calibrated network has on held-out pictures: its accuracy.",
    MODEL,
    multiprocess_mode="max",
)
"""`app.inference.statistics` says where the references come from."""


# Every request and every picture is counted without prometheus_client's checks, which take longer than counting. Its
# `_value`, `_upper_bounds`, `_buckets` and `_sum` are not documented; `tests/inference/test_statistics.py` fails first
# when a release changes them.


def observe_all(histogram: Histogram, values: Sequence[float]) -> None:
    """The same as `observe` for each value, but with one addition for each bucket: a batch has many values."""
    bounds = histogram._upper_bounds
    times: dict[int, int] = {}
    for bucket in [bisect_left(bounds, value) for value in values]:
        times[bucket] = times.get(bucket, 0) + 1
    for bucket, count in times.items():
        histogram._buckets[bucket].inc(count)
    histogram._sum.inc(sum(values))


def _observe(histogram: Histogram, value: float) -> None:
    histogram._buckets[bisect_left(histogram._upper_bounds, value)].inc(1)
    histogram._sum.inc(value)


@cache
def answered(method: str, route: str, status: int) -> Callable[[float], None]:
    """What counts an answer that took so many seconds; looking it up costs more than counting."""
    labels = (method, route, str(status))
    answers, duration = REQUESTS.labels(*labels), DURATION.labels(*labels)

    def count(seconds: float) -> None:
        answers._value.inc(1)
        _observe(duration, seconds)

    return count


@cache
def key_asked(key: str, outcome: str) -> Callable[[float], None]:
    """What counts requests of the key of this name in KEYS."""
    counted: Callable[[float], None] = KEYS.labels(key, outcome)._value.inc
    return counted


def set_in_flight(requests: int) -> None:
    """Set IN_FLIGHT, twice for each request."""
    IN_FLIGHT._value.set(requests)


def batch_observer(model: str) -> Callable[[int, float, int], None]:
    """What a batcher calls after each batch, with its size, its seconds, and how many pictures wait meanwhile."""
    size, seconds, queue = BATCH_SIZE.labels(model), INFERENCE.labels(model), QUEUE.labels(model)

    def observe(pictures: int, elapsed: float, waiting: int) -> None:
        _observe(size, pictures)
        _observe(seconds, elapsed)
        queue._value.set(waiting)

    return observe


def computed(model: str) -> tuple[int, int, float]:
    """Pictures, batches and seconds that the network of this name has computed, in all workers together."""
    found = dict.fromkeys((f"{_PICTURES}_sum", f"{_PICTURES}_count", f"{_SECONDS}_sum"), 0.0)
    for sample in (sample for metric in _registry().collect() for sample in metric.samples):
        if sample.name in found and sample.labels.get("model") == model:
            found[sample.name] += sample.value
    pictures, batches, seconds = found.values()
    return int(pictures), int(batches), seconds


def exposition() -> bytes:
    """All metrics in Prometheus' text format; those of all workers, where there are several."""
    return generate_latest(_registry())


def _registry() -> CollectorRegistry:
    if METRICS not in os.environ:
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry
