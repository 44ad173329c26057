"""POST /explain, and what its maps are worth."""

import io
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from app.inference.metadata import Input, ReceptiveField
from app.interpret import attribution, class_activation
from tests.conftest import ClientFactory, assert_problem

NEUTRAL = attribution.neutral(Input())
Cifar10 = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def npy(array: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def ask(client: httpx.Client, picture: NDArray[np.uint8], accept: str = "*/*", **params: Any) -> httpx.Response:
    headers = {"Content-Type": "application/x-npy", "Accept": accept}
    return client.post("/explain", content=npy(picture), params=params, headers=headers)


def probabilities(
    client: httpx.Client, pictures: NDArray[np.uint8], labels: list[str], model: str
) -> NDArray[np.float64]:
    """What the service gives each picture's label."""
    headers = {"Content-Type": "application/x-npy"}
    answer = client.post("/predict", content=npy(pictures), params={"top_k": 10, "model": model}, headers=headers)
    tops = [{one["label"]: one["probability"] for one in p["top"]} for p in answer.json()["predictions"]]
    return np.array([top[label] for top, label in zip(tops, labels, strict=True)])


@pytest.mark.parametrize(
    ("model", "method", "count"),
    [
        ("tutorial", "lime", 60),
        ("fast", "cam", 60),
        ("fast", "occlusion", 40),
        ("tutorial", "cam", 100),
        ("tutorial", "occlusion", 100),
        pytest.param("accurate", "lime", 100, marks=pytest.mark.slow),
        pytest.param("accurate", "cam", 200, marks=pytest.mark.slow),
        pytest.param("accurate", "occlusion", 100, marks=pytest.mark.slow),
    ],
)
def test_hiding_the_hottest_tenth_lowers_the_label_more_than_hiding_it_elsewhere(
    client: httpx.Client, cifar10: Cifar10, model: str, method: str, count: int
) -> None:
    pictures = cifar10[0][:: len(cifar10[0]) // count]
    assert len(pictures) >= count
    answers = [ask(client, picture, model=model, method=method).json() for picture in pictures]
    labels = [answer["label"] for answer in answers]
    before = np.array([answer["probability"] for answer in answers])
    holes = np.zeros((len(pictures), 32, 32), np.bool_)
    for hole, answer in zip(holes, answers, strict=True):
        hottest = np.argsort(-np.array(answer["heatmap"]).ravel(), kind="stable")[: hole.size // 10]
        hole.flat[hottest] = True

    def drop(holes: NDArray[np.bool_]) -> float:
        hidden = np.where(holes[..., None], NEUTRAL, pictures)
        return float((before - probabilities(client, hidden, labels, model)).mean())

    generator = np.random.default_rng(0)
    elsewhere = [np.array([np.roll(hole, generator.integers(0, 32, 2), (0, 1)) for hole in holes]) for _ in range(4)]
    assert drop(holes) > 1.2 * np.mean([drop(moved) for moved in elsewhere])


def test_the_default_knows_more_than_where_the_middle_is(client: httpx.Client, cifar10: Cifar10) -> None:
    """`benchmarks.explanations` measures it on more pictures, beside other methods."""
    pictures = cifar10[0][::5]
    answers = [ask(client, picture, model="fast").json() for picture in pictures]
    labels = [answer["label"] for answer in answers]
    places = np.arange(32) - 15.5
    middle = np.broadcast_to(-np.hypot(places[:, None], places), (len(pictures), 32, 32))

    def played(heats: NDArray[np.float64]) -> tuple[float, float]:
        """The mean probability with the hottest 30 % of pixels hidden, and with them alone shown."""
        ranks = np.argsort(np.argsort(-heats.reshape(len(heats), -1), kind="stable")).reshape(heats.shape)
        hot = (ranks < 0.3 * 32 * 32)[..., None]
        views = np.where(hot, NEUTRAL, pictures), np.where(hot, pictures, NEUTRAL)
        hidden, shown = (probabilities(client, view, labels, "fast").mean() for view in views)
        return hidden, shown

    found, known = played(np.array([answer["heatmap"] for answer in answers])), played(middle)
    assert found[0] < known[0] - 0.1
    assert found[1] > known[1] + 0.15


@pytest.mark.parametrize("pooling", ["max", "average"])
def test_class_activation_adds_up_to_the_score(pooling: Any) -> None:
    generator = np.random.default_rng(0)
    features = generator.normal(size=(3, 4, 8)).astype(np.float32)
    features[0, 0, 0] = features[1, 1, 0] = features[..., 0].max() + 1  # shared by two places
    weights = generator.normal(size=8).astype(np.float32)
    pooled = features.max(axis=(0, 1)) if pooling == "max" else features.mean(axis=(0, 1))
    heat = class_activation.activation(features, weights, pooling)
    assert heat.shape == (3, 4)
    assert heat.sum() == pytest.approx(pooled @ weights, rel=1e-5)


def test_how_the_map_was_made_is_stated(client: httpx.Client, cifar10: Cifar10) -> None:
    picture = cifar10[0][0]
    exact, approximate = (
        ask(client, picture, model=model, method="cam").json()["how"] for model in ("fast", "tutorial")
    )
    assert exact.startswith("exact: the score of the label is the max of")
    assert approximate.startswith("not exact, because flatten does not pool")
    assert (
        ask(client, picture).json()["how"].startswith("LIME: 128 random masks each hide half of the network's 32 x 32")
    )
    assert "8 x 8 patches of 8 x 8" in ask(client, picture, method="occlusion").json()["how"]


def test_a_map_covers_the_whole_picture_at_its_aspect(client: httpx.Client, cifar10: Cifar10) -> None:
    wide = np.zeros((32, 64, 3), np.uint8)
    wide[:, 16:48] = cifar10[0][0]
    square, whole = ask(client, cifar10[0][0]).json(), ask(client, wide).json()
    assert square["shape"] == [32, 32]
    assert square["seen"] == [0, 0, 1, 1]
    assert whole["shape"] == [32, 64]
    left, top, right, bottom = whole["seen"]
    assert right - left == pytest.approx(0.5**0.75)  # twice as wide as high: 1.19 heights of it are seen
    assert (left + right, top, bottom) == (1, 0, 1)
    heat = np.array(whole["heatmap"])
    assert heat[:, :12].max() == heat[:, 52:].max() == 0
    assert (heat[:, 13:51] > 0).any(axis=0).mean() > 0.5
    assert heat.max() == 1
    assert heat.min() == 0
    long = ask(client, np.zeros((20, 20_000, 3), np.uint8)).json()
    assert long["shape"] == [1, 512]


def test_any_label_can_be_explained(client: httpx.Client, cifar10: Cifar10) -> None:
    picture = cifar10[0][0]
    for method in ("lime", "cam", "occlusion"):
        given = ask(client, picture, label="cat", method=method).json()
        assert (given["label"], given["index"]) == ("cat", 3)
        assert given["probability"] < 0.5
        assert given["heatmap"] != ask(client, picture, method=method).json()["heatmap"]


def test_occlusion_says_how_much_each_patch_holds(client: httpx.Client, cifar10: Cifar10) -> None:
    picture = cifar10[0][25]
    answer = ask(client, picture, method="occlusion", grid=3, size=10, model="fast").json()
    patches = answer["patches"]
    assert [patch["box"] for patch in patches[:3]] == [
        [0, 0, 10 / 32, 10 / 32],
        [11 / 32, 0, 21 / 32, 10 / 32],
        [22 / 32, 0, 1, 10 / 32],
    ]
    hidden = np.repeat(picture[None], 9, axis=0)
    for view, patch in zip(hidden, patches, strict=True):
        left, top, right, bottom = (round(share * 32) for share in patch["box"])
        view[top:bottom, left:right] = NEUTRAL
    expected = probabilities(client, hidden, [answer["label"]] * 9, "fast")
    np.testing.assert_allclose([patch["probability"] for patch in patches], expected, atol=0.02)
    for patch in patches:
        assert patch["drop"] == pytest.approx(answer["probability"] - patch["probability"])


def test_the_overlay_is_the_original_with_the_map_on_it(client: httpx.Client, cifar10: Cifar10) -> None:
    picture = np.repeat(np.repeat(cifar10[0][0], 4, 0), 6, 1)
    response = ask(client, picture, "image/png", opacity=0)
    shown = np.asarray(Image.open(io.BytesIO(response.content)))
    # The network sees 128 * (192 / 128) ** 0.25 = 141.7 of the 192 columns.
    assert np.array_equal(shown[:, 25:167], picture[:, 25:167])
    for unseen in (slice(0, 25), slice(167, 192)):
        assert np.array_equal(shown[:, unseen], (picture[:, unseen] * 0.35).astype(np.uint8))
    laid = np.asarray(Image.open(io.BytesIO(ask(client, picture, "image/png").content)))
    assert not np.array_equal(laid[:, 25:167], picture[:, 25:167])


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 5000, 3), (40, 3, 3)])
def test_odd_pictures_are_explained(client: httpx.Client, shape: tuple[int, ...]) -> None:
    picture = np.full(shape, 127, np.uint8)
    for method in ("lime", "cam", "occlusion"):
        for model in ("fast", "tutorial"):
            assert ask(client, picture, method=method, model=model).status_code == 200
    for model in ("accurate", "fast", "tutorial"):
        assert ask(client, picture, "image/png", method="cam", model=model).status_code == 200


