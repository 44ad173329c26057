"""How faithful the maps of /explain are: what hiding their hottest pixels does to the label, and showing them alone.

    python -m benchmarks.explanations [NAME ...] [--subset 500] [--photographs FOLDER] [--held-out] [--output FOLDER]

The deletion and insertion games of Petsiuk et al. 2018, played with each method of /explain in the precision that is
served, on the first test pictures; hidden pixels are grey. A map that knows what the network looks at lowers the
label's probability more, when its hottest pixels are hidden, than a hole in the middle does, and keeps more of it when
they alone are shown. Prints both probabilities at 30 % of the pixels, by how much they beat the middle's with the
standard error of that, the areas under the whole curves, and the time of a map.

Alongside the methods: the middle and edges, which know nothing of the network; a map that is moved; RISE; Score-CAM at
three depths; occlusion by patches of several sizes. --held-out takes held-out training pictures, by which the default
method was chosen, instead of test pictures; --output draws the curves.
"""

import argparse
import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from app import imaging
from app.inference.artifact import Place, places, read
from app.inference.engine import Activations, Engine, supported_precision, weights
from app.inference.metadata import Metadata
from app.inference.prediction import Scores, scores
from app.interpret import class_activation, lime, occlusion
from app.interpret.attribution import Map, enlarged, patches
from app.interpret.explain import METHODS
from app.interpret.question import Question
from training import data

MODELS = Path(__file__).parent.parent / "models"
Pictures = NDArray[np.uint8]
Method = Callable[[Question], Coroutine[Any, Any, Map]]

