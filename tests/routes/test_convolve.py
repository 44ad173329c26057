"""POST /convolve, /pool and GET /masks over HTTP."""

import base64
import io
import time
from typing import Any

import httpx
import keras
import numpy as np
import orjson
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from app.convolution.masks import MASKS
from app.settings import Settings
from app.wire import operand as operands
from tests.conftest import MODELS, ClientFactory, assert_problem, until
from training import models  # noqa: F401, registers what the networks are made of

IMAGE = [[2, 4, 6], [8, 10, 12], [14, 16, 18]]
MASK = [[1, 2, 3], [4, 5, 6], [7, 8, 9]]


def post(client: httpx.Client, path: str = "/convolve", accept: str = "*/*", **fields: Any) -> httpx.Response:
    headers = {"Content-Type": "application/json", "Accept": accept}
    return client.post(path, content=orjson.dumps(fields, option=orjson.OPT_SERIALIZE_NUMPY), headers=headers)


def npy(array: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def png(picture: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()


def read_png(response: httpx.Response) -> NDArray[np.uint8]:
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "image/png"
    return np.asarray(Image.open(io.BytesIO(response.content)))


def test_the_tutorials_example(client: httpx.Client) -> None:
    body = post(client, input=IMAGE, mask=MASK, trace={"at": [0, 0]}).json()
    assert body == {
        "output": [[52, 112, 108], [168, 330, 288], [268, 472, 372]],
        "shape": [3, 3],
        "applied": {
            "operation": "convolution",
            "mask": [[9, 8, 7], [6, 5, 4], [3, 2, 1]],
            "padding": [[1, 1], [1, 1]],
            "boundary": "constant",
            "stride": [1, 1],
            "dilation": [1, 1],
            "method": "direct",
        },
        "trace": {
            "at": [0, 0],
            "window": [[0, 0, 0], [0, 2, 4], [0, 8, 10]],
            "mask": [[9, 8, 7], [6, 5, 4], [3, 2, 1]],
            "products": [[0, 0, 0], [0, 10, 16], [0, 16, 10]],
            "sum": 52,
            "scale": 1,
            "output": 52,
        },
    }


def test_every_field_counts(client: httpx.Client) -> None:
    x, mask = np.random.default_rng(0).normal(size=(9, 8)), np.random.default_rng(1).normal(size=(3, 2))
    fields: dict[str, Any] = {
        "operation": "correlation",
        "padding": [[1, 2], 3],
        "boundary": "constant",
        "fill_value": 7.5,
        "stride": [2, 1],
        "dilation": [1, 3],
        "normalize": True,
        "activation": "relu",
    }
    padded = np.pad(x, [(1, 2), (3, 3)], constant_values=7.5)
    spread = np.zeros((3, 4))
    spread[:, ::3] = mask / mask.sum()
    expected = ndimage.correlate(padded, spread)[1:-1, 2:-1][::2]
    body = post(client, input=x, mask=mask, **fields).json()
    np.testing.assert_allclose(body["output"], np.maximum(expected, 0), rtol=1e-9, atol=1e-12)
    assert body["shape"] == list(expected.shape)
    assert body["applied"] | {"mask": 0} == {
        "operation": "correlation",
        "mask": 0,
        "padding": [[1, 2], [3, 3]],
        "boundary": "constant",
        "stride": [2, 1],
        "dilation": [1, 3],
        "method": "direct",
    }


@pytest.mark.parametrize("shape", [(7,), (4, 5), (3, 4, 5)])
def test_one_two_and_three_dimensions_as_json_and_npy(client: httpx.Client, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(size=shape)
    mask = np.random.default_rng(1).normal(size=(2,) * len(shape))
    expected = ndimage.convolve(x, mask, mode="wrap")
    as_json = post(client, input=x, mask=mask, boundary="wrap")
    np.testing.assert_allclose(as_json.json()["output"], expected, atol=1e-12)
    options = orjson.dumps({"mask": mask, "boundary": "wrap"}, option=orjson.OPT_SERIALIZE_NUMPY)
    headers = {"Content-Type": "application/x-npy", "Accept": "application/x-npy"}
    raw = client.post("/convolve", content=npy(x), params={"options": options.decode()}, headers=headers)
    parts = client.post(
        "/convolve",
        files={"input": npy(x)},
        data={"options": options.decode()},
        headers={"Accept": "application/x-npy"},
    )
    for response in (raw, parts):
        assert response.headers["content-type"] == "application/x-npy"
        found = np.load(io.BytesIO(response.content))
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_missing_values_come_and_go_as_null_and_nan(client: httpx.Client) -> None:
    holed = [[1, None, 3], [4, 5, 6]]
    assert post(client, input=holed, mask=[[1, 1]]).json()["output"] == [[None, None, 3], [9, 11, 6]]
    assert post(client, input=holed, mask=[[1, 1]], missing="zero").json()["output"] == [[1, 3, 3], [9, 11, 6]]
    assert post(client, input=holed, mask=[[1, 1]], missing="ignore").json()["output"] == [[2, 6, 3], [9, 11, 6]]
    assert post(client, input=[None, None], mask=[1], missing="ignore").json()["output"] == [None, None]
    array = np.array(holed, np.float64)
    headers = {"Content-Type": "application/x-npy", "Accept": "application/x-npy"}
    response = client.post("/convolve", content=npy(array), params={"options": '{"mask":[[1,1]]}'}, headers=headers)
    np.testing.assert_array_equal(np.load(io.BytesIO(response.content)), [[np.nan, np.nan, 3], [9, 11, 6]])


@pytest.mark.parametrize("dtype", ["?", "i1", "u2", ">i4", "f2", "f4"])
def test_a_narrow_array_is_computed_in_float64_without_being_made_wide(client: httpx.Client, dtype: str) -> None:
    """64 MB of bytes would be 512 MB of float64."""
    array = np.arange(-6, 6).reshape(3, 4).astype(dtype)
    operand, _ = operands.read("application/x-npy", npy(array), None, Settings())
    assert operand.values.dtype == array.dtype
    headers = {"Content-Type": "application/x-npy", "Accept": "application/x-npy"}
    for path, options in (("/pool", "{}"), ("/convolve", '{"mask": [[0.1, 3]]}')):
        narrow, wide = (
            np.load(io.BytesIO(client.post(path, content=npy(x), params={"options": options}, headers=headers).content))
            for x in (array, array.astype(np.float64))
        )
        assert narrow.dtype == wide.dtype == np.float64
        assert np.array_equal(narrow, wide)


def test_a_picture_comes_in_three_forms(client: httpx.Client, frog: bytes) -> None:
    pixels = np.asarray(Image.open(io.BytesIO(frog)).convert("RGB"), np.float64)
    sobel = MASKS["sobel_x"].values
    expected = np.stack([ndimage.convolve(pixels[..., c], sobel, mode="nearest") for c in range(3)], axis=-1)
    options = '{"mask": "sobel_x", "boundary": "nearest"}'
    parts = client.post("/convolve", files={"image": frog}, data={"options": options}).json()
    raw = client.post(
        "/convolve", content=frog, params={"options": options}, headers={"Content-Type": "image/png"}
    ).json()
    assert parts == raw
    np.testing.assert_allclose(parts["output"], expected, atol=1e-3)
    gray = client.post("/convolve", files={"image": frog}, data={"options": options[:-1] + ', "color": "gray"}'}).json()
    assert gray["shape"] == [32, 32]
    luma = pixels @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(gray["output"], ndimage.convolve(luma, sobel, mode="nearest"), atol=1e-2)


def test_a_picture_is_turned_upright_and_composited_first(client: httpx.Client) -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (5, 9, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    picture.save(file, "PNG", exif=exif)
    accept = {"Accept": "image/png"}
    identity = {"options": '{"mask": "identity"}'}
    found = read_png(client.post("/convolve", files={"image": file.getvalue()}, data=identity, headers=accept))
    assert np.array_equal(found, np.asarray(picture.transpose(Image.Transpose.ROTATE_270)))
    clear = png(np.zeros((4, 4, 4), np.uint8))
    found = read_png(client.post("/convolve", files={"image": clear}, data=identity, headers=accept))
    assert found.min() == 255


@pytest.mark.parametrize(
    ("display", "expected", "clipped"),
    [
        ("clamp", [[0, 0, 100, 255]], 2),
        ("absolute", [[50, 0, 100, 255]], 1),
        ("rescale", [[0, 34, 102, 255]], 0),
    ],
)
def test_the_display_maps_numbers_to_pixels(
    client: httpx.Client, display: str, expected: list[list[int]], clipped: int
) -> None:
    response = post(client, accept="image/png", input=[[-50, 0, 100, 325]], mask=[[1]], display=display)
    assert read_png(response).tolist() == expected
    assert response.headers["x-clipped-pixels"] == str(clipped)


def test_a_missing_output_is_a_transparent_pixel(client: httpx.Client) -> None:
    response = post(client, accept="image/png", input=[[10, None], [30, 40]], mask=[[1]])
    assert read_png(response).tolist() == [[[10, 255], [0, 0]], [[30, 255], [40, 255]]]


def test_a_large_picture_is_the_same_band_by_band(client: httpx.Client) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (600, 700, 3), dtype=np.uint8)
    options = {"options": '{"mask": "gaussian_5x5", "boundary": "mirror", "display": "rescale"}'}
    found = read_png(
        client.post("/convolve", files={"image": png(picture)}, data=options, headers={"Accept": "image/png"})
    )
    blurred = np.stack(
        [
            ndimage.convolve(picture[..., c].astype(float), MASKS["gaussian_5x5"].values, mode="mirror")
            for c in range(3)
        ],
        axis=-1,
    )
    expected = (blurred - blurred.min()) / np.ptp(blurred) * 255
    assert np.abs(found - expected).max() < 0.51


def test_pool(client: httpx.Client, frog: bytes) -> None:
    assert post(client, "/pool", input=[[1, 2, 3], [4, 5, 6]]).json() == {
        "output": [[5]],
        "shape": [1, 1],
        "applied": {"kind": "max", "size": [2, 2], "stride": [2, 2], "padding": [[0, 0], [0, 0]]},
    }
    average = post(client, "/pool", input=[1, 2, None, 6, 8], kind="average", size=2, stride=1, padding="same")
    assert average.json()["output"] == [1.5, None, None, 7, 8]
    picture = client.post(
        "/pool", files={"image": frog}, data={"options": '{"size": 8}'}, headers={"Accept": "image/png"}
    )
    pixels = np.asarray(Image.open(io.BytesIO(frog)).convert("RGB"))
    assert np.array_equal(read_png(picture), pixels.reshape(4, 8, 4, 8, 3).max(axis=(1, 3)))


def test_masks_are_listed_and_taken_by_name(client: httpx.Client) -> None:
    listed = {mask["name"]: mask for mask in client.get("/masks").json()["masks"]}
    assert listed.keys() == MASKS.keys()
    x = np.random.default_rng(0).normal(size=(8, 8))
    for name, mask in listed.items():
        by_name = post(client, input=x, mask=name).json()
        assert by_name == post(client, input=x, mask=mask["values"]).json()
        assert mask["form"] in ("symmetric", "correlation")


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("application/json", "application/json"),
        ("text/html, image/*;q=0.9, */*;q=0.1", "image/png"),
        ("image/png;q=0.2, application/x-npy", "application/x-npy"),
        ("application/json;q=0, */*", "image/png"),
        ("", "application/json"),
    ],
)
def test_accept_chooses_the_form(client: httpx.Client, accept: str, expected: str) -> None:
    assert post(client, accept=accept, input=IMAGE, mask=MASK).headers["content-type"] == expected


def test_an_accept_that_nothing_meets_is_refused(client: httpx.Client) -> None:
    assert_problem(post(client, accept="text/html", input=IMAGE, mask=MASK), 406, "not-acceptable", "Accept")


def test_a_learned_kernel_is_a_mask(client: httpx.Client) -> None:
    kernel = keras.models.load_model(MODELS / "accurate" / "model.keras").get_layer("group1_conv1").kernel.numpy()
    mask = {"model": "accurate", "layer": "group1_conv1", "filter": 7, "channel": 3}
    applied = post(client, input=IMAGE, mask=mask, operation="correlation").json()["applied"]
    np.testing.assert_allclose(applied["mask"], kernel[:, :, 3, 7], atol=1e-3)
    default = {key: value for key, value in mask.items() if key != "model"}
    assert post(client, input=IMAGE, mask=default, operation="correlation").json()["applied"] == applied


@pytest.mark.parametrize(
    ("fields", "status", "type", "field"),
    [
        ({"input": IMAGE}, 422, "invalid-input", "/mask"),
        ({"mask": MASK}, 422, "invalid-input", "/input"),
        ({"input": 5, "mask": MASK}, 422, "invalid-input", "/input"),
        ({"input": [], "mask": MASK}, 422, "invalid-input", "/input"),
        ({"input": [[]], "mask": MASK}, 422, "invalid-input", "/input"),
        ({"input": [[1, 2], [3]], "mask": MASK}, 422, "invalid-input", "/input/1"),
        ({"input": [[1, 2], 3], "mask": MASK}, 422, "invalid-input", "/input/1"),
        ({"input": [[1, [2]]], "mask": MASK}, 422, "invalid-input", "/input/0/1"),
        ({"input": [[1, True]], "mask": MASK}, 422, "invalid-input", "/input/0/1"),
        ({"input": [[1, "2"]], "mask": MASK}, 422, "invalid-input", "/input/0/1"),
        ({"input": [[1, {}]], "mask": MASK}, 422, "invalid-input", "/input/0/1"),
        ({"input": [[[[1]]]], "mask": MASK}, 422, "invalid-input", "/input"),
        ({"input": [1, 2], "mask": MASK}, 422, "invalid-input", "/mask"),
        ({"input": IMAGE, "mask": [[1, None]]}, 422, "invalid-input", "/mask"),
        ({"input": IMAGE, "mask": [[1, "x"]]}, 422, "invalid-input", "/mask/0/1"),
        ({"input": IMAGE, "mask": 5}, 422, "invalid-input", "/mask"),
        ({"input": IMAGE, "mask": "nope"}, 404, "not-found", "/mask"),
        ({"input": [1], "mask": "identity"}, 422, "invalid-input", "/mask"),
        ({"input": IMAGE, "mask": {"layer": "x", "filter": 0}}, 422, "invalid-input", "/mask/channel"),
        ({"input": IMAGE, "mask": {"layer": "x", "filter": -1, "channel": 0}}, 422, "invalid-input", "/mask/filter"),
        (
            {"input": IMAGE, "mask": {"model": "", "layer": "whiten", "filter": 0, "channel": 0}},
            404,
            "not-found",
            "/mask/model",
        ),
        ({"input": IMAGE, "mask": [[1e308, 1e308]], "normalize": True}, 422, "invalid-input", "/mask"),
        ({"input": IMAGE, "mask": {"layer": "x", "filter": 0, "channel": 0}}, 404, "not-found", "/mask/layer"),
        (
            {"input": IMAGE, "mask": {"model": "x", "layer": "x", "filter": 0, "channel": 0}},
            404,
            "not-found",
            "/mask/model",
        ),
        (
            {"input": IMAGE, "mask": {"layer": "whiten", "filter": 99, "channel": 0}},
            422,
            "invalid-input",
            "/mask/filter",
        ),
        ({"input": IMAGE, "mask": [[1] * 4], "padding": "valid"}, 422, "invalid-input", "/mask"),
        ({"input": IMAGE, "mask": MASK, "padding": "valid", "dilation": 2}, 422, "invalid-input", "/mask"),
        ({"input": IMAGE, "mask": MASK, "operation": "x"}, 422, "invalid-input", "/operation"),
        ({"input": IMAGE, "mask": MASK, "padding": "some"}, 422, "invalid-input", "/padding"),
        ({"input": IMAGE, "mask": MASK, "padding": -1}, 422, "invalid-input", "/padding"),
        ({"input": IMAGE, "mask": MASK, "padding": [1]}, 422, "invalid-input", "/padding"),
        ({"input": IMAGE, "mask": MASK, "padding": [1, [1, 2, 3]]}, 422, "invalid-input", "/padding"),
        ({"input": IMAGE, "mask": MASK, "padding": True}, 422, "invalid-input", "/padding"),
        ({"input": IMAGE, "mask": MASK, "padding": 10**30}, 422, "invalid-input", "/padding"),
        ({"input": IMAGE, "mask": MASK, "padding": 10**12}, 413, "too-large", "/padding"),
        ({"input": IMAGE, "mask": MASK, "boundary": "x"}, 422, "invalid-input", "/boundary"),
        ({"input": IMAGE, "mask": MASK, "fill_value": None}, 422, "invalid-input", "/fill_value"),
        ({"input": IMAGE, "mask": MASK, "stride": 0}, 422, "invalid-input", "/stride"),
        ({"input": IMAGE, "mask": MASK, "stride": -2}, 422, "invalid-input", "/stride"),
        ({"input": IMAGE, "mask": MASK, "stride": 1.5}, 422, "invalid-input", "/stride"),
        ({"input": IMAGE, "mask": MASK, "stride": [1, 1, 1]}, 422, "invalid-input", "/stride"),
        ({"input": IMAGE, "mask": MASK, "dilation": 0}, 422, "invalid-input", "/dilation"),
        ({"input": IMAGE, "mask": [[1, -1]], "normalize": True}, 422, "invalid-input", "/normalize"),
        ({"input": [[1, None]], "mask": [[1, -1]], "missing": "ignore"}, 422, "invalid-input", "/missing"),
        ({"input": IMAGE, "mask": MASK, "missing": "x"}, 422, "invalid-input", "/missing"),
        ({"input": IMAGE, "mask": MASK, "activation": "gelu"}, 422, "invalid-input", "/activation"),
        ({"input": IMAGE, "mask": MASK, "trace": {"at": [3, 0]}}, 422, "invalid-input", "/trace/at"),
        ({"input": IMAGE, "mask": MASK, "trace": {"at": [0]}}, 422, "invalid-input", "/trace/at"),
        ({"input": IMAGE, "mask": MASK, "trace": {"at": [-1, 0]}}, 422, "invalid-input", "/trace/at"),
        ({"input": IMAGE, "mask": MASK, "trace": {"at": [0, 0], "x": 1}}, 422, "invalid-input", "/trace/x"),
        ({"input": IMAGE, "mask": MASK, "trace": {}}, 422, "invalid-input", "/trace/at"),
        ({"input": IMAGE, "mask": MASK, "trace": [0, 0]}, 422, "invalid-input", "/trace"),
        ({"input": IMAGE, "mask": MASK, "colour": 1}, 422, "invalid-input", "/colour"),
        ({"input": [[1e308, 1e308]], "mask": [[1, 1]]}, 422, "invalid-input", "/input"),
        ({"input": [[1e30, 1]], "mask": [[1e300]]}, 422, "invalid-input", "/mask"),
        ({"input": [[1, 1]], "mask": [[1, 2, 3]], "fill_value": 1e308}, 422, "invalid-input", "/fill_value"),
    ],
)
def test_a_wrong_field_is_refused_by_its_pointer(
    client: httpx.Client, fields: dict[str, Any], status: int, type: str, field: str
) -> None:
    content = str(fields).replace("'", '"').replace("True", "true").replace("None", "null").encode()
    response = client.post("/convolve", content=content, headers={"Content-Type": "application/json"})
    assert_problem(response, status, type, field)


@pytest.mark.parametrize("path", ["/convolve", "/pool"])
def test_options_in_the_url_beside_fields_of_a_body_are_refused(client: httpx.Client, frog: bytes, path: str) -> None:
    url = f"{path}?options={{}}"
    body = client.post(url, json={"input": [1], "mask": [1]})
    detail = assert_problem(body, 422, "invalid-input", "options")["detail"]
    assert detail == "options is '{}'; expected its fields in the body"
    parts = client.post(url, files={"image": frog}, data={"options": '{"mask": "identity"}'})
    assert_problem(parts, 422, "invalid-input", "options")


def test_values_are_shown_as_json_has_them_and_options_listed(client: httpx.Client) -> None:
    fields = {"input": IMAGE, "mask": MASK, "stride": None, "normalize": [None, False], "fill_value": True, "hue": 1}
    found = {error["field"]: error["detail"] for error in client.post("/convolve", json=fields).json()["errors"]}
    assert found["/stride"].startswith("stride is null; expected ")
    assert found["/normalize"].startswith("normalize is [null, false]; expected ")
    assert found["/fill_value"].startswith("fill_value is true; expected ")
    assert found["/hue"].startswith("no option is called 'hue'; expected mask, ")


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"input": [NaN]}', b'{"input": [Infinity]}', b'{"input": [1e400]}', b"[" * 2000]
)
def test_what_is_no_json_is_malformed(client: httpx.Client, content: bytes) -> None:
    for path in ("/convolve", "/pool"):
        response = client.post(path, content=content, headers={"Content-Type": "application/json"})
        assert_problem(response, 400, "malformed-request", "body")


