"""What the benchmark of photographs makes of a service's answers."""

import pytest

from benchmarks.photographs import auroc, calibration_error, fpr_at_95, judged, recorded
from convoscope_client.models import Prediction


def said(label: str, probability: float = 0.9, ood_score: float = 0.1) -> Prediction:
    return Prediction(
        label=label, index=0, probability=probability, ood_score=ood_score, is_ood=ood_score > 0.95, top=[]
    )


def test_the_area_is_the_share_of_pairs_in_the_right_order() -> None:
    assert auroc([0.1, 0.4], [0.3, 0.4]) == (1 + 1 + 0 + 0.5) / 4


def test_the_others_that_pass_where_95_percent_of_the_known_do() -> None:
    known = [i / 100 for i in range(101)]
    assert fpr_at_95(known, [0.2, 0.9, 0.96, 0.99]) == 0.5
    assert fpr_at_95([0.1], [0.2]) == 0


def test_a_calibration_error_is_the_gap_between_what_was_said_and_what_was_right() -> None:
    assert calibration_error([0.8] * 10, [True] * 8 + [False] * 2) == pytest.approx(0)
    assert calibration_error([0.9, 0.9, 0.3, 1.0], [True, False, False, True]) == pytest.approx((0.8 + 0.3 + 0) / 4)


def test_answers_are_judged_by_their_folders() -> None:
    answers = {
        "cat": [said("cat"), said("dog"), said("cat"), said("cat")],
        "dog": [said("dog", ood_score=0.97)],
        "other": [said("cat", ood_score=0.99), said("dog", ood_score=0.5)],
    }
    found = judged(answers)
    assert (found.per_label, found.mean, found.right) == ({"cat": 0.75, "dog": 1}, 0.875, 0.8)
    assert found.ood == {"auroc": 0.9, "fpr_at_95": pytest.approx(0.5), "others": 1, "known": 1}
    assert found.ood is not None
    assert recorded(found, answers) == {
        "mean_per_class": 0.875,
        "count": 5,
        "labels": 2,
        "auroc": 0.9,
        "fpr_at_95": found.ood["fpr_at_95"],
        "others": 2,
    }
    known = {"cat": answers["cat"]}
    assert judged(known).ood is None
    assert recorded(judged(known), known) == {"mean_per_class": 0.75, "count": 4, "labels": 1}
