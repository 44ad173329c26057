"""The model card: an artifact's README.md by Hugging Face's convention, rendered from its metadata and nothing else."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

INTRODUCTIONS = {
    "tutorial": "The network and the recipe of the tutorial that this project grew from, to the letter: a yardstick, "
    "not a recommendation.",
    "fast": "A small image classifier that answers thousands of images per second on two cores. Its architecture "
    "follows the networks of the CIFAR-10 speed records (airbench, Jordan 2024).",
    "accurate": "An image classifier with the architecture of `fast` at twice its width: the one to ask unless every "
    "millisecond counts.",
}

Metadata = Mapping[str, Any]


def render(metadata: Metadata) -> str:
    """Markdown for a person who wonders whether to trust this network, how to use it and how to make it again."""
    sections = [
        header(metadata),
        f"# {metadata['name']}, version {metadata['version']}",
        f"{introduction(metadata)} It says which of ten things a picture of 32 x 32 pixels shows: "
        f"{', '.join(metadata['labels'])}. It has {metadata['parameters']:,} parameters and needs "
        f"{metadata['multiply_adds'] / 1e6:.1f} million multiply-adds per image.",
        *usage(metadata["name"]),
        *limits(metadata),
        *results(metadata),
        *preprocessing(),
        *training(metadata),
        *details(metadata),
        *citation(),
    ]
    return "\n\n".join(sections) + "\n"


def header(metadata: Metadata) -> str:
    """The YAML header: what a catalogue of models reads. Values are written as JSON, which is YAML too."""
    accuracy, start = metadata["accuracy"]["test"], metadata["recipe"].get("start")
    result = {
        "task": {"type": "image-classification"},
        "dataset": {"name": "CIFAR-10", "type": "cifar10", "split": "test"},
        "metrics": [{"type": "accuracy", "value": round(accuracy, 4)}],
    }
    fields = {
        "license": "mit",
        "library_name": "keras",
        "pipeline_tag": "image-classification",
        "datasets": ["cifar10"],
        "metrics": ["accuracy"],
        **({"base_model": start} if start else {}),
        "model-index": [{"name": metadata["name"], "results": [result]}],
    }
    return "\n".join(["---", *(f"{name}: {json.dumps(value)}" for name, value in fields.items()), "---"])


def introduction(metadata: Metadata) -> str:
    """What kind of network this is."""
    recipe = metadata["recipe"]
    if base := recipe.get("base"):
        return f"An image classifier trained by a variant of the recipe `{base}`."
    return INTRODUCTIONS.get(metadata["name"], f"An image classifier trained by the recipe `{recipe['name']}`.")


def usage(name: str) -> Iterable[str]:
    yield "## How to use it"
    yield "Start the service with `make serve`, then ask it from anywhere:"
    yield f"```sh\ncurl -F image=@photo.jpg 'http://127.0.0.1:8000/predict?model={name}'\n```"
    yield "or in Python, without the service:"
    yield "\n".join(
        [
            "```python",
            "import numpy as np",
            "import openvino as ov",
            "from PIL import Image",
            "",
            f'network = ov.Core().compile_model("models/{name}/model.onnx", "CPU")',
            'image = np.asarray(Image.open("photo.jpg").convert("RGB").resize((32, 32)))[None]  # (1, 32, 32, 3)',
            'print(network({"image": image})["logits"].argmax())',
            "```",
        ]
    )


def limits(metadata: Metadata) -> Iterable[str]:
    yield "## Intended use and limits"
    yield (
        "It is meant for learning, teaching and testing, and as a small classifier of the ten things that it knows. It "
        "has seen nothing but CIFAR-10: small, centred pictures. Whatever a picture shows, one of the ten labels comes "
        "out. Do not use it to judge or admit people or to keep them safe."
    )
    yield (
        "`ood_score` says how untypical a picture is: the share of held-out CIFAR-10 pictures that are more typical. "
        f"{unknown(metadata['accuracy'])}"
    )


def results(metadata: Metadata) -> Iterable[str]:
    accuracy, data, calibration = metadata["accuracy"], metadata["data"], metadata["calibration"]
    yield "## Results"
    yield table(
        ("measured on", "top-1 accuracy, ± standard error"),
        [
            (f"the {data['test']:,} test pictures, Keras, float32", certain(accuracy["test"], data["test"])),
            *served_row(accuracy["served"], data["test"]),
            (f"the {data['validation']:,} validation pictures", certain(accuracy["validation"], data["validation"])),
            *photographs_row(accuracy.get("photographs")),
        ],
    )
    chosen = "the epoch and the temperature" if metadata["recipe"]["selection"]["restore_best"] else "the temperature"
    yield (
        f"The validation pictures chose {chosen}; the test pictures chose nothing, and were read once, when the "
        "network was finished."
    )
    yield table(("label", "test pictures of it that are recognised"), percentages(accuracy["per_class"]))
    yield "![Confusion matrix](confusion.png)"
    yield (
        f"A probability is the softmax of the logits divided by a temperature of {calibration['temperature']}. Its "
        f"expected calibration error (15 bins) on the test pictures is {calibration['ece_test']:.2%}; without the "
        f"temperature it would be {calibration['ece_test_uncalibrated']:.2%}."
    )
    yield "![Accuracy against confidence](reliability.png)"
    if corrupted := accuracy.get("corrupted"):
        yield from doubt(corrupted, accuracy["per_class"])
    yield from speed(metadata["precision"])


def doubt(found: Metadata, per_class: Mapping[str, float]) -> Iterable[str]:
    """When its answers deserve less trust: on damaged pictures, where it is unsure, and of its worst label."""
    worst = min(per_class, key=lambda label: per_class[label])
    hardest = sorted(found["by_corruption"], key=lambda name: found["by_corruption"][name])[:3]
    yield "### When to doubt it"
    yield (
        f"On {found['pictures']:,} test pictures with the fifteen corruptions of CIFAR-10-C at five severities, in "
        f"{found['precision']}, {found['date']}, {found['accuracy']:.1%} of its answers are right in the mean, with a "
        f"calibration error of {found['calibration_error']:.1%}. It finds {_listed(hardest, found['by_corruption'])} "
        f"hardest. Of the clean test pictures it knows a {worst} worst: {per_class[worst]:.1%}."
    )
    severities = tuple(f"severity {number}" for number in range(1, len(found["by_severity"]) + 1))
    yield table(severities, [tuple(f"{share:.1%}" for share in found["by_severity"])])
    aside = found["doubt"]["set_aside"]
    yield "Accuracy when the answers with the least top probability are set aside:"
    yield table(
        ("set aside", *(f"{share:.0%}" for share in aside)),
        [(kind, *(f"{share:.1%}" for share in found["doubt"][kind])) for kind in ("clean", "corrupted")],
    )
    if far := found.get("far"):
        yield (
            "Far from anything it knows: the area under the ROC curve with which `ood_score` tells the test pictures "
            "from pictures of nothing."
        )
        yield table(("pictures of nothing", "area"), [(kind, f"{area:.3f}") for kind, area in far.items()])


def _listed(names: Iterable[str], shares: Mapping[str, float]) -> str:
    *others, last = [f"{name.replace('_', ' ')} ({shares[name]:.1%})" for name in names]
    return f"{', '.join(others)} and {last}" if others else last


def speed(precision: Metadata) -> Iterable[str]:
    """What it is computed in, and how fast."""
    yield (
        "The service computes in bfloat16 on a processor with AMX, else in int8 with AVX2, else in float32, as far as "
        f"it is one of {', '.join(precision['exact'])}: these lose at most 0.1 points of float32's validation accuracy."
    )
    rows = [
        (
            name,
            f"{row['validation']:.2%}",
            f"{row['changed']:.2%}" if "changed" in row else "not measured",
            f"{row['pictures_per_second']:,}",
            f"{row['milliseconds']:.2f} ms",
            row["machine"],
        )
        for name, row in precision["measured"].items()
    ]
    yield table(
        ("precision", "validation", "answers changed", f"images/s, batch {precision['batch']}", "one image", "on"), rows
    )


def preprocessing() -> Iterable[str]:
    yield "## Preprocessing"
    yield (
        "The graph takes uint8 RGB images (N, 32, 32, 3) and normalises them itself. The service brings any photograph "
        "to that form: it applies the EXIF orientation, crops the middle, squashes a little and resizes to 32 x 32."
    )


def training(metadata: Metadata) -> Iterable[str]:
    recipe, run, data, lineage = (metadata[key] for key in ("recipe", "training", "data", "lineage"))
    yield "## Training"
    yield (
        f"It was trained on {data['training']:,} of CIFAR-10's training pictures by the recipe `{recipe['name']}`: "
        f"{run['epochs']} epochs in {duration(run['seconds'])} on {run['machine']}, in {run['precision']}. The weights "
        f"are those of epoch {run['best_epoch']}. {begun(recipe)}Make it again with:"
    )
    yield f"```sh\n{command(recipe)}\n```"
    if lineage:
        runs = [*lineage, {"recipe": recipe["name"], **run}]
        yield "The networks that it was made from, and what each training took:"
        yield table(
            ("recipe", "epochs", "time", "operations", "on"),
            [
                (each["recipe"], str(each["epochs"]), duration(each["seconds"]), petaflop(each), each["machine"])
                for each in runs
            ],
        )
        yield (
            f"Together that is {duration(sum(each['seconds'] for each in runs))} and "
            f"{sum(each['operations'] for each in runs) / 1e15:.1f} PFLOP (10^15 floating-point operations of the "
            "updates; teachers' answers are not counted)."
        )
    else:
        yield f"The updates took {petaflop(run)} (10^15 floating-point operations)."
    yield "![Loss and accuracy](training.png)"


def begun(recipe: Metadata) -> str:
    """What the run began with, and who taught it; ends in a space unless empty."""
    said = f"It began with the weights of `{recipe['start']}`. " if recipe.get("start") else ""
    if taught := recipe.get("distillation"):
        teachers = " and ".join(f"`{name}`" for name in taught["teachers"])
        said += f"{taught['share']:.0%} of what it learnt were the answers of {teachers}. "
    return said


def command(recipe: Metadata) -> str:
    """The command that trains the recipe, as an artifact's metadata keeps it."""
    base = recipe.get("base")
    named = f" --name {recipe['name']}" if base and base != recipe["name"] else ""
    settings = "".join(f" \\\n  --set '{change}'" for change in recipe.get("changes", ()))
    return f"convoscope train {base or recipe['name']}{named}{settings}"