@pytest.mark.parametrize(
    ("content", "kind", "status", "type", "field"),
    [
        (b"hello", "text/plain", 415, "unsupported-picture", "Content-Type"),
        (b"hello", "image/png", 415, "unsupported-picture", "body"),
        (b"hello", "application/x-npy", 400, "malformed-request", "body"),
        (npy(np.zeros((2, 2, 2, 2))), "application/x-npy", 422, "invalid-input", "body"),
        (npy(np.zeros((2, 0))), "application/x-npy", 422, "invalid-input", "body"),
        (npy(np.zeros(3, complex)), "application/x-npy", 422, "invalid-input", "body"),
        (npy(np.array([1, "x"], object)), "application/x-npy", 422, "invalid-input", "body"),
        (npy(np.array([1, np.inf])), "application/x-npy", 422, "invalid-input", "body"),
        (npy(np.zeros(3))[:-1], "application/x-npy", 400, "malformed-request", "body"),
    ],
)
def test_a_wrong_body_is_refused(
    client: httpx.Client, content: bytes, kind: str, status: int, type: str, field: str
) -> None:
    response = client.post(
        "/convolve", content=content, params={"options": '{"mask": [1]}'}, headers={"Content-Type": kind}
    )
    assert_problem(response, status, type, field)


@pytest.mark.parametrize("kind", ["Application/JSON", "Application/JSON; charset=UTF-8"])
def test_a_content_type_may_be_written_in_any_case(client: httpx.Client, frog: bytes, kind: str) -> None:
    content = b'{"input": [1, 2, 3], "mask": [1]}'
    assert client.post("/convolve", content=content, headers={"Content-Type": kind}).status_code == 200
    pictures = orjson.dumps({"images": [base64.b64encode(frog).decode()]})
    assert client.post("/predict", content=pictures, headers={"Content-Type": kind}).status_code == 200


