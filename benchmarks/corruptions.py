"""How well networks do on corrupted pictures: CIFAR-10-C's fifteen corruptions at five severities, as served.

    python -m benchmarks.corruptions [NAME ...] [--subset [PICTURES]] [--precision float32] [--output FOLDER] [--record]

Corrupts the test pictures (`benchmarks/cifar10c.py`) and asks the service's own engine about them, at the calibration
that the artifact ships with. Prints each network's accuracy and calibration error by corruption. The same pictures come
out at every run. --subset takes the first test pictures, 400 by default: about a minute for `fast`, with an error of
the mean of about one point. --output writes robustness.md, robustness.json and robustness.png there; --record puts
the means on the model cards in models/, with how well `ood_score` tells the pictures from pictures of nothing
(`benchmarks/nothing.py`).
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from app.inference.artifact import Place, places, read
from app.inference.engine import Engine, supported_precision
from app.inference.metadata import PrecisionName
from app.inference.prediction import ood_scores, probabilities
from benchmarks import nothing
from benchmarks.cifar10c import BLOCK, CORRUPTIONS, SEVERITIES, corrupt
from benchmarks.photographs import auroc
from training import data
from training.data import Pictures
from training.release import records
from training.release.calibrate import reliability

MODELS = Path(__file__).parent.parent / "models"
Probabilities = NDArray[np.float64]
"""Calibrated probabilities (N, labels)."""

BATCH = 64
"""Pictures that the engine computes at a time."""

FAR = 1000
"""Pictures of nothing, of each kind, and at most as many test pictures."""


@dataclass(frozen=True)
class Level:
    """Shares in [0, 1] of one corruption at one severity."""

    accuracy: float
    calibration_error: float


SET_ASIDE = (0.0, 0.05, 0.1, 0.2)
"""Shares of the pictures, the least sure ones, that somebody may look at instead of trusting the network."""


@dataclass(frozen=True)
class Report:
    """One network on `pictures` test pictures, `clean` and by the corruption's name at severities 1 to 5.

    `doubt` has the accuracies of what is left when SET_ASIDE of the pictures are set aside, of the clean ones and of
    all corrupted ones together.
    """

    network: str
    version: str
    precision: str
    pictures: int
    clean: Level
    corrupted: dict[str, list[Level]]
    doubt: dict[str, list[float]]

    @property
    def mean(self) -> Level:
        """Over all corruptions and severities."""
        return _mean([level for levels in self.corrupted.values() for level in levels])


def _mean(levels: Sequence[Level]) -> Level:
    return Level(*np.mean([(level.accuracy, level.calibration_error) for level in levels], axis=0).tolist())


class Served:
    """A network of the models folder, in the precision that the service would choose on this machine."""

    def __init__(self, name: str, precision: PrecisionName | None = None, models: Path = MODELS) -> None:
        found = read(models, Place(name))
        self.metadata = found.metadata
        self.precision = supported_precision(precision or "auto", self.metadata.precision.exact)
        self._engine = Engine(found.graph(self.precision), precision=self.precision)

    def probabilities(self, images: NDArray[np.uint8]) -> Probabilities:
        """What it answers to pictures (N, 32, 32, 3)."""
        logits = np.concatenate([self._engine.logits(batch) for batch in _batches(images)])
        return probabilities(logits, self.metadata.temperature)

    def ood_scores(self, images: NDArray[np.uint8]) -> NDArray[np.float64] | None:
        """How untypical it calls pictures (N, 32, 32, 3); None where it cannot tell."""
        known = self.metadata.out_of_distribution
        if known is None or not self._engine.has_typicality:
            return None
        asked = [self._engine.submit(batch, lambda _, typicality: typicality) for batch in _batches(images)]
        return ood_scores(np.concatenate([found.result() for found in asked]), known.quantiles)


def _batches(images: NDArray[np.uint8]) -> Iterator[list[NDArray[np.uint8]]]:
    return (list(images[start : start + BATCH]) for start in range(0, len(images), BATCH))


def measure(networks: Sequence[Served], pictures: Pictures) -> list[Report]:
    """Every network on the same pictures, clean and corrupted."""
    clean = [network.probabilities(pictures.images) for network in networks]
    answers: list[dict[str, list[Probabilities]]] = [{} for _ in networks]
    for name, severity in ((name, severity) for name in CORRUPTIONS for severity in SEVERITIES):
        images = corrupt(pictures.images, name, severity)
        for network, corrupted in zip(networks, answers, strict=True):
            corrupted.setdefault(name, []).append(network.probabilities(images))
    return [report(*given, pictures.labels) for given in zip(networks, clean, answers, strict=True)]


def report(
    network: Served, clean: Probabilities, corrupted: dict[str, list[Probabilities]], labels: NDArray[np.uint8]
) -> Report:
    """What a network's answers (N, labels) to the same pictures, clean and corrupted, are worth."""
    together = np.concatenate([found for answers in corrupted.values() for found in answers])
    about = network.metadata
    return Report(
        network=about.name,
        version=about.version,
        precision=network.precision,
        pictures=len(labels),
        clean=_level(clean, labels),
        corrupted={name: [_level(found, labels) for found in answers] for name, answers in corrupted.items()},
        doubt={
            "clean": risk_coverage(clean, labels),
            "corrupted": risk_coverage(together, np.resize(labels, len(together))),
        },
    )


