"""How well a running service does on real photographs, which are not CIFAR-10.

    python -m benchmarks.photographs FOLDER [--url http://127.0.0.1:8000] [--model NAME] [--views 1 2 14] [--record]

FOLDER holds a folder of photographs for each label, and `other` for those that show none of the ten. Prints, for each
number of `views`, the share of right answers by label, their mean, the share of all photographs, the calibration error,
and how well `ood_score` tells `other` from the rest: the area under the ROC curve, the share of the others that pass
where 95 % of the rest do (FPR at 95 %), and how many of both are `is_ood`.
`--record` puts the mean and the area with one view on the model card in models/.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from app.errors import ConvoscopeError
from convoscope_client import Client
from convoscope_client.models import Prediction
from training.release import records

Answers = dict[str, list[Prediction]]
"""What was answered to the photographs of each folder."""


def auroc(typical: Sequence[float], untypical: Sequence[float]) -> float:
    """The chance that a picture of `untypical` scores higher than one of `typical`; a tie counts half."""
    wins = sum((score > other) + (score == other) / 2 for score in untypical for other in typical)
    return wins / (len(typical) * len(untypical))


def fpr_at_95(typical: Sequence[float], untypical: Sequence[float]) -> float:
    """The share of `untypical` pictures that score no higher than the threshold that 95 % of `typical` ones pass."""
    return float(np.mean(np.asarray(untypical) <= np.quantile(typical, 0.95)))


@dataclass(frozen=True)
class Found:
    """What a network's answers are worth; shares in [0, 1]."""

    per_label: dict[str, float]
    right: float
    calibration_error: float
    ood: dict[str, float] | None
    """`auroc`, `fpr_at_95`, and how many of the `others` and of the `known` are `is_ood`; None without `other`."""

    @property
    def mean(self) -> float:
        """Of the labels."""
        return sum(self.per_label.values()) / len(self.per_label)


def judged(answers: Answers) -> Found:
    """`answers` by the true label, or `other`."""
    known = [(p, p.label == label) for label, found in answers.items() for p in found if label != "other"]
    right = [is_right for _, is_right in known]
    others = answers.get("other", [])
    scores = [p.ood_score or 0.0 for p, _ in known], [p.ood_score or 0.0 for p in others]
    ood = None
    if others:
        flagged, among = sum(bool(p.is_ood) for p in others), sum(bool(p.is_ood) for p, _ in known)
        ood = {"auroc": auroc(*scores), "fpr_at_95": fpr_at_95(*scores), "others": flagged, "known": among}
    per_label = {
        label: sum(p.label == label for p in found) / len(found) for label, found in answers.items() if label != "other"
    }
    return Found(per_label, sum(right) / len(right), calibration_error([p.probability for p, _ in known], right), ood)


def calibration_error(probabilities: Sequence[float], right: Sequence[bool], bins: int = 15) -> float:
    """The expected calibration error: by how much probability and accuracy differ, in the mean over the bins."""
    confidence, correct = np.asarray(probabilities), np.asarray(right, float)
    places = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [abs((confidence - correct)[places == place].sum()) for place in range(bins)]
    return float(sum(gaps) / len(correct))


def ask(client: Client, folder: Path, model: str | None, views: int) -> tuple[str, Answers]:
    """The network's name, and its answers to the photographs of each folder in `folder`."""
    name, answers = "", Answers()
    for path in sorted(folder.glob("*/*")):
        try:
            answer = client.predict(path, model=model, views=views)
        except ConvoscopeError as error:
            print(f"{path}: {error.detail}")
            continue
        name = answer.model
        answers.setdefault(path.parent.name, []).extend(answer.predictions)
    return name, answers


def show(found: Found, answers: Answers) -> None:
    """Print it."""
    for label, share in found.per_label.items():
        print(f"{label:12} {share:6.1%} of {len(answers[label])}")
    print(f"{'mean':12} {found.mean:6.1%}, {found.right:.1%} of all")
    print(f"{'calibration':12} {found.calibration_error:6.1%} error")
    if found.ood:
        others = len(answers["other"])
        known = sum(map(len, answers.values())) - others
        print(f"{'AUROC':12} {found.ood['auroc']:6.3f} of ood_score against {others} others")
        print(f"{'FPR at 95 %':12} {found.ood['fpr_at_95']:6.1%}")
        print(f"{'is_ood':12} {found.ood['others']} of the {others} others, {found.ood['known']} of the {known}")


def recorded(found: Found, answers: Answers) -> dict[str, Any]:
    """What the model card keeps."""
    others = len(answers.get("other", []))
    known = sum(map(len, answers.values())) - others
    kept: dict[str, Any] = {"mean_per_class": found.mean, "count": known, "labels": len(found.per_label)}
    if found.ood:
        kept |= {"auroc": found.ood["auroc"], "fpr_at_95": found.ood["fpr_at_95"], "others": others}
    return kept


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--model")
    parser.add_argument("--views", type=int, nargs="+", default=[1], help="views to try (default: 1)")
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args(arguments)
    if options.record and 1 not in options.views:
        parser.error("--record keeps the figures of one view; expected 1 among --views")
    with Client(options.url) as client:
        for views in options.views:
            name, answers = ask(client, options.folder, options.model, views)
            if not answers.keys() - {"other"}:
                expected = "expected a folder of pictures for each label"
                parser.exit(1, f"{options.folder}: no picture of a label in it was answered; {expected}\n")
            found = judged(answers)
            print(f"\n{name}, views: {views}")
            show(found, answers)
            if options.record and views == 1:
                graph = client.model(name).files["model.onnx"]
                records.record(Path("models") / name, "photographs", recorded(found, answers), graph=graph)


if __name__ == "__main__":
    main()