def test_wrong_parts_are_refused(client: httpx.Client, frog: bytes) -> None:
    options = {"options": '{"mask": "identity"}'}
    assert_problem(client.post("/convolve", files={"picture": frog}, data=options), 422, "invalid-input", "body")
    both = {"image": frog, "input": npy(np.zeros(3))}
    assert_problem(client.post("/convolve", files=both, data=options), 422, "invalid-input", "body")
    broken = client.post("/convolve", files={"image": frog}, data={"options": "{"})
    assert_problem(broken, 400, "malformed-request", "options")
    assert_problem(client.post("/convolve", files={"image": frog[:500]}, data=options), 422, "invalid-input", "image")
    volume = post(client, accept="image/png", input=[[[1]]], mask=[[[1]]])
    assert_problem(volume, 422, "invalid-input", "Accept")


def test_what_is_too_much_is_refused_with_the_numbers(make_client: ClientFactory, frog: bytes) -> None:
    client = make_client(max_json_values=100, max_elements=200, max_multiply_adds=1000)
    many = assert_problem(post(client, input=np.zeros(200), mask=[1]), 413, "too-large", "body")
    assert "201 values or more; expected at most 100" in many["detail"]
    answer = post(client, input=np.zeros(90), mask=[1], padding=10)
    assert "answer has 110 values; expected at most 100" in assert_problem(answer, 413, "too-large", "Accept")["detail"]
    traced = post(client, input=np.zeros(40), mask=np.ones(21), trace={"at": [0]})
    assert "answer has 103 values; expected at most 100" in assert_problem(traced, 413, "too-large", "Accept")["detail"]
    assert post(client, input=np.zeros(40), mask=np.ones(20), trace={"at": [0]}).status_code == 200
    padded = assert_problem(post(client, input=[1], mask=[1], padding=100), 413, "too-large", "/padding")
    assert "201 elements; expected at most 200" in padded["detail"]
    work = assert_problem(post(client, input=np.ones(80), mask=np.ones(13)), 413, "too-large", "/mask")
    assert "need 1040 multiply-adds; expected at most 1000" in work["detail"]
    picture = client.post("/convolve", files={"image": frog}, data={"options": '{"mask": "identity"}'})
    assert_problem(picture, 413, "too-large", "/padding")


