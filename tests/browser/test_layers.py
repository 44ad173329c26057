"""The layers: their maps, kernels, values, and the part of the picture that each value depends on."""

from pathlib import Path
from typing import Any

import pytest
from httpx import Client
from PIL import Image
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import FROG, PIXELS, WIDTHS, OpenPage, choose, ready


def test_the_field_of_a_wide_picture_lies_within_what_the_network_sees(
    open_page: OpenPage, url: str, tmp_path: Path
) -> None:
    Image.open(FROG).resize((192, 96)).save(tmp_path / "wide.png")
    page = open_page(url, 1440)
    choose(page, tmp_path / "wide.png")
    view = page.locator("#layers-view")
    view.locator("input[name=layer][value=group1_conv1]").check()
    view.get_by_role("application").click(position={"x": 2, "y": 2})
    expect(view.locator(".detail__value")).to_contain_text("rows 0 to 2 and columns 0 to 2")
    field = view.locator(".outline--field")
    left, width = (float(field.evaluate(f"o => o.style.{side}").rstrip("%")) for side in ("left", "width"))
    seen = (96 / 192) ** 0.75  # of the width
    assert left == pytest.approx(100 * (1 - seen) / 2, abs=0.01)
    assert width == pytest.approx(100 * seen * 3 / 32, abs=0.01)


@pytest.mark.essential
@WIDTHS
def test_a_layer_a_map_its_statistics_its_kernel_and_its_field(
    open_page: OpenPage, url: str, client: Client, width: int
) -> None:
    page = open_page(url, width)
    choose(page)
    view = page.locator("#layers-view")
    view.locator("input[name=layer][value=group1_conv1]").check()
    expect(view.locator(".maps canvas")).to_have_count(128)
    view.get_by_role("radio", name="Map 5", exact=True).check()
    expect(view.get_by_role("heading", name="Map 5 of group1_conv1")).to_be_visible()
    query: dict[str, Any] = {"layer": "group1_conv1", "channels": 5}
    found = client.post("/feature-maps", params=query, files={"image": FROG.read_bytes()}).json()["layers"][0]["maps"][
        0
    ]
    expect(view.locator(".detail dl").first).to_contain_text(f"{found['maximum']:.4g}")
    surface = view.get_by_role("application")
    surface.click(position={"x": 2, "y": 2})
    expect(view.locator(".detail__value")).to_contain_text("Row 0, column 0")
    expect(view.locator(".detail__value")).to_contain_text("rows 0 to 2 and columns 0 to 2")
    surface.press("ArrowRight")
    expect(view.locator(".detail__value")).to_contain_text("Row 0, column 1")
    field = view.locator(".outline--field")
    assert [field.evaluate(f"o => o.style.{side}") for side in ("left", "width")] == ["0%", "12.5%"]
    view.get_by_label("Input channel").fill("7")
    view.get_by_label("Input channel").press("Enter")
    kernels = client.get("/models/accurate/layers/group1_conv1/kernels", params={"filter": 5, "channel": 7}).json()
    first = f"{kernels['kernels'][0]['values'][0][0]:.4g}".replace("-", "\N{MINUS SIGN}")
    expect(view.locator(".kernel__numbers td").first).to_have_text(first)
    view.get_by_role("button", name="Convolve with this kernel").click()
    convolve = page.locator("#convolve-view")
    expect(convolve.get_by_label("Which mask")).to_have_value("kernel")
    expect(convolve).to_contain_text("accurate · group1_conv1 · filter 5, channel 7")
    expect(convolve.get_by_role("radio", name="The picture")).to_be_checked()
    convolve.get_by_role("radio", name="Numbers").check()
    body = {
        "input": [[2, 4, 6], [8, 10, 12], [14, 16, 18]],
        "mask": {"model": "accurate", "layer": "group1_conv1", "filter": 5, "channel": 7},
        "operation": "correlation",
    }
    expected = client.post("/convolve", json=body).json()["output"][0][0]
    output = convolve.get_by_role("grid", name="Output").get_by_role("gridcell").first
    expect(output).to_have_text(f"{expected:.4g}".replace("-", "\N{MINUS SIGN}"))


@pytest.mark.parametrize("model", ["tutorial", "fast"])
def test_every_layer_can_be_looked_at(page: Page, client: Client, model: str) -> None:
    ready(page)
    page.locator("#predict-view").get_by_role("radio", name=model).check()
    layers = client.get(f"/models/{model}").json()["layers"]
    expect(page.locator(".strip .choice")).to_have_count(len(layers))
    for layer in layers:
        page.locator(f"input[name=layer][value={layer['name']}]").check()
        expect(page.locator(".layer__how")).to_have_text(layer["explanation"])
        expect(page.locator(".detail h3")).to_contain_text(f"of {layer['name']}")
        expect(page.locator(".detail__value")).to_contain_text("depends on")
    expect(page.locator("#layers-view").get_by_role("alert").first).to_be_hidden()


