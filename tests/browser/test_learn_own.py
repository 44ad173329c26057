"""The course's chapter on one's own pictures."""

import shlex
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage, figure
from tests.conftest import PICTURES


def test_the_fields_make_the_command(course: Page) -> None:
    own = figure(course, "own")
    own.get_by_label("Folder", exact=True).fill("it's mine/pets & co")
    own.get_by_label("Name of the network").fill("pets-2")
    own.get_by_label("Minutes it may take").fill("5")
    own.get_by_label("Size of the pictures in pixels").select_option("64")
    shown = own.get_by_label("The command that trains", exact=True)
    expect(shown).to_contain_text("--size 64")
    command = shlex.split(shown.inner_text())
    words = ["train", "--data", "it's mine/pets & co", "--name", "pets-2", "--time", "5m", "--size", "64"]
    assert command == [".venv/bin/convoscope", *words]
    expect(own.get_by_label("Then ask it", exact=True)).to_contain_text("/predict?model=pets-2'")
    own.get_by_role("button", name="Copy: the command that trains").click()
    expect(own.get_by_text("Copied.")).to_be_visible()
    assert course.evaluate("navigator.clipboard.readText()") == shown.inner_text()


@pytest.mark.parametrize(
    ("label", "value", "said"),
    [
        ("Folder", "", "Folder is empty"),
        ("Name of the network", "my pets", "Name is “my pets”; expected up to 64 letters"),
        ("Minutes it may take", "0", "expected a whole number from 1 to 10080"),
    ],
)
def test_a_wrong_field_is_said_and_changes_no_command(course: Page, label: str, value: str, said: str) -> None:
    own = figure(course, "own")
    command = own.get_by_label("The command that trains", exact=True)
    expect(command).to_contain_text("--time 20m")
    before = command.inner_text()
    own.get_by_label(label, exact=True).fill(value)
    expect(own.get_by_text(said)).to_be_visible()
    assert command.inner_text() == before


def test_a_folder_is_looked_into_without_being_sent(course: Page, tmp_path: Path) -> None:
    own = figure(course, "own")
    expect(own.locator("tbody tr")).to_have_count(3)
    for label, count in (("cats", 4), ("dogs", 2)):
        (tmp_path / "pets" / label).mkdir(parents=True)
        for i in range(count):
            shutil.copy(PICTURES / "cat.png", tmp_path / "pets" / label / f"{i}.png")
    (tmp_path / "pets" / "dogs" / "phone.heic").write_bytes(b"1")
    (tmp_path / "pets" / "alone.jpg").write_bytes(b"1")
    sent: list[bytes] = []  # by any figure
    course.on("request", lambda request: sent.append(request.post_data_buffer or b""))
    own.get_by_label("A folder with one folder of pictures").set_input_files(tmp_path / "pets")
    expect(own.get_by_role("listitem").filter(has_text="cats")).to_have_text("cats: 4 pictures")
    expect(own.get_by_text("Fewer than 3 pictures: dogs.")).to_be_visible()
    expect(own.get_by_text("1 file of another kind will be left out")).to_be_visible()
    expect(own.get_by_text("1 picture in no label")).to_be_visible()
    expect(own.get_by_label("Name of the network")).to_have_value("pets")
    assert not any(name in body for body in sent for name in (b"0.png", b"phone.heic", b"alone.jpg"))


def test_the_networks_that_are_served_lead_to_the_page(course: Page) -> None:
    own = figure(course, "own")
    own.get_by_role("link", name="tutorial").click()
    expect(course.get_by_role("radio", name="tutorial").first).to_be_checked()
    expect(course.locator(".bars meter")).to_have_count(10)


@pytest.mark.console("Failed to load resource", "net::ERR_FAILED")
def test_without_an_answer_the_command_is_still_made(open_page: OpenPage, url: str) -> None:
    page = open_page("about:blank")
    page.route("**/models", lambda route: route.abort())
    page.goto(url + "learn")
    own = figure(page, "own")
    expect(own.get_by_role("alert").last).to_contain_text("does not answer")
    expect(own.get_by_label("The command that trains", exact=True)).to_contain_text("--name pets")
    page.unroute("**/models")
    own.get_by_role("button", name="Look again").click()
    expect(own.locator("tbody tr")).to_have_count(3)