def test_an_npy_answer_of_too_many_bytes_is_refused(make_client: ClientFactory) -> None:
    client = make_client(max_answer=800)
    kind = "application/x-npy"
    assert post(client, accept=kind, input=[1], mask=[1], padding=[[0, 99]]).status_code == 200
    answer = post(client, accept=kind, input=[1], mask=[1], padding=[[0, 100]])
    detail = assert_problem(answer, 413, "too-large", "Accept")["detail"]
    assert detail == "the answer, float64 of shape [101], has 808 bytes; expected at most 800"


HIDDEN_WORK: list[dict[str, Any]] = [
    {"input": [0], "mask": [1] * 8001, "dilation": 12_500, "stride": 8001, "padding": [[0, 199_204_399]]},
    {"input": [[1]], "mask": [[1]], "padding": [[0, 0], [60_000_000, 0]]},
    {"input": [[1]], "mask": [[1, 1], [1, 1]], "dilation": 12_000, "padding": "full"},
    {"input": [[1]], "mask": np.ones((400, 400)), "dilation": [11, 13], "stride": [7, 9], "padding": "full"},
]


@pytest.mark.parametrize("accept", ["application/x-npy", "image/png"])
@pytest.mark.parametrize("fields", HIDDEN_WORK, ids=range(len(HIDDEN_WORK)))
def test_a_small_request_costs_little_or_is_rejected(client: httpx.Client, fields: dict[str, Any], accept: str) -> None:
    started = time.process_time()
    response = post(client, accept=accept, **fields)
    assert response.status_code in (200, 413, 504)  # 504 on a busy machine
    assert time.process_time() - started < 12


