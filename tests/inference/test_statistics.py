import json
from typing import Any

import numpy as np
import pytest
from prometheus_client import REGISTRY, CollectorRegistry, Histogram

from app import metrics
from app.inference.metadata import Metadata
from app.inference.prediction import scores
from app.inference.statistics import MOST_LABELS, OTHER, Statistics, counted_labels
from tests.conftest import MODELS


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


@pytest.fixture
def metadata() -> Metadata:
    found: dict[str, Any] = json.loads((MODELS / "fast" / "metadata.json").read_text())
    found |= {"name": "counted", "version": "7"}
    found["calibration"]["temperature"] = 1.0
    found["out_of_distribution"] |= {"quantiles": [0.0, 1.0], "threshold": 0.9}
    return Metadata.model_validate(found)


def test_a_batch_is_counted_by_label_confidence_and_typicality(metadata: Metadata) -> None:
    logits = np.log(np.full((4, 10), 0.05, np.float32))
    logits[:3, 3] = np.log(0.55)
    logits[3, 9] = np.log(0.55)
    found = scores(metadata, logits, np.array([0.95, 0.5, 0.05, 0.05], np.float32))
    Statistics(metadata).count(found)
    model = {"model": "counted", "version": "7"}
    assert value("convoscope_predictions_total", label=metadata.labels[3], **model) == 3
    assert value("convoscope_predictions_total", label=metadata.labels[9], **model) == 1
    assert value("convoscope_predictions_total", label=metadata.labels[0], **model) == 0
    assert value("convoscope_predictions_ood_total", **model) == 2
    assert value("convoscope_prediction_confidence_count", **model) == 4
    assert value("convoscope_prediction_confidence_sum", **model) == pytest.approx(4 * 0.55)
    assert value("convoscope_prediction_confidence_bucket", le="0.5", **model) == 0
    assert value("convoscope_prediction_confidence_bucket", le="0.6", **model) == 4
    scored = [value("convoscope_prediction_ood_score_bucket", le=le, **model) for le in ("0.1", "0.5", "0.95")]
    assert scored == [1, 2, 4]
    assert value("convoscope_reference_ood_ratio", **model) == pytest.approx(0.1)
    assert value("convoscope_reference_confidence_ratio", **model) == metadata.accuracy.validation


def test_many_values_at_once_are_observed_as_one_by_one_would_be() -> None:
    registry = CollectorRegistry()
    one, all_ = (Histogram(name, "x", buckets=(0.1, 0.5, 1.0), registry=registry) for name in ("one", "all"))
    values = [0.0, 0.1, 0.10001, 0.5, 0.7, 1.0, 2.0]
    metrics.observe_all(all_, values)
    for observed in values:
        one.observe(observed)
    samples: list[tuple[str, dict[str, str]]] = [("count", {}), ("sum", {})]
    samples += [("bucket", {"le": le}) for le in ("0.1", "0.5", "1.0", "+Inf")]
    for suffix, labels in samples:
        found = registry.get_sample_value(f"all_{suffix}", labels)
        assert found == registry.get_sample_value(f"one_{suffix}", labels)
        assert found is not None


def test_an_answer_is_counted_with_its_duration() -> None:
    labels = {"method": "GET", "route": "/counted", "status": "200"}
    for seconds in (0.001, 0.0011, 20.0):
        metrics.answered("GET", "/counted", 200)(seconds)
    metrics.set_in_flight(3)
    name = "convoscope_http_request_duration_seconds"
    assert [value(f"{name}_bucket", le=le, **labels) for le in ("0.001", "0.0025", "10.0")] == [1, 2, 2]
    assert value(f"{name}_count", **labels) == 3
    assert value(f"{name}_sum", **labels) == pytest.approx(20.0021)
    assert value("convoscope_http_requests_total", **labels) == 3
    assert value("convoscope_http_requests_in_flight") == 3
    metrics.set_in_flight(0)


def test_a_batch_is_observed_with_what_waits_meanwhile() -> None:
    observe = metrics.batch_observer("observed")
    observe(3, 0.02, 5)
    observe(32, 0.04, 1)
    for name, total in (("batch_pictures", 35), ("inference_duration_seconds", 0.06)):
        assert value(f"convoscope_{name}_sum", model="observed") == pytest.approx(total)
        assert value(f"convoscope_{name}_count", model="observed") == 2
    assert value("convoscope_batch_pictures_bucket", le="4.0", model="observed") == 1
    assert value("convoscope_queue_pictures", model="observed") == 1


def test_the_number_of_time_series_is_bounded() -> None:
    labels = [f"label {index}" for index in range(1000)]
    counted = counted_labels(labels)
    assert len(counted) == MOST_LABELS
    assert (counted[:-1], counted[-1]) == (labels[: MOST_LABELS - 1], OTHER)
    assert counted_labels(labels[:MOST_LABELS]) == labels[:MOST_LABELS]
