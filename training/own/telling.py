"""What a training on one's own pictures says on standard output: what it found, and what came of it."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.own import report, split
from training.own.listing import Listing
from training.own.release import Released
from training.own.split import Split
from training.own.store import Kept

SHOWN = 10
"""Lines of a list on the terminal; the whole list is in a file."""


def say(text: str) -> None:
    print(text, flush=True)


def duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def tell_skipped(kept: Kept, folder: Path) -> None:
    """The files that are left out, and why; the whole list goes to `folder`."""
    _list([f"{each.name}: {each.reason}" for each in kept.skipped], "skipped", folder / "skipped.txt")


def tell_found(
    found: Listing, kept: Kept, first: NDArray[np.int64], exact: NDArray[np.int64], parts: Split, folder: Path
) -> None:
    """Labels, copies, and the split. `first` and `exact` are as for `split`; lists go to `folder`."""
    labels, count = kept.labels, len(kept.entries)
    per_label = np.bincount(labels, minlength=len(found.labels))
    rows = sorted(zip(found.labels, per_label.tolist(), strict=True), key=lambda row: -row[1])
    _list([f"{label}: {number:,}" for label, number in rows], "pictures per label", folder / "labels.txt")
    copies = count - len(np.unique(exact))
    near = count - len(np.unique(first)) - copies
    if copies or near:
        say(f"{copies:,} exact and {near:,} near duplicates; each stays on the side of what it shows")
    _tell_leaks(found, kept, first, exact, parts)
    clashes = [
        f"{found.name(kept.entries[number])} ({found.labels[labels[number]]}) shows the same as "
        f"{found.name(kept.entries[other])} ({found.labels[labels[other]]})"
        for number, other in enumerate(first.tolist())
        if labels[number] != labels[other]
    ]
    _list(clashes, "the same picture under two labels", folder / "two-labels.txt")
    if per_label.max() > 1.5 * per_label.min():
        say(f"The labels have {per_label.min():,} to {per_label.max():,} pictures: rare ones weigh more")
    left = f", {len(parts.left_out):,} left out as copies of those" if len(parts.left_out) else ""
    say(
        f"{len(parts.training):,} to train on, {len(parts.validation):,} that choose, {len(parts.test):,} that only "
        f"measure{left} (seed {split.SEED}); at {kept.side} x {kept.side} pixels"
    )


def _tell_leaks(found: Listing, kept: Kept, first: NDArray[np.int64], exact: NDArray[np.int64], parts: Split) -> None:
    """Where held-out pictures are nearly the same as training pictures all the same."""
    alike = split.series(kept.labels, first, exact, len(found.labels))
    for label in np.flatnonzero(alike)[:SHOWN]:
        say(f"Nearly all pictures of {found.labels[label]} show the same, so copies are on both sides of the split")
    theirs = np.array([entry.part not in (None, "training") for entry in kept.entries])
    shared = np.isin(first[parts.training], first[theirs]).sum()
    if shared:
        say(
            f"{shared:,} training pictures are near duplicates of pictures that you hold out: the accuracy on "
            "those says little about new pictures"
        )


def _list(lines: list[str], what: str, whole: Path) -> None:
    """The first lines, and the file that has them all."""
    if not lines:
        return
    say(f"{what} ({len(lines):,}):")
    for line in lines[:SHOWN]:
        say(f"  {line}")
    if len(lines) > SHOWN:
        whole.write_text("\n".join(lines) + "\n", encoding="utf-8")
        say(f"  and {len(lines) - SHOWN:,} more in {whole}")


def tell_result(released: Released, found: Listing) -> None:
    """How good the network is, what it takes for what, what to look at again, and where it is."""
    evaluation, metadata = released.evaluation, released.metadata
    low, high = metadata["accuracy"]["test_interval"]
    say(
        f"{evaluation.accuracy:.1%} of {metadata['data']['test']:,} test pictures are recognised "
        f"(95 %: {low:.1%} to {high:.1%})"
    )
    label, share, count = report.worst(evaluation)
    say(f"worst label: {label}, {share:.1%} of {count:,}")
    for true, said, times in report.confusions(evaluation, found.labels):
        say(f"  {true} taken for {said}: {times:,}")
    if metadata["mislabelled"]:
        say("look again at:")
    for row in metadata["mislabelled"][:5]:
        say(f"  {row['path']}: labelled {row['label']}, rather {row['predicted']} ({row['probability']:.0%})")
    missing = [name for name in ("calibration", "out_of_distribution") if name not in metadata]
    if missing:
        say(f"too few held-out pictures for: {' and '.join(missing).replace('_', ' ')}")
    say(f"{released.folder} {'is written' if released.new else 'was there already'}; `convoscope serve` serves it")
