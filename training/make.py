"""Make a network, and before it whatever it is made from that is not there yet."""

import os
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from app.inference import engine
from training import data, lineage, run, teacher, train
from training.data import LABELS, Pictures
from training.fast_layers.layers import accelerated
from training.recipe import Precision, Recipe
from training.release import artifact, provenance, writer
from training.release.artifact import ArtifactError
from training.release.provenance import Origin
from training.run import CheckpointError
from training.trial import changed

TRIED = 64
"""Pictures in the updates that are timed to estimate a run."""


@dataclass(frozen=True)
class Workshop:
    """Where things are: recipes, the networks that are served, and a folder for each run."""

    recipes: Path = lineage.FOLDER
    models: Path = Path("models")
    runs: Path = Path("runs")

    def artifacts(self) -> Iterator[Path]:
        """Every folder that may hold a network: those that are served, then those made on the way to others."""
        yield from sorted(self.models.glob("[!.]*"))
        yield from sorted(self.runs.glob("*/artifact"))


@dataclass(frozen=True)
class Step:
    """One network of a lineage: `folder` is where it is already, None if it has to be trained."""

    recipe: Recipe
    digest: str
    folder: Path | None


def plan(recipe: Recipe, shop: Workshop) -> list[Step]:
    """The networks that `recipe` needs, parents first, and itself last, to be trained whether it is there or not.

    What only networks that are there already were made from is left out. Raises RecipeError.
    """
    recipes = lineage.ancestors(recipe, shop.recipes)
    digests = lineage.digests(recipes)
    made = {name: lineage.made(digests[name], shop.artifacts()) for name in recipes} | {recipe.name: None}
    wanted = {recipe.name}
    for name, each in reversed(recipes.items()):
        if name in wanted and not made[name]:
            wanted.update(each.parents)
    return [Step(each, digests[name], made[name]) for name, each in recipes.items() if name in wanted]


def make(recipe: Recipe, shop: Workshop, place: Path | None, *, overwrite: bool, by_hand: bool = False) -> None:
    """Say what there is to do and how long it takes here, do it, and write the network into `shop.models`.

    `place` is where CIFAR-10 is. `by_hand`: the precision is to be the recipe's even where another is faster.
    An interrupted call goes on where it was. Raises RecipeError, ArtifactExists, ArtifactError, DataError,
    CheckpointError, TrainingError, ExportError and OSError.
    """
    artifact.refuse_to_overwrite(shop.models / recipe.artifact, overwrite)
    _check_writable(shop.models, shop.runs)
    steps = plan(recipe, shop)
    folder = data.find(place)
    print("\n".join(announced(steps, shop, by_hand)), flush=True)
    folders: dict[str, Path] = {}
    for step in steps:
        last = step.recipe.name == recipe.name
        target = shop.models / recipe.artifact if last else shop.runs / step.recipe.name / "artifact"
        if step.folder is None:
            _train(step, shop, folder, folders, by_hand)
            export(step, shop, folder, target, overwrite=last and overwrite)
        folders[step.recipe.name] = step.folder or target


def _train(step: Step, shop: Workshop, pictures: Path, folders: dict[str, Path], by_hand: bool) -> None:
    recipe = step.recipe
    training, validation = split(recipe, pictures)
    parents = {name: artifact.weights(folders[name]) for name in recipe.parents}
    train.train(
        recipe,
        training,
        validation,
        shop.runs / recipe.name,
        precision=computed_in(recipe, by_hand),
        start=folders[recipe.start] if recipe.start else None,
        teacher=teacher.load([folders[name] for name in recipe.distillation.teachers]) if recipe.distillation else None,
        parents=parents,
    )


def export(step: Step, shop: Workshop, pictures: Path, target: Path, *, overwrite: bool) -> dict[str, Any]:
    """Write the network of a finished run into `target`, measured on the test pictures once; gives its metadata.

    Raises CheckpointError and TrainingError where the run is missing or not finished, ArtifactError where a network
    it was made from is missing, and as `writer.write`.
    """
    path = shop.runs / step.recipe.name / "checkpoint.npz"
    found = run.read(path)
    if found is None:
        raise CheckpointError(f"{path}: no such checkpoint; `convoscope train` writes it after every epoch")
    progress = found[1]
    if not run.is_over(step.recipe, progress.history):
        done = f"{progress.epoch} of {step.recipe.epochs} epochs are done"
        raise train.TrainingError(f"{path}: {done}; the command that trained them goes on")
    training, validation = split(step.recipe, pictures)
    metadata = writer.write(
        target,
        Origin(step.recipe, step.digest, progress.precision, provenance.ancestors(_parents(step.recipe, shop))),
        train.finished(step.recipe, progress),
        progress,
        training=training,
        validation=validation,
        test=data.load_test(pictures),
        overwrite=overwrite,
    )
    print(f"{target}: {metadata['accuracy']['test']:.2%} of the test pictures right", flush=True)
    return metadata


