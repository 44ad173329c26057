"""The page behind a reverse proxy, and the service called from a page of another origin."""

import base64

import pytest
from httpx import Client
from playwright.sync_api import expect

from tests.browser.conftest import OpenPage
from tests.conftest import ClientFactory

CALL = """async ([url, text]) => {
  const content = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const headers = { "Content-Type": "image/png", "X-Request-ID": "mine" };
  const answer = await fetch(url + "/predict", { method: "POST", body: content, headers });
  return [(await answer.json()).predictions[0].label, answer.headers.get("x-request-id")];
}"""


def test_the_page_works_under_a_prefix(make_client: ClientFactory, open_page: OpenPage) -> None:
    client = make_client(root_path="/vision")
    page = open_page(f"http://127.0.0.1:{client.base_url.port}/vision/")
    page.get_by_role("radio", name="ship", exact=True).check()
    expect(page.get_by_role("main")).to_contain_text("ship")
    images = page.locator("img").evaluate_all("all => all.filter((i) => i.complete && i.src && !i.naturalWidth).length")
    assert images == 0


@pytest.mark.console("404")  # its icon, which only the page names
def test_a_page_of_an_allowed_origin_may_call(
    client: Client, make_client: ClientFactory, open_page: OpenPage, frog: bytes
) -> None:
    origin = f"http://127.0.0.1:{client.base_url.port}"
    url = f"http://127.0.0.1:{make_client(cors_origins=origin).base_url.port}"
    page = open_page(f"{origin}/healthz")  # which, unlike the page, lets scripts call whom they want
    assert page.evaluate(CALL, [url, base64.b64encode(frog).decode()]) == ["frog", "mine"]