SHARES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Of the pixels that are hidden, or shown."""
AT = SHARES.index(0.3)
BATCH = 32
"""Pictures that the engine computes at a time, as the service does."""


class Served:
    """A network as the service asks it about one picture after the other."""

    def __init__(self, name: str) -> None:
        found = read(MODELS, Place(name))
        self.metadata: Metadata = found.metadata
        self.precision = supported_precision("auto", self.metadata.precision.exact)
        self._engine = Engine(found.graph(self.precision), precision=self.precision)
        names = [layer.name for layer in self.metadata.layers]
        self._activations = Activations(found.graph, names)
        self._weights = weights(found.graph())

    def scores(self, pictures: Pictures) -> list[Scores]:
        """Of pictures (N, size, size, channels)."""
        batches = [pictures[start : start + BATCH] for start in range(0, len(pictures), BATCH)]
        logits = np.concatenate([self._engine.logits(list(batch)) for batch in batches])
        return scores(self.metadata, logits, None)

    def question(self, picture: Pictures) -> Question:
        """About a picture and its most probable label."""
        (found,) = self.scores(picture[None])

        async def asked(pictures: Pictures) -> Sequence[Scores]:
            return self.scores(pictures)

        async def activations(layers: Sequence[str]) -> Mapping[str, NDArray[np.float32]]:
            return self._activations(picture, layers)

        async def learned() -> Mapping[str, NDArray[np.floating]]:
            return self._weights

        index, side = found.order[0], self.metadata.input.size
        options = {"grid": 8, "size": side // 4, "max_views": 256}
        ways = {"scores": asked, "activations": activations, "weights": learned}
        return Question(self.metadata, picture, index, found.probabilities[index], **options, **ways)  # type: ignore[arg-type]


async def middle(question: Question) -> Map:
    """Hottest in the middle of every picture."""
    places = np.arange(question.side) - (question.side - 1) / 2
    return np.asarray(-np.hypot(places[:, None], places))


async def edges(question: Question) -> Map:
    """The length of the gradient of the mean of the channels."""
    return np.asarray(np.hypot(*np.gradient(question.picture.mean(axis=2))))


def moved(method: Method) -> Method:
    """The method's map, moved by half the picture in both directions, round its edges."""

    async def ask(question: Question) -> Map:
        return np.roll(await method(question), (question.side // 2, question.side // 2), axis=(0, 1))

    return ask


async def rise(question: Question) -> Map:
    """RISE (Petsiuk et al. 2018) with the masks of `lime`: their mean, weighted by the label's probability."""
    shown = lime.plan(lime.MASKS).shown
    found = await question.scores(lime.behind(question.picture, shown, question.neutral))
    probabilities = np.array([scored.probabilities[question.index] for scored in found])
    return enlarged(np.tensordot(probabilities, shown, 1), None, question.side)


async def occlusions(question: Question) -> Map:
    """The sum of occlusion maps with patches of a quarter, three and four eighths of the side."""
    maps = []
    for size in (question.side // 4, question.side * 3 // 8, question.side // 2):
        maps.append(occlusion.mean_drops(await question.without(patches(8, size, question.side), size), question.side))
    return np.asarray(np.sum(maps, axis=0))


def score_cam(depth: float) -> Method:
    """Score-CAM (Wang et al. 2020) of the layer at a depth of 0 to 1 among those that have maps."""

    async def ask(question: Question) -> Map:
        maps = [layer for layer in question.metadata.layers if len(layer.output_shape) == 3]
        layer = maps[round(depth * (len(maps) - 1))]
        values = (await question.activations([layer.name]))[layer.name]
        return await class_activation.score_cam(question, values, layer.receptive_field)

    return ask


def served(name: str) -> Method:
    """A method of /explain."""

    async def ask(question: Question) -> Map:
        return (await METHODS[name](question)).heat  # type: ignore[index]

    return ask


CANDIDATES: dict[str, Method] = {
    "middle": middle,
    "edges": edges,
    **{name: served(name) for name in METHODS},
    "lime, moved": moved(served("lime")),
    "rise": rise,
    "occlusion, three sizes": occlusions,
    **{f"score-cam at {depth:.0%}": score_cam(depth) for depth in (0.5, 0.75, 1)},
}


@dataclass(frozen=True)
class Curves:
    """Probabilities (pictures, shares) of the labels with the hottest SHARES of pixels hidden, and alone shown."""

    hidden: NDArray[np.float64]
    shown: NDArray[np.float64]
    seconds: float = 0.0
    """Of one map, the median."""

    def line(self, name: str, middle: "Curves") -> str:
        """A row of the table."""
        gains = middle.hidden[:, AT] - self.hidden[:, AT], self.shown[:, AT] - middle.shown[:, AT]
        figures = [f"{gain.mean():+.3f} ± {gain.std() / len(gain) ** 0.5:.3f}" for gain in gains]
        areas = [np.trapezoid(curve.mean(axis=0), SHARES) for curve in (self.hidden, self.shown)]
        return (
            f"{name:24} {self.hidden[:, AT].mean():6.3f} {self.shown[:, AT].mean():6.3f}   {'   '.join(figures)}   "
            f"{areas[0]:6.3f} {areas[1]:6.3f} {1000 * self.seconds:7.0f}"
        )


def measure(network: Served, pictures: Pictures) -> dict[str, Curves]:
    """The curves of every candidate that the network can be asked by."""
    questions = [network.question(picture) for picture in pictures]
    return {name: _curves(network, questions, method) for name, method in CANDIDATES.items()}


def _curves(network: Served, questions: Sequence[Question], method: Method) -> Curves:
    found, seconds = [], []
    for question in questions:
        start = time.perf_counter()
        heat = asyncio.run(method(question))
        seconds.append(time.perf_counter() - start)
        found.append(play(network, question, heat))
    hidden, shown = np.array(found).transpose(1, 0, 2)
    return Curves(hidden, shown, float(np.median(seconds)))


def play(network: Served, question: Question, heat: Map) -> tuple[list[float], list[float]]:
    """The label's probabilities with the hottest SHARES of pixels hidden, and alone shown."""
    ranks = np.argsort(np.argsort(-heat.ravel(), kind="stable")).reshape(heat.shape)
    hot = np.array([ranks < round(share * heat.size) for share in SHARES])[..., None]
    views = [np.where(cover, question.neutral, question.picture) for cover in (hot, ~hot)]
    found = [scored.probabilities[question.index] for scored in network.scores(np.concatenate(views))]
    return found[: len(SHARES)], found[len(SHARES) :]


def table(found: Mapping[str, Curves]) -> str:
    """A row for each candidate."""
    head = f"{'':24} hidden  shown   better than the middle by          area, hidden, shown  ms/map"
    return "\n".join([head, *(curves.line(name, found["middle"]) for name, curves in found.items())])


def plot(found: Mapping[str, Curves], path: Path) -> None:
    """Both curves of the methods of /explain, the middle and edges."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    for panel, kind in zip(figure.subplots(1, 2, sharex=True, sharey=True), ("hidden", "shown"), strict=True):
        for name in ("middle", "edges", *METHODS):
            panel.plot([100 * share for share in SHARES], getattr(found[name], kind).mean(axis=0), label=name)
        panel.set_title(f"hottest pixels {kind}", loc="left", fontsize=9)
        panel.set(xlabel="% of the pixels", ylim=(0, 1))
        panel.grid(color="#d9dfe5", linewidth=0.6)
        panel.spines[["top", "right"]].set_visible(False)
        panel.legend(frameon=False)
    figure.supylabel("probability of the label")
    figure.savefig(path, dpi=110, metadata={"Software": None})


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="networks (default: all)")
    parser.add_argument("--subset", type=int, default=500, metavar="PICTURES", help="the first of them (default: 500)")
    parser.add_argument("--held-out", action="store_true", help="held-out training pictures instead of test pictures")
    parser.add_argument("--photographs", type=Path, metavar="FOLDER", help="also those in its folders, one per label")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="draw the curves there")
    options = parser.parse_args(arguments)
    if options.subset < 1:
        parser.error(f"--subset is {options.subset}; expected 1 or more")
    folder = data.find()
    if options.held_out:
        _, pictures = data.split(data.load_training(folder), validation=2000)
    else:
        pictures = data.load_test(folder)
    for name in options.names or [place.name for place in places(MODELS)]:
        network = Served(name)
        sets = {"held-out pictures" if options.held_out else "test pictures": pictures.images[: options.subset]}
        if options.photographs:
            paths = [path for path in sorted(options.photographs.glob("*/*")) if path.parent.name != "other"]
            thumbnails = [imaging.thumbnail(path.read_bytes(), network.metadata.input) for path in paths]
            sets["photographs"] = np.array(thumbnails)
        for kind, images in sets.items():
            found = measure(network, images)
            print(f"\n{name}, version {network.metadata.version}, {network.precision}, {len(images)} {kind}")
            print(table(found), flush=True)
            if options.output:
                options.output.mkdir(parents=True, exist_ok=True)
                plot(found, options.output / f"explanations-{name}-{kind.split()[0]}.png")


if __name__ == "__main__":
    main()
