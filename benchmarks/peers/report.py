"""What `benchmarks.serving` found, as Markdown and as a plot."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CONNECTIONS = (1, 8, 32, 128)


@dataclass(frozen=True)
class Row:
    """One server: by connections requests a second and milliseconds; CPU seconds per 1,000 requests with 32 of them,
    megabytes after the load, seconds from start to the first answer, and the share of requests that failed.
    """

    rate: dict[int, float]
    p50: dict[int, float]
    p99: dict[int, float]
    cpu: float
    megabytes: float
    cold_start: float
    failed: float


@dataclass(frozen=True)
class Target:
    """What is asked of Convoscope and what was measured."""

    name: str
    found: str
    wanted: str
    met: bool


def median(rows: Sequence[Row]) -> Row:
    """Of each figure the median of the rounds; failures are the most of any round."""

    def by_connections(pick: Callable[[Row], dict[int, float]]) -> dict[int, float]:
        return {count: statistics.median(pick(row)[count] for row in rows) for count in CONNECTIONS}

    return Row(
        by_connections(lambda row: row.rate),
        by_connections(lambda row: row.p50),
        by_connections(lambda row: row.p99),
        statistics.median(row.cpu for row in rows),
        statistics.median(row.megabytes for row in rows),
        statistics.median(row.cold_start for row in rows),
        max(row.failed for row in rows),
    )


def markdown(rows: Mapping[str, Row], targets: Sequence[Target], engine: float) -> str:
    """Both tables; `engine` is the bare engine's pictures a second."""
    head = [f"requests a second, {count}" for count in CONNECTIONS]
    head += ["p50 and p99 ms, 1", "32", "128", "CPU s per 1,000", "MB", "cold start s"]
    lines = [f"| connections | {' | '.join(head)} |", "|---" * (len(head) + 1) + "|"]
    for title, row in rows.items():
        cells = [f"{row.rate[count]:,.0f}" for count in CONNECTIONS]
        cells += [f"{row.p50[count]:.1f}, {row.p99[count]:.1f}" for count in (1, 32, 128)]
        cells += [f"{row.cpu:.2f}", f"{row.megabytes:.0f}", f"{row.cold_start:.1f}"]
        name = f"{title} ({row.failed:.1%} failed)" if row.failed else title
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines.append(f"\nThe engine alone, in batches of 32: {engine:,.0f} pictures a second.\n")
    lines += ["| Convoscope | measured | target | met |", "|---|---|---|---|"]
    lines += [f"| {t.name} | {t.found} | {t.wanted} | {'yes' if t.met else '**no**'} |" for t in targets]
    return "\n".join(lines)


def plot(rows: Mapping[str, Row], path: Path) -> None:
    """Lines over connections above, bars a server below."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    pyplot: Any = plt
    figure, ((rate, p50, p99), bars) = pyplot.subplots(2, 3, figsize=(15, 8), layout="constrained")
    colours = dict(zip(rows, pyplot.get_cmap("tab10").colors, strict=False))
    lines: list[tuple[Any, str, Callable[[Row], dict[int, float]]]] = [
        (rate, "requests a second", lambda row: row.rate),
        (p50, "p50, milliseconds", lambda row: row.p50),
        (p99, "p99, milliseconds", lambda row: row.p99),
    ]
    for axes, title, pick in lines:
        for name, row in rows.items():
            axes.plot(CONNECTIONS, [pick(row)[count] for count in CONNECTIONS], "o-", label=name, color=colours[name])
        axes.set(title=title, xlabel="connections", xscale="log", xticks=CONNECTIONS, xticklabels=CONNECTIONS)
        axes.minorticks_off()
        axes.set_yscale("linear" if axes is rate else "log")
    figure.legend(*rate.get_legend_handles_labels(), loc="outside upper center", ncols=4)
    figures: dict[str, Callable[[Row], float]] = {
        "CPU seconds per 1,000 requests, 32 connections": lambda row: row.cpu,
        "memory, MB": lambda row: row.megabytes,
        "cold start, seconds": lambda row: row.cold_start,
    }
    for axes, (title, value) in zip(bars, figures.items(), strict=True):
        drawn = axes.barh(list(rows), [value(row) for row in rows.values()], color=list(colours.values()))
        axes.bar_label(drawn, fmt=lambda value: f"{value:,.{0 if value >= 100 else 2}f}", padding=3)
        axes.set(title=title, xlim=(0, 1.3 * max(value(row) for row in rows.values())))
        axes.invert_yaxis()
    figure.savefig(path, dpi=100)
