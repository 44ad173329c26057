"""How well a running service does on real photographs, which are not CIFAR-10.

    python -m benchmarks.photographs FOLDER [--url http://127.0.0.1:8000] [--model NAME] [--record]

FOLDER holds a folder of photographs for each label, and `other` for those that show none of the ten. Prints the share
of right answers by label, their mean, how well `ood_score` tells `other` from the rest (area under the ROC curve), and
how many of both are `is_ood`.
`--record` puts the mean and the area on the model card in models/.
"""

import argparse
from pathlib import Path

from app.errors import ConvoscopeError
from convoscope_client import Client
from convoscope_client.models import Prediction


def auroc(typical: list[float], untypical: list[float]) -> float:
    """The chance that a picture of `untypical` scores higher than one of `typical`; a tie counts half."""
    wins = sum((score > other) + (score == other) / 2 for score in untypical for other in typical)
    return wins / (len(typical) * len(untypical))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--model")
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    answers: dict[str, list[Prediction]] = {}
    with Client(options.url) as client:
        for path in sorted(options.folder.glob("*/*")):
            try:
                answer = client.predict(path, model=options.model)
            except ConvoscopeError as error:
                print(f"{path}: {error.detail}")
                continue
            name = answer.model
            answers.setdefault(path.parent.name, []).extend(answer.predictions)
        if not answers:
            parser.exit(
                1, f"{options.folder}: no picture in it was answered; expected a folder of pictures for each label\n"
            )
        graph = client.model(name).files["model.onnx"]
    other = answers.pop("other", [])
    shares = {label: sum(p.label == label for p in found) / len(found) for label, found in answers.items()}
    for label, share in shares.items():
        print(f"{label:12} {share:6.1%} of {len(answers[label])}")
    mean = sum(shares.values()) / len(shares)
    print(f"{'mean':12} {mean:6.1%}")
    found = {"mean_per_class": mean, "count": sum(map(len, answers.values())), "labels": len(shares)}
    if other:
        known = [p for predictions in answers.values() for p in predictions]
        area = auroc([p.ood_score for p in known], [p.ood_score for p in other])
        flagged, among = (sum(p.is_ood for p in part) for part in (other, known))
        print(f"{'AUROC':12} {area:6.3f} of ood_score against {len(other)} others")
        print(f"{'is_ood':12} {flagged} of the {len(other)} others, {among} of the {len(known)}")
        found |= {"auroc": area, "others": len(other)}
    if options.record:
        from training.release import artifact  # needs TensorFlow, which measuring does not

        artifact.record(Path("models") / name, "photographs", found, graph=graph)


if __name__ == "__main__":
    main()
