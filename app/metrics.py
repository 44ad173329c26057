"""Prometheus metrics, in its naming: base units, `_total` for counters."""

import os
from collections.abc import Callable
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

METRICS = "PROMETHEUS_MULTIPROC_DIR"
"""Names the folder in which several processes count."""

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
BATCH_SIZE = Histogram(
    "convoscope_batch_pictures",
    "Pictures in one inference.",
    ["model"],
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
)
INFERENCE = Histogram(
    "convoscope_inference_duration_seconds",
    "Seconds from the engine's being handed a batch to its answer; one may wait for another.",
    ["model"],
    buckets=(0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1),
)


@cache
def answered(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    """What to count an answer in; looking it up costs more than counting."""
    labels = (method, route, str(status))
    return REQUESTS.labels(*labels), DURATION.labels(*labels)


def batch_observer(model: str) -> Callable[[int, float, int], None]:
    """What a batcher calls after each batch, with its size, its seconds, and how many pictures wait meanwhile."""
    size, seconds, queue = BATCH_SIZE.labels(model), INFERENCE.labels(model), QUEUE.labels(model)

    def observe(pictures: int, elapsed: float, waiting: int) -> None:
        size.observe(pictures)
        seconds.observe(elapsed)
        queue.set(waiting)

    return observe


def exposition() -> bytes:
    """All metrics in Prometheus' text format; those of all workers, where there are several."""
    if METRICS not in os.environ:
        return generate_latest()
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