def test_a_small_queue_is_enough_to_explain(make_client: ClientFactory, cifar10: Cifar10) -> None:
    client = make_client(max_queue=16, max_pictures=16)
    for method in ("lime", "cam"):
        assert ask(client, cifar10[0][0], model="tutorial", method=method).status_code == 200


def test_what_cannot_be_explained_is_refused(
    client: httpx.Client, make_client: ClientFactory, cifar10: Cifar10, frog: bytes
) -> None:
    picture = cifar10[0][0]
    unknown = assert_problem(ask(client, picture, label="cow"), 422, "invalid-input", "label")
    assert "expected one of airplane, " in unknown["detail"]
    assert_problem(ask(client, picture, method="x"), 422, "invalid-input", "method")
    assert_problem(ask(client, picture, grid=0), 422, "invalid-input", "grid")
    assert_problem(ask(client, picture, size=33), 422, "invalid-input", "size")
    assert_problem(ask(client, picture, opacity=2), 422, "invalid-input", "opacity")
    assert_problem(ask(client, picture, model="x"), 404, "not-found", "model")
    assert_problem(ask(client, picture, "text/html"), 406, "not-acceptable", "Accept")
    views = assert_problem(ask(client, picture, method="occlusion", grid=17), 422, "invalid-input", "grid")
    assert "289 views; expected at most 256" in views["detail"]
    bad = client.post("/explain", content=frog[:99], headers={"Content-Type": "image/png"})
    assert_problem(bad, 422, "invalid-input", "body")
    assert_problem(ask(make_client(deadline=1e-6), picture), 504, "deadline-exceeded")


