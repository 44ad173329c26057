"""What a network has predicted, for Prometheus: its labels, its confidence, and how untypical its pictures were.

Three references make drift a query. By its definition `ood_score` is uniform over held-out pictures, so that the share
of them up to any bound is that bound; the share that is called out of distribution is then one minus the threshold; and
the mean confidence of a calibrated network is its accuracy (Guillory et al. 2021 predict accuracy by that).
"""

from collections.abc import Sequence

from app import metrics
from app.inference.metadata import Metadata
from app.inference.prediction import Scores

MOST_LABELS = 100
"""Labels that are counted by name, so that a network of 1,000 does not make as many time series."""

OTHER = "(other)"
"""What the labels after these are counted as, of a network that has more."""


class Statistics:
    """Counts the predictions of one network; all its processes' counts are added up."""

    def __init__(self, metadata: Metadata) -> None:
        self._model = (metadata.name, metadata.version)
        self._labels = counted_labels(metadata.labels)
        self._predictions = [metrics.PREDICTIONS.labels(*self._model, label) for label in self._labels]
        self._confidence = metrics.CONFIDENCE.labels(*self._model)
        known = metadata.out_of_distribution
        self._threshold = known.threshold if known else None
        if known:
            self._ood_score = metrics.OOD_SCORE.labels(*self._model)
            self._ood = metrics.OOD.labels(*self._model)
            metrics.REFERENCE_OOD_SHARE.labels(*self._model).set(1 - known.threshold)
        if metadata.accuracy.validation is not None:
            metrics.REFERENCE_CONFIDENCE.labels(*self._model).set(metadata.accuracy.validation)

    def count(self, found: Sequence[Scores]) -> None:
        """Count one batch's predictions. Safe to call from any thread."""
        labels: dict[int, int] = {}
        last = len(self._predictions) - 1
        for scores in found:
            label = min(scores.order[0], last)
            labels[label] = labels.get(label, 0) + 1
        for label, times in labels.items():
            self._predictions[label].inc(times)
        metrics.observe_all(self._confidence, [scores.probabilities[scores.order[0]] for scores in found])
        threshold = self._threshold
        if threshold is not None:
            ood = [scores.ood_score for scores in found if scores.ood_score is not None]
            metrics.observe_all(self._ood_score, ood)
            if unlike := sum([score > threshold for score in ood]):
                self._ood.inc(unlike)


def counted_labels(labels: Sequence[str]) -> list[str]:
    """What each label is counted as; the last stands for all that follow."""
    return list(labels) if len(labels) <= MOST_LABELS else [*labels[: MOST_LABELS - 1], OTHER]