def _parents(recipe: Recipe, shop: Workshop) -> list[Path]:
    digests = lineage.digests(lineage.ancestors(recipe, shop.recipes))
    folders = {name: lineage.made(digests[name], shop.artifacts()) for name in recipe.parents}
    for name, folder in folders.items():
        if folder is None:
            raise ArtifactError(
                f"{recipe.name}: was made from {name}, which is neither in {shop.models} nor {shop.runs}"
            )
    return [folder for folder in folders.values() if folder]


def split(recipe: Recipe, pictures: Path) -> tuple[Pictures, Pictures]:
    """The recipe's training and validation pictures."""
    return data.split(data.load_training(pictures), validation=recipe.data.validation, seed=recipe.data.split_seed)


def _check_writable(*folders: Path) -> None:
    """Find out before the training, not after. Raises OSError."""
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(13, "cannot be written", str(folder))


def computed_in(recipe: Recipe, by_hand: bool = False) -> Precision:
    """The recipe's precision, or float32 instead of a bfloat16 that this processor has no AMX for.

    TensorFlow would emulate bfloat16, or be slower in it than with Winograd's convolutions in float32.
    """
    emulated = recipe.precision == "mixed_bfloat16" and engine.precisions()[0] != "bfloat16"
    return "float32" if emulated and not by_hand else recipe.precision


def announced(steps: list[Step], shop: Workshop, by_hand: bool = False) -> list[str]:
    """What `make` is about to do, in lines."""
    lines, total = [], 0.0
    timed: dict[str, float] = {}
    for step in steps:
        name = step.recipe.name
        if step.folder:
            lines.append(f"  {name:14} is in {step.folder}")
            continue
        precision = computed_in(step.recipe, by_hand)
        done, seconds = remaining(step.recipe, shop.runs / name, precision, timed)
        total += seconds
        told = f"{done} of {step.recipe.epochs} epochs are done" if done else f"{step.recipe.epochs} epochs"
        lines.append(f"  {name:14} {told} in {precision}, about {_duration(seconds)}")
    count = sum(step.folder is None for step in steps)
    return [f"{count} network{'s' if count > 1 else ''} to train, about {_duration(total)} on this machine:", *lines]


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def remaining(recipe: Recipe, folder: Path, precision: Precision, timed: dict[str, float]) -> tuple[int, float]:
    """Epochs that are done, and about how many seconds the others take here.

    After an epoch that is as long as the epochs so far took. Before, it follows from a few timed updates; teachers are
    taken to be as large as the network, and pruning to leave out four fifths of what it may. `timed` has the seconds
    for a picture of updates that were timed before, and gets this one's.
    """
    found = run.read(folder / "checkpoint.npz")
    if found and found[1].epoch:
        progress = found[1]
        over = run.is_over(recipe, progress.history)
        left = 0 if over else recipe.epochs - progress.epoch
        return progress.epoch, left * progress.seconds / progress.epoch
    pictures = 50_000 - recipe.data.validation
    if recipe.pruning:
        pictures = round(pictures * (1 - 0.8 * recipe.pruning.share * (1 - recipe.pruning.whole)))
    passes = 4 / 3 if recipe.distillation else 1.0
    update = _Timed(recipe, precision)
    if update.key() not in timed:
        timed[update.key()] = update.seconds()
    return 0, recipe.epochs * pictures * passes * timed[update.key()]


@dataclass(frozen=True)
class _Timed:
    """What the time of an update depends on, so that recipes alike in it are timed once."""

    recipe: Recipe
    precision: Precision

    def key(self) -> str:
        fields = {"architecture", "network", "optimizer", "sharpness", "average", "batch_size"}
        return self.recipe.model_dump_json(include=fields) + self.precision

    def seconds(self) -> float:
        """For one picture, by the median of three updates."""
        recipe = changed(self.recipe, {"batch_size": min(self.recipe.batch_size, TRIED)})
        update = train.updater(recipe, accelerated(train.build(recipe, self.precision)))
        images = np.random.default_rng(0).integers(0, 256, (recipe.batch_size, 32, 32, 3)).astype(np.uint8)
        labels = np.eye(len(LABELS), dtype=np.float32)[np.arange(recipe.batch_size) % len(LABELS)]
        update(images, labels)
        took = []
        for _ in range(3):
            started = time.perf_counter()
            update(images, labels)
            took.append(time.perf_counter() - started)
        return statistics.median(took) / recipe.batch_size
