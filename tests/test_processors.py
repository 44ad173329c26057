"""How many processors there are for this process."""

import math
import os
from pathlib import Path

import pytest

from app import processors


def test_affinity_counts() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert processors.usable() == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(
    ("own", "above", "allowed"),
    [
        ("150000 100000", None, 1.5),
        ("max 100000", "50000 100000", 0.5),
        ("200000 100000", "max 100000", 2),
        ("max 100000", None, math.inf),
        ("", None, math.inf),
        (None, None, math.inf),
    ],
)
def test_the_smallest_quota_of_the_groups_counts(
    tmp_path: Path, own: str | None, above: str | None, allowed: float
) -> None:
    group = tmp_path / "mount" / "kubepods" / "pod"
    group.mkdir(parents=True)
    for folder, content in ((group, own), (group.parent, above)):
        if content is not None:
            (folder / "cpu.max").write_text(f"{content}\n")
    cgroup = tmp_path / "cgroup"
    cgroup.write_text("1:cpu:/somewhere\n0::/kubepods/pod\n")
    assert processors.quota(cgroup, tmp_path / "mount") == allowed


@pytest.mark.parametrize("content", ["4:memory:/elsewhere\n", None])
def test_without_control_groups_of_version_2_there_is_no_quota(tmp_path: Path, content: str | None) -> None:
    cgroup = tmp_path / "cgroup"
    if content:
        cgroup.write_text(content)
    assert processors.quota(cgroup, tmp_path) == math.inf


def test_part_of_a_processor_counts_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cgroup").write_text("0::/\n")
    (tmp_path / "cpu.max").write_text("25000 100000\n")
    monkeypatch.setattr(processors, "CGROUP", tmp_path / "cgroup")
    monkeypatch.setattr(processors, "MOUNT", tmp_path)
    assert processors.usable() == 1
