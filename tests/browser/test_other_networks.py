"""The page with networks that are not CIFAR-10's."""

from itertools import pairwise
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests import artifacts
from tests.browser.conftest import WIDTHS, OpenPage
from tests.conftest import ClientFactory


@pytest.fixture(scope="module")
def url(make_client: ClientFactory, tmp_path_factory: pytest.TempPathFactory) -> str:
    models = tmp_path_factory.mktemp("models")
    artifacts.write(models / "grey", ("no", "yes"), channels=1, pictures=2)
    artifacts.write(models / "thousand", [f"thing {i}" for i in range(1000)], size=64, typicality=True)
    artifacts.write(models / "bare", ("猫", "крот"), layers=[])
    artifacts.write(models / "long", ("short", "a label with as many words as it may have", "W" * 100), size=32)
    return str(make_client(models=models).base_url)


@pytest.mark.console("422")  # the picture that is open has no class activation in a network without layers
def test_the_page_shows_what_each_network_knows_and_what_it_does_not(open_page: OpenPage, url: str) -> None:
    page = open_page(url)
    predict, card, picture = (page.locator(f"#{name}-view") for name in ("predict", "card", "picture"))

    predict.get_by_role("radio", name="grey").check()
    expect(predict.locator(".bar__label")).to_have_count(2)
    expect(predict.locator(".notice")).to_contain_text("cannot tell whether a picture is like those")
    expect(predict).to_contain_text("How often it is right was not measured")
    expect(card).to_contain_text("It knows 2 labels: no, yes.")
    expect(card).to_contain_text("not calibrated")
    expect(picture).to_contain_text("16 \u00d7 16 grey pixels of its centre")
    expect(picture.locator(".samples .choice")).to_have_count(2)
    picture.get_by_role("radio", name="yes.png").check()
    expect(picture).to_contain_text("yes.png, 16 \u00d7 16 pixels")
    expect(picture.get_by_role("radio", name="yes.png")).to_be_checked()
    assert page.locator("#picture-view canvas").evaluate("canvas => canvas.width") == 16

    predict.get_by_role("radio", name="thousand").check()
    expect(predict.locator(".bar__label")).to_have_count(10)
    expect(predict).to_contain_text("It knows only 1000 labels, here the 10 likeliest")
    expect(card).to_contain_text("and 940 more")
    expect(picture).to_contain_text("This network brings no example pictures.")
    expect(page.locator("#layers-view .strip .choice")).to_have_count(3)
    assert page.evaluate("document.documentElement.scrollWidth") <= 1440

    predict.get_by_role("radio", name="bare").check()
    expect(page.locator("#layers-view")).to_contain_text("This network does not show its layers.")
    expect(page.get_by_label("Heat map of what speaks for")).to_be_visible()
    page.get_by_role("radio", name="Class activation").check()
    expect(page.locator("#explain-view .error")).to_contain_text("expected lime or occlusion")


def test_the_model_card_is_a_link(open_page: OpenPage, url: str, tmp_path: Path) -> None:
    page = open_page(f"{url}#predict=%7B%22model%22:%22grey%22%7D")
    link = page.locator("#card-view").get_by_role("link", name="Model card")
    expect(link).to_have_attribute("href", "models/grey@1/files/README.md")


@WIDTHS
def test_long_labels_lie_on_no_other_and_the_page_stays_as_wide_as_the_window(
    open_page: OpenPage, url: str, width: int
) -> None:
    page = open_page(f"{url}#predict=%7B%22model%22:%22long%22%7D", width=width)
    labels = page.locator(".bars .choice")
    expect(labels).to_have_count(3)
    ends = labels.locator(".bar__label").evaluate_all(
        "all => all.map(label => [label.getBoundingClientRect().top, label.getBoundingClientRect().bottom])"
    )
    assert all(above[1] <= below[0] for above, below in pairwise(ends))
    assert page.evaluate("document.documentElement.scrollWidth") <= width