def test_a_small_array_in_large_windows_is_pooled_at_once(client: httpx.Client) -> None:
    body = {"input": npy(np.zeros(31_000, np.uint8))}
    started = time.process_time()
    for kind in ("max", "average"):
        options = f'{{"kind": "{kind}", "size": 31000, "stride": 1, "padding": "same"}}'
        headers = {"Accept": "application/x-npy"}
        assert client.post("/pool", files=body, data={"options": options}, headers=headers).status_code == 200
    assert time.process_time() - started < 4


def test_work_stops_at_its_deadline(make_client: ClientFactory) -> None:
    """The thread is free again within a second: another request finds it idle."""
    client = make_client(deadline=0.5, max_jobs=1)
    x = np.random.default_rng(0).normal(size=(1000, 1000))
    x[0, 0] = 1e20  # so that the direct method is taken, which is slow
    slow = client.post(
        "/convolve",
        files={"input": npy(x)},
        headers={"Accept": "application/x-npy"},
        data={"options": f'{{"mask": {[[1] * 90] * 90}}}'},
    )
    assert_problem(slow, 504, "deadline-exceeded")
    until(lambda: post(client, input=IMAGE, mask=MASK).status_code == 200, seconds=5)


def test_a_png_of_too_many_pixels_is_rejected(make_client: ClientFactory) -> None:
    client = make_client(max_pixels=100)
    assert post(client, accept="image/png", input=[1], mask=[1], padding=[[0, 99]]).status_code == 200
    answer = post(client, accept="image/png", input=[1], mask=[1], padding=[[0, 100]])
    detail = assert_problem(answer, 413, "too-large", "Accept")["detail"]
    assert detail == "the PNG would have 101 pixels; expected at most 100"


def test_fill_value_null_is_rejected_with_what_to_do_instead(client: httpx.Client) -> None:
    detail = assert_problem(post(client, input=[1], mask=[1], fill_value=None), 422, "invalid-input", "/fill_value")
    assert "write nulls around the input" in detail["detail"]


def test_a_picture_reduced_to_8_bits_is_said_to_be(client: httpx.Client, frog: bytes) -> None:
    file = io.BytesIO()
    Image.fromarray((np.arange(256).reshape(16, 16) * 256).astype(np.uint16)).save(file, "PNG")
    deep = {"image": file.getvalue()}
    for path, options in (("/convolve", '{"mask": "identity"}'), ("/pool", "{}")):
        answer = client.post(path, files=deep, data={"options": options})
        assert answer.json()["applied"]["reduced_from"] == answer.headers["x-reduced-from"] == "16-bit samples"
        for accept in ("image/png", "application/x-npy"):
            shown = client.post(path, files=deep, data={"options": options}, headers={"Accept": accept})
            assert shown.headers["x-reduced-from"] == "16-bit samples"
        plain = client.post(path, files={"image": frog}, data={"options": options})
        assert "reduced_from" not in plain.json()["applied"]
        assert "x-reduced-from" not in plain.headers
