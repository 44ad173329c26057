"""The course's chapter on learning: the film of a training."""

import base64
import json
import re

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Locator, Page, Route, expect

from app.routes.page import STATIC
from tests.browser.conftest import OpenPage, figure

FILM = json.loads((STATIC / "film" / "tutorial.json").read_text())
LAST = len(FILM["runs"]["nothing"]["epochs"]) - 1


def opened(page: Page) -> Locator:
    """The figure, once the film is there."""
    film = figure(page, "film")
    expect(film.locator(".film-mask")).to_have_count(32)
    return film


def first_map(epoch: int, mask: int, label: str) -> NDArray[np.float64]:
    """The map of a first-layer mask of the run `nothing`, computed from the file."""
    run = FILM["runs"]["nothing"]
    size = sum(int(np.prod(shape)) for shape in run["shapes"])
    values = np.frombuffer(base64.b64decode(run["weights"]), np.int8)[epoch * size :]
    kernel_size = int(np.prod(run["shapes"][0]))
    scales = run["epochs"][epoch]["scales"]
    kernel = values[:kernel_size].reshape(run["shapes"][0]) * scales[0]
    bias = values[kernel_size : kernel_size + run["shapes"][1][0]] * scales[1]
    pixels = np.asarray(Image.open(STATIC / "pictures" / f"{label}.png").convert("RGB")) / 255
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(pixels, ((1, 1), (1, 1), (0, 0))), (3, 3), axis=(0, 1))
    sums = np.einsum("rcdij,ijd->rc", windows, kernel[..., mask])
    return np.asarray(np.maximum(0, sums + bias[mask]))


def test_the_film_plays_to_its_end_and_says_what_is_seen(course: Page) -> None:
    film = opened(course)
    said = film.locator(".figure__sum")
    expect(said).to_contain_text("Before the first update the weights are random")
    film.get_by_label("How fast the epochs play").select_option("fast")
    film.get_by_role("button", name="Play").click()
    expect(film.get_by_text(f"epoch {LAST} of {LAST}")).to_be_visible()
    expect(film.get_by_role("button", name="Play")).to_be_visible()
    expect(said).to_contain_text("learned single pictures by heart. That is overfitting.")
    end = FILM["runs"]["nothing"]["epochs"][-1]
    expect(said).to_contain_text(f"{100 * end['accuracy']:.1f} % of the 3,000 pictures that it learns from")
    expect(said).to_contain_text(f"{100 * end['val_accuracy']:.1f} % of 2,000")


def test_the_keyboard_goes_through_the_epochs_and_stops_the_film(course: Page) -> None:
    film = opened(course)
    film.get_by_role("button", name="Play").press("Enter")
    expect(film.get_by_role("button", name="Pause")).to_be_visible()
    slider = film.get_by_label("Epoch", exact=True)
    slider.press("End")
    expect(film.get_by_text(f"epoch {LAST} of {LAST}")).to_be_visible()
    expect(film.get_by_role("button", name="Play")).to_be_visible()
    slider.press("ArrowLeft")
    expect(film.get_by_text(f"epoch {LAST - 1} of {LAST}")).to_be_visible()
    film.get_by_role("button", name="Next epoch").press("Enter")
    expect(film.get_by_text(f"epoch {LAST} of {LAST}")).to_be_visible()


def test_a_map_is_what_the_masks_in_the_file_make_of_the_picture(course: Page) -> None:
    film = opened(course)
    for epoch, mask, label in ((0, 0, "cat"), (LAST, 17, "ship")):
        film.get_by_label("Epoch", exact=True).fill(str(epoch))
        film.get_by_role("radio", name=f"Mask {mask}", exact=True).check()
        film.get_by_role("radio", name=label, exact=True).check()
        shown = film.get_by_role("img", name=re.compile(f"^The map of mask {mask}, up to "))
        most = float(np.max(first_map(epoch, mask, label)))
        expect(shown).to_have_attribute("aria-label", f"The map of mask {mask}, up to {float(f'{most:.3g}'):g}")
        answers = FILM["runs"]["nothing"]["epochs"][epoch]["answers"][FILM["labels"].index(label)]
        expect(film.get_by_role("table").locator("th").first).to_have_text(FILM["labels"][int(np.argmax(answers))])


def test_a_switch_shows_another_run_and_early_stopping_its_end(course: Page) -> None:
    film = opened(course)
    film.get_by_role("radio", name="dropout").check()
    film.get_by_label("Epoch", exact=True).press("End")
    end = FILM["runs"]["dropout"]["epochs"][-1]
    expect(film.locator(".figure__sum")).to_contain_text(f"{100 * end['val_accuracy']:.1f} % of 2,000")
    expect(film.get_by_text("never seen, with nothing done")).to_have_count(2)
    film.get_by_role("radio", name="nothing").check()
    film.get_by_role("radio", name="on", exact=True).check()
    stopping = FILM["runs"]["nothing"]["stopping"]
    assert stopping["stopped"] < LAST
    expect(film.get_by_text(f"epoch {stopping['stopped']} of {stopping['stopped']}")).to_be_visible()
    expect(film.locator(".figure__sum")).to_contain_text(f"the weights of epoch {stopping['kept']} are kept")


def test_a_link_opens_the_film_where_it_was(course: Page, open_page: OpenPage) -> None:
    film = opened(course)
    film.get_by_role("radio", name="dropout").check()
    film.get_by_label("Epoch", exact=True).fill("3")
    course.get_by_role("button", name="Copy a link").click()
    expect(course.get_by_text("Copied.")).to_be_visible()
    again = opened(open_page(str(course.evaluate("navigator.clipboard.readText()"))))
    expect(again.get_by_role("radio", name="dropout")).to_be_checked()
    expect(again.get_by_text(f"epoch 3 of {LAST}")).to_be_visible()


def test_a_link_to_what_this_film_lacks_opens_its_beginning(open_page: OpenPage, url: str) -> None:
    page = open_page(url + 'learn#film={"run":"constructor","epoch":-3,"filter":99}')
    film = opened(page)
    expect(film.get_by_text(f"epoch 0 of {LAST}")).to_be_visible()
    expect(film.get_by_role("radio", name="nothing")).to_be_checked()
    expect(film.get_by_role("radio", name="Mask 31", exact=True)).to_be_checked()


@pytest.mark.console("Failed to load resource", "net::ERR_FAILED")
def test_a_film_that_does_not_come_is_said_and_asked_for_again(course: Page) -> None:
    course.route("**/film/tutorial.json", lambda route: route.abort())
    film = figure(course, "film")
    expect(film.get_by_role("alert")).to_contain_text("does not answer")
    course.unroute("**/film/tutorial.json")
    film.get_by_role("button", name="Try again").click()
    expect(film.locator(".film-mask")).to_have_count(32)


@pytest.mark.console("Failed to load resource")
def test_without_a_film_the_figure_says_how_one_is_made(course: Page) -> None:
    def missing(route: Route) -> None:
        route.fulfill(status=404, json={"detail": "no such file"})

    course.route("**/film/tutorial.json", missing)
    expect(figure(course, "film").get_by_role("alert")).to_contain_text("`convoscope film` makes one")
