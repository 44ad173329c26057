"""What a run tells of itself as it goes: a line an epoch, history.csv, and on request a log for TensorBoard."""

import csv
import io
from pathlib import Path

import tensorflow as tf

from training.checkpoint import Progress, replace_file
from training.config import TrainConfig
from training.stopping import History

PLOTTED = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "pictures_per_second")
# tf.summary.scalar is a part of the package `tensorboard`; this is what it adds to tf.summary.write.
SCALAR = tf.compat.v1.SummaryMetadata(plugin_data={"plugin_name": "scalars"}, data_class="DATA_CLASS_SCALAR")


def write(history: History, path: Path) -> None:
    """One line an epoch, columns as in `train`; the file is replaced whole. Raises CheckpointError."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, history[-1].keys(), restval="")
    writer.writeheader()
    writer.writerows(history)
    replace_file(path, lambda file: file.write(text.getvalue().encode()))


def line(config: TrainConfig, progress: Progress) -> str:
    """The epoch just done, the best so far, how fast it goes and how long the rest takes at most."""
    row = progress.history[-1]
    left = (config.epochs - progress.epoch) * progress.seconds / progress.epoch
    return (
        f"epoch {progress.epoch}/{config.epochs}  loss {row['loss']:.4f}  accuracy {row['accuracy']:.4f}  "
        f"val_accuracy {row['val_accuracy']:.4f}  best {progress.best_accuracy:.4f}  "
        f"{row['pictures_per_second']:.0f} pictures/s  {progress.seconds / progress.epoch:.1f} s an epoch, "
        f"{left / 60:.0f} min left"
    )


class Board:
    """A TensorBoard log: the figures of each epoch in a folder of the run's own under `folder`.

    A resumed run adds a file that goes on at its next epoch. Raises OSError where it cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writer: tf.summary.SummaryWriter | None = None

    def add(self, row: dict[str, float]) -> None:
        """Log a row of the history at the step `row["epoch"]`."""
        try:
            self._writer = self._writer or tf.summary.create_file_writer(str(self.folder))
            with self._writer.as_default(step=int(row["epoch"])):
                for name in PLOTTED:
                    tf.summary.write(name, tf.constant(row[name], tf.float32), metadata=SCALAR)
            self._writer.flush()
        except tf.errors.OpError as error:
            raise OSError(f"{self.folder}: TensorBoard's log cannot be written ({error.message})") from error
