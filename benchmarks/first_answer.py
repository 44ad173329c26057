"""How long a visitor waits for the first answer: `python -m benchmarks.first_answer` opens the page in Chromium.

Each visit has an empty cache. Prints medians in milliseconds: from the start of the navigation until the page shows the
answer, until /predict is asked, and from there until its answer is complete.
"""

import argparse
import shutil
import statistics

from playwright.sync_api import Browser, sync_playwright

from benchmarks.service import serving

WATCH = """new MutationObserver((_, observer) => {
  if (!document.querySelector(".verdict")?.textContent.includes("%")) return;
  observer.disconnect();
  performance.mark("shown");
}).observe(document, { childList: true, subtree: true, characterData: true })"""

TIMES = """() => {
  const [shown] = performance.getEntriesByName("shown");
  const [asked] = performance.getEntriesByType("resource").filter(({ name }) => name.includes("/predict?"));
  return [shown.startTime, asked.startTime, asked.responseEnd - asked.startTime];
}"""


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.first_answer", description=__doc__)
    parser.add_argument("--visits", type=int, default=20, help="after one that does not count")
    options = parser.parse_args()
    with serving() as (_, _, client), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        times = [visit(browser, str(client.base_url)) for _ in range(1 + options.visits)][1:]
        browser.close()
    shown, asked, answered = (statistics.median(column) for column in zip(*times, strict=True))
    print(f"shown after {shown:.0f} ms; /predict asked after {asked:.0f} ms, answered in {answered:.0f} ms")


def visit(browser: Browser, url: str) -> list[float]:
    """Milliseconds until the answer is shown, until it was asked for, and that it took."""
    context = browser.new_context()
    page = context.new_page()
    page.add_init_script(WATCH)
    page.goto(url)
    page.wait_for_function("() => performance.getEntriesByName('shown').length")
    times: list[float] = page.evaluate(TIMES)
    context.close()
    return times


if __name__ == "__main__":
    main()