def _level(found: Probabilities, labels: NDArray[np.uint8]) -> Level:
    return Level(float(np.mean(found.argmax(axis=1) == labels)), reliability(found, labels).error)


def risk_coverage(found: Probabilities, labels: NDArray[np.uint8]) -> list[float]:
    """Accuracy once SET_ASIDE of the pictures, those with the least top probability, are set aside."""
    surest = np.argsort(-found.max(axis=1), kind="stable")
    right = (found.argmax(axis=1) == labels)[surest]
    return [float(right[: max(1, round(len(right) * (1 - share)))].mean()) for share in SET_ASIDE]


def far(network: Served, images: NDArray[np.uint8]) -> dict[str, float]:
    """The area under the ROC curve of `ood_score`, the first FAR of `images` against each of `nothing.KINDS`."""
    typical = network.ood_scores(images[:FAR])
    if typical is None:
        return {}
    strange = {kind: network.ood_scores(nothing.draw(kind, FAR)) for kind in nothing.KINDS}
    return {kind: auroc(typical.tolist(), found.tolist()) for kind, found in strange.items() if found is not None}


def recorded(report: Report, far: Mapping[str, float]) -> dict[str, Any]:
    """What the model card keeps: `app.inference.metadata.Corrupted` without its date."""
    by_severity = [_mean(levels).accuracy for levels in zip(*report.corrupted.values(), strict=True)]
    found = {
        "accuracy": report.mean.accuracy,
        "calibration_error": report.mean.calibration_error,
        "by_severity": by_severity,
        "by_corruption": {name: _mean(levels).accuracy for name, levels in report.corrupted.items()},
        "doubt": {"set_aside": list(SET_ASIDE), **report.doubt},
        "far": dict(far),
    }
    return {**_rounded(found), "pictures": report.pictures, "precision": report.precision}


def _rounded(found: Any) -> Any:
    """Every number to five places."""
    if isinstance(found, Mapping):
        return {name: _rounded(value) for name, value in found.items()}
    return [_rounded(value) for value in found] if isinstance(found, list) else round(found, 5)


def table(report: Report) -> str:
    """Markdown: accuracy at each severity, its mean and the mean calibration error, by corruption."""
    head = ("corruption", *map(str, SEVERITIES), "mean", "calibration error")
    rows = [head, ("---",) * len(head)]
    rows += [_row(name.replace("_", " "), levels) for name, levels in report.corrupted.items()]
    severities = [_mean(levels) for levels in zip(*report.corrupted.values(), strict=True)]
    rows.append(_row("**mean**", severities))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _row(name: str, levels: Sequence[Level]) -> tuple[str, ...]:
    mean = _mean(levels)
    return (name, *(f"{level.accuracy:.1%}" for level in (*levels, mean)), f"{mean.calibration_error:.1%}")


def page(reports: Sequence[Report], command: str) -> str:
    """The documentation's page: what was measured, a summary, and a table for each network."""
    summary = [
        f"| `{report.network}`, version {report.version}, {report.precision} | "
        + " | ".join(f"{level.accuracy:.2%} | {level.calibration_error:.1%}" for level in (report.clean, report.mean))
        + " |"
        for report in reports
    ]
    doubts = [
        f"| `{report.network}`, {kind} | {' | '.join(f'{share:.1%}' for share in accuracies)} |"
        for report in reports
        for kind, accuracies in report.doubt.items()
    ]
    tables = [f"## {report.network}\n\n{table(report)}\n" for report in reports]
    about = _ABOUT.format(count=reports[0].pictures, command=command)
    return "\n".join([about, *summary, _DOUBT, *doubts, "", *tables])


