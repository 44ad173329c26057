import re

import numpy as np
import pytest

from app.inference import engine
from benchmarks import throughput
from tests.training.samples import FAST, TRAINING, TUTORIAL, vary
from training import data, train
from training.recipe import Recipe


@pytest.mark.parametrize("config", [vary(FAST, batch_size=20), vary(TUTORIAL, batch_size=20)])
def test_rates_shares_and_the_pipeline_are_told(monkeypatch: pytest.MonkeyPatch, config: Recipe) -> None:
    rates = iter([200.0, 300.0])

    def picture_rate(config: Recipe, model: object, batches: throughput.Batches, updates: int) -> float:
        assert len(next(batches)[1]) == config.batch_size == len(next(batches)[1])
        return next(rates)

    monkeypatch.setattr(throughput, "picture_rate", picture_rate)  # the eight batches of an epoch are not enough
    monkeypatch.setattr(throughput, "product_rate", lambda precision: 100e9)
    said = throughput.measure(config, TRAINING, updates=20)
    multiply_adds = {"fast": 119.8e6, "tutorial": 12.9e6}[config.artifact]
    assert f"Keras' layers   200 pictures a second, {3 * 200 * multiply_adds / 100e9:.0%} of that" in said
    assert f"as trained      300 pictures a second, {3 * 300 * multiply_adds / 100e9:.0%}" in said
    assert re.search(r"input pipeline  \d+\.\d% of an update's time", said)


def test_an_update_and_a_product_take_time() -> None:
    config = vary(TUTORIAL, batch_size=20)
    images, labels = TRAINING.images[:20], np.eye(10, dtype=np.float32)[TRAINING.labels[:20]]
    batches = iter(lambda: (images, labels), None)
    assert 1 < throughput.picture_rate(config, train.build(config), batches, updates=2) < 1e6
    assert throughput.product_rate("float32") > 1e8


def test_the_recipe_can_be_changed_and_a_wrong_change_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(data, "find", lambda path: path)
    monkeypatch.setattr(data, "load_training", lambda source: TRAINING)
    monkeypatch.setattr(data, "split", lambda pictures, validation, seed: (pictures, pictures))
    monkeypatch.setattr(throughput, "measure", lambda config, _, updates: f"{config.precision}, {updates} updates")
    monkeypatch.setattr("sys.argv", ["throughput", "fast", "--set", "precision=float32", "--updates", "3"])
    throughput.main()
    assert "float32, 3 updates" in capsys.readouterr().out
    monkeypatch.setattr(engine, "precisions", lambda: ("int8", "float32"))
    monkeypatch.setattr("sys.argv", ["throughput", "fast"])
    throughput.main()
    assert "float32, 10 updates" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["throughput", "fast", "--updates", "0"])
    with pytest.raises(SystemExit, match="2"):
        throughput.main()
    assert "--updates is 0; expected at least 1" in capsys.readouterr().err
    monkeypatch.setattr("sys.argv", ["throughput", "fast", "--set", "precision=int4"])
    with pytest.raises(SystemExit, match="precision is 'int4'"):
        throughput.main()