def test_a_map_is_enlarged_so_that_each_value_lies_in_the_middle_of_what_it_sees() -> None:
    field = ReceptiveField(size=[5, 5], step=[10, 10], start=[3, 3])
    heat = attribution.enlarged(np.array([[0.0, 0], [0, 1], [0, 0]]), field, 32)
    assert heat.shape == (32, 32)
    assert heat.argmax() == 15 * 32 + 15
    assert heat[15, 10] == pytest.approx(0.5)
    assert heat[25, 20] == 0


def test_an_empty_map_is_said_to_be_empty(client: httpx.Client) -> None:
    """Hiding parts of a picture of one colour, the neutral one, changes nothing."""
    picture = np.broadcast_to(NEUTRAL, (32, 32, 3)).copy()
    for method in ("lime", "occlusion"):
        answer = ask(client, picture, method=method, model="fast").json()
        assert not np.any(answer["heatmap"])
        assert answer["how"].endswith("; nothing in the picture speaks for this label, so the map is 0 everywhere")
        assert answer["drop"] is answer["hottest"] is None
        shown = ask(client, picture, "image/png", method=method, model="fast")
        assert shown.headers["x-how"] == answer["how"]
    assert "nothing" not in ask(client, picture, model="fast", method="cam").json()["how"]


@pytest.mark.parametrize("method", ["lime", "occlusion", "cam"])
def test_every_map_says_how_much_its_hottest_part_matters(client: httpx.Client, cifar10: Cifar10, method: str) -> None:
    picture = np.zeros((32, 64, 3), np.uint8)
    picture[:, 16:48] = cifar10[0][25]
    answer = ask(client, picture, model="fast", method=method).json()
    (left, top, right, bottom), seen, heat = answer["hottest"], answer["seen"], np.array(answer["heatmap"])
    assert [right - left, bottom - top] == pytest.approx([(seen[2] - seen[0]) / 4, 1 / 4])
    rows, columns = (slice(round(a * n), round(b * n)) for a, b, n in ((top, bottom, 32), (left, right, 64)))
    assert heat[rows, columns].mean() > 1.5 * heat.mean()
    assert -1 <= answer["drop"] <= answer["probability"]


def test_the_drop_is_what_hiding_the_hottest_part_does(client: httpx.Client, cifar10: Cifar10) -> None:
    picture = cifar10[0][25].copy()
    answer = ask(client, picture, model="fast").json()
    left, top, right, bottom = (round(32 * share) for share in answer["hottest"])
    assert (right - left, bottom - top) == (8, 8)
    picture[top:bottom, left:right] = NEUTRAL
    (hidden,) = probabilities(client, picture[None], [answer["label"]], "fast")
    assert answer["drop"] == pytest.approx(answer["probability"] - hidden, abs=0.02)
