"""What each arithmetic costs and gains: validation accuracy and speed of an artifact's graphs on this processor.

    python -m benchmarks.precision [NAME]

Reads the artifact and changes nothing; `convoscope evaluate NAME --record` measures again and chooses.
"""

import argparse
import json
from pathlib import Path

from training import data, precision
from training.model_card import table

MODELS = Path(__file__).parent.parent / "models"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", default="fast")
    folder = MODELS / parser.parse_args().name
    size = json.loads((folder / "metadata.json").read_text())["data"]["validation"]
    _, validation = data.split(data.load_training(data.find(None)), validation=size)
    found = precision.measure(folder, validation)
    exact = found["measured"]["float32"]
    rows = [
        (
            name,
            f"{row['validation']:.2%}",
            f"{row['pictures_per_second']:,}",
            f"{row['pictures_per_second'] / exact['pictures_per_second']:.2f}",
            f"{row['milliseconds']:.2f}",
            f"{exact['milliseconds'] / row['milliseconds']:.2f}",
        )
        for name, row in found["measured"].items()
    ]
    batch = f"pictures a second, {found['batch']} at a time"
    print(table((folder.name, "validation", batch, "to float32", "one picture, ms", "to float32"), rows))
    print(f"\nchosen: {found['chosen']}")


if __name__ == "__main__":
    main()