def details(metadata: Metadata) -> Iterable[str]:
    yield "## Details"
    recipe, data = metadata["recipe"], metadata["data"]
    facts = [("recipe's SHA-256", f"`{recipe['digest']}`"), ("commit", f"`{metadata['training']['commit']}`")]
    yield folded("Recipe", table(("", ""), [*facts, *flat(recipe)]))
    yield folded(
        "Data",
        "The data counts only if each batch, in the official binary layout, has this SHA-256:\n\n"
        + table(("batch", "SHA-256"), [(batch, f"`{digest}`") for batch, digest in data["digests"].items()]),
    )
    columns = ("layer", "kind", "output", "parameters", "multiply-adds")
    rows = [
        (
            layer["name"],
            layer["kind"],
            " x ".join(map(str, layer["output_shape"])),
            f"{layer['parameters']:,}",
            f"{layer['multiply_adds']:,}",
        )
        for layer in metadata["layers"]
    ]
    yield folded("Layers", table(columns, rows))


def citation() -> Iterable[str]:
    yield "## Citation"
    yield (
        "The data: Alex Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*, 2009. The architecture of "
        "`fast` and `accurate`: Keller Jordan, *94% on CIFAR-10 in 3.29 Seconds on a Single GPU*, 2024."
    )


def folded(title: str, content: str) -> str:
    return f"<details>\n<summary>{title}</summary>\n\n{content}\n\n</details>"


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    """The fields of a recipe by dotted name, as TOML has them."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        elif prefix or key not in ("name", "base", "changes", "digest"):
            yield f"{prefix}{key}", f"`{json.dumps(value)}`"


def certain(share: float, count: int) -> str:
    """A share of `count` pictures and its standard error, in percent."""
    return f"**{share:.2%}** ± {100 * (share * (1 - share) / count) ** 0.5:.2f}"


def duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def petaflop(run: Metadata) -> str:
    return f"{run['operations'] / 1e15:.2g} PFLOP"


def served_row(served: Metadata | None, pictures: int) -> list[tuple[str, str]]:
    """The line for the accuracy measured over HTTP, once it is."""
    if served is None:
        return []
    where = f"the same {pictures:,} over HTTP, {served['precision']}, {served['date']}"
    return [(where, certain(served["accuracy"], pictures))]


def photographs_row(found: Metadata | None) -> list[tuple[str, str]]:
    """The line for real photographs, once they are measured."""
    if found is None:
        return []
    where = f"{found['count']} real photographs of {found['labels']} of its labels over HTTP, mean of the labels"
    return [(f"{where}, {found['date']}", f"{found['mean_per_class']:.1%}")]


def unknown(accuracy: Metadata) -> str:
    """How well what it does not know is told from what it does, as far as that is measured."""
    said = []
    if served := accuracy["served"]:
        said.append(f"{served['flagged']:.1%} of the test pictures are called out of distribution.")
    if (found := accuracy.get("photographs")) and "auroc" in found:
        said.append(
            f"It tells {found['others']} photographs of other things from those of its labels with an area under the "
            f"ROC curve of {found['auroc']:.3f}."
        )
        if "fpr_at_95" in found:
            said.append(f"Where 95 % of those of its labels pass, {found['fpr_at_95']:.0%} of the others do too.")
    return " ".join(said) or "How well that tells other things from these has not been measured."


def percentages(values: Mapping[str, float]) -> list[tuple[str, str]]:
    return [(name, f"{value:.1%}") for name, value in values.items()]


def table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A Markdown table."""
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, ("---",) * len(header), *rows))
