"""Prometheus metrics, in its naming: base units, `_total` for counters."""

from collections.abc import Callable
from functools import cache

from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Counter("convoscope_http_requests_total", "Requests answered.", ["method", "route", "status"])
DURATION = Histogram(
    "convoscope_http_request_duration_seconds",
    "Seconds from the request's first byte to the answer's last.",
    ["method", "route", "status"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
IN_FLIGHT = Gauge("convoscope_http_requests_in_flight", "Requests being worked on.")
QUEUE = Gauge("convoscope_queue_pictures", "Pictures that wait for the network.", ["model"])
BATCH_SIZE = Histogram(
    "convoscope_batch_pictures",
    "Pictures in one inference.",
    ["model"],
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
)
INFERENCE = Histogram(
    "convoscope_inference_duration_seconds",
    "Seconds of one inference.",
    ["model"],
    buckets=(0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1),
)


@cache
def answered(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    """What to count an answer in; looking it up costs more than counting."""
    labels = (method, route, str(status))
    return REQUESTS.labels(*labels), DURATION.labels(*labels)


def batch_observer(model: str) -> Callable[[int, float], None]:
    """What a batcher calls after each batch, with its size and seconds."""
    size, seconds = BATCH_SIZE.labels(model), INFERENCE.labels(model)

    def observe(pictures: int, elapsed: float) -> None:
        size.observe(pictures)
        seconds.observe(elapsed)

    return observe