_ABOUT = """# How robust the networks are

Written by `{command}`.

The fifteen corruptions of CIFAR-10-C (Hendrycks and Dietterich 2019) at five severities, on the first {count:,} test
pictures, through the engine that serves them, one forward pass each. The parameters are the published ones. Frost uses
textures made by this repository, as the published ones are photographs. No network was trained or chosen on these
corruptions or on the test pictures. Calibration error is the expected calibration error (15 bins) of the probabilities
that `/predict` gives.

![Accuracy against severity](robustness.png)

| network | clean accuracy | calibration error | mean accuracy, corrupted | calibration error |
| --- | --- | --- | --- | --- |"""


_DOUBT = """
## When to doubt

Accuracy when the pictures that a network is least sure of, by the top probability, are set aside.

| pictures | none set aside | 5% | 10% | 20% |
| --- | --- | --- | --- | --- |"""


def plot(reports: Sequence[Report], path: Path) -> None:
    """Accuracy against severity, a panel for each corruption, a line for each network; severity 0 is clean."""
    figure = Figure(figsize=(10, 6.4), layout="constrained")
    axes = figure.subplots(3, 5, sharex=True, sharey=True)
    for panel, name in zip(axes.flat, CORRUPTIONS, strict=True):
        for report in reports:
            accuracies = [level.accuracy for level in (report.clean, *report.corrupted[name])]
            panel.plot(range(6), [100 * accuracy for accuracy in accuracies], label=report.network)
        panel.set_title(name.replace("_", " "), loc="left", fontsize=9)
        panel.set(ylim=(0, 100), xticks=range(6))
        panel.grid(color="#d9dfe5", linewidth=0.6)
        panel.spines[["top", "right"]].set_visible(False)
    figure.supxlabel("severity (0: clean)")
    figure.supylabel("accuracy, %")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper right", ncols=len(reports), frameon=False)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def write(reports: Sequence[Report], command: str, folder: Path) -> None:
    """The page, its plot and all figures."""
    folder.mkdir(parents=True, exist_ok=True)
    plot(reports, folder / "robustness.png")
    (folder / "robustness.md").write_text(page(reports, command))
    (folder / "robustness.json").write_text(json.dumps([asdict(report) for report in reports], indent=1) + "\n")


def _lines(report: Report) -> Iterator[str]:
    yield f"\n{report.network}, version {report.version}, {report.precision}, {report.pictures:,} test pictures\n"
    yield table(report)
    for kind, level in (("clean", report.clean), ("corrupted", report.mean)):
        yield f"{kind}: accuracy {level.accuracy:.2%}, calibration error {level.calibration_error:.2%}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="networks (default: all)")
    parser.add_argument("--subset", nargs="?", type=int, const=4 * BLOCK, metavar="PICTURES", help="the first of them")
    parser.add_argument("--precision", choices=get_args(PrecisionName), help="default: what the service would choose")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="write the documentation's page there")
    parser.add_argument("--record", action="store_true", help="put the means on the cards in models/")
    options = parser.parse_args(arguments)
    if options.subset is not None and options.subset < 1:
        parser.error(f"--subset is {options.subset}; expected 1 or more")
    served = [Served(name, options.precision) for name in options.names or [place.name for place in places(MODELS)]]
    test = data.load_test(data.find())
    pictures = Pictures(test.images[: options.subset], test.labels[: options.subset])
    reports = measure(served, pictures)
    print("\n".join(line for report in reports for line in _lines(report)))
    if options.output:
        subset = f" --subset {options.subset}" if options.subset else ""
        names = "".join(f" {name}" for name in options.names)
        write(reports, f"python -m benchmarks.corruptions{names}{subset} --output {options.output}", options.output)
    if options.record:
        for network, found in zip(served, reports, strict=True):
            kept = recorded(found, far(network, pictures.images))
            graph = network.metadata.files["model.onnx"]
            records.record(MODELS / found.network, "corrupted", kept, graph=graph)


if __name__ == "__main__":
    main()
