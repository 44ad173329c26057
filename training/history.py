"""What a run tells of itself as it goes: a line an epoch, and history.csv."""

import csv
import io
from pathlib import Path

from training.checkpoint import Progress, replace_file
from training.recipe import Recipe
from training.stopping import History


def write(history: History, path: Path) -> None:
    """One line an epoch, columns as in `train`; the file is replaced whole. Raises CheckpointError."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, history[-1].keys(), restval="")
    writer.writeheader()
    writer.writerows(history)
    replace_file(path, lambda file: file.write(text.getvalue().encode()))


def line(recipe: Recipe, progress: Progress) -> str:
    """The epoch just done, the best so far, how fast it goes and how long the rest takes at most."""
    row = progress.history[-1]
    left = (recipe.epochs - progress.epoch) * progress.seconds / progress.epoch
    return (
        f"epoch {progress.epoch}/{recipe.epochs}  loss {row['loss']:.4f}  accuracy {row['accuracy']:.4f}  "
        f"val_accuracy {row['val_accuracy']:.4f}  best {progress.best_accuracy:.4f}  "
        f"{row['pictures_per_second']:.0f} pictures/s  {progress.seconds / progress.epoch:.1f} s an epoch, "
        f"{left / 60:.0f} min left"
    )