def test_a_feature_of_a_flatten_layer_depends_on_what_its_value_did(page: Page) -> None:
    ready(page)
    page.locator("#predict-view").get_by_role("radio", name="tutorial").check()
    page.locator("input[name=layer][value=flatten]").check()
    expect(page.locator(".detail h3")).to_have_text("7200 features of flatten")
    surface = page.locator("#layers-view").get_by_role("application")
    surface.click(position={"x": 1, "y": 1})
    for _ in range(2):
        surface.press("ArrowUp")
    for _ in range(32):
        surface.press("ArrowLeft")
    expect(page.locator(".detail__value")).to_contain_text("Feature 0: ")
    expect(page.locator(".detail__value")).to_contain_text("rows 0 to 4 and columns 0 to 4")
    box = surface.bounding_box()
    assert box
    assert box["height"] <= 400  # all 7,200 features at one glance
    for _ in range(32):  # the channels of one value of the pooling layer
        surface.press("ArrowRight")
    expect(page.locator(".detail__value")).to_contain_text("rows 0 to 4 and columns 1 to 6")


def test_only_the_kernel_that_is_shown_can_be_picked_up(page: Page) -> None:
    ready(page)
    held: list[Route] = []
    page.route("**/kernels?*channel=2", lambda route: held.append(route))
    with page.expect_request("**/kernels?*channel=2"):
        page.get_by_label("Input channel").evaluate("i => { i.value = 2; i.dispatchEvent(new Event('change')); }")
    use = page.get_by_role("button", name="Convolve with this kernel")
    expect(use).to_be_disabled()
    held[0].continue_()
    use.click()
    expect(page.locator("#convolve-view")).to_contain_text("channel 2")


def test_outputs_of_the_last_layers_have_their_labels(page: Page, client: Client) -> None:
    ready(page)
    labels = client.get("/models/accurate").json()["labels"]
    page.locator("input[name=layer]").last.check()
    expect(page.locator(".named dt")).to_have_text(labels)
    expect(page.locator(".detail__value")).to_contain_text("cat")


def test_a_dense_layer_shows_how_the_chosen_output_weighs_its_inputs(page: Page, client: Client) -> None:
    ready(page)
    page.locator("input[name=layer][value=head]").check()
    kernel = page.locator(".kernel")
    surface = page.locator("#layers-view").get_by_role("application")
    for output in (3, 4):  # the cat's, which is the largest, and the deer's
        expect(kernel.get_by_role("heading")).to_have_text(f"How feature {output} weighs its 512 inputs")
        answer = client.get("/models/accurate/layers/head/kernels", params={"filter": output}).json()
        most = max(abs(one["values"][0][0]) for one in answer["kernels"])
        rounded = page.evaluate("most => Number(most.toPrecision(4))", most)  # a half is rounded up, not to even
        expect(kernel.locator("[aria-live]")).to_contain_text(f"{rounded}; 0 is in the middle.")
        surface.press("ArrowRight")


def test_the_maps_that_come_first_are_not_mostly_black(page: Page) -> None:
    ready(page)
    page.locator("input[name=layer][value=group2_act2]").check()
    expect(page.locator(".maps canvas")).to_have_count(384)
    greens = f"all => all.slice(0, 40).map({PIXELS}).map((p) => Math.max(...p.filter((_, i) => i % 4 === 1)))"
    bright = page.locator(".maps canvas").evaluate_all(greens)
    assert sum(green > 200 for green in bright) >= 30


def test_a_layer_is_drawn_as_the_volume_that_it_gives_out(page: Page, client: Client) -> None:
    ready(page)
    layers = client.get("/models/accurate").json()["layers"]
    drawn = page.locator(".volume").evaluate_all("all => all.map((e) => [e.getAttribute('class'), e.clientHeight])")
    heights = {tuple(one["output_shape"]): height for one, (_, height) in zip(layers, drawn, strict=True)}
    assert heights[32, 32, 3] > heights[31, 31, 24] > heights[15, 15, 128] > heights[7, 7, 384] > heights[3, 3, 512]
    for layer, (name, _) in zip(layers, drawn, strict=True):
        assert ("volume--weighs" in name) == (layer["kind"] == "convolution")
    expect(page.get_by_label("Colours of the layers").get_by_role("listitem")).to_have_count(4)
