"""The page of a service that wants an API key."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import OpenPage, copied
from tests.conftest import ClientFactory

KEY = "red-0123456789abcdef"


@pytest.mark.console("401")
def test_the_page_asks_for_a_key_once_and_keeps_it_for_the_tab(make_client: ClientFactory, open_page: OpenPage) -> None:
    url = f"http://127.0.0.1:{make_client(api_keys=f'red:{KEY}').base_url.port}/"
    page = open_page(url)
    dialog = page.get_by_role("dialog", name="This service needs an API key")
    expect(dialog).to_have_count(1)
    dialog.get_by_label("Key").fill("sch\xfcssel")
    dialog.get_by_label("Key").press("Enter")
    expect(dialog).to_contain_text("neither spaces nor characters outside ASCII")
    dialog.get_by_label("Key").fill("wrong")
    dialog.get_by_role("button", name="Use it").click()
    expect(dialog).to_contain_text("does not know this key")
    dialog.get_by_label("Key").fill(KEY)
    dialog.get_by_label("Key").press("Enter")
    expect(dialog).to_have_count(0)
    expect(page.locator(".bars meter")).to_have_count(10)
    for language in ("curl", "Python", "JavaScript"):
        code = copied(page.locator("#predict-view"), language)
        assert "X-API-Key" in code
        assert "CONVOSCOPE_API_KEY" in code
        assert KEY not in code
    page.reload()
    expect(page.locator(".bars meter")).to_have_count(10)
    expect(dialog).to_have_count(0)
    other = open_page(url)
    other.get_by_role("button", name="Cancel").click()
    expect(other.get_by_role("alert").filter(has_text="needs an API key").first).to_be_visible()
