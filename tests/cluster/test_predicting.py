"""The batch job on a cluster."""

import signal
from pathlib import Path

import pytest

from app.settings import Settings
from tests import artifacts
from tests.batch.test_kills import PROGRAM
from tests.batch.test_sources import write_zip
from tests.cluster.conftest import Cluster

pytestmark = pytest.mark.slow
COUNT = 300


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A folder and a zip of pictures; some are none."""
    place = tmp_path_factory.mktemp("inputs")
    pictures = [artifacts.png(artifacts.picture(16 + i % 2 * 9, i)) for i in range(50)]
    entries = {f"{i:04}.png": pictures[i % 50] if i % 40 else b"no picture" for i in range(COUNT)}
    (place / "folder").mkdir()
    for name, content in entries.items():
        (place / "folder" / name).write_bytes(content)
    (place / "folder" / "lost.png").symlink_to(place / "nowhere")
    return [str(place / "folder"), str(write_zip(place / "a.zip", entries))]


def test_a_job_on_a_cluster_has_the_same_rows_also_after_a_kill(
    cluster: Cluster, mini: Settings, inputs: list[str], tmp_path: Path
) -> None:
    settings = {"MODELS": str(mini.models), "MAX_BATCH": "4", "PRECISION": "float32"}
    plain, out = tmp_path / "plain.csv", tmp_path / "a.csv"
    assert cluster.run("-m", "app", "batch", *inputs, "--out", str(plain), **settings).returncode == 0
    job = "batch", *inputs, "--out", str(out), "--ray", cluster.address
    at = str(COUNT // 4)  # batches: half of them
    killed = cluster.run("-c", PROGRAM, at, "0", str(int(signal.SIGKILL)), *job, **settings)
    assert (killed.returncode, out.exists()) == (-signal.SIGKILL, False), killed.stderr
    begun = Path(f"{out}.partial").read_text().count("\n")
    assert begun > COUNT / 2
    done = cluster.run("-m", "app", *job, **settings)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{out}: {2 * COUNT - 16} pictures by mini@1, 17 failed ({out}.failures.jsonl), ")
    for name in ("", ".failures.jsonl"):
        assert Path(f"{out}{name}").read_bytes() == Path(f"{plain}{name}").read_bytes()
